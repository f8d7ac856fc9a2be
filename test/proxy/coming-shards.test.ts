/** Shards that join the cluster without a key, and shards that leave it: no client waits for them, or hears of them. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOfBody } from '../../src/proxy/script-cache.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import type { Wire } from '../differential/wire.ts';
import { ask } from './copies.ts';
import { holdWrites, keyOn, send, take } from './keys.ts';
import { bodyOf, pipeline, Stand, until } from './stand.ts';

let stand: Stand;
let wire: Wire;
let extra: StockRedis;

beforeEach(async () => {
  [stand, extra] = await Promise.all([Stand.start(2, '  hold: 60s\n'), startStockRedis()]);
  wire = await stand.connect();
});
afterEach(() => Promise.all([stand.stop(), extra.stop()]));

const answers = async (...commands: string[]): Promise<string[]> => {
  const replies: string[] = [];
  for (const words of commands) replies.push((await pipeline(wire, words))[0] as string);
  return replies;
};

/** With one shard more, which owns nothing; in front of the others, where the first of all would be taken. */
function withNewcomer({ shards, nodes, ...rest }: Topology, runId: string | null = null): Topology {
  const node = { id: 'n9', host: '127.0.0.1', port: extra.port, zone: '', runId, draining: false };
  const newcomer = {
    ...(shards[0] as Topology['shards'][number]),
    name: 's9',
    weight: 0,
    primary: 'n9',
    nodes: ['n9'],
  };
  return { ...rest, shards: [newcomer, ...shards], nodes: [...nodes, node] };
}

const LIBRARY = '#!lua name=mylib\nredis.register_function("one", function() return 1 end)';

/** All that concerns every shard, or any. What waited for one that is away would not be answered within a minute. */
async function expectServed(): Promise<void> {
  expect(await answers('SET a 1', 'SET b 1', 'SET c 1', 'DBSIZE')).toEqual(['+OK\r\n', '+OK\r\n', '+OK\r\n', ':3\r\n']);
  expect((await answers('KEYS *'))[0]).toMatch(/^\*3\r\n/);
  expect(bodyOf((await answers('RANDOMKEY'))[0] as string)).toMatch(/^[abc]$/);
  expect((await answers('SCAN 0 COUNT 100'))[0]).toMatch(/^\*2\r\n/);
  expect(await answers('SUBSCRIBE ch', 'UNSUBSCRIBE ch', 'PUBSUB NUMSUB x')).toEqual([
    '*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n',
    '*3\r\n$11\r\nunsubscribe\r\n$2\r\nch\r\n:0\r\n',
    '*2\r\n$1\r\nx\r\n:0\r\n',
  ]);
  await wire.ask('SCRIPT', 'LOAD', 'return 7');
  expect(bodyOf(await wire.ask('FUNCTION', 'LOAD', 'REPLACE', LIBRARY))).toBe('mylib');
  expect((await wire.ask('EVAL', 'return 5', '0')).toString()).toBe(':5\r\n');
  expect((await wire.ask('FCALL', 'one', '0')).toString()).toBe(':1\r\n');
  expect(
    await answers('SCRIPT EXISTS d0b8ce6f9ac2e2ea9d4a5c5ee1f2d0b4bcd3b3b2', 'FUNCTION DELETE mylib', 'FUNCTION FLUSH'),
  ).toEqual(['*1\r\n:0\r\n', '+OK\r\n', '+OK\r\n']);
  expect((await answers('SCRIPT KILL', 'WAIT 1 10', 'LASTSAVE')).map(reply => reply[0])).toEqual(['-', ':', ':']);
  expect(await answers('CONFIG RESETSTAT', 'SCRIPT FLUSH', 'FLUSHALL', 'DBSIZE')).toEqual([
    '+OK\r\n',
    '+OK\r\n',
    '+OK\r\n',
    ':0\r\n',
  ]);
  expect(bodyOf((await answers('INFO ringside'))[0] as string)).toContain('shards_left_out:\r\n');
  expect(stand.proxy.waitingFor()).toEqual([]);
}

describe('a shard that joins', () => {
  test('is waited for by nobody until it is set up', async () => {
    stand.proxy.follow({ ...withNewcomer(stand.topology), version: 2 });
    expect(stand.proxy.shards.map(shard => [shard.name, shard.up])).toEqual([
      ['s9', false],
      ['s1', true],
      ['s2', true],
    ]);
    await expectServed();
    expect(bodyOf((await answers('INFO ringside'))[0] as string)).toContain('shard0:name=s9,primary=n9');
    expect((await (await stand.connectTo(extra)).ask('DBSIZE')).toString()).toBe(':0\r\n');
  });

  test('nor when it is lost again before any key has come', async () => {
    await stand.follow(withNewcomer(stand.topology));
    await until(() => stand.proxy.shards[0]?.up === true);
    await extra.stop();
    await until(() => stand.proxy.shards[0]?.up === false);
    await expectServed();
  });

  test('nor while it can be reached: what has no key goes elsewhere', async () => {
    await stand.follow(withNewcomer(stand.topology));
    await until(() => stand.proxy.shards[0]?.up === true);
    await expectServed();
    const direct = await stand.connectTo(extra);
    await wire.ask('EVAL', "redis.call('SET', 'left', '1')", '0');
    expect((await direct.ask('DBSIZE')).toString()).toBe(':0\r\n');
  });

  test('has the scripts that the proxy knows before keys come, and is told of new functions', async () => {
    const known = bodyOf((await wire.ask('SCRIPT', 'LOAD', 'return 41')).toString());
    await wire.ask('EVAL', 'return 42', '0');
    await stand.follow(withNewcomer(stand.topology));
    const direct = await stand.connectTo(extra);
    await until(async () => (await direct.ask('SCRIPT', 'EXISTS', known)).toString() === '*1\r\n:1\r\n');
    await until(
      async () => (await direct.ask('EVALSHA', digestOfBody(Buffer.from('return 42')), '0')).toString() === ':42\r\n',
    );
    await wire.ask('FUNCTION', 'LOAD', LIBRARY);
    expect((await direct.ask('FCALL', 'one', '0')).toString()).toBe(':1\r\n');
    // It does not have what was there before it came; that is the supervisor's to bring.
    await (await stand.connectTo(extra)).ask('FUNCTION', 'DELETE', 'mylib');
    expect((await wire.ask('FUNCTION', 'DELETE', 'mylib')).toString()).toBe('+OK\r\n');
  });

  test('is listened to before it is published on', async () => {
    await pipeline(wire, 'SUBSCRIBE early', 'PSUBSCRIBE ear*');
    await stand.follow(withNewcomer(stand.topology));
    const direct = await stand.connectTo(extra);
    await until(async () => (await pipeline(direct, 'PUBSUB NUMPAT'))[0] === ':1\r\n');
    await until(async () => (await pipeline(direct, 'PUBSUB CHANNELS'))[0] === '*1\r\n$5\r\nearly\r\n');
    expect(await pipeline(direct, 'PUBLISH early x')).toEqual([':2\r\n']);
    expect((await take(wire, 2)).map(frame => frame.split('\r\n')[2]).sort()).toEqual(['message', 'pmessage']);
    expect(wire.waiting).toBe(0);
  });
});

test('what has no key goes to a shard that is there before and after a move', async () => {
  const before = stand.topology;
  const move = {
    id: 2,
    ring: before.ring,
    weights: { s1: 0, s2: 1 },
    portions: [{ source: 's1', target: 's2', part: 0, parts: 1, keys: 1 }],
    moved: 0,
    current: null,
    aborting: false,
    paused: null,
    keysPerSecond: null,
    allowStalls: false,
  };
  expect(stand.proxy.home.name).toBe('s1');
  await stand.follow({ ...before, move });
  expect(stand.proxy.home.name).toBe('s2');
});

describe('a shard that leaves', () => {
  const without = (topology: Topology): Topology => ({
    ...topology,
    shards: topology.shards.filter(({ name }) => name !== 's2'),
  });

  test('answers what was sent to it, and is then left', async () => {
    const key = keyOn(stand, 1);
    const list = keyOn(stand, 1, 'list');
    const direct = await stand.connectTo(stand.nodes[1] as StockRedis);
    const blocked = ask(await stand.connect(), `BLPOP ${list} 0`);
    await until(async () =>
      bodyOf((await pipeline(direct, 'INFO clients'))[0] as string).includes('blocked_clients:1'),
    );
    const release = await holdWrites(stand, stand.nodes[1] as StockRedis);
    await send(wire, `SET ${key} 1`, 'FLUSHALL');
    await until(() => stand.proxy.shards[1]?.lane(0, 2).inFlight === 2);
    const shard = stand.proxy.shards[1];
    await stand.follow(without(stand.topology));
    expect(stand.proxy.shards.map(({ name }) => name)).toEqual(['s1']);
    await release();
    expect(await take(wire, 2)).toEqual(['+OK\r\n', '+OK\r\n']);
    expect(await pipeline(wire, `SET ${key} 2`, `RPUSH ${list} x`)).toEqual(['+OK\r\n', ':1\r\n']);
    expect(await blocked.done).toContain('$1\r\nx\r\n');
    await until(() => shard?.idle === true);
    await until(async () => !(await pipeline(direct, 'CLIENT LIST'))[0]?.includes('user=ringside-proxy'));
    await until(() => [...stand.proxy.metrics.shards()].every(({ name }) => name !== 's2'));
  });

  test('while it is away is missed by nobody: what waits for it goes to the others', async () => {
    const key = keyOn(stand, 1);
    await stand.nodes[1]?.stop();
    await until(() => stand.proxy.shards[1]?.up === false);
    const asked = [
      ask(wire, `SET ${key} 5`),
      ask(await stand.connect(), 'DBSIZE'),
      ask(await stand.connect(), 'KEYS *'),
      ask(await stand.connect(), 'SCRIPT LOAD return'),
      ask(await stand.connect(), 'CONFIG RESETSTAT'),
    ];
    await until(() => (stand.proxy.shards[1]?.lane(0, 2).pending ?? 0) >= asked.length);
    await stand.follow(without(stand.topology));
    expect(await Promise.all(asked.map(({ done }) => done))).toEqual([
      '+OK\r\n',
      expect.stringMatching(/^:[01]\r\n$/),
      expect.stringMatching(/^\*[01]\r\n/),
      expect.stringMatching(/^\$40\r\n/),
      '+OK\r\n',
    ]);
    expect(await pipeline(wire, `GET ${key}`)).toEqual(['$1\r\n5\r\n']);
  });

  test('is listened to until what was published there has come', async () => {
    await pipeline(wire, 'SUBSCRIBE late', 'SSUBSCRIBE shard-late');
    const direct = await stand.connectTo(stand.nodes[1] as StockRedis);
    for (let i = 0; i < 200; i += 1) await send(direct, `PUBLISH late before${i}`);
    await stand.follow(without(stand.topology));
    await pipeline(direct, ...Array.from({ length: 199 }, (_, i) => `PUBLISH late behind${i}`));
    await pipeline(await stand.connect(), 'PUBLISH late last');
    const frames = await take(wire, 400);
    expect(new Set(frames).size).toBe(400);
    await until(async () => (await pipeline(direct, 'PUBSUB NUMSUB late'))[0]?.endsWith(':0\r\n') === true);
    expect(await pipeline(await stand.connect(), 'PUBLISH late again')).toEqual([':1\r\n']);
    expect(await take(wire, 1)).toEqual([expect.stringContaining('again')]);
  });
});
