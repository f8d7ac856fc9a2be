/**
 * Commands that wait for a shard which is away go to the one that owns their keys by then: each is answered right, in
 * order, and nothing is executed where its keys are no more.
 */
import type { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Relay } from '../support/relay.ts';
import { send, take } from './keys.ts';
import { MoveStand } from './move-stand.ts';
import { pipeline, until } from './stand.ts';

let stand: MoveStand;
/** Between the proxy under test and the giver. The other proxy reaches the giver all the time. */
let cable: Relay;

beforeEach(async () => {
  stand = await MoveStand.start({ proxies: 2, proxyPart: '  hold: 20s\n  timeout: 20s' });
  cable = stand.proxies[0]?.cables.get('n1') as Relay;
});
afterEach(() => stand.stop());

const isUp = () => stand.proxy.shards[0]?.up === true;
/** Requests on the lanes to the giver that nobody was told the outcome of. */
const pending = () => stand.proxy.shards[0]?.lane(0, 2).pending ?? 0;

async function cut(): Promise<void> {
  cable.cut();
  await until(() => !isUp());
}

/** M4, by the other proxy: every key of the portion goes over. */
async function moveAll(keys: readonly string[]): Promise<void> {
  await stand.open();
  for (const key of keys) await stand.client(1).type(key);
}

async function close(): Promise<void> {
  expect(await stand.leftOnGiver()).toEqual([]);
  await stand.closeSet();
  await stand.publishClosed();
}

/** How often a command was executed on a node, but for its calls from scripts. */
async function calls(redis: Redis, command: string): Promise<number> {
  const stats = await redis.info('commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

describe('commands that were never sent', () => {
  test('wait while the portion is prepared and moves, and go to the taker when it is closed', async () => {
    const [k, other] = stand.keys(2) as [string, string];
    const [stays] = stand.keys(1, false) as [string];
    await stand.client(1).mset(k, '5', other, 'x', stays, '7');
    const wire = await stand.connect();
    const giver = stand.node('n1').redis;
    await cut();
    await send(wire, `INCR ${k}`, `GET ${k}`, `INCR ${stays}`, `APPEND ${other} y`, `INCR ${k}`, `GET ${other}`);
    await until(() => pending() === 6);
    const before = await calls(giver, 'incr');
    await moveAll([k, other]);
    expect([await giver.exists(k, other), await stand.node('n2').redis.get(k)]).toEqual([0, '5']);
    await close();
    cable.heal();
    expect(await take(wire, 6)).toEqual([':6\r\n', '$1\r\n6\r\n', ':8\r\n', ':2\r\n', ':7\r\n', '$2\r\nxy\r\n']);
    expect([await giver.exists(k, other), await calls(giver, 'incr')]).toEqual([0, before + 1]);
    expect(await stand.node('n2').redis.get(k)).toBe('7');
  });

  test('go as soon as the portion moves where they can be pulled, and are not overtaken by later ones', async () => {
    const [k] = stand.keys(1) as [string];
    await stand.client(1).set(k, 'a');
    const wire = await stand.connect();
    await cut();
    await send(wire, `APPEND ${k} b`, `GET ${k}`);
    await until(() => pending() === 2);
    await stand.prepare();
    await stand.fence();
    await send(wire, `APPEND ${k} c`, `GET ${k}`);
    await stand.startMoving();
    expect(pending()).toBe(0);
    cable.heal();
    expect(await take(wire, 4)).toEqual([':2\r\n', '$2\r\nab\r\n', ':3\r\n', '$3\r\nabc\r\n']);
    expect(await stand.node('n1').redis.exists(k)).toBe(0);
  });

  test('are blocks, scripts and parts of split commands, too', async () => {
    const [k, l] = stand.keys(2) as [string, string];
    const [stays] = stand.keys(1, false) as [string];
    const [wire, second] = await Promise.all([stand.connect(), stand.connect()]);
    const script = "return redis.call('APPEND', KEYS[1], ARGV[1])";
    const digest = (await stand.client().script('LOAD', script)) as string;
    await stand.client(1).set(k, 'a');
    await cut();
    await send(wire, 'MULTI', `APPEND ${k} b`, `SET ${l} 1`, 'EXEC', `EVALSHA ${digest} 1 ${k} c`);
    await send(second, `MGET ${k} ${l}`);
    await take(wire, 3);
    await until(() => pending() === 3);
    await moveAll([k]);
    await close();
    expect(await take(wire, 2)).toEqual(['*2\r\n:2\r\n+OK\r\n', ':3\r\n']);
    expect(await take(second, 1)).toEqual(['*2\r\n$3\r\nabc\r\n$1\r\n1\r\n']);
    expect(await stand.node('n1').redis.exists(k, l, stays)).toBe(0);
  });

  test('are refused where their keys have come to lie on two shards, and nothing is applied', async () => {
    const [k] = stand.keys(1) as [string];
    const [stays] = stand.keys(1, false) as [string];
    const wire = await stand.connect();
    await cut();
    await send(wire, 'MULTI', `SET ${k} 1`, `SET ${stays} 1`, 'EXEC', `RENAME ${k} ${stays}`);
    await take(wire, 3);
    await until(() => pending() === 2);
    await stand.open();
    cable.heal();
    const refused = await take(wire, 2);
    expect(refused).toEqual([
      expect.stringMatching(/^-TRYAGAIN .*nothing was applied/),
      expect.stringMatching(/^-TRYAGAIN/),
    ]);
    expect(await stand.node('n1').redis.exists(k, stays)).toBe(0);
    expect(await stand.node('n2').redis.exists(k, stays)).toBe(0);
  });

  test('of a client that has left are carried out all the same', async () => {
    const [k] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await cut();
    await send(wire, 'SELECT 3', `SET ${k} 1`);
    await take(wire, 1);
    await until(() => stand.proxy.shards[0]?.lane(3, 2).pending === 1);
    for (const client of stand.proxy.clients.values()) client.port.end('killed');
    expect(stand.proxy.clients.size).toBe(0);
    await stand.open();
    await close();
    await until(async () => (await stand.client(1, 3).get(k)) === '1');
    expect(await stand.node('n1').redis.call('DBSIZE')).toBe(0);
  });
});

describe('commands that were sent and lost', () => {
  test('are sent again to the taker, where they are to be sent again', async () => {
    const [k] = stand.keys(1) as [string];
    await stand.client(1).set(k, 'a');
    const wire = await stand.connect();
    await pipeline(wire, `GET ${k}`);
    // The proxy believes that it is connected: what it sends is swallowed.
    cable.freeze();
    await send(wire, `GET ${k}`);
    await until(() => stand.proxy.shards[0]?.lane(0, 2).inFlight === 1);
    await moveAll([k]);
    await stand.client(1).append(k, 'b');
    await close();
    await cut();
    cable.heal();
    expect(await take(wire, 1)).toEqual(['$2\r\nab\r\n']);
    expect(await stand.node('n1').redis.exists(k)).toBe(0);
  });

  test('and may have been applied are not', async () => {
    const [k] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${k} a`);
    cable.freeze();
    await send(wire, `APPEND ${k} b`);
    await until(() => stand.proxy.shards[0]?.lane(0, 2).inFlight === 1);
    await moveAll([k]);
    await close();
    await cut();
    cable.heal();
    expect(await take(wire, 1)).toEqual([expect.stringMatching(/^-UNCERTAIN/)]);
    expect(await stand.node('n2').redis.get(k)).toBe('a');
  });
});

describe('what belongs to one client’s own connection', () => {
  test('is begun anew where the keys are: a wait', async () => {
    const [k] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await cut();
    await send(wire, `BLPOP ${k} 0`);
    await until(() => stand.proxy.shards[0]?.cells.exclusive === 1);
    await stand.open();
    await close();
    await stand.client(1).rpush(k, 'x');
    expect((await take(wire, 1))[0]).toContain('$1\r\nx\r\n');
  });

  test('is lost: a watch counts as touched, a block that selects is refused', async () => {
    const [k] = stand.keys(1) as [string];
    const [wire, second] = await Promise.all([stand.connect(), stand.connect()]);
    await cut();
    await send(wire, `WATCH ${k}`);
    await send(second, 'MULTI', 'SELECT 2', `SET ${k} 1`, 'EXEC');
    await take(second, 3);
    await until(() => stand.proxy.shards[0]?.cells.exclusive === 2);
    await stand.prepare();
    expect(await take(second, 1)).toEqual([expect.stringMatching(/^-TRYAGAIN/)]);
    expect(await take(wire, 1)).toEqual(['+OK\r\n']);
    expect(await pipeline(wire, 'MULTI', 'EXEC')).toEqual(['+OK\r\n', '*-1\r\n']);
  });
});

test('KEYS and FLUSHALL that wait while keys get other owners see or flush no part of them', async () => {
  const keys = [...stand.keys(20), ...stand.keys(20, false)];
  const wire = await stand.connect();
  await Promise.all(keys.map(key => stand.client(1).set(key, '1')));
  await cut();
  const second = await stand.connect();
  await send(wire, 'KEYS *');
  await send(second, 'FLUSHALL');
  await until(() => pending() === 2);
  await stand.prepare();
  const outcomes = [...(await take(wire, 1)), ...(await take(second, 1))];
  expect(outcomes).toEqual([expect.stringMatching(/^-TRYAGAIN/), expect.stringMatching(/^-TRYAGAIN/)]);
  expect(await stand.node('n1').redis.dbsize()).toBe(40);
});
