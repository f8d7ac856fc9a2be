/** Commands that wait for data hold nobody else up, and let go of everything when their client does. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import type { Wire } from '../differential/wire.ts';
import { clientOf, keyOn, lent, send, take } from './keys.ts';
import { bodyOf, pipeline, Stand, until } from './stand.ts';

let stand: Stand;
let stock: StockRedis;
let key: string;

beforeAll(async () => {
  [stand, stock] = await Promise.all([Stand.start(3), startStockRedis()]);
  key = keyOn(stand, 1, 'list');
});
afterAll(() => Promise.all([stand.stop(), stock.stop()]));

async function untilBlocked(count: number, node = stand.nodes[1] as StockRedis): Promise<void> {
  const direct = await stand.connectTo(node);
  await until(async () =>
    bodyOf((await pipeline(direct, 'INFO clients'))[0] as string).includes(`blocked_clients:${count}\r\n`),
  );
}

describe('byte for byte as stock Redis', () => {
  test.each([
    ['there is something already', ['RPUSH {l}a 1 2', 'BLPOP {l}a 0', 'BRPOP {l}b {l}a 0', 'LLEN {l}a']],
    ['the time is over', ['BLPOP {l}none 0.01', 'BZPOPMIN {l}none 0.01', 'BLMOVE {l}none {l}x LEFT LEFT 0.01', 'PING']],
    ['another type', ['SET {l}s x', 'BLPOP {l}s 0', 'PING']],
    ['bad timeouts', ['BLPOP {l}n x', 'BLPOP {l}n -1', 'BLPOP {l}n 0x', 'XREAD BLOCK x STREAMS {l}n 0', 'PING']],
    ['XREAD', ['XADD {l}x 1-1 f v', 'XREAD BLOCK 10 STREAMS {l}x 0', 'XREAD BLOCK 10 STREAMS {l}x $', 'PING']],
    [
      'BLMPOP and BZMPOP',
      ['BLMPOP 0.01 1 {l}m LEFT', 'BZMPOP 0.01 1 {l}m MIN', 'ZADD {l}z 1 a', 'BZMPOP 0 1 {l}z MIN'],
    ],
  ])('where %s', async (_name, commands) => {
    const [one, measure] = await Promise.all([stand.connect(), stand.connectTo(stock)]);
    const [ours, theirs] = await Promise.all([pipeline(one, ...commands), pipeline(measure, ...commands)]);
    expect(ours).toEqual(theirs);
  });
});

test('who waits longest is served first, and commands behind a waiting one are carried out after it', async () => {
  const waiters: Wire[] = [];
  for (let i = 0; i < 3; i += 1) {
    const wire = await stand.connect();
    await send(wire, `BLPOP ${key} 0`, `RPUSH ${key}order ${i}`);
    await untilBlocked(i + 1);
    waiters.push(wire);
  }
  const wire = await stand.connect();
  expect(await pipeline(wire, `LLEN ${key}order`)).toEqual([':0\r\n']);
  for (const [i, one] of waiters.entries()) {
    await pipeline(wire, `RPUSH ${key} v${i}`);
    expect((await take(one, 2)).at(0)).toContain(`\r\nv${i}\r\n`);
  }
  expect(await pipeline(wire, `LLEN ${key}order`)).toEqual([':3\r\n']);
  expect(lent(stand)).toBe(0);
});

test('a client that leaves while it waits takes nothing away any more', async () => {
  for (const how of ['close', 'end'] as const) {
    const wire = await stand.connect();
    await send(wire, `BLPOP ${key} 0`);
    await untilBlocked(1);
    if (how === 'close') wire.close();
    else
      await pipeline(
        await stand.connect(),
        `CLIENT KILL ID ${[...stand.proxy.clients.values()].find(one => one.borrowed)?.id}`,
      );
    await untilBlocked(0);
    expect(lent(stand)).toBe(0);
    const other = await stand.connect();
    expect(await pipeline(other, `RPUSH ${key} stays`, `LPOP ${key}`)).toEqual([':1\r\n', '$5\r\nstays\r\n']);
  }
});

describe('CLIENT UNBLOCK', () => {
  test.each([
    ['', '*-1\r\n'],
    [' TIMEOUT', '*-1\r\n'],
    [' ERROR', '-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n'],
  ])('lets go%s, and the client goes on', async (mode, reply) => {
    const [waiter, wire] = await Promise.all([stand.connect(), stand.connect()]);
    const client = await clientOf(stand, waiter);
    await send(waiter, `BLPOP ${key} 0`, 'PING');
    await untilBlocked(1);
    expect(await pipeline(wire, `CLIENT UNBLOCK ${client.id}${mode}`)).toEqual([':1\r\n']);
    expect(await take(waiter, 2)).toEqual([reply, '+PONG\r\n']);
    expect(await pipeline(wire, `CLIENT UNBLOCK ${client.id}`)).toEqual([':0\r\n']);
  });
});

test('whoever waits when its primary is made a replica goes on waiting on the next one', async () => {
  const own = await Stand.start(2);
  try {
    const [first, second] = own.nodes as [StockRedis, StockRedis];
    const waited = keyOn(own, 0, 'wait');
    const [waiter, wire] = await Promise.all([own.connect(), own.connect()]);
    const client = await clientOf(own, waiter);
    await send(waiter, `BLPOP ${waited} 0`, 'PING');
    await untilBlocked(1, first);
    const lane = client.borrowed?.lane;
    await pipeline(await own.connectTo(first), `REPLICAOF 127.0.0.1 ${second.port}`);
    await until(() => client.borrowed?.lane !== lane);
    const before = own.topology;
    const [s1, s2] = before.shards as [(typeof before.shards)[0], (typeof before.shards)[0]];
    await own.follow({ ...before, shards: [{ ...s1, primary: s2.primary, epoch: 2 }, s2] });
    await untilBlocked(1, second);
    await pipeline(wire, `RPUSH ${waited} here`);
    const [popped, pong] = await take(waiter, 2);
    expect(popped).toContain('\r\nhere\r\n');
    expect(pong).toBe('+PONG\r\n');
  } finally {
    await own.stop();
  }
});

test('a wait that is lost with its connection is begun again where it only reads; else nobody knows what it took', async () => {
  const [popper, reader, wire] = await Promise.all([stand.connect(), stand.connect(), stand.connect()]);
  const [one, two] = await Promise.all([clientOf(stand, popper), clientOf(stand, reader)]);
  await Promise.all([send(popper, `BLPOP ${key} 0`), send(reader, `XREAD BLOCK 60000 STREAMS {${key}}x 0`)]);
  await untilBlocked(2);
  const direct = await stand.connectTo(stand.nodes[1] as StockRedis);
  const lanes = [one, two].map(client => client.borrowed?.lane.clientId);
  await pipeline(direct, ...lanes.map(id => `CLIENT KILL ID ${id}`));
  expect((await take(popper, 1))[0]).toMatch(/^-UNCERTAIN /);
  await until(() => {
    const again = two.borrowed?.lane.clientId ?? 0;
    return again !== 0 && again !== lanes[1];
  });
  await untilBlocked(1);
  await pipeline(wire, `XADD {${key}}x 1-1 f v`);
  expect((await take(reader, 1))[0]).toContain('\r\n1-1\r\n');
  await until(() => lent(stand) === 0);
});

test('a node that ends every waiting connection is not asked without end', async () => {
  const waiter = await stand.connect();
  const client = await clientOf(stand, waiter);
  const direct = await stand.connectTo(stand.nodes[1] as StockRedis);
  await send(waiter, `XREAD BLOCK 0 STREAMS {${key}}none 0`, 'PING');
  await until(async () => {
    const id = client.borrowed?.lane.clientId ?? 0;
    if (id !== 0) await pipeline(direct, `CLIENT KILL ID ${id}`);
    return waiter.waiting === 2;
  });
  expect((await take(waiter, 2)).at(0)).toMatch(/^-CLUSTERDOWN .*nothing was applied/);
  await until(() => lent(stand) === 0);
});

test('the proxy ends though clients wait, and leaves no connection behind', async () => {
  const own = await Stand.start(1);
  const node = own.nodes[0] as StockRedis;
  const [waiter, direct] = await Promise.all([own.connect(), own.connectTo(node)]);
  await send(waiter, 'BLPOP none 0');
  await untilBlocked(1, node);
  own.proxy.close();
  await until(async () => !bodyOf((await pipeline(direct, 'CLIENT LIST'))[0] as string).includes('name=ringside'));
  await own.stop();
});
