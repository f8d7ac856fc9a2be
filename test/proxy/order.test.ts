/** What one client sends is answered and takes effect in the order in which it was sent. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import type { StockRedis } from '../differential/stock-redis.ts';
import { holdWrites, keyOn, lent, send, take } from './keys.ts';
import { pipeline, Stand, until } from './stand.ts';

const seed = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 2 ** 31);
let stand: Stand;
let keys: string[];

beforeAll(async () => {
  stand = await Stand.start(3);
  keys = [0, 1, 2].map(shard => keyOn(stand, shard));
});
afterAll(() => stand.stop());

test('a pipelined GET never sees the SET behind it', async () => {
  const wires = await Promise.all(Array.from({ length: 8 }, () => stand.connect()));
  await Promise.all(
    wires.map(async (wire, w) => {
      for (let i = 0; i < 50; i += 1) {
        const key = `own${w}:${i % 7}`;
        const replies = await pipeline(wire, `SET ${key} 1`, `GET ${key}`, `SET ${key} 2`, `GET ${key}`);
        expect(replies).toEqual(['+OK\r\n', '$1\r\n1\r\n', '+OK\r\n', '$1\r\n2\r\n']);
      }
    }),
  );
});

test(`replies of every way of carrying a command out leave in the order asked (seed ${seed})`, async () => {
  const random = new Random(seed);
  const wire = await stand.connect();
  const version = 'b6589fc6ab0dc82cf12099d1c2d40ab994e8410c'; // sha1 of "0"
  await pipeline(wire, ...keys.map(key => `SET {${key}}zero 0`), ...keys.map(key => `RPUSH {${key}}list x y z`));
  const ways: ((i: number, key: string) => [string[], string[]])[] = [
    i => [[`ECHO ${i}`], [`$${String(i).length}\r\n${i}\r\n`]],
    (i, key) => [
      [`SET {${key}}k ${i}`, `GET {${key}}k`],
      ['+OK\r\n', `$${String(i).length}\r\n${i}\r\n`],
    ],
    () => [[`MGET ${keys.map(key => `{${key}}zero`).join(' ')}`], [`*3\r\n${'$1\r\n0\r\n'.repeat(3)}`]],
    (_, key) => [
      ['MULTI', `EXISTS {${key}}zero`, 'PING', 'EXEC'],
      ['+OK\r\n', '+QUEUED\r\n', '+QUEUED\r\n', '*2\r\n:1\r\n+PONG\r\n'],
    ],
    (_, key) => [[`EVAL return{7} 1 ${key}`], ['*1\r\n:7\r\n']],
    (_, key) => [[`CAS {${key}}zero ${version} 0`], ['+OK\r\n']],
    (_, key) => [
      [`BLMOVE {${key}}list {${key}}list LEFT RIGHT 0`, `LLEN {${key}}list`],
      [expect.stringMatching(/^\$1/), ':3\r\n'],
    ],
    (_, key) => [
      [`WATCH ${key}`, 'MULTI', `EXISTS {${key}}zero`, 'EXEC'],
      ['+OK\r\n', '+OK\r\n', '+QUEUED\r\n', '*1\r\n:1\r\n'],
    ],
    () => [
      ['SUBSCRIBE c', 'UNSUBSCRIBE c'],
      [expect.stringContaining('subscribe'), expect.stringContaining('unsubscribe')],
    ],
    () => [
      ['SELECT 1', 'DBSIZE', 'SELECT 0'],
      ['+OK\r\n', ':0\r\n', '+OK\r\n'],
    ],
    () => [['SCRIPT EXISTS x'], ['*1\r\n:0\r\n']],
    () => [['NOSUCH'], [expect.stringMatching(/^-ERR unknown/)]],
  ];
  const sent: string[] = [];
  const due: string[] = [];
  for (let i = 0; i < 400; i += 1) {
    const way = ways[random.below(ways.length)] as (typeof ways)[0];
    const [commands, replies] = way(i, keys[random.below(3)] as string);
    sent.push(...commands);
    due.push(...replies);
  }
  await send(wire, ...sent);
  expect(await take(wire, due.length)).toEqual(due);
  expect(lent(stand)).toBe(0);
});

test('RANDOMKEY sees nothing of a FLUSHALL behind it', async () => {
  const wire = await stand.connect();
  for (let i = 0; i < 20; i += 1) {
    const replies = await pipeline(wire, `SET ${keys[i % 3]} x`, 'RANDOMKEY', 'FLUSHALL', 'RANDOMKEY');
    expect(replies).toEqual(['+OK\r\n', expect.stringMatching(/^\$\d/), '+OK\r\n', '$-1\r\n']);
  }
});

describe('a client that goes away leaves nothing behind', () => {
  test.each([
    ['GET k', 'SET k x'],
    ['MGET a b c d e f', 'KEYS *', 'DBSIZE', 'RANDOMKEY', 'SCAN 0'],
    ['MULTI', 'SET a 1', 'EXEC', 'MULTI', 'SET a 1'],
    ['WATCH a', 'MULTI', 'SET a 1', 'EXEC'],
    ['BLPOP a 0', 'BLPOP b 0'],
    ['SUBSCRIBE a b', 'PSUBSCRIBE c'],
    ['EVAL return{1} 0', 'GETS a', 'CAS a b c'],
    ['HELLO 3', 'SELECT 4', 'MULTI', 'SELECT 5', 'GET a', 'EXEC'],
    ['WAIT 1 0', 'INFO', 'CONFIG GET *'],
    ['CLIENT REPLY OFF', 'GET a', 'RESET', 'QUIT'],
  ])('%s …', async (...commands) => {
    for (let round = 0; round < 6; round += 1) {
      const wire = await stand.connect();
      await send(wire, ...commands);
      // Cut at another moment each time: at once, or after some replies.
      for (let turn = 0; turn < round; turn += 1) await new Promise(resolve => setImmediate(resolve));
      wire.close();
    }
    await until(() => lent(stand) === 0);
    const wire = await stand.connect();
    await until(async () => {
      const [reply] = await pipeline(wire, 'PUBSUB NUMSUB a b');
      return (
        reply === '*4\r\n$1\r\na\r\n:0\r\n$1\r\nb\r\n:0\r\n' && stand.proxy.subscriptions.listeners('p', 'c') === 0
      );
    });
    expect(await pipeline(wire, ...keys.map(key => `SET ${key} 1`))).toEqual(keys.map(() => '+OK\r\n'));
    await pipeline(wire, 'FLUSHALL');
  });
});

test('QUIT and RESET behind commands that are not answered yet wait for them', async () => {
  const [one, two] = await Promise.all([stand.connect(), stand.connect()]);
  const letGo = await holdWrites(stand, stand.nodes[0] as StockRedis);
  await send(one, `SET ${keys[0]} 1`, 'RESET', 'PING');
  await send(two, `SET ${keys[0]} 2`, `GET ${keys[1]}`, 'QUIT', 'PING');
  await letGo();
  expect(await take(one, 3)).toEqual(['+OK\r\n', '+RESET\r\n', '+PONG\r\n']);
  expect((await two.takeAll()).map(String)).toEqual(['+OK\r\n', expect.stringMatching(/^\$/), '+OK\r\n']);
});
