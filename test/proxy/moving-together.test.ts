/** Keys that are wanted together travel together, and what happens to one of them is nothing to the others. */
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { replicaUser } from '../../src/topology/credentials.ts';
import type { Wire } from '../differential/wire.ts';
import { ask } from './copies.ts';
import { MoveStand } from './move-stand.ts';
import { pipeline, until } from './stand.ts';

let stand: MoveStand;
const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));
const giver = () => stand.primary('s1').redis;
const taker = () => stand.primary('s2').redis;
const cable = (node: string) => stand.proxies[0]?.cables.get(node);

afterEach(() => stand.stop());

/** How often a command was carried out on the primary of each shard. */
async function calls(name: string): Promise<{ readonly giver: number; readonly taker: number }> {
  const [onGiver, onTaker] = await Promise.all(
    [giver(), taker()].map(async redis => {
      const stats = await redis.info('commandstats');
      return Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
    }),
  );
  return { giver: onGiver ?? 0, taker: onTaker ?? 0 };
}

/** Clients that are held while the portion is prepared, so that all their keys are wanted at once as soon as it moves. */
async function held(commands: readonly string[], database = (_i: number) => 0): Promise<ReturnType<typeof ask>[]> {
  const wires = await Promise.all(commands.map(() => stand.connect()));
  await Promise.all(wires.map((wire, i) => pipeline(wire, `SELECT ${database(i)}`)));
  await stand.prepare();
  const asked = commands.map((command, i) => ask(wires[i] as Wire, command));
  await until(() => stand.proxy.gate.waiting === commands.length);
  await stand.fence();
  return asked;
}

/** As many batches as may be under way have been read, and do not get to the taker. */
async function occupy(keys: readonly string[]): Promise<ReturnType<typeof ask>[]> {
  cable('n2')?.freeze();
  const asked: ReturnType<typeof ask>[] = [];
  for (const key of keys) {
    const { giver: before } = await calls('eval');
    asked.push(ask(await stand.connect(), `GET ${key}`));
    await until(async () => (await calls('eval')).giver === before + 1);
  }
  return asked;
}

/** Whatever goes on does so by itself, not because somebody looks at the clock some times a second. */
function stopClock(): void {
  stand.proxy.sweep = () => undefined;
}

/** Batches under way at a time. */
const AT_A_TIME = 4;
const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`;

describe('keys that are wanted together', () => {
  test('of one command or of many clients are read, put and dropped by one script each', async () => {
    stand = await MoveStand.start({ copies: 1 });
    const [keys, more] = [stand.keys(60), stand.keys(90).slice(60)];
    const wire = await stand.connect();
    await pipeline(wire, ...[...keys.slice(1), ...more].map(key => `SET ${key} ${key}`));
    const asked = await held([...keys.slice(0, 30).map(key => `GET ${key}`), `MGET ${keys.slice(30).join(' ')}`]);
    stopClock();
    await stand.startMoving();
    const replies = await Promise.all(asked.map(({ done }) => done));
    expect(replies.slice(0, 30)).toEqual(['$-1\r\n', ...keys.slice(1, 30).map(bulk)]);
    expect(replies[30]).toBe(`*30\r\n${keys.slice(30).map(bulk).join('')}`);
    expect(await calls('eval')).toEqual({ giver: 2, taker: 1 });
    expect(await calls('restore')).toEqual({ giver: 0, taker: 59 });
    expect([await giver().dbsize(), await taker().scard(stand.setName())]).toEqual([30, 61]);
    expect(await stand.node('n2a').redis.scard(stand.setName())).toBe(61);
    expect(stand.proxy.metrics.moving.pulled).toBe(60);
    // Nothing is under way any more: they go at the end of the turn in which they are wanted, all of them.
    expect(await pipeline(wire, `MGET ${more.join(' ')}`)).toEqual([`*30\r\n${more.map(bulk).join('')}`]);
    expect(await calls('eval')).toEqual({ giver: 4, taker: 2 });
  });

  test('gather while as many batches are under way as may be, and go as soon as one is through', async () => {
    stand = await MoveStand.start();
    const keys = stand.keys(AT_A_TIME + 20);
    const wire = await stand.connect();
    await pipeline(wire, ...keys.map(key => `SET ${key} ${key}`));
    await stand.open();
    stopClock();
    const first = await occupy(keys.slice(0, AT_A_TIME));
    const wires = await Promise.all(keys.slice(AT_A_TIME).map(() => stand.connect()));
    const later = wires.map((one, i) => ask(one, `GET ${keys[AT_A_TIME + i]}`));
    await until(() => stand.proxy.gate.waiting === keys.length);
    await sleep(30);
    expect(await calls('eval')).toEqual({ giver: AT_A_TIME, taker: 0 });
    cable('n2')?.heal();
    expect(await Promise.all([...first, ...later].map(({ done }) => done))).toEqual(keys.map(bulk));
    expect(await calls('eval')).toEqual({ giver: 2 * (AT_A_TIME + 1), taker: AT_A_TIME + 1 });
  });

  test('go in several batches when they are very many', async () => {
    stand = await MoveStand.start();
    const keys = stand.keys(200);
    const wire = await stand.connect();
    await pipeline(wire, `MSET ${keys.map(key => `${key} ${key}`).join(' ')}`);
    await stand.open();
    expect(await pipeline(wire, `MGET ${keys.join(' ')}`)).toEqual([`*200\r\n${keys.map(bulk).join('')}`]);
    expect(await calls('eval')).toEqual({ giver: 8, taker: 4 });
    expect(await stand.leftOnGiver()).toEqual([]);
  });

  test('go in one batch of each database', async () => {
    stand = await MoveStand.start();
    const keys = stand.keys(10);
    for (const database of [0, 3]) {
      await stand.client(0, database).mset(...keys.flatMap(key => [key, `${key} in ${database}`]));
    }
    const names = [...keys, ...keys];
    const asked = await held(
      names.map(key => `GET ${key}`),
      i => (i % 2) * 3,
    );
    await stand.startMoving();
    expect(await Promise.all(asked.map(({ done }) => done))).toEqual(
      names.map((key, i) => bulk(`${key} in ${(i % 2) * 3}`)),
    );
    expect(await calls('eval')).toEqual({ giver: 4, taker: 2 });
    expect(await taker().scard(stand.setName())).toBe(11);
  });

  test('are not pulled when their clients have gone before they were begun', async () => {
    stand = await MoveStand.start({ proxyPart: '  hold: 30s' });
    const keys = stand.keys(AT_A_TIME + 6);
    const first = keys.slice(0, AT_A_TIME);
    const [stays, ...gone] = keys.slice(AT_A_TIME) as [string, ...string[]];
    const wire = await stand.connect();
    await pipeline(wire, ...keys.map(key => `SET ${key} ${key}`));
    await stand.open();
    const asked = await occupy(first);
    const sockets = gone.map(key => {
      const socket = connect({ host: '127.0.0.1', port: stand.proxies[0]?.port ?? 0 });
      socket.write(`GET ${key}\r\n`);
      return socket;
    });
    asked.push(ask(wire, `GET ${stays}`));
    await until(() => stand.proxy.gate.waiting === keys.length);
    for (const socket of sockets) socket.resetAndDestroy();
    await until(() => stand.proxy.gate.waiting === AT_A_TIME + 1);
    cable('n2')?.heal();
    expect(await Promise.all(asked.map(({ done }) => done))).toEqual([...first, stays].map(bulk));
    expect((await giver().keys('*')).sort()).toEqual([...gone].sort());
    expect(stand.proxy.metrics.moving.pulled).toBe(AT_A_TIME + 1);
  });

  test('arrive for those who stay when others of them are given up in between', async () => {
    stand = await MoveStand.start({ proxyPart: '  hold: 30s' });
    const keys = stand.keys(6);
    const wire = await stand.connect();
    await pipeline(wire, ...keys.map(key => `SET ${key} ${key}`));
    const asked = await held(keys.slice(0, 3).map(key => `GET ${key}`));
    const sockets = keys.slice(3).map(key => {
      const socket = connect({ host: '127.0.0.1', port: stand.proxies[0]?.port ?? 0 });
      socket.write(`GET ${key}\r\n`);
      return socket;
    });
    await until(() => stand.proxy.gate.waiting === 6);
    cable('n2')?.freeze();
    await stand.startMoving();
    await until(async () => (await calls('eval')).giver === 1);
    for (const socket of sockets) socket.resetAndDestroy();
    await until(() => stand.proxy.gate.waiting === 3);
    cable('n2')?.heal();
    expect(await Promise.all(asked.map(({ done }) => done))).toEqual(keys.slice(0, 3).map(bulk));
    // What was begun is finished.
    await until(async () => (await giver().dbsize()) === 0);
    expect(await taker().scard(stand.setName())).toBe(7);
  });
});

describe('the proxy holds as much as it may', () => {
  test('nothing is begun, until it holds less', async () => {
    stand = await MoveStand.start();
    const [key] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} v`);
    const [asked] = (await held([`GET ${key}`])) as [ReturnType<typeof ask>];
    const { boundBytes } = stand.proxy.pool;
    stand.proxy.pool.boundBytes = 0;
    await stand.startMoving();
    await sleep(60);
    expect([asked.reply, await calls('eval')]).toEqual([null, { giver: 0, taker: 0 }]);
    stand.proxy.pool.boundBytes = boundBytes;
    expect(await asked.done).toBe('$1\r\nv\r\n');
  });
});

describe('one key among many', () => {
  test('that is too large waits for the supervisor alone', async () => {
    stand = await MoveStand.start({ settings: 'supervisor:\n  move: { bigKey: 1kb }' });
    const keys = stand.keys(9);
    const [large, ...small] = keys as [string, ...string[]];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${large} ${'x'.repeat(5000)}`, ...small.map(key => `SET ${key} ${key}`));
    const asked = await held(keys.map(key => `STRLEN ${key}`));
    stopClock();
    await stand.startMoving();
    const [late, ...others] = asked;
    expect(await Promise.all(others.map(({ done }) => done))).toEqual(small.map(key => `:${key.length}\r\n`));
    await until(() => stand.proxy.metrics.moving.failed > 2);
    expect([late?.reply, await giver().keys('*')]).toEqual([null, [large]]);
    expect(await calls('eval')).toMatchObject({ taker: 1 });
    const dump = await giver().dumpBuffer(large);
    await taker().restore(large, 0, dump);
    await taker().sadd(stand.setName(), `0:${large}`);
    await giver().unlink(large);
    expect(await late?.done).toBe(':5000\r\n');
  });

  test('that the taker refuses is refused to its client, and stays where it is', async () => {
    stand = await MoveStand.start();
    const keys = stand.keys(7);
    const [bad, ...good] = keys as [string, ...string[]];
    const wire = await stand.connect();
    await pipeline(wire, ...good.map(key => `SET ${key} ${key}`));
    await giver().restore(bad, 0, await unsortedIntegers());
    await taker().config('SET', 'sanitize-dump-payload', 'yes');
    const asked = await held(keys.map(key => `TYPE ${key}`));
    await stand.startMoving();
    const [refused, ...replies] = await Promise.all(asked.map(({ done }) => done));
    expect(refused).toMatch(/^-TRYAGAIN .*shard s2 refuses it: .*Bad data format/);
    expect(replies).toEqual(good.map(() => '+string\r\n'));
    expect(await calls('eval')).toEqual({ giver: 2, taker: 1 });
    expect(await giver().keys('*')).toEqual([bad]);
    expect(await taker().smismember(stand.setName(), ...keys.map(key => `0:${key}`))).toEqual([
      0,
      ...good.map(() => 1),
    ]);
    await taker().config('SET', 'sanitize-dump-payload', 'no');
    expect(await pipeline(wire, `SCARD ${bad}`)).toEqual([':3\r\n']);
  });

  test('for which there is no room goes with the next', async () => {
    stand = await MoveStand.start();
    const keys = stand.keys(8);
    const wire = await stand.connect();
    await pipeline(wire, ...keys.map(key => `SET ${key} ${key}${'x'.repeat(300_000)}`));
    const asked = await held(keys.map(key => `GETRANGE ${key} 0 ${key.length - 1}`));
    await stand.startMoving();
    expect(await Promise.all(asked.map(({ done }) => done))).toEqual(keys.map(bulk));
    // Three of them are all that a batch may hold, and no try has failed.
    expect([(await calls('eval')).taker, stand.proxy.metrics.moving.failed]).toEqual([3, 0]);
    expect([await giver().dbsize(), await calls('restore')]).toEqual([0, { giver: 0, taker: 8 }]);
  });
});

describe('a fault in the midst of many', () => {
  async function begin(count: number, copies = 0): Promise<{ keys: string[]; asked: ReturnType<typeof ask>[] }> {
    stand = await MoveStand.start({ copies, settings: 'writes: { timeout: 10s }' });
    const keys = stand.keys(count);
    const wire = await stand.connect();
    await pipeline(wire, ...keys.map(key => `SET ${key} ${key}`));
    return { keys, asked: await held(keys.map(key => `APPEND ${key} +`)) };
  }
  const appended = (keys: readonly string[]): string[] => keys.map(key => `:${key.length + 1}\r\n`);

  test('the connection to the giver breaks before it has answered: all of them are read again', async () => {
    stand = await MoveStand.start();
    const keys = stand.keys(13);
    const [first, ...others] = keys as [string, ...string[]];
    const [wire, other] = [await stand.connect(), await stand.connect()];
    await pipeline(wire, `MSET ${keys.map(key => `${key} ${key}`).join(' ')}`);
    await stand.open();
    expect(await pipeline(wire, `GET ${first}`)).toEqual([bulk(first)]);
    stopClock();
    cable('n1')?.hush();
    const late = ask(other, `MGET ${others.join(' ')}`);
    await until(async () => (await calls('eval')).giver === 3);
    await sleep(20);
    expect([late.reply, await calls('eval')]).toEqual([null, { giver: 3, taker: 1 }]);
    // Tried again and again, until there is one.
    cable('n1')?.cut();
    await sleep(200);
    cable('n1')?.heal();
    expect(await late.done).toBe(`*12\r\n${others.map(bulk).join('')}`);
    expect([await giver().dbsize(), await calls('eval')]).toEqual([0, { giver: 5, taker: 2 }]);
  });

  test('the connection to the giver breaks before they are dropped there: they have arrived all the same', async () => {
    const { keys, asked } = await begin(12);
    cable('n2')?.freeze();
    await stand.startMoving();
    await until(async () => (await calls('eval')).giver === 1);
    // What the giver has answered may be on its way still.
    await sleep(50);
    cable('n1')?.cut();
    cable('n2')?.heal();
    expect(await Promise.all(asked.map(({ done }) => done))).toEqual(appended(keys));
    expect([(await giver().keys('*')).sort(), await calls('eval')]).toEqual([[...keys].sort(), { giver: 1, taker: 1 }]);
    expect(stand.proxy.metrics.moving.failed).toBe(0);
    // They are dropped over no other connection.
    cable('n1')?.heal();
    const [next] = stand.keys(1, true, 'next') as [string];
    expect(await pipeline(await stand.connect(), `APPEND ${next} +`)).toEqual([':1\r\n']);
    expect((await giver().keys('*')).sort()).toEqual([...keys].sort());
  });

  test('the giver fails over before they are on the taker: nothing is dropped on the next one for that', async () => {
    const { keys, asked } = await begin(12, 1);
    cable('n2')?.freeze();
    await stand.startMoving();
    await until(async () => (await calls('eval')).giver === 1);
    await sleep(50);
    await stand.failOver('s1');
    cable('n2')?.heal();
    expect(await Promise.all(asked.map(({ done }) => done))).toEqual(appended(keys));
    await until(async () => (await giver().dbsize()) === 0);
    // It was asked for them itself.
    expect((await calls('eval')).giver).toBeGreaterThanOrEqual(2);
    expect(await taker().mget(...keys)).toEqual(keys.map(key => `${key}+`));
  });

  test('the taker fails over before its copies have them: all are read on the giver again', async () => {
    const { keys, asked } = await begin(12, 1);
    const copy = stand.node('n2a');
    // Proxies go on counting it, but nothing reaches it any more.
    await taker().call('ACL', 'DELUSER', replicaUser('n2a'));
    await until(async () => (await copy.info('master_link_status')) === 'down');
    await stand.startMoving();
    await until(async () => (await taker().exists(...keys)) === 12);
    await sleep(50);
    expect([asked.map(({ reply }) => reply), await giver().exists(...keys)]).toEqual([keys.map(() => null), 12]);
    await stand.primary('s2').kill();
    await copy.redis.call('REPLICAOF', 'NO', 'ONE');
    expect(await copy.redis.exists(...keys)).toBe(0);
    await stand.change('s2', { primary: 'n2a', inSync: [], epoch: (stand.proxy.topology.shards[1]?.epoch ?? 0) + 1 });
    expect(await Promise.all(asked.map(({ done }) => done))).toEqual(appended(keys));
    expect([await taker().mget(...keys), await giver().exists(...keys)]).toEqual([keys.map(key => `${key}+`), 0]);
  });

  test('the taker has no room for them: every client hears why, and they stay where they are', async () => {
    const { keys, asked } = await begin(12);
    await taker().config('SET', 'maxmemory', '1');
    await stand.startMoving();
    const refused = keys.map(() => expect.stringMatching(/^-TRYAGAIN .*shard s2 refuses it: OOM/));
    expect(await Promise.all(asked.map(({ done }) => done))).toEqual(refused);
    expect([await giver().exists(...keys), await taker().scard(stand.setName())]).toEqual([12, 1]);
  });
});

/** What DUMP says of a set of three integers, but out of their order: a node takes it, unless it looks closely. */
async function unsortedIntegers(): Promise<Buffer> {
  await giver().sadd('integers', 1, 2, 3);
  const dump = await giver().dumpBuffer('integers');
  await giver().del('integers');
  const at = dump.indexOf(Buffer.from([1, 0, 2, 0, 3, 0]));
  dump.set([3, 0, 2, 0, 1, 0], at);
  dump.writeBigUInt64LE(checksum(dump.subarray(0, -8)), dump.length - 8);
  return dump;
}

/** CRC-64 as Redis has it. */
function checksum(bytes: Buffer): bigint {
  let crc = 0n;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1n ? (crc >> 1n) ^ 0x95ac9329ac4bc9b5n : crc >> 1n;
  }
  return crc;
}

describe('keys that somebody else has pulled', () => {
  test('are asked of the taker alone, once it turns out that there are many; the others are still pulled', async () => {
    stand = await MoveStand.start({ proxies: 2 });
    const keys = stand.keys(120);
    const wire = await stand.connect(0);
    await pipeline(wire, ...keys.map(key => `SET ${key} ${key}`));
    const other = await stand.connect(1);
    await stand.open();
    const [first, later, left] = [keys.slice(0, 40), keys.slice(40, 100), keys.slice(100)];
    const all = (some: readonly string[]) => [`*${some.length}\r\n${some.map(bulk).join('')}`];
    expect(await pipeline(wire, `MGET ${[...first, ...later].join(' ')}`)).toEqual(all([...first, ...later]));
    expect(await pipeline(other, `MGET ${first.join(' ')}`)).toEqual(all(first));
    const { giver: before } = await calls('eval');
    expect(await pipeline(other, `MGET ${later.join(' ')}`)).toEqual(all(later));
    expect((await calls('eval')).giver).toBe(before);
    expect(await pipeline(other, `MGET ${left.join(' ')}`)).toEqual(all(left));
    const { metrics } = stand.proxies[1]?.proxy ?? stand.proxy;
    expect([metrics.moving.pulled, metrics.moving.there]).toEqual([60, 60]);
    expect(await stand.leftOnGiver()).toEqual([]);
  });

  test('count as there only once every copy of the taker has them', async () => {
    stand = await MoveStand.start({ proxies: 2, copies: 1, proxyPart: '  hold: 30s' });
    const keys = stand.keys(80);
    const wire = await stand.connect(0);
    await pipeline(wire, ...keys.map(key => `SET ${key} ${key}`));
    const other = await stand.connect(1);
    await stand.open();
    await pipeline(wire, `MGET ${keys.slice(0, 40).join(' ')}`);
    await pipeline(other, `MGET ${keys.slice(0, 40).join(' ')}`);
    await pipeline(wire, `MGET ${keys.slice(40).join(' ')}`);
    const { proxy } = stand.proxies[1] ?? { proxy: stand.proxy };
    const key = keys[79] as string;
    const isKnown = () => proxy.moving?.has(0, Buffer.from(key), 0, key.length) === true;
    stand.node('n2a').freeze();
    const asked = ask(other, `GET ${key}`);
    const looks = () => calls('smismember').then(({ taker: count }) => count);
    const before = await looks();
    await until(async () => (await looks()) > before || proxy.gate.waiting === 1);
    await sleep(200);
    expect([isKnown(), proxy.gate.waiting]).toEqual([false, 1]);
    stand.node('n2a').thaw();
    expect(await asked.done).toBe(bulk(key));
    expect([isKnown(), proxy.metrics.moving.there]).toEqual([true, 1]);
    // A copy that takes over has what was seen: nobody asks again.
    await stand.failOver('s2');
    await until(() => proxy.moving?.taker.state.primary.nodeId === 'n2a');
    expect([isKnown(), await pipeline(other, `GET ${key}`)]).toEqual([true, [bulk(key)]]);
  });
});
