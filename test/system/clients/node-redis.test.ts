import { createClient, createClientPool, defineScript, RESP_TYPES, WatchError } from 'redis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { againstStockRedis, hasWaiters, startTarget, type Target } from './target.ts';

const scripts = {
  appendTwice: defineScript({
    SCRIPT:
      "redis.call('APPEND', KEYS[1], ARGV[1]); redis.call('APPEND', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])",
    NUMBER_OF_KEYS: 1,
    parseCommand(parser, key: string, text: string) {
      parser.pushKey(key);
      parser.push(text);
    },
    transformReply: (reply: unknown) => String(reply),
  }),
};

const LIBRARY = `#!lua name=ledger
local function post(keys, args)
  return redis.call('INCRBY', keys[1], args[1])
end
local function balance(keys)
  return tonumber(redis.call('GET', keys[1]) or 0)
end
redis.register_function('post', post)
redis.register_function{function_name='balance', callback=balance, flags={'no-writes'}}`;

let target: Target;
const closers: (() => void)[] = [];

beforeAll(async () => {
  target = await startTarget();
});

afterEach(() => {
  for (const close of closers.splice(0)) close();
});

afterAll(async () => {
  await target?.stop();
});

async function connect(dialect: { RESP?: 2 | 3 }, more: { database?: number; name?: string } = {}) {
  const client = createClient({ url: `redis://127.0.0.1:${target.port}`, ...dialect, ...more, scripts });
  client.on('error', () => {});
  await client.connect();
  closers.push(() => client.destroy());
  return client;
}

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));
const manyKeys = (count: number, prefix = 'key') => Array.from({ length: count }, (_, i) => `${prefix}:${i}`);

const dialects: [string, { RESP?: 2 | 3 }][] = [
  ['at its defaults', {}],
  ['with RESP: 2', { RESP: 2 }],
  ['with RESP: 3', { RESP: 3 }],
];

describe.each(dialects)('node-redis %s', (_name, dialect) => {
  let redis: Awaited<ReturnType<typeof connect>>;

  beforeEach(async () => {
    redis = await connect(dialect);
    await redis.flushAll();
  });

  it('reads back every kind of value that it wrote', async () => {
    expect(await redis.set('string', 'väl', { expiration: { type: 'EX', value: 100 } })).toBe('OK');
    expect(await redis.get('string')).toBe('väl');
    expect(await redis.ttl('string')).toBe(100);
    expect(await redis.hSet('hash', { a: '1', b: '2' })).toBe(2);
    expect({ ...(await redis.hGetAll('hash')) }).toEqual({ a: '1', b: '2' });
    expect(await redis.rPush('list', ['a', 'b', 'c'])).toBe(3);
    expect(await redis.lRange('list', 0, -1)).toEqual(['a', 'b', 'c']);
    expect(await redis.sAdd('set', ['x', 'y', 'x'])).toBe(2);
    expect([...(await redis.sMembers('set'))].sort()).toEqual(['x', 'y']);
    await redis.zAdd('zset', [
      { value: 'low', score: 1.5 },
      { value: 'high', score: 20 },
      { value: 'end', score: Infinity },
    ]);
    expect(await redis.zScore('zset', 'low')).toBe(1.5);
    expect(await redis.zScore('zset', 'end')).toBe(Infinity);
    expect(await redis.zRangeWithScores('zset', 0, 1)).toEqual([
      { value: 'low', score: 1.5 },
      { value: 'high', score: 20 },
    ]);
    expect(await redis.zIncrBy('zset', 0.25, 'low')).toBe(1.75);
    expect(await redis.xAdd('stream', '5-1', { field: 'value' })).toBe('5-1');
    expect((await redis.xRange('stream', '-', '+'))?.map(entry => [entry?.id, { ...entry?.message }])).toEqual([
      ['5-1', { field: 'value' }],
    ]);
    await redis.geoAdd('geo', { member: 'Palermo', longitude: 13.361389, latitude: 38.115556 });
    const [position] = await redis.geoPos('geo', 'Palermo');
    expect(Number(position?.longitude)).toBeCloseTo(13.361389, 4);
    expect(await redis.sIsMember('set', 'x')).toBe(1);
    expect(await redis.expire('set', 100)).toBe(1);
    expect(await redis.configGet('maxmemory').then(reply => Object.keys(reply))).toEqual(['maxmemory']);
  });

  it('gives keys and values as bytes when asked', async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const binary = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    await binary.set(bytes, bytes);
    expect(Buffer.from((await binary.get(bytes)) as Buffer).equals(bytes)).toBe(true);
  });

  it('writes and reads many keys of all shards in one command, in order', async () => {
    const keys = manyKeys(300);
    expect(await redis.mSet(keys.map(key => [key, `v-${key}`] as [string, string]))).toBe('OK');
    const asked = ['none', ...keys, 'none'];
    expect(await redis.mGet(asked)).toEqual([null, ...keys.map(key => `v-${key}`), null]);
    expect(await redis.exists(asked)).toBe(300);
    expect(await redis.del(keys.slice(0, 120))).toBe(120);
    expect(await redis.dbSize()).toBe(180);
  });

  it('gives a thousand commands of one tick their own answers', async () => {
    const keys = manyKeys(1_000, 'tick');
    await Promise.all(keys.map((key, i) => redis.set(key, String(i))));
    const counted = await Promise.all(keys.map(key => redis.incr(key)));
    expect(counted).toEqual(keys.map((_, i) => i + 1));
    const settled = await Promise.allSettled([redis.get('tick:1'), redis.lPush('tick:2', 'x'), redis.get('tick:3')]);
    expect(settled.map(one => (one.status === 'fulfilled' ? one.value : String(one.reason.message)))).toEqual([
      '2',
      'WRONGTYPE Operation against a key holding the wrong kind of value',
      '4',
    ]);
  });

  it('runs a transaction on keys of one hash tag', async () => {
    const replies = await redis.multi().set('{o}a', 'new').incr('{o}n').hSet('{o}h', 'f', 'v').hGetAll('{o}h').exec();
    expect([replies[0], replies[1], replies[2], { ...(replies[3] as object) }]).toEqual(['OK', 1, 1, { f: 'v' }]);
  });

  it.skipIf(againstStockRedis)('refuses a transaction over several shards before any of it happens', async () => {
    const transaction = redis.multi();
    for (const key of manyKeys(20, 'spread')) transaction.set(key, 'x');
    await expect(transaction.exec()).rejects.toThrow();
    expect(await redis.exists(manyKeys(20, 'spread'))).toBe(0);
    expect(await redis.set('after', 'fine')).toBe('OK');
  });

  it('execAsPipeline over all shards gives the answers in order', async () => {
    const pipeline = redis.multi();
    for (const key of manyKeys(200, 'pipe')) pipeline.set(key, key).get(key);
    const replies = await pipeline.execAsPipeline();
    expect(replies as unknown[]).toEqual(manyKeys(200, 'pipe').flatMap(key => ['OK', key]));
  });

  it('WATCH makes the transaction fail when somebody wrote in between', async () => {
    const other = await connect(dialect);
    await redis.set('{w}stock', '10');
    await redis.watch('{w}stock');
    expect(await redis.multi().decr('{w}stock').exec()).toEqual([9]);
    await redis.watch('{w}stock');
    await other.set('{w}stock', '100');
    await expect(redis.multi().decr('{w}stock').exec()).rejects.toBeInstanceOf(WatchError);
    expect(await redis.get('{w}stock')).toBe('100');
  });

  it('counts right when many pooled clients race with WATCH', async () => {
    const pool = createClientPool({ url: `redis://127.0.0.1:${target.port}`, ...dialect }, { maximum: 8 });
    pool.on('error', () => {});
    await pool.connect();
    closers.push(() => pool.destroy());
    const addOne = () =>
      pool.execute(async client => {
        for (;;) {
          await client.watch('raced');
          const value = Number((await client.get('raced')) ?? 0);
          try {
            await client
              .multi()
              .set('raced', String(value + 1))
              .exec();
            return;
          } catch (error) {
            if (!(error instanceof WatchError)) throw error;
          }
        }
      });
    await Promise.all(Array.from({ length: 40 }, addOne));
    expect(await redis.get('raced')).toBe('40');
  });

  it('hears each published message once and in order', async () => {
    const listener = await connect(dialect);
    const heard: string[] = [];
    const byPattern: string[] = [];
    await listener.subscribe(['news:a', 'news:b'], (message, channel) => heard.push(`${channel}=${message}`));
    await listener.pSubscribe('news:*', (message, channel) => byPattern.push(`${channel}=${message}`));
    const expected: string[] = [];
    for (let i = 0; i < 60; i += 1) {
      const channel = i % 2 === 0 ? 'news:a' : 'news:b';
      await redis.publish(channel, String(i));
      expected.push(`${channel}=${i}`);
    }
    await redis.multi().set('{p}x', '1').publish('news:a', 'from MULTI').exec();
    expected.push('news:a=from MULTI');
    await expect.poll(() => byPattern.length).toBe(61);
    await sleep(100);
    const of = (channel: string, list: string[]) => list.filter(line => line.startsWith(channel));
    for (const channel of ['news:a', 'news:b']) {
      expect(of(channel, heard)).toEqual(of(channel, expected));
      expect(of(channel, byPattern)).toEqual(of(channel, expected));
    }
    await listener.unsubscribe('news:a');
    await redis.publish('news:a', 'unheard');
    await redis.publish('news:b', 'last');
    await expect.poll(() => heard.at(-1)).toBe('news:b=last');
    expect(heard).not.toContain('news:a=unheard');
  });

  it('hears sharded channels', async () => {
    const listener = await connect(dialect);
    const heard: string[] = [];
    await listener.sSubscribe('orders', (message, channel) => heard.push(`${channel}=${message}`));
    expect(await redis.sPublish('orders', 'one')).toBe(1);
    await expect.poll(() => heard).toEqual(['orders=one']);
  });

  // RESP2 does not allow it.
  if (dialect.RESP !== 2) {
    it('goes on with commands on a connection that also listens (RESP3)', async () => {
      const heard: string[] = [];
      await redis.subscribe('both', message => heard.push(message));
      expect(await redis.set('while', 'listening')).toBe('OK');
      await redis.publish('both', 'to itself');
      expect(await redis.get('while')).toBe('listening');
      await expect.poll(() => heard).toEqual(['to itself']);
    });
  }

  it('scanIterator meets every key of every shard', async () => {
    await redis.mSet(manyKeys(3_000, 'scan').map(key => [key, 'x'] as [string, string]));
    await redis.rPush('a list', 'x');
    const seen = new Set<string>();
    for await (const batch of redis.scanIterator()) for (const key of batch) seen.add(key);
    expect(seen).toEqual(new Set([...manyKeys(3_000, 'scan'), 'a list']));
    const narrowed = new Set<string>();
    for await (const batch of redis.scanIterator({ MATCH: 'scan:29*', COUNT: 500, TYPE: 'string' })) {
      for (const key of batch) narrowed.add(key);
    }
    expect(narrowed).toEqual(new Set(manyKeys(3_000, 'scan').filter(key => key.startsWith('scan:29'))));
    await redis.hSet('fields', Object.fromEntries(manyKeys(1_000, 'f').map(field => [field, 'v'])));
    const fields = new Set<string>();
    for await (const batch of redis.hScanIterator('fields')) for (const { field } of batch) fields.add(field);
    expect(fields.size).toBe(1_000);
  });

  it('runs a defined script on keys of every shard, even after the scripts were flushed', async () => {
    for (const key of manyKeys(30, 'lua')) expect(await redis.appendTwice(key, 'ab')).toBe('abab');
    await redis.scriptFlush();
    for (const key of manyKeys(30, 'lua')) expect(await redis.appendTwice(key, 'c')).toBe('ababcc');
  });

  it('loads a function library once and calls it on keys of every shard', async () => {
    expect(await redis.functionLoad(LIBRARY, { REPLACE: true })).toBe('ledger');
    for (const key of manyKeys(30, 'account')) {
      expect(await redis.fCall('post', { keys: [key], arguments: ['7'] })).toBe(7);
      expect(await redis.fCallRo('balance', { keys: [key], arguments: [] })).toBe(7);
    }
    const libraries = await redis.functionList();
    expect(libraries.map(one => one['library_name'])).toEqual(['ledger']);
    expect(await redis.functionDelete('ledger')).toBe('OK');
    await expect(redis.fCall('post', { keys: ['account:1'], arguments: ['1'] })).rejects.toThrow(
      'ERR Function not found',
    );
  });

  it('blocking commands wait for what comes later', async () => {
    const waiter = await connect(dialect);
    const popped = waiter.blPop(['{b}1', '{b}2'], 60);
    await hasWaiters(target, 1);
    await redis.rPush('{b}2', 'job');
    expect({ ...(await popped) }).toEqual({ key: '{b}2', element: 'job' });
    const read = waiter.xRead([{ key: 'events', id: '$' }], { BLOCK: 60_000 });
    await hasWaiters(target, 1);
    const id = await redis.xAdd('events', '*', { kind: 'created' });
    const streams = (await read) as { name: string; messages: { id: string; message: Record<string, string> }[] }[];
    expect(
      streams.map(stream => [stream.name, stream.messages.map(entry => [entry.id, { ...entry.message }])]),
    ).toEqual([['events', [[id, { kind: 'created' }]]]]);
    expect(await waiter.blPop('nothing', 0.1)).toBeNull();
    expect(await waiter.xRead([{ key: 'events', id: '$' }], { BLOCK: 100 })).toBeNull();
  });

  it('keeps databases apart and knows its connection by name', async () => {
    const third = await connect(dialect, { database: 3, name: 'billing' });
    await redis.set('shared', 'zero');
    await third.set('shared', 'three');
    expect([await redis.get('shared'), await third.get('shared')]).toEqual(['zero', 'three']);
    expect([await redis.dbSize(), await third.dbSize()]).toEqual([1, 1]);
    const info = await third.clientInfo();
    expect([info.name, info.db, info.resp]).toEqual(['billing', 3, dialect.RESP ?? info.resp]);
    expect(await third.clientId()).toBe(info.id);
    await third.select(0);
    expect(await third.get('shared')).toBe('zero');
  });

  it('tells what the server is in the fields that tools read', async () => {
    const info = await redis.info();
    expect(info).toMatch(/\r\nredis_version:7\.\d+\.\d+\r\n/);
    expect(info).toMatch(/\r\nredis_mode:standalone\r\n/);
    await redis.mSet(manyKeys(40).map(key => [key, 'x'] as [string, string]));
    expect(await redis.info('keyspace')).toMatch(/\r\ndb0:keys=40,expires=0,/);
    expect(Array.isArray(await redis.time())).toBe(true);
    expect(await redis.echo('héllo')).toBe('héllo');
  });
});
