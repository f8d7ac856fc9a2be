/** Keys that are pulled from one shard to another while clients use them: real redis-servers, the supervisor's part by hand. */
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

afterEach(() => stand.stop());

async function scriptsRun(node: 's1' | 's2'): Promise<number> {
  const stats = await stand.primary(node).redis.info('commandstats');
  return Number(/cmdstat_eval:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

describe('a key of the portion', () => {
  test('is held while the portion is prepared, then pulled and served by the taker', async () => {
    stand = await MoveStand.start();
    const [key, other] = stand.keys(2) as [string, string];
    const [staying] = stand.keys(1, false) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} v`, `SET ${other} w`, `SET ${staying} s`);
    await stand.prepare();
    const [reader, writer] = [await stand.connect(), await stand.connect()];
    const held = [ask(reader, `GET ${key}`), ask(writer, `SET ${other} x`)];
    expect(await pipeline(wire, `GET ${staying}`)).toEqual(['$1\r\ns\r\n']);
    await sleep(50);
    expect(held.map(({ reply }) => reply)).toEqual([null, null]);
    expect(stand.proxy.gate.waiting).toBe(2);
    await stand.fence();
    await stand.startMoving();
    expect(await Promise.all(held.map(({ done }) => done))).toEqual(['$1\r\nv\r\n', '+OK\r\n']);
    expect(await Promise.all([giver().exists(key, other), taker().get(key), taker().get(other)])).toEqual([
      0,
      'v',
      'x',
    ]);
    expect((await taker().smembers(stand.setName())).sort()).toEqual(['', `0:${key}`, `0:${other}`].sort());
    expect(await giver().get(staying)).toBe('s');
    expect(stand.proxy.gate.waiting).toBe(0);
  });

  test('keeps its value, its type and its time to live, whatever it is, in every database', async () => {
    stand = await MoveStand.start();
    const names = stand.keys(11);
    const [text, list, set, hash, zset, stream, hll, timed, expired, absent, big] = names as string[];
    const wires = [await stand.connect(), await stand.connect()] as [Wire, Wire];
    await pipeline(wires[1], 'SELECT 3');
    const huge = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7919) % 256));
    const fill = [
      `SET ${text} plain`,
      `RPUSH ${list} a b c a`,
      `SADD ${set} x y z`,
      `HSET ${hash} f 1 g 2`,
      `ZADD ${zset} 1.5 a -inf b`,
      `XADD ${stream} 1-1 f v`,
      `XADD ${stream} 2-1 f w`,
      `XGROUP CREATE ${stream} grp 0`,
      `XREADGROUP GROUP grp me COUNT 1 STREAMS ${stream} >`,
      `PFADD ${hll} a b c d e`,
      `SET ${timed} soon PX 300000`,
      `SET ${expired} gone PX 1`,
    ];
    const look = [
      `GET ${text}`,
      `LRANGE ${list} 0 -1`,
      `SCARD ${set}`,
      `SMISMEMBER ${set} x y z w`,
      `HMGET ${hash} f g h`,
      `ZRANGE ${zset} 0 -1 WITHSCORES`,
      `XINFO STREAM ${stream} FULL`,
      `XPENDING ${stream} grp`,
      `PFCOUNT ${hll}`,
      `GET ${timed}`,
      `PEXPIRETIME ${timed}`,
      `GET ${expired}`,
      `EXISTS ${absent}`,
      `TYPE ${zset}`,
      `STRLEN ${big}`,
    ];
    for (const wire of wires) await pipeline(wire, ...fill);
    for (const db of [0, 3]) await stand.client(0, db).set(big as string, huge);
    const before = await Promise.all(wires.map(wire => pipeline(wire, ...look)));
    await stand.open();
    const after = await Promise.all(wires.map(wire => pipeline(wire, ...look)));
    expect(after).toEqual(before);
    for (const db of [0, 3]) expect((await stand.client(0, db).getBuffer(big as string))?.equals(huge)).toBe(true);
    expect(await stand.leftOnGiver()).toEqual([]);
    expect(await giver().info('keyspace')).not.toContain('keys=');
    expect(await taker().scard(stand.setName())).toBe(1 + 2 * names.length);
  });

  test('is pulled once however many clients ask, and never again', async () => {
    stand = await MoveStand.start();
    const [key] = stand.keys(1) as [string];
    const wires = await Promise.all(Array.from({ length: 20 }, () => stand.connect()));
    await pipeline(wires[0] as Wire, `SET ${key} 1`);
    await stand.open();
    const [reads, puts] = [await scriptsRun('s1'), await scriptsRun('s2')];
    expect(new Set((await Promise.all(wires.map(wire => pipeline(wire, `GET ${key}`)))).flat())).toEqual(
      new Set(['$1\r\n1\r\n']),
    );
    await pipeline(wires[0] as Wire, `INCR ${key}`, `INCR ${key}`, `GET ${key}`);
    expect([(await scriptsRun('s1')) - reads, (await scriptsRun('s2')) - puts]).toEqual([2, 1]);
    expect(stand.proxy.metrics.moving.pulled).toBe(1);
  });

  test('that is absent is so on the taker, and can be made there', async () => {
    stand = await MoveStand.start();
    const [key, other] = stand.keys(2) as [string, string];
    const wire = await stand.connect();
    await stand.open();
    expect(await pipeline(wire, `GET ${key}`, `SETNX ${key} a`, `SETNX ${key} b`, `SETNX ${other} c`)).toEqual([
      '$-1\r\n',
      ':1\r\n',
      ':0\r\n',
      ':1\r\n',
    ]);
    expect(await Promise.all([taker().get(key), taker().get(other)])).toEqual(['a', 'c']);
  });

  test('answers -TRYAGAIN when the portion is not prepared within proxy.hold, and was not touched', async () => {
    stand = await MoveStand.start({ proxyPart: '  hold: 300ms' });
    const [key] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} 1`);
    await stand.prepare();
    const replies = await pipeline(wire, `INCR ${key}`, 'PING');
    expect(replies[0]).toMatch(/^-TRYAGAIN .*nothing was applied.*being prepared/);
    expect(replies[1]).toBe('+PONG\r\n');
    expect(stand.proxy.gate.waiting).toBe(0);
    await stand.fence();
    await stand.startMoving();
    expect(await pipeline(wire, `INCR ${key}`)).toEqual([':2\r\n']);
  });

  test('that the taker has no room for stays where it is, and its client hears why', async () => {
    stand = await MoveStand.start();
    const [key] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} 1`);
    await stand.open();
    await taker().config('SET', 'maxmemory', '1');
    expect((await pipeline(wire, `GET ${key}`))[0]).toMatch(/^-TRYAGAIN .*shard s2 refuses it: OOM/);
    expect(await giver().get(key)).toBe('1');
    expect(await taker().sismember(stand.setName(), `0:${key}`)).toBe(0);
    await taker().config('SET', 'maxmemory', '0');
    expect(await pipeline(wire, `GET ${key}`)).toEqual(['$1\r\n1\r\n']);
  });

  test('that is too large waits until the supervisor has moved it', async () => {
    stand = await MoveStand.start({ settings: 'supervisor:\n  move: { bigKey: 1kb }' });
    const [key] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} ${'x'.repeat(5000)}`);
    await stand.open();
    const asked = ask(wire, `STRLEN ${key}`);
    await until(() => stand.proxy.metrics.moving.failed > 2);
    expect([asked.reply, await giver().exists(key), await taker().exists(key)]).toEqual([null, 1, 0]);
    // As the supervisor does it: the taker's copy first, remembered, then the giver's goes.
    const dump = await giver().dumpBuffer(key);
    await taker().restore(key, 0, dump);
    await taker().sadd(stand.setName(), `0:${key}`);
    await giver().unlink(key);
    expect(await asked.done).toBe(':5000\r\n');
  });

  test('leaves nothing behind when its client goes away while it is held', async () => {
    stand = await MoveStand.start({ proxyPart: '  hold: 30s' });
    const keys = stand.keys(3) as [string, string, string];
    await stand.prepare();
    const sockets = keys.map(key => {
      const socket = connect({ host: '127.0.0.1', port: stand.proxies[0]?.port ?? 0 });
      socket.write(`SET ${key} v\r\n`);
      return socket;
    });
    await until(() => stand.proxy.gate.waiting === 3);
    for (const socket of sockets) socket.resetAndDestroy();
    await until(() => stand.proxy.gate.waiting === 0);
    await stand.fence();
    await stand.startMoving();
    await sleep(50);
    expect([await taker().dbsize(), await giver().dbsize()]).toEqual([1, 0]);
    expect(stand.proxy.metrics.moving.pulled).toBe(0);
  });
});

describe('two proxies', () => {
  test('a late pull of one does not undo what a client of the other has done', async () => {
    stand = await MoveStand.start({ proxies: 2 });
    const [gone, changed] = stand.keys(2) as [string, string];
    const [quick, slow] = [await stand.connect(0), await stand.connect(1)];
    await pipeline(quick, `SET ${gone} old`, `SET ${changed} old`);
    await stand.open();
    // What the other has read on the giver does not reach the taker for now.
    const cable = stand.proxies[1]?.cables.get('n2');
    cable?.freeze();
    const reads = await scriptsRun('s1');
    const late = ask(slow, `MGET ${gone} ${changed}`);
    await until(async () => (await scriptsRun('s1')) === reads + 1);
    expect(await pipeline(quick, `DEL ${gone}`, `SET ${changed} new`)).toEqual([':1\r\n', '+OK\r\n']);
    cable?.heal();
    expect(await late.done).toBe('*2\r\n$-1\r\n$3\r\nnew\r\n');
    expect(await pipeline(quick, `GET ${gone}`, `GET ${changed}`)).toEqual(['$-1\r\n', '$3\r\nnew\r\n']);
  });

  test('a pull that comes after the close restores nothing, and waits for the topology', async () => {
    stand = await MoveStand.start({ proxies: 2 });
    const [key, absent] = stand.keys(2) as [string, string];
    const [quick, slow] = [await stand.connect(0), await stand.connect(1)];
    await pipeline(quick, `SET ${key} old`);
    await stand.open();
    const cable = stand.proxies[1]?.cables.get('n2');
    cable?.freeze();
    const reads = await scriptsRun('s1');
    const late = ask(slow, `MGET ${key} ${absent}`);
    await until(async () => (await scriptsRun('s1')) === reads + 1);
    await pipeline(quick, `DEL ${key}`);
    await stand.closeSet();
    await stand.publishClosed([stand.proxies[0] as (typeof stand.proxies)[number]], false);
    expect(await pipeline(quick, `SETNX ${absent} new`)).toEqual([':1\r\n']);
    cable?.heal();
    await sleep(100);
    expect(late.reply).toBe(null);
    expect(await Promise.all([taker().get(key), taker().get(absent)])).toEqual([null, 'new']);
    stand.tell(stand.proxies);
    expect(await late.done).toBe('*2\r\n$-1\r\n$3\r\nnew\r\n');
  });

  test('what one has put on the taker is dropped on the giver under the epoch of that pull, or not at all', async () => {
    stand = await MoveStand.start({ proxies: 2 });
    const [key] = stand.keys(1) as [string];
    const [quick, slow] = [await stand.connect(0), await stand.connect(1)];
    await pipeline(quick, `SET ${key} old`);
    await stand.open();
    // Its word arrives on the taker; that it did so is heard when the key has long gone back.
    const cable = stand.proxies[1]?.cables.get('n2');
    cable?.hush();
    const late = ask(slow, `GET ${key}`);
    await until(async () => (await taker().exists(key)) === 1);
    await stand.open('return');
    expect(await pipeline(quick, `APPEND ${key} +`)).toEqual([':4\r\n']);
    cable?.heal();
    expect(await late.done).toMatch(/old/);
    await sleep(50);
    expect(await Promise.all([giver().get(key), taker().exists(key)])).toEqual(['old+', 0]);
  });

  test('what one could not put on the taker in time leaves nothing there once the portion was turned round', async () => {
    stand = await MoveStand.start({ proxies: 2 });
    const [key] = stand.keys(1) as [string];
    const quick = await stand.connect(0);
    await pipeline(quick, `SET ${key} old`);
    await stand.open();
    const cable = stand.proxies[1]?.cables.get('n2');
    cable?.cut();
    const reads = await scriptsRun('s1');
    const late = connect({ host: '127.0.0.1', port: stand.proxies[1]?.port ?? 0 });
    late.write(`GET ${key}\r\n`);
    await until(async () => (await scriptsRun('s1')) === reads + 1);
    // Its client has gone: nobody pulls the key back through this proxy.
    late.resetAndDestroy();
    await stand.open('return');
    expect(await pipeline(quick, `SET ${key} new`)).toEqual(['+OK\r\n']);
    const lane = stand.proxies[1]?.proxy.shards[1]?.lane(0, 2);
    expect(lane?.pending).toBe(1);
    cable?.heal();
    await until(() => lane?.pending === 0);
    expect(await Promise.all([giver().get(key), taker().exists(key)])).toEqual(['new', 0]);
  });
});

describe('a portion that is turned round', () => {
  test('has on the way back what was changed on the other side, and what never got there', async () => {
    stand = await MoveStand.start();
    const [untouched, changed, gone, made, never] = stand.keys(5) as string[];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${untouched} a`, `SET ${changed} a`, `SET ${gone} a`, `SET ${never} a`);
    await stand.open();
    await pipeline(wire, `GET ${untouched}`, `SET ${changed} b`, `DEL ${gone}`, `SET ${made} b`);
    // As when the last step of a pull was lost: it still stands where it came from, as it was.
    await giver().mset(changed as string, 'a', gone as string, 'a');
    await stand.prepare('return');
    const held = ask(wire, `GET ${changed}`);
    await sleep(30);
    expect(held.reply).toBe(null);
    await stand.fence();
    await stand.startMoving();
    expect(await held.done).toBe('$1\r\nb\r\n');
    const names = [untouched, gone, made, never].map(key => `GET ${key}`);
    expect(await pipeline(wire, ...names)).toEqual(['$1\r\na\r\n', '$-1\r\n', '$1\r\nb\r\n', '$1\r\na\r\n']);
    expect(await stand.leftOnGiver()).toEqual([]);
    await stand.closeSet();
    await stand.publishClosed();
    expect(await pipeline(wire, ...names)).toEqual(['$1\r\na\r\n', '$-1\r\n', '$1\r\nb\r\n', '$1\r\na\r\n']);
    expect((await giver().keys('*')).sort()).toEqual([untouched, changed, made, never].sort());
  });

  test('goes back when it had arrived', async () => {
    stand = await MoveStand.start();
    const [key, other] = stand.keys(2) as [string, string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} a`);
    await stand.open();
    await pipeline(wire, `APPEND ${key} b`);
    await stand.closeSet();
    await stand.publishClosed();
    await pipeline(wire, `APPEND ${key} c`, `SET ${other} d`);
    await stand.open('back');
    expect(await pipeline(wire, `GET ${key}`, `GET ${other}`)).toEqual(['$3\r\nabc\r\n', '$1\r\nd\r\n']);
    expect(await Promise.all([giver().get(key), taker().exists(key, other)])).toEqual(['abc', 0]);
  });
});

describe('faults in the middle of a pull', () => {
  test('the taker fails over before its copies have the key: it is read on the giver again', async () => {
    stand = await MoveStand.start({ copies: 1, settings: 'writes: { timeout: 10s }' });
    const [key] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} v`);
    await stand.open();
    const copy = stand.node('n2a');
    // Proxies go on counting it, but nothing reaches it any more.
    await taker().call('ACL', 'DELUSER', replicaUser('n2a'));
    await until(async () => (await copy.info('master_link_status')) === 'down');
    const asked = ask(wire, `GET ${key}`);
    await until(async () => (await taker().exists(key)) === 1);
    await sleep(100);
    expect([asked.reply, await giver().exists(key)]).toEqual([null, 1]);
    await stand.primary('s2').kill();
    await copy.redis.call('REPLICAOF', 'NO', 'ONE');
    expect(await copy.redis.exists(key)).toBe(0);
    await stand.change('s2', { primary: 'n2a', inSync: [], epoch: (stand.proxy.topology.shards[1]?.epoch ?? 0) + 1 });
    expect(await asked.done).toBe('$1\r\nv\r\n');
    expect(await Promise.all([taker().get(key), giver().exists(key)])).toEqual(['v', 0]);
  });

  test('the giver fails over: what was asked of the old one is asked of the new one', async () => {
    stand = await MoveStand.start({ copies: 1 });
    const [key, other] = stand.keys(2) as [string, string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} v`, `SET ${other} w`);
    await stand.open();
    expect(await pipeline(wire, `GET ${other}`)).toEqual(['$1\r\nw\r\n']);
    stand.primary('s1').freeze();
    const asked = ask(wire, `GET ${key}`);
    await sleep(50);
    await stand.failOver('s1');
    expect(await asked.done).toBe('$1\r\nv\r\n');
    expect(await pipeline(wire, `INCR ${other}x`, `GET ${other}`)).toEqual([':1\r\n', '$1\r\nw\r\n']);
  });

  test('the connection to the giver breaks: the pull is begun anew', async () => {
    stand = await MoveStand.start();
    const [key, other] = stand.keys(2) as [string, string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} v`);
    await stand.open();
    await pipeline(wire, `GET ${other}`);
    const cable = stand.proxies[0]?.cables.get('n1');
    cable?.hush();
    const reads = await scriptsRun('s1');
    const asked = ask(wire, `GET ${key}`);
    await until(async () => (await scriptsRun('s1')) === reads + 1);
    expect(asked.reply).toBe(null);
    cable?.cutOpen();
    expect(await asked.done).toBe('$1\r\nv\r\n');
    expect(await Promise.all([giver().exists(key), taker().get(key)])).toEqual([0, 'v']);
  });

  test('neither side answers within proxy.hold: -TRYAGAIN, and nothing was applied', async () => {
    stand = await MoveStand.start({ proxyPart: '  hold: 300ms' });
    const [key] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} 1`);
    await stand.open();
    const cable = stand.proxies[0]?.cables.get('n1');
    cable?.cut();
    expect((await pipeline(wire, `INCR ${key}`))[0]).toMatch(/^-TRYAGAIN .*from shard s1 to shard s2: shard s1: /);
    cable?.heal();
    await until(async () => (await pipeline(wire, `INCR ${key}`))[0] === ':2\r\n');
  });
});
