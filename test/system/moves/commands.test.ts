/**
 * What clients do besides reading and writing, while keys move: they wait, watch, collect transactions, call scripts,
 * listen, walk and count. As `ioredis` does it, on a cluster whose third shard comes, goes and comes.
 */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createRing, type Ring } from '../../../src/ring/ring.ts';
import { sleep, until } from '../faults/stand.ts';
import { Fleet } from '../safety/fleet.ts';
import type { Role } from '../safety/role.ts';
import { comesTo, isOver, order, toggleShard, topologyOf, tryOrder } from './cluster.ts';

const SHARDS = 2;
/** Of these a third moves; at so many a second that each of two portions is under way for a while. */
const FILLING = 600;
const KEYS_PER_SECOND = 150;

let fleet: Fleet;
const clients: Redis[] = [];

beforeAll(async () => {
  fleet = await Fleet.start({
    shards: SHARDS,
    copies: 1,
    spares: 1,
    settings: {
      nodeSettings: { 'notify-keyspace-events': 'KEA' },
      supervisor: { move: { keysPerSecond: KEYS_PER_SECOND } },
    },
  });
});
afterAll(() => fleet?.close());

beforeEach(async () => {
  const redis = client();
  await redis.flushall();
  const filling = redis.pipeline();
  for (let i = 0; i < FILLING; i += 1) filling.set(`filling:${i}`, `${i}`);
  await filling.exec();
});
afterEach(async () => {
  for (const one of clients.splice(0)) one.disconnect();
  await isOver(fleet);
});

function client(): Redis {
  const { host, port } = fleet.proxies[0] as Role;
  const redis = new Redis({ host: host.address, port, maxRetriesPerRequest: 0, retryStrategy: () => null });
  redis.on('error', () => undefined);
  clients.push(redis);
  return redis;
}

const SHARD_COMES = 's9';

/** Who owns keys before and after the move that is next. */
async function rings(): Promise<{ names: readonly string[]; before: Ring; after: Ring }> {
  const { ring, shards } = await topologyOf(fleet);
  const isThere = shards.some(({ name }) => name === SHARD_COMES);
  const all = isThere ? shards : [...shards, { name: SHARD_COMES, weight: 0 }];
  const weigh = (comes: number) => all.map(({ name }) => ({ name, weight: name === SHARD_COMES ? comes : 1 }));
  const [before, after] = isThere ? [1, 0] : [0, 1];
  return {
    names: all.map(({ name }) => name),
    before: createRing(ring, weigh(before as number)),
    after: createRing(ring, weigh(after as number)),
  };
}

/** Keys that go from one shard to another when the next move comes. */
async function moving(prefix: string, count: number): Promise<string[]> {
  const { before, after } = await rings();
  const found: string[] = [];
  for (let i = 0; found.length < count; i += 1) {
    const key = `${prefix}${i}`;
    const bytes = Buffer.from(key);
    const [from, to] = [before, after].map(ring => ring.ownerOf(bytes, 0, bytes.length));
    if (from !== to) found.push(key);
  }
  return found;
}

/** Two keys that are on one shard until the next move has come, and then on two. */
async function parted(prefix: string): Promise<[string, string]> {
  const { before, after } = await rings();
  const owners = (ring: Ring, key: string) => ring.ownerOf(Buffer.from(key), 0, key.length);
  const keys = Array.from({ length: 1_000 }, (_, i) => `${prefix}${i}`);
  for (const one of keys)
    for (const other of keys)
      if (owners(before, one) === owners(before, other) && owners(after, one) !== owners(after, other))
        return [one, other];
  throw new Error('this move parts no two keys');
}

/** Begins a move, and waits until keys of its first portion are pulled. */
async function begin(): Promise<void> {
  await toggleShard(fleet);
  expect(await comesTo(fleet, move => move.current?.phase === 'moving')).toBe(true);
}

/** As quickly as it goes. */
async function finish(): Promise<void> {
  await tryOrder(fleet, 'move', 'throttle', '1000000');
  await isOver(fleet);
}

/** Has clients do something again and again from before a move until after it. */
async function throughAMove(work: () => Promise<void>): Promise<void> {
  let running = true;
  const loop = (async () => {
    while (running) await work();
  })();
  // Who fails ends the wait for the move as well.
  const failed = loop.then(() => new Promise<never>(() => undefined));
  try {
    await Promise.race([begin().then(() => isOver(fleet)), failed]);
  } finally {
    running = false;
    await loop;
  }
}

describe('waiting', () => {
  test('BLPOP goes on on the new owner, whether an element comes during the move or after it', async () => {
    const [early, late, stream, other] = (await moving('wait:', 4)) as [string, string, string, string];
    const waits = [
      client().blpop(early, 60),
      client().blpop(late, 60),
      client().xread('BLOCK', 60_000, 'STREAMS', stream, '$'),
      client().blpop(other, 3),
    ];
    await sleep(100);
    const pushing = client();
    await begin();
    await pushing.rpush(early, 'during');
    expect(await waits[0]).toEqual([early, 'during']);
    await finish();
    await pushing.rpush(late, 'after');
    await pushing.xadd(stream, '1-0', 'field', 'value');
    expect(await waits[1]).toEqual([late, 'after']);
    expect(await waits[2]).toEqual([[stream, [['1-0', ['field', 'value']]]]]);
    expect(await waits[3]).toBeNull();
    expect(await pushing.exists(early, late)).toBe(0);
  });
});

describe('transactions', () => {
  test('one that was collected before a move is done after it, and one that watched is not', async () => {
    const [plain, watched, unwatched] = (await moving('block:', 3)) as [string, string, string];
    const [collecting, watching, free] = [client(), client(), client()];
    await watching.set(watched, '1');
    await collecting.call('MULTI');
    await collecting.call('SET', plain, 'one');
    await collecting.call('APPEND', plain, ' two');
    await watching.watch(watched);
    await free.watch(unwatched);
    await free.unwatch();
    await toggleShard(fleet);
    await isOver(fleet);
    expect(await collecting.call('EXEC')).toEqual(['OK', 7]);
    expect(await collecting.get(plain)).toBe('one two');
    expect(await watching.multi().set(watched, '2').exec()).toBeNull();
    expect(await watching.get(watched)).toBe('1');
    expect(await free.multi().set(unwatched, '2').exec()).toEqual([[null, 'OK']]);
  });

  test('one whose keys the move has parted is refused whole', async () => {
    const [stays, goes] = await parted('parted:');
    const collecting = client();
    await collecting.call('MULTI');
    await collecting.call('SET', stays, '1');
    await collecting.call('SET', goes, '1');
    await toggleShard(fleet);
    await isOver(fleet);
    await expect(collecting.call('EXEC')).rejects.toThrow(/EXECABORT|CROSSSLOT/);
    expect(await collecting.exists(stays, goes)).toBe(0);
    await expect(client().call('SINTER', stays, goes)).rejects.toThrow(/CROSSSLOT/);
  });

  test('compare and set by WATCH, from several clients, loses no round while keys move', async () => {
    const keys = await moving('balance:', 4);
    const done = new Map(keys.map(key => [key, 0]));
    const both = [client(), client()];
    await throughAMove(async () => {
      await Promise.all(
        both.map(async redis => {
          const key = keys[Math.floor(Math.random() * keys.length)] as string;
          await redis.watch(key);
          const next = Number(await redis.get(key)) + 1;
          const result = await redis.multi().set(key, next).exec();
          if (result !== null) done.set(key, (done.get(key) ?? 0) + 1);
        }),
      );
    });
    const reading = client();
    for (const [key, count] of done) expect(Number(await reading.get(key)), key).toBe(count);
    expect([...done.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(5);
  });
});

describe('scripts', () => {
  test('EVAL, EVALSHA and FCALL find their keys wherever they are, and count each call once', async () => {
    const keys = await moving('script:', 6);
    const redis = client();
    const sha = String(await redis.script('LOAD', "return redis.call('INCR', KEYS[1])"));
    const library = `#!lua name=moves
redis.register_function('count', function(keys) return redis.call('INCR', keys[1]) end)`;
    await redis.call('FUNCTION', 'LOAD', 'REPLACE', library);
    const called = new Map(keys.map(key => [key, 0]));
    let turn = 0;
    await throughAMove(async () => {
      const key = keys[turn % keys.length] as string;
      const ways = [
        () => redis.eval("return redis.call('INCR', KEYS[1])", 1, key),
        () => redis.evalsha(sha, 1, key),
        () => redis.call('FCALL', 'count', '1', key),
      ];
      const answer = await (ways[turn % ways.length] as () => Promise<unknown>)();
      turn += 1;
      called.set(key, (called.get(key) ?? 0) + 1);
      expect(answer).toBe(called.get(key));
      await sleep(2);
    });
    for (const [key, count] of called) expect(Number(await redis.get(key)), key).toBe(count);
    expect(turn).toBeGreaterThan(10);
  });
});

describe('listening', () => {
  test('every message is heard once, in order, and so is every event of a key', async () => {
    const channels = await moving('channel:', 3);
    const keys = await moving('event:', 3);
    const heard = new Map<string, string[]>();
    const note = (channel: string, text: string) => heard.set(channel, [...(heard.get(channel) ?? []), text]);
    const [plain, patterns, sharded, events] = [client(), client(), client(), client()];
    plain.on('message', (channel, text) => note(`plain ${channel}`, text));
    patterns.on('pmessage', (_, channel, text) => note(`pattern ${channel}`, text));
    sharded.on('smessage', (channel, text) => note(`sharded ${channel}`, text));
    events.on('pmessage', (_, channel, text) => note(channel, text));
    await plain.subscribe(...channels);
    await patterns.psubscribe('channel:*');
    for (const channel of channels) await sharded.ssubscribe(channel);
    await events.psubscribe('__keyspace@0__:event:*');
    const sending = client();
    let number = 0;
    await throughAMove(async () => {
      for (const channel of channels) {
        await sending.publish(channel, `${number}`);
        await sending.spublish(channel, `${number}`);
      }
      for (const key of keys) await sending.set(key, `${number}`);
      number += 1;
      await sleep(5);
    });
    await sleep(500);
    const all = Array.from({ length: number }, (_, i) => `${i}`);
    expect(number).toBeGreaterThan(5);
    for (const channel of channels)
      for (const way of ['plain', 'pattern', 'sharded'])
        expect(heard.get(`${way} ${channel}`), `${way} ${channel}`).toEqual(all);
    for (const key of keys) {
      const sets = (heard.get(`__keyspace@0__:${key}`) ?? []).filter(event => event === 'set');
      expect(sets.length, key).toBe(number);
    }
  });
});

describe('walking and counting', () => {
  test('SCAN misses nothing and ends, KEYS and DBSIZE count each key once, and nothing of the move shows', async () => {
    const redis = client();
    let walks = 0;
    const counts = new Set<number>();
    await throughAMove(async () => {
      const seen = new Set<string>();
      let cursor = '0';
      let pages = 0;
      do {
        const [next, keys] = await redis.scan(cursor, 'COUNT', 50);
        for (const key of keys) seen.add(key);
        cursor = next;
        pages += 1;
      } while (cursor !== '0' && pages < 2_000);
      expect(cursor).toBe('0');
      expect(seen.size).toBe(FILLING);
      const keys = await redis.keys('*');
      expect(keys.length).toBe(FILLING);
      expect(new Set(keys).size).toBe(FILLING);
      counts.add(await redis.dbsize());
      expect(await redis.randomkey()).toMatch(/^filling:/);
      walks += 1;
    });
    expect(walks).toBeGreaterThan(1);
    // A key that is being pulled in the moment is on both.
    for (const count of counts) expect(Math.abs(count - FILLING)).toBeLessThan(FILLING / 10);
    expect(await redis.dbsize()).toBe(FILLING);
  });

  test('FLUSHALL waits for the portion that is under way, and then leaves nothing', async () => {
    const redis = client();
    await begin();
    let isDone = false;
    const flushed = redis.flushall().then(answer => {
      isDone = true;
      return answer;
    });
    await sleep(500);
    expect(isDone).toBe(false);
    await tryOrder(fleet, 'move', 'throttle', '1000000');
    expect(await flushed).toBe('OK');
    await isOver(fleet);
    expect(await redis.dbsize()).toBe(0);
    expect(await redis.keys('*')).toEqual([]);
  });
});

test('a paused move stands still, holds nobody up, and goes on', async () => {
  const redis = client();
  await begin();
  await order(fleet, 'move', 'pause');
  await comesTo(fleet, move => move.paused !== null);
  const { move } = await topologyOf(fleet);
  for (let i = 0; i < FILLING; i += 1) expect(await redis.get(`filling:${i}`)).toBe(`${i}`);
  expect((await topologyOf(fleet)).move?.moved).toBe(move?.moved);
  await order(fleet, 'move', 'resume');
  await finish();
  await until('every key is there', async () => (await redis.dbsize()) === FILLING);
});
