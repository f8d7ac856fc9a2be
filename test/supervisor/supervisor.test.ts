import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import { TopologyFeed } from '../../src/topology/feed.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { TestEtcd } from '../support/etcd.ts';
import { until } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';
import { Stand } from './stand.ts';

/**
 * The shell: store, leadership, feed, HTTP, and bad days. What is decided about shards is tested elsewhere; most nodes
 * here do not even run.
 */
let stand: Stand;
let feed: TopologyFeed | null = null;
let etcd: TestEtcd | null = null;

beforeEach(async () => {
  stand = await Stand.make('a', 'b', 'c');
});

afterEach(async () => {
  feed?.close();
  feed = null;
  await stand.remove();
  await etcd?.remove();
  etcd = null;
});

const topologyFile = () => join(stand.directory, 'store', 'topology.json');
const FILE = '  store: { file: store }\n';

test('the first to lead writes what the settings propose, and tells it', async () => {
  await stand.start(stand.settings({ supervisor: FILE }));
  const status = await until(
    () => stand.status(),
    ({ changesRoles }) => changesRoles,
  );
  expect(status).toMatchObject({ cluster: 'shop', version: 1, term: 1, leader: stand.url(), knownBy: stand.url() });
  expect(status.shards[0]).toMatchObject({ name: 's1', primary: 'a', inSync: [], joining: null, required: 0 });
  expect(status.spares.map(({ id, role }) => [id, role])).toEqual([['c', 'spare']]);
  expect(JSON.parse(readFileSync(topologyFile(), 'utf8'))).toEqual(await stand.topology());
  expect((await stand.events()).map(({ event }) => event)).toEqual(expect.arrayContaining(['published', 'leading']));
});

test('a node that does not answer is told once in the log, with its reason', async () => {
  await stand.start(stand.settings({ supervisor: FILE }));
  const downs = () => stand.lines.filter(line => line.includes('"node-down"') && line.includes('"node":"c"'));
  await until(downs, lines => lines.length > 0);
  await new Promise(resolve => setTimeout(resolve, 300));
  expect(downs()).toHaveLength(1);
  expect(JSON.parse(downs()[0] as string)).toMatchObject({ msg: expect.stringContaining('ECONNREFUSED') });
  for (const line of stand.lines) expect(line.match(/"role":/g), line).toHaveLength(1);
});

test('the feed gives the topology at once, and each later version', async () => {
  const config = stand.settings({ supervisor: FILE });
  const supervisor = await stand.start(config);
  await until(
    () => stand.status(),
    ({ version }) => version >= 1,
  );
  const seen: Topology[] = [];
  const { authorization } = stand.headers(config);
  feed = new TopologyFeed({
    ...{ peers: [stand.url()], token: (authorization as string).slice('Bearer '.length), cluster: 'shop' },
    ...{ knownVersion: 0, random: new Random(1), backoff: { baseMs: 20, capMs: 50 } },
    onTopology: topology => seen.push(topology),
    onEvent: () => undefined,
  });
  feed.start();
  await until(
    () => seen.length,
    count => count > 0,
  );
  expect(seen[0]).toEqual(await stand.topology());
  // The same supervisor again, whose settings name another spare.
  await supervisor.close();
  const file = readFileSync(config.file, 'utf8');
  const spare = await freePorts(1);
  writeFileSync(config.file, file.replace('shards:', `  - { id: d, address: 127.0.0.1:${spare} }\nshards:`));
  const { loadConfig } = await import('../../src/config/load.ts');
  await stand.start(loadConfig(config.file));
  const next = await until(
    () => seen.at(-1),
    topology => topology?.nodes.some(({ id }) => id === 'd') === true,
  );
  expect(next).toMatchObject({ term: 2 });
});

test('the feed is for who has the token, the status for anyone unless the settings say otherwise', async () => {
  const supervisor = await stand.start(stand.settings({ supervisor: FILE }));
  await until(
    () => stand.status(),
    ({ version }) => version >= 1,
  );
  const statusOf = async (where: string, headers = {}) => (await fetch(stand.url() + where, { headers })).status;
  expect(await statusOf('/v1/topology/feed')).toBe(401);
  expect(await statusOf('/v1/topology/feed', { authorization: `Bearer ${'0'.repeat(64)}` })).toBe(401);
  for (const path of ['/v1/status', '/v1/topology', '/v1/events', '/metrics', '/healthz']) {
    expect(await statusOf(path), path).toBe(200);
  }
  await supervisor.close();
  const config = stand.settings({ supervisor: `${FILE}  auth: { dashboard: token }\n` });
  await stand.start(config);
  for (const path of ['/v1/status', '/v1/topology', '/v1/events', '/metrics']) {
    expect(await statusOf(path), path).toBe(401);
  }
  expect(await statusOf('/v1/status', stand.headers(config))).toBe(200);
  expect(await statusOf('/healthz')).toBe(200);
});

test('a taken port and a directory in use are told with what to do', async () => {
  const config = stand.settings({ supervisor: FILE });
  await stand.start(config);
  await expect(stand.start(config)).rejects.toThrow(/supervisor\.store\.file: .*store is in use by process \d+/);
  const elsewhere = stand.settings({ supervisor: '  store: { file: other }\n' });
  await expect(stand.start(elsewhere)).rejects.toThrow(
    `${stand.url().slice('http://'.length)} is taken by another process: end it, or set another supervisor.listen`,
  );
});

test("a kept topology of another cluster is not served under this one's name", async () => {
  const config = stand.settings({ supervisor: FILE });
  const supervisor = await stand.start(config);
  await until(() => existsSync(topologyFile()), Boolean);
  await supervisor.close();
  await expect(stand.start({ ...config, cluster: 'other' })).rejects.toThrow('holds the topology of cluster shop');
});

test('an old settings file changes nothing that holds data, and is shown', async () => {
  const config = stand.settings({ supervisor: FILE });
  const supervisor = await stand.start(config);
  await until(() => existsSync(topologyFile()), Boolean);
  await supervisor.close();
  const old = stand.settings({
    supervisor: FILE,
    shards: '[ { name: s0, nodes: [a] }, { name: s1, nodes: [b], weight: 2 } ]',
  });
  await stand.start(old);
  const status = await until(
    () => stand.status(),
    ({ changesRoles }) => changesRoles,
  );
  expect(status.shards.map(({ name, nodes }) => [name, nodes.map(({ id }) => id)])).toEqual([['s1', ['a', 'b']]]);
  expect(status.problems).toEqual([
    'the settings here differ from what is in force: node a in shard s0: it is a member of shard s1',
    expect.stringMatching(
      /want something else than what is in force: add shard s0 \(a\); weight of shard s1 2, was 1: .* it cannot be done as it stands/,
    ),
  ]);
  const told = (await stand.events()).filter(({ event }) => event === 'settings');
  expect(told).toHaveLength(2);
});

test('a store that cannot be written ends the leadership; it is taken up again when the store works', async () => {
  const config = stand.settings({ supervisor: FILE });
  const supervisor = await stand.start(config);
  await until(() => existsSync(topologyFile()), Boolean);
  await supervisor.close();
  // Nothing can be renamed over a directory that holds something: as good as a full disk, for root as well.
  const term = join(stand.directory, 'store', 'term');
  const kept = readFileSync(term, 'utf8');
  rmSync(term);
  mkdirSync(join(term, 'in-the-way'), { recursive: true });
  await stand.start(config);
  const failing = await until(
    () => stand.status(),
    ({ problems }) => problems.some(problem => problem.includes(term)),
  );
  expect(failing).toMatchObject({ leader: null, changesRoles: false, version: 1 });
  expect(failing.problems).toContainEqual(expect.stringContaining('nobody leads'));
  expect(await stand.read('/healthz')).toMatchObject({
    ok: true,
    leading: false,
    store: expect.stringContaining(term),
  });
  await new Promise(resolve => setTimeout(resolve, 1500));
  expect(stand.lines.filter(line => line.includes('"event":"store"'))).toHaveLength(1);
  rmSync(term, { recursive: true });
  writeFileSync(term, kept);
  const well = await until(
    () => stand.status(),
    ({ changesRoles }) => changesRoles,
  );
  expect(well).toMatchObject({ leader: stand.url(), term: 2, problems: [] });
});

test('an etcd that is away at the start is waited for, and that is said', async () => {
  const [port] = [await freePorts(1)];
  const supervisor = `  store: { etcd: { endpoints: ["http://127.0.0.1:${port}"] } }\n`;
  await stand.start(stand.settings({ supervisor }));
  const health = await until(
    () => stand.read('/healthz') as Promise<{ store: string }>,
    ({ store }) => store !== 'ok',
  );
  expect(health).toMatchObject({ ok: true, leading: false });
  const status = await stand.status();
  expect(status).toMatchObject({ version: 0, leader: null, changesRoles: false, shards: [] });
  expect(status.problems).toContainEqual('no topology is known yet: the store has not answered');
  expect(stand.lines.filter(line => line.includes('"event":"store"'))).toHaveLength(1);
});

test('of two supervisors on one etcd one leads; the other tells the same and takes over when it ends', async () => {
  etcd = await TestEtcd.start();
  const store = `  store: { etcd: { endpoints: ${JSON.stringify(etcd.endpoints)} } }\n`;
  const one = await stand.start(stand.settings({ which: 0, supervisor: store }));
  await until(
    () => stand.status(0),
    ({ changesRoles }) => changesRoles,
  );
  const config = stand.settings({ which: 1, supervisor: store });
  await stand.start(config);
  const follower = await until(
    () => stand.read('/healthz', 1) as Promise<{ leading: boolean }>,
    ({ leading }) => !leading,
  );
  expect(follower).toMatchObject({ ok: true, leading: false, store: 'ok' });
  expect(
    await until(
      () => stand.status(1),
      ({ leader }) => leader !== null,
    ),
  ).toMatchObject({ knownBy: stand.url(0) });
  await until(
    () => stand.topology(1),
    ({ version }) => version >= 1,
  );
  const order = await fetch(`${stand.url(1)}/v1/shards/s1/switchover`, {
    ...{ method: 'POST', redirect: 'manual' as const, headers: stand.headers(config) },
  });
  expect([order.status, order.headers.get('location')]).toEqual([307, `${stand.url(0)}/v1/shards/s1/switchover`]);
  await one.close();
  const next = await until(
    () => stand.status(1),
    ({ changesRoles }) => changesRoles,
  );
  expect(next).toMatchObject({ leader: stand.url(1), term: 2 });
});

test('while etcd is away nobody leads and the feed goes on; afterwards somebody leads again, by itself', async () => {
  etcd = await TestEtcd.start();
  const config = stand.settings({
    supervisor: `  store: { etcd: { endpoints: ${JSON.stringify(etcd.endpoints)} } }\n`,
  });
  await stand.start(config);
  const before = await until(
    () => stand.status(),
    ({ changesRoles }) => changesRoles,
  );
  await etcd.signal(0, 'SIGKILL');
  const away = await until(
    () => stand.status(),
    ({ changesRoles, problems }) => !changesRoles && problems.length > 1,
  );
  expect(away).toMatchObject({ version: before.version, leader: null });
  expect(away.problems).toContainEqual('nobody leads: no lost primary is replaced until somebody does');
  expect(await stand.topology()).toMatchObject({ version: before.version });
  const feedAnswer = await fetch(`${stand.url()}/v1/topology/feed`, { headers: stand.headers(config) });
  expect(feedAnswer.status).toBe(200);
  await feedAnswer.body?.cancel();
  const order = await fetch(`${stand.url()}/v1/shards/s1/switchover`, {
    method: 'POST',
    headers: stand.headers(config),
  });
  expect(order.status).toBe(503);
  await etcd.startMember(0);
  const again = await until(
    () => stand.status(),
    ({ changesRoles, problems }) => changesRoles && problems.length === 0,
  );
  expect(again).toMatchObject({ leader: stand.url() });
  expect(again.term).toBeGreaterThan(before.term);
});
