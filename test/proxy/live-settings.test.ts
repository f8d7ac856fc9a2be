/** A new topology, or new settings, reach what is running already: clients stay connected, lanes stay in order. */
import { afterEach, describe, expect, test } from 'vitest';
import type { ProxyConfig } from '../../src/config/config.ts';
import type { StockRedis } from '../differential/stock-redis.ts';
import { clientOf, holdWrites, keyOn, lent, send, take } from './keys.ts';
import { pipeline, Stand, until } from './stand.ts';

let stand: Stand;
afterEach(() => stand.stop());

function change(settings: Partial<ProxyConfig>, limits: Partial<ProxyConfig['limits']> = {}): void {
  const { config } = stand.proxy;
  const proxy = { ...config.proxy, ...settings, limits: { ...config.proxy.limits, ...limits } };
  stand.proxy.reconfigure({ ...config, proxy });
}

describe('settings, to clients that are connected already', () => {
  test('deny, transactions, auth', async () => {
    stand = await Stand.start(3);
    const wire = await stand.connect();
    const [a, b] = [keyOn(stand, 0), keyOn(stand, 1)];
    expect(await pipeline(wire, 'GET k')).toEqual(['$-1\r\n']);
    change({ deny: ['GET', 'CONFIG'], transactions: 'split', auth: { username: 'default', password: 'pass' } });
    const replies = await pipeline(wire, 'GET k', 'CONFIG GET port', 'MULTI', `SET ${a} 1`, `SET ${b} 2`, 'EXEC');
    expect(replies.slice(0, 2)).toEqual([expect.stringMatching(/^-DENIED GET /), expect.stringMatching(/^-DENIED /)]);
    expect(replies.at(-1)).toBe('*2\r\n+OK\r\n+OK\r\n');
    // Who is logged in stays so, as in Redis; whoever comes, or comes back by RESET, must log in.
    const late = await stand.connect();
    expect((await pipeline(late, 'STRLEN k', 'AUTH pass', 'STRLEN k')).slice(1)).toEqual(['+OK\r\n', ':0\r\n']);
    expect((await pipeline(wire, 'RESET', 'STRLEN k')).at(-1)).toMatch(/^-NOAUTH /);
    change({ deny: [], auth: null });
    expect(await pipeline(late, 'GET k')).toEqual(['$-1\r\n']);
  });

  test('limits of clients, arguments, bulk, lane queue and exclusive connections', async () => {
    stand = await Stand.start(1);
    const wire = await stand.connect();
    await pipeline(wire, 'PING');
    change({}, { clients: 1, laneQueue: 5, exclusive: 1 });
    const refused = await stand.connect();
    expect((await refused.takeAll()).map(String)).toEqual([expect.stringMatching(/^-OVERLOADED .*limits\.clients/)]);
    change({}, { clients: 10 });
    const other = await stand.connect();
    expect((await pipeline(wire, ...Array.from({ length: 20 }, () => 'GET k'))).slice(0, 5)).toEqual(
      Array.from({ length: 5 }, () => '$-1\r\n'),
    );
    expect(stand.proxy.metrics.overloaded.laneQueue).toBe(15);
    expect(await pipeline(wire, 'WATCH k')).toEqual(['+OK\r\n']);
    expect((await pipeline(other, 'WATCH k'))[0]).toMatch(/^-OVERLOADED .*limits\.exclusive/);
    change({}, { exclusive: 2 });
    expect((await pipeline(other, 'WATCH k'))[0]).toBe('+OK\r\n');
    change({}, { arguments: 3 });
    expect(await pipeline(other, 'SET k v')).toEqual(['+OK\r\n']);
    await send(other, 'MSET a 1 b 2');
    expect((await other.takeAll()).map(String)).toEqual(['-ERR Protocol error: invalid multibulk length\r\n']);
    change({}, { bulkBytes: 10 });
    await send(wire, 'ECHO elevenbytes');
    expect((await wire.takeAll()).map(String)).toEqual(['-ERR Protocol error: invalid bulk length\r\n']);
  });

  test('hold: a shorter one is over sooner for commands that wait already', async () => {
    stand = await Stand.start(1, '  hold: 5m');
    const wire = await stand.connect();
    await (stand.nodes[0] as StockRedis).stop();
    await until(() => stand.proxy.waitingFor().length === 1);
    await send(wire, 'GET k');
    await until(() => stand.proxy.metrics.held.commands === 1);
    change({ holdMs: 0 });
    expect((await take(wire, 1))[0]).toMatch(/^-CLUSTERDOWN /);
  });

  test('timeout: a node is given up sooner by lanes that are open already', async () => {
    stand = await Stand.start(1);
    const wire = await stand.connect();
    await pipeline(wire, 'SET k 1');
    const letGo = await holdWrites(stand, stand.nodes[0] as StockRedis);
    await send(wire, 'SET k 2');
    change({ timeoutMs: 100 });
    expect((await take(wire, 1))[0]).toMatch(/^-UNCERTAIN .*100 ms/);
    await letGo();
  });

  test('slowlog: what is beyond a smaller `keep` goes at once', async () => {
    stand = await Stand.start(1);
    for (let i = 0; i < 10; i += 1) stand.proxy.slowlog.add(1, [], '', '');
    change({ slowlog: { overMs: 10, keep: 3 } });
    expect(await pipeline(await stand.connect(), 'SLOWLOG LEN')).toEqual([':3\r\n']);
  });
});

test('slowlog: what is slow is another matter for clients that are connected already', async () => {
  stand = await Stand.start(1, '  slowlog: { over: 1h }');
  const [wire, other] = await Promise.all([stand.connect(), stand.connect()]);
  await pipeline(wire, 'PING');
  change({ slowlog: { overMs: 0.000001, keep: 10 } });
  await pipeline(wire, 'GET k');
  expect((await pipeline(other, 'SLOWLOG GET'))[0]).toContain('\r\nGET\r\n');
});

test('slowlog: `over: 0ms` keeps every command of one shard, `keep: 0` none, and CONFIG GET says so as Redis would', async () => {
  stand = await Stand.start(1, '  slowlog: { over: 0ms }');
  const wire = await stand.connect();
  const value = async () => (await pipeline(wire, 'CONFIG GET slowlog-log-slower-than'))[0]?.split('\r\n').at(-2);
  expect(await value()).toBe('0');
  await pipeline(wire, 'GET k');
  expect((await pipeline(wire, 'SLOWLOG GET'))[0]).toContain('\r\nGET\r\n');
  change({ slowlog: { overMs: 0, keep: 0 } });
  await pipeline(wire, 'GET k');
  expect(await pipeline(wire, 'SLOWLOG LEN')).toEqual([':0\r\n']);
  expect(await value()).toBe('-1');
});

describe('a topology', () => {
  test('with another primary: what is in flight is answered, what follows goes there', async () => {
    stand = await Stand.start(2);
    const [wire, busy] = await Promise.all([stand.connect(), stand.connect()]);
    const key = keyOn(stand, 0);
    const second = stand.nodes[1] as StockRedis;
    const before = stand.topology;
    const [s1, s2] = before.shards as [(typeof before.shards)[0], (typeof before.shards)[0]];
    await pipeline(wire, `WATCH ${key}`);
    await send(busy, ...Array.from({ length: 500 }, (_, i) => `SET ${key} ${i}`));
    await take(busy, 1);
    await stand.follow({ ...before, shards: [{ ...s1, primary: s2.primary, epoch: 2 }, s2] });
    const replies = await take(busy, 499);
    expect(replies.filter(reply => reply !== '+OK\r\n' && !reply.startsWith('-UNCERTAIN '))).toEqual([]);
    expect((await pipeline(wire, 'MULTI', `SET ${key} x`, 'EXEC')).at(-1)).toBe('*-1\r\n');
    expect(await pipeline(busy, `SET ${key} there`)).toEqual(['+OK\r\n']);
    expect(await pipeline(await stand.connectTo(second), `GET ${key}`)).toEqual(['$5\r\nthere\r\n']);
    expect(lent(stand)).toBe(0);
  });

  test('with a shard less: the others go on undisturbed; open blocks and watches go on where their keys are', async () => {
    stand = await Stand.start(3);
    const [wire, watcher, listener] = await Promise.all([stand.connect(), stand.connect(), stand.connect()]);
    const client = await clientOf(stand, watcher);
    const before = stand.topology;
    const key = keyOn(stand, 1, 'stays');
    const sharded = keyOn(stand, 2, 'moves');
    await pipeline(listener, 'SUBSCRIBE c', `SSUBSCRIBE ${sharded}`);
    await pipeline(watcher, `WATCH ${key}`);
    await pipeline(wire, 'MULTI', `SET ${key} block`);
    await pipeline(watcher, 'MULTI', `SET ${key} watched`);
    const lane = stand.proxy.shards[1]?.lane(0, 2);
    // The first two in another order, so that every index is another.
    const [s1, s2] = before.shards as [(typeof before.shards)[0], (typeof before.shards)[0]];
    stand.proxy.follow({ ...before, version: 2, shards: [s2, s1] });
    expect(stand.proxy.shards[0]?.lane(0, 2)).toBe(lane);
    expect(client.watch?.lane.closed).toBe(false);
    expect(await pipeline(watcher, 'EXEC')).toEqual(['*1\r\n+OK\r\n']);
    expect(await pipeline(wire, 'EXEC', `GET ${key}`)).toEqual(['*1\r\n+OK\r\n', '$5\r\nblock\r\n']);
    for (const shard of [0, 1]) {
      const moved = keyOn(stand, shard, 'new');
      const node = [stand.nodes[1], stand.nodes[0]][shard] as StockRedis;
      await pipeline(wire, `SET ${moved} 1`);
      expect(await pipeline(await stand.connectTo(node), `GET ${moved}`)).toEqual(['$1\r\n1\r\n']);
    }
    await until(async () => (await pipeline(wire, `PUBSUB SHARDNUMSUB ${sharded}`))[0]?.endsWith(':1\r\n') === true);
    await pipeline(wire, 'PUBLISH c once', `SPUBLISH ${sharded} once`);
    expect((await take(listener, 2)).map(frame => frame.split('\r\n')[2]).sort()).toEqual(['message', 'smessage']);
    expect(lent(stand)).toBe(0);
  });

  test('that names the incarnation in use once more cuts no connection; one that names none ends them', async () => {
    stand = await Stand.start(1);
    const wire = await stand.connect();
    const before = stand.topology;
    await pipeline(wire, 'WATCH k');
    stand.proxy.follow({ ...before, version: 2 });
    expect(stand.proxy.waitingFor()).toEqual([]);
    expect((await pipeline(wire, 'MULTI', 'SET k v', 'EXEC')).at(-1)).toBe('*1\r\n+OK\r\n');
    stand.proxy.follow({ ...before, version: 3, nodes: before.nodes.map(node => ({ ...node, runId: null })) });
    expect(stand.proxy.waitingFor()).toEqual(['s1: it was never formed: no supervisor has set it up yet']);
    stand.proxy.follow({ ...before, version: 4 });
    expect(await pipeline(wire, 'GET k')).toEqual(['$1\r\nv\r\n']);
  });
});
