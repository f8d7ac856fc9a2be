import { Redis, type RedisOptions } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { againstStockRedis, hasWaiters, startTarget, type Target } from './target.ts';

let target: Target;
const opened: Redis[] = [];

type Options = Omit<RedisOptions, 'replyMapping'>;

function connect(options: Options = {}): Redis {
  const client = new Redis(options.port ?? target.port, '127.0.0.1', options);
  opened.push(client);
  return client;
}

beforeAll(async () => {
  target = await startTarget();
});

afterEach(() => {
  for (const client of opened.splice(0)) client.disconnect();
});

afterAll(async () => {
  await target?.stop();
});

const manyKeys = (count: number, prefix = 'key') => Array.from({ length: count }, (_, i) => `${prefix}:${i}`);
const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));
const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

const dialects: [string, Options][] = [
  ['at its defaults (RESP3)', {}],
  ['with protocol 2', { protocol: 2 }],
];

describe.each(dialects)('ioredis %s', (_name, dialect) => {
  let redis: Redis;

  beforeEach(async () => {
    redis = connect(dialect);
    await redis.flushall();
  });

  it('reads back every kind of value that it wrote', async () => {
    expect(await redis.set('string', 'väl')).toBe('OK');
    expect(await redis.get('string')).toBe('väl');
    expect(await redis.incrbyfloat('float', '3.25')).toBe('3.25');
    expect(await redis.hset('hash', { a: '1', b: '2' })).toBe(2);
    expect(await redis.hgetall('hash')).toEqual({ a: '1', b: '2' });
    expect(await redis.rpush('list', 'a', 'b', 'c')).toBe(3);
    expect(await redis.lrange('list', 0, -1)).toEqual(['a', 'b', 'c']);
    expect(await redis.sadd('set', 'x', 'y', 'x')).toBe(2);
    expect((await redis.smembers('set')).sort()).toEqual(['x', 'y']);
    expect(await redis.zadd('zset', 1.5, 'low', 20, 'high')).toBe(2);
    expect(await redis.zrange('zset', '0', '-1', 'WITHSCORES')).toEqual(['low', '1.5', 'high', '20']);
    expect(await redis.zscore('zset', 'low')).toBe('1.5');
    expect(await redis.xadd('stream', '5-1', 'field', 'value')).toBe('5-1');
    expect(await redis.xrange('stream', '-', '+')).toEqual([['5-1', ['field', 'value']]]);
    expect(await redis.pfadd('hll', 'a', 'b', 'c')).toBe(1);
    expect(await redis.pfcount('hll')).toBe(3);
    expect(await redis.geoadd('geo', 13.361389, 38.115556, 'Palermo')).toBe(1);
    expect(await redis.geohash('geo', 'Palermo')).toEqual(['sqc8b49rny0']);
    expect(await redis.call('BITFIELD', 'bits', 'SET', 'u8', 0, 255, 'GET', 'u4', 4)).toEqual([0, 15]);
    expect(await redis.type('geo')).toBe('zset');
    expect(await redis.dbsize()).toBe(10);
  });

  it('keeps every byte of a key and of a value', async () => {
    await redis.set(ALL_BYTES, Buffer.concat([ALL_BYTES, ALL_BYTES]));
    const read = await redis.getBuffer(ALL_BYTES);
    expect(read?.equals(Buffer.concat([ALL_BYTES, ALL_BYTES]))).toBe(true);
    expect(await redis.keys('*').then(keys => keys.length)).toBe(1);
  });

  it('gets values of many keys in the order asked, with null where there is none', async () => {
    const keys = manyKeys(300);
    expect(await redis.mset(new Map(keys.map(key => [key, `v-${key}`])))).toBe('OK');
    const asked = keys.flatMap((key, i) => (i % 3 === 0 ? [key, `none:${i}`] : [key]));
    expect(await redis.mget(asked)).toEqual(asked.map(key => (key.startsWith('none') ? null : `v-${key}`)));
    expect(await redis.exists(...asked)).toBe(300);
    expect(await redis.touch(...asked)).toBe(300);
    expect(await redis.del(...keys.slice(0, 100))).toBe(100);
    expect(await redis.unlink(...keys.slice(0, 150))).toBe(50);
    expect(await redis.dbsize()).toBe(150);
  });

  it.skipIf(againstStockRedis)('spreads keys over all three nodes', async () => {
    const pipeline = redis.pipeline();
    for (const key of manyKeys(600)) pipeline.set(key, 'x');
    await pipeline.exec();
    const sizes: number[] = [];
    for (const port of target.nodePorts) sizes.push(await connect({ port }).dbsize());
    expect(sizes).toHaveLength(3);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(600);
    for (const size of sizes) expect(size).toBeGreaterThan(100);
  });

  it('answers a long pipeline over all shards in order, an error only where it belongs', async () => {
    await redis.set('text', 'not a list');
    const pipeline = redis.pipeline();
    for (let i = 0; i < 5_000; i += 1) {
      if (i === 2_500) pipeline.lpush('text', 'x');
      else pipeline.incrby(`counter:${i % 97}`, 1);
    }
    const replies = (await pipeline.exec()) ?? [];
    expect(replies).toHaveLength(5_000);
    const expected = new Map<string, number>();
    for (let i = 0; i < 5_000; i += 1) {
      const [error, value] = replies[i] as [Error | null, unknown];
      if (i === 2_500) {
        expect(error?.message).toBe('WRONGTYPE Operation against a key holding the wrong kind of value');
        continue;
      }
      const key = `counter:${i % 97}`;
      expected.set(key, (expected.get(key) ?? 0) + 1);
      expect([error, value]).toEqual([null, expected.get(key)]);
    }
  });

  it('autopipelines a thousand calls of one tick and gives each its own answer', async () => {
    const auto = connect({ ...dialect, enableAutoPipelining: true });
    const keys = manyKeys(1_000, 'auto');
    const written = await Promise.all(keys.map(key => auto.set(key, `v-${key}`)));
    expect(new Set(written)).toEqual(new Set(['OK']));
    const read = await Promise.all(keys.map(key => auto.get(key)));
    expect(read).toEqual(keys.map(key => `v-${key}`));
    await expect(Promise.all([auto.get('auto:1'), auto.hget('auto:2', 'f')])).rejects.toThrow(/^WRONGTYPE /);
  });

  it('runs a transaction on keys of one hash tag', async () => {
    const replies = await redis
      .multi()
      .set('{order}:1', 'new')
      .incr('{order}:count')
      .hset('{order}:meta', 'state', 'open')
      .get('{order}:1')
      .exec();
    expect(replies).toEqual([
      [null, 'OK'],
      [null, 1],
      [null, 1],
      [null, 'new'],
    ]);
  });

  it('gives the error of one command of a transaction in its place and runs the rest', async () => {
    const replies = await redis.multi().set('{t}a', 'text').lpush('{t}a', 'x').set('{t}b', 'done').exec();
    expect(replies?.[0]).toEqual([null, 'OK']);
    expect(replies?.[1]?.[0]?.message).toBe('WRONGTYPE Operation against a key holding the wrong kind of value');
    expect(replies?.[2]).toEqual([null, 'OK']);
    expect(await redis.get('{t}b')).toBe('done');
  });

  it('discards a transaction that holds a command which Redis refuses, and none of it happens', async () => {
    const transaction = redis.multi().set('{t}kept', 'x');
    transaction.call('NOSUCH', 'a');
    await expect(transaction.exec()).rejects.toThrow('EXECABORT Transaction discarded because of previous errors.');
    expect(await redis.exists('{t}kept')).toBe(0);
  });

  it.skipIf(againstStockRedis)('refuses a transaction over several shards before any of it happens', async () => {
    const transaction = redis.multi();
    for (const key of manyKeys(20, 'spread')) transaction.set(key, 'x');
    await expect(transaction.exec()).rejects.toThrow(/^EXECABORT /);
    expect(await redis.exists(...manyKeys(20, 'spread'))).toBe(0);
    expect(await redis.set('after', 'fine')).toBe('OK');
  });

  it('step by step transactions answer QUEUED and DISCARD forgets them', async () => {
    await redis.multi({ pipeline: false });
    expect(await redis.set('{m}a', '1')).toBe('QUEUED');
    expect(await redis.incr('{m}a')).toBe('QUEUED');
    expect(await redis.exec()).toEqual([
      [null, 'OK'],
      [null, 2],
    ]);
    await redis.multi({ pipeline: false });
    expect(await redis.set('{m}a', 'lost')).toBe('QUEUED');
    expect(await redis.discard()).toBe('OK');
    expect(await redis.get('{m}a')).toBe('2');
    await expect(redis.exec()).rejects.toThrow('ERR EXEC without MULTI');
  });

  it('WATCH lets the transaction pass when nobody wrote and fail when somebody did', async () => {
    const other = connect(dialect);
    await redis.set('{w}stock', '10');
    await redis.watch('{w}stock');
    expect(await redis.multi().decr('{w}stock').exec()).toEqual([[null, 9]]);
    await redis.watch('{w}stock', '{w}other');
    await other.set('{w}stock', '100');
    expect(await redis.multi().decr('{w}stock').exec()).toBeNull();
    expect(await redis.get('{w}stock')).toBe('100');
    await redis.watch('{w}stock');
    await other.set('{w}stock', '50');
    await redis.unwatch();
    expect(await redis.multi().decr('{w}stock').exec()).toEqual([[null, 49]]);
  });

  it('hears each published message once and in order, wherever it was published from', async () => {
    const listener = connect(dialect);
    const channels = Array.from({ length: 10 }, (_, i) => `news:${i}`);
    const heard = new Map<string, string[]>();
    const byPattern: string[] = [];
    listener.on('message', (channel: string, message: string) => {
      heard.set(channel, [...(heard.get(channel) ?? []), message]);
    });
    listener.on('pmessage', (pattern: string, channel: string, message: string) => {
      byPattern.push(`${pattern}|${channel}|${message}`);
    });
    expect(await listener.subscribe(...channels)).toBe(10);
    expect(await listener.psubscribe('news:[12]')).toBe(11);
    for (let i = 0; i < 100; i += 1) await redis.publish(channels[i % 10] as string, `m${i}`);
    await redis.multi().set('{p}x', '1').publish('news:1', 'from MULTI').exec();
    await redis.eval(
      "redis.call('SET', KEYS[1], 1); return redis.call('PUBLISH', ARGV[1], ARGV[2])",
      1,
      'k',
      'news:2',
      'from Lua',
    );
    await expect.poll(() => byPattern.length).toBe(22);
    await sleep(100);
    for (const [index, channel] of channels.entries()) {
      const expected = Array.from({ length: 10 }, (_, i) => `m${i * 10 + index}`);
      if (index === 1) expected.push('from MULTI');
      if (index === 2) expected.push('from Lua');
      expect(heard.get(channel)).toEqual(expected);
    }
    expect(byPattern.filter(line => line.startsWith('news:[12]|news:1|'))).toHaveLength(11);
    expect(await listener.unsubscribe('news:0')).toBe(10);
    await redis.publish('news:0', 'unheard');
    await redis.publish('news:3', 'last');
    await expect.poll(() => heard.get('news:3')?.at(-1)).toBe('last');
    expect(heard.get('news:0')).toHaveLength(10);
  });

  it('tells the channels that are listened to', async () => {
    const listener = connect(dialect);
    await listener.subscribe('alpha', 'beta');
    await listener.psubscribe('a*');
    expect(((await redis.pubsub('CHANNELS')) as string[]).sort()).toEqual(['alpha', 'beta']);
    expect(await redis.pubsub('NUMPAT')).toBe(1);
    expect(await redis.pubsub('NUMSUB', 'alpha', 'gamma')).toEqual(['alpha', 1, 'gamma', 0]);
  });

  it('hears sharded channels', async () => {
    const listener = connect(dialect);
    const heard: string[] = [];
    listener.on('smessage', (channel: string, message: string) => heard.push(`${channel}=${message}`));
    await listener.ssubscribe('shard:a');
    expect(await redis.spublish('shard:a', 'one')).toBe(1);
    expect(await redis.spublish('shard:b', 'nobody')).toBe(0);
    await expect.poll(() => heard).toEqual(['shard:a=one']);
  });

  it('runs a command defined in Lua on keys of every shard, even after the scripts were flushed', async () => {
    const scripted = connect({
      ...dialect,
      scripts: {
        addUpTo: { numberOfKeys: 1, lua: "local v = redis.call('INCRBY', KEYS[1], ARGV[1]); return {KEYS[1], v}" },
      },
    }) as Redis & { addUpTo(key: string, by: number): Promise<[string, number]> };
    const keys = manyKeys(60, 'lua');
    expect(await Promise.all(keys.map(key => scripted.addUpTo(key, 5)))).toEqual(keys.map(key => [key, 5]));
    expect(await redis.script('FLUSH')).toBe('OK');
    expect(await Promise.all(keys.map(key => scripted.addUpTo(key, 2)))).toEqual(keys.map(key => [key, 7]));
    const pipeline = scripted.pipeline() as unknown as {
      addUpTo(key: string, by: number): unknown;
      exec(): Promise<unknown>;
    };
    pipeline.addUpTo('lua:0', 1);
    pipeline.addUpTo('lua:1', 1);
    expect(await pipeline.exec()).toEqual([
      [null, ['lua:0', 8]],
      [null, ['lua:1', 8]],
    ]);
  });

  it('a script loaded once runs by its digest wherever its key lives', async () => {
    const digest = (await redis.script('LOAD', "return redis.call('GET', KEYS[1])")) as string;
    expect(digest).toMatch(/^[0-9a-f]{40}$/);
    expect(await redis.script('EXISTS', digest, '0'.repeat(40))).toEqual([1, 0]);
    for (const key of manyKeys(20, 'sha')) {
      await redis.set(key, `at ${key}`);
      expect(await redis.evalsha(digest, 1, key)).toBe(`at ${key}`);
    }
    await expect(redis.evalsha('f'.repeat(40), 1, 'k')).rejects.toThrow(
      'NOSCRIPT No matching script. Please use EVAL.',
    );
  });

  it('a blocked stream reader gets the entry that is added later', async () => {
    const reader = connect(dialect);
    const waiting = reader.xread('BLOCK', 60_000, 'STREAMS', 'events', '$');
    await hasWaiters(target, 1);
    const id = await redis.xadd('events', '*', 'kind', 'created');
    expect(await waiting).toEqual([['events', [[id, ['kind', 'created']]]]]);
    const started = Date.now();
    expect(await reader.xread('BLOCK', 150, 'STREAMS', 'events', '$')).toBeNull();
    expect(Date.now() - started).toBeGreaterThanOrEqual(145);
    expect(await reader.xread('COUNT', 10, 'STREAMS', 'events', '0')).toEqual([
      ['events', [[id, ['kind', 'created']]]],
    ]);
  });

  it('a consumer group gives each entry to one consumer', async () => {
    await redis.xgroup('CREATE', 'jobs', 'workers', '$', 'MKSTREAM');
    const taken: string[][] = [[], []];
    const isWorkLeft = () => taken.flat().length < 50;
    const consumers = taken.map(async (list, index) => {
      const client = connect(dialect);
      while (isWorkLeft()) {
        const reply = (await client.xreadgroup(
          'GROUP',
          'workers',
          `c${index}`,
          'COUNT',
          1,
          'BLOCK',
          300,
          'STREAMS',
          'jobs',
          '>',
        )) as [string, [string, string[]][]][] | null;
        for (const [id, fields] of reply?.[0]?.[1] ?? []) {
          list.push(fields[1] as string);
          expect(await client.xack('jobs', 'workers', id)).toBe(1);
        }
      }
    });
    // Both wait, so that the first two entries are not for one of them.
    await hasWaiters(target, 2);
    for (let i = 0; i < 50; i += 1) await redis.xadd('jobs', '*', 'n', String(i));
    await Promise.all(consumers);
    const numbers = taken
      .flat()
      .map(Number)
      .sort((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: 50 }, (_, i) => i));
    for (const list of taken) expect(list.length).toBeGreaterThan(0);
    expect(((await redis.xpending('jobs', 'workers')) as unknown[])[0]).toBe(0);
  });

  it('blocking pops on many connections each get one element, and other clients go on meanwhile', async () => {
    const poppers = Array.from({ length: 20 }, () => connect(dialect));
    const waiting = poppers.map((client, i) => client.blpop(`queue:${i % 5}`, 60));
    await hasWaiters(target, 20);
    expect(await redis.set('meanwhile', 'fine')).toBe('OK');
    for (let i = 0; i < 20; i += 1) await redis.rpush(`queue:${i % 5}`, `job${i}`);
    const popped = (await Promise.all(waiting)) as [string, string][];
    expect(popped.map(([, job]) => job).sort()).toEqual(Array.from({ length: 20 }, (_, i) => `job${i}`).sort());
    for (const [i, [queue]] of popped.entries()) expect(queue).toBe(`queue:${i % 5}`);
    const started = Date.now();
    expect(await redis.brpop('queue:none', 0.2)).toBeNull();
    expect(Date.now() - started).toBeGreaterThanOrEqual(195);
    const moving = (poppers[0] as Redis).blmove('{q}from', '{q}to', 'LEFT', 'RIGHT', 60);
    await hasWaiters(target, 1);
    await redis.rpush('{q}from', 'moved');
    expect(await moving).toBe('moved');
    expect(await redis.lrange('{q}to', 0, -1)).toEqual(['moved']);
    const least = (poppers[1] as Redis).bzpopmin('ranking', 60);
    await hasWaiters(target, 1);
    await redis.zadd('ranking', 2, 'b', 1, 'a');
    expect(await least).toEqual(['ranking', 'a', '1']);
  });

  it('a client that leaves while it blocks takes no element with it', async () => {
    const leaver = connect(dialect);
    const waiting = leaver.blpop('left', 60).catch(() => 'gone');
    await hasWaiters(target, 1);
    leaver.disconnect();
    expect(await waiting).toBe('gone');
    await hasWaiters(target, 0);
    await redis.rpush('left', 'still here');
    await sleep(50);
    expect(await redis.lrange('left', 0, -1)).toEqual(['still here']);
  });

  it('scanStream meets every key of every shard, MATCH and TYPE narrow it', async () => {
    const pipeline = redis.pipeline();
    for (const key of manyKeys(3_000, 'scan')) pipeline.set(key, 'x');
    for (const key of manyKeys(50, 'other')) pipeline.lpush(key, 'x');
    await pipeline.exec();
    expect(await collect(redis.scanStream())).toEqual(new Set([...manyKeys(3_000, 'scan'), ...manyKeys(50, 'other')]));
    expect(await collect(redis.scanStream({ match: 'scan:1*', count: 200 }))).toEqual(
      new Set(manyKeys(3_000, 'scan').filter(key => key.startsWith('scan:1'))),
    );
    expect(await collect(redis.scanStream({ type: 'list' }))).toEqual(new Set(manyKeys(50, 'other')));
  });

  it('the scans of one collection meet all of it', async () => {
    const members = manyKeys(2_000, 'm');
    await redis.sadd('bigset', ...members);
    await redis.hset('bighash', Object.fromEntries(members.map(member => [member, `v${member}`])));
    await redis.zadd('bigzset', ...members.flatMap((member, i) => [i, member]));
    expect(await collect(redis.sscanStream('bigset'))).toEqual(new Set(members));
    expect(await collect(redis.hscanStream('bighash', { count: 100 }))).toEqual(
      new Set(members.flatMap(member => [member, `v${member}`])),
    );
    expect(await collect(redis.zscanStream('bigzset'))).toEqual(
      new Set(members.flatMap((member, i) => [member, String(i)])),
    );
  });

  it('keeps databases apart', async () => {
    const third = connect({ ...dialect, db: 3 });
    await redis.mset('shared', 'zero', 'only0', '1', 'only0b', '1');
    await third.set('shared', 'three');
    expect(await redis.get('shared')).toBe('zero');
    expect(await third.get('shared')).toBe('three');
    expect([await redis.dbsize(), await third.dbsize()]).toEqual([3, 1]);
    expect(await third.flushdb()).toBe('OK');
    expect([await redis.dbsize(), await third.dbsize()]).toEqual([3, 0]);
    await third.select(0);
    expect(await third.get('shared')).toBe('zero');
    await expect(third.select(99)).rejects.toThrow('ERR DB index is out of range');
  });

  it('knows its connection by name and says good-bye', async () => {
    const named = connect({ ...dialect, connectionName: 'billing' });
    expect(await named.client('GETNAME')).toBe('billing');
    const id = await named.client('ID');
    expect(typeof id).toBe('number');
    const list = (await redis.client('LIST')) as string;
    const line = list.split('\n').find(entry => entry.startsWith(`id=${id} `));
    expect(line).toContain(' name=billing ');
    expect(await named.quit()).toBe('OK');
    await expect.poll(async () => (await redis.client('LIST')) as string).not.toContain('name=billing');
  });

  it.skipIf(againstStockRedis)('is told clearly that MONITOR is not offered', async () => {
    await expect(redis.call('MONITOR')).rejects.toThrow(/monitor/i);
    expect(await redis.ping()).toBe('PONG');
  });
});

async function collect(stream: AsyncIterable<unknown>): Promise<Set<string>> {
  const seen = new Set<string>();
  for await (const batch of stream) for (const item of batch as string[]) seen.add(item);
  return seen;
}
