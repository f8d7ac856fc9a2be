import { readFileSync, writeFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { createRing } from '../../src/ring/ring.ts';
import type { MovePlan } from '../../src/supervisor/plan.ts';
import { type Proposal, proposalOf } from '../../src/supervisor/proposal.ts';
import { ADMIN_USER, userPassword } from '../../src/topology/credentials.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { TestEtcd } from '../support/etcd.ts';
import { until } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';
import { BareNode } from './bare-node.ts';
import { Stand } from './stand.ts';

/**
 * A supervisor over real nodes is told of other shards: by request, by its settings file, or by that file alone. There is
 * no proxy; keys are there before, and are looked for on the nodes afterwards.
 */
let stand: Stand;
const strangers: BareNode[] = [];
let etcd: TestEtcd | null = null;

beforeEach(async () => {
  stand = await Stand.make('a', 'b', 'c');
});

afterEach(async () => {
  await stand.remove();
  await Promise.all(strangers.splice(0).map(node => node.remove()));
  await etcd?.remove();
  etcd = null;
});

const KEYS = 600;
const ONE = '[ { name: s1, nodes: [a] } ]';
const TWO = '[ { name: s1, nodes: [a] }, { name: s2, nodes: [b] } ]';

/** The first node holds keys, and the supervisor leads. */
async function started(shards = ONE, supervisor = '', more = ''): Promise<Config> {
  await Promise.all(stand.nodes.map(node => node.start()));
  const [first] = stand.nodes;
  const client = (first as BareNode).client();
  await client.connect();
  for (let i = 0; i < KEYS; i += 1) await client.set(`key:${i}`, `value ${i}`);
  await client.select(5);
  await client.hset('hash', { field: 'five' });
  client.disconnect();
  const config = stand.settings({ shards, supervisor: `  store: { file: store }\n${supervisor}`, more });
  await stand.start(config);
  await stand.statusWhen(status => status.changesRoles && status.shards.every(({ state }) => state === 'healthy'));
  return config;
}

async function post(config: Config, path: string, body: object): Promise<{ status: number; body: unknown }> {
  const headers = { 'content-type': 'application/json', ...stand.headers(config) };
  // Between two terms nobody takes it for a moment.
  return until(
    async () => {
      const response = await fetch(stand.url() + path, { method: 'POST', headers, body: JSON.stringify(body) });
      return { status: response.status, body: await response.json() };
    },
    ({ status }) => status !== 503,
  );
}

async function planOf(config: Config, proposal: Proposal): Promise<MovePlan> {
  return (await post(config, '/v1/plan', { proposal })).body as MovePlan;
}

/** Which keys each node holds, by its id: as an administrator of the cluster sees it. */
async function keysOn(config: Config, ids: readonly string[]): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const id of ids) {
    const { host, port } = config.nodes.find(node => node.id === id) as { host: string; port: number };
    const password = userPassword(config.secret, ADMIN_USER, config.cluster);
    const redis = new Redis({ host, port, username: ADMIN_USER, password, retryStrategy: () => null });
    redis.on('error', () => undefined);
    found.set(id, (await redis.keys('*')).sort());
    redis.disconnect();
  }
  return found;
}

/** Every key of database 0 is on the primary of the shard that owns it, and nowhere else. */
async function allInPlace(config: Config): Promise<void> {
  const topology = await stand.topology();
  const owners = createRing(topology.ring, topology.shards);
  const expected = new Map<string, string[]>(topology.shards.map(({ primary }) => [primary, []]));
  for (let i = 0; i < KEYS; i += 1) {
    const key = `key:${i}`;
    const { primary } = topology.shards[owners.ownerOf(Buffer.from(key), 0, key.length)] as Topology['shards'][0];
    expected.get(primary)?.push(key);
  }
  for (const keys of expected.values()) keys.sort();
  expect(await keysOn(config, [...expected.keys()])).toEqual(expected);
}

const isDone = ({ move, shards }: Topology): boolean => move === null && shards.every(({ weight }) => weight > 0);

test('a shard is planned, added by an order, and removed again; nothing is done without one', async () => {
  const config = await started();
  const inForce = proposalOf(config);
  const more: Proposal = {
    ...inForce,
    shards: [...inForce.shards, { name: 's2', weight: 1, nodes: ['b'], copies: 1 }],
  };
  const plan = await planOf(config, more);
  expect(plan).toMatchObject({ refused: [], keysInAll: KEYS + 1, isExact: true });
  expect(plan.sampled).toBeGreaterThan(KEYS / 2);
  expect(plan.flows).toMatchObject([{ source: 's1', target: 's2' }]);
  expect(plan.bytes).toBeGreaterThan(plan.keys * 10);
  expect((await stand.topology()).move).toBeNull();

  expect(await post(config, '/v1/apply', { proposal: more, basis: plan.basis })).toMatchObject({ status: 202 });
  const begun = await stand.topology();
  expect(begun.move ?? (await stand.events()).map(({ text }) => text)).toBeTruthy();
  await until(() => stand.topology(), isDone, 30_000);
  const grown = await stand.topology();
  expect(grown.shards.map(({ name, weight }) => [name, weight])).toEqual([
    ['s1', 1],
    ['s2', 1],
  ]);
  await allInPlace(config);

  // The settings still say what was; that is shown, and nothing more.
  const { problems } = await stand.status();
  expect(problems).toEqual([expect.stringMatching(/remove shard s2: .* `ringside apply` does it/)]);
  const stale = await post(config, '/v1/apply', { proposal: inForce, basis: plan.basis });
  expect(stale).toMatchObject({
    status: 409,
    body: { error: expect.stringContaining('have changed since that plan') },
  });

  const back = await planOf(config, inForce);
  expect(back.shardsRemoved).toEqual([{ name: 's2', nodes: ['b'] }]);
  await post(config, '/v1/apply', { proposal: inForce, basis: back.basis });
  const shrunk = await until(
    () => stand.topology(),
    topology => isDone(topology) && topology.shards.length === 1,
    30_000,
  );
  expect(shrunk.nodes.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
  await allInPlace(config);
  await stand.statusWhen(({ spares, problems: left }) => spares.length === 2 && left.length === 0);

  // Its node may be of another shard then.
  const other: Proposal = {
    ...inForce,
    shards: [...inForce.shards, { name: 's3', weight: 2, nodes: ['b'], copies: 1 }],
  };
  const again = await planOf(config, other);
  expect(again.refused).toEqual([]);
  await post(config, '/v1/apply', { proposal: other, basis: again.basis });
  await until(
    () => stand.topology(),
    topology => isDone(topology) && topology.shards.length === 2,
    30_000,
  );
  await allInPlace(config);
});

test('a changed settings file is shown as a plan and waits; new spares and copies are taken up at once', async () => {
  const config = await started();
  const text = readFileSync(config.file, 'utf8');
  const later = new BareNode('d', await freePorts(1));
  strangers.push(later);
  await later.start();
  const named = text.replace('shards:', `  - { id: d, address: 127.0.0.1:${later.port}, zone: z4 }\nshards:`);
  writeFileSync(config.file, named.replace(ONE, ONE.replace('[a]', '[a, d]')));
  const status = await stand.statusWhen(({ shards }) => shards[0]?.inSync.includes('d') === true);
  expect(status.problems).toEqual([]);
  expect(status.term).toBeGreaterThan(1);

  writeFileSync(config.file, named.replace(ONE, TWO.replace('[a]', '[a, d]')));
  const pending = await stand.statusWhen(({ changesRoles, problems }) => changesRoles && problems.length > 0);
  expect(pending.problems).toEqual([
    expect.stringMatching(
      /add shard s2 \(b\): \d+\.\d % of the keys move; `ringside plan` shows it, `ringside apply` does it/,
    ),
  ]);
  expect((await stand.events()).at(-1)).toMatchObject({ event: 'settings', level: 'warn' });
  expect(await stand.topology()).toMatchObject({ move: null });
  expect((await stand.topology()).shards).toHaveLength(1);

  const proposal = proposalOf(loadConfig(config.file));
  const plan = await planOf(config, proposal);
  await post(config, '/v1/apply', { proposal, basis: plan.basis });
  await until(
    () => stand.topology(),
    topology => isDone(topology) && topology.shards.length === 2,
    30_000,
  );
  await allInPlace(loadConfig(config.file));
  expect((await stand.status()).problems).toEqual([]);
});

test('with move.auto the changed file is enough; a start is no change', async () => {
  const config = await started(TWO.replace('s2, nodes: [b]', 's2, nodes: [b], weight: 2'), '  move: { auto: true }\n');
  expect((await stand.topology()).shards.map(({ name }) => name)).toEqual(['s1', 's2']);
  const text = readFileSync(config.file, 'utf8');
  writeFileSync(config.file, text.replace('weight: 2 }', 'weight: 2 }, { name: s3, nodes: [c] }'));
  await until(
    () => stand.topology(),
    topology => isDone(topology) && topology.shards.length === 3,
    30_000,
  );
  expect((await stand.status()).problems).toEqual([]);
});

test('what stands in the way is told: a node that is down, one that holds keys, one that nobody knows', async () => {
  const config = await started();
  await stand
    .node('c')
    .command('SET', 'mine', '1')
    .catch(() => undefined);
  await stand.node('b').kill();
  const full = new BareNode('full', await freePorts(1));
  strangers.push(full);
  await full.start();
  await full.command('SET', 'foreign', '1');
  await stand.statusWhen(({ spares }) => spares.some(({ id, up }) => id === 'b' && !up));
  const inForce = proposalOf(config);
  const reasons = async (nodes: string[] | null, extra: Proposal['nodes'] = []) => {
    const shard = { name: 's2', weight: 1, nodes, copies: nodes?.length ?? 2 };
    const plan = await planOf(config, {
      ...inForce,
      nodes: [...inForce.nodes, ...extra],
      shards: [...inForce.shards, shard],
    });
    return plan.refused.join('\n');
  };
  expect(await reasons(['b'])).toMatch(/^shard s2: node b: it does not serve \(crashed\)$/);
  expect(await reasons(null)).toMatch(/^shard s2 needs 2 free nodes, and there is 1 \(b: it does not serve/);
  const foreign = { id: 'full', host: '127.0.0.1', port: full.port, zone: 'z' };
  expect(await reasons(['full'], [foreign])).toMatch(
    /node full: it holds 1 keys, and a shard that is added begins empty/,
  );
  const nobody = { id: 'nobody', host: '127.0.0.1', port: await freePorts(1), zone: 'z' };
  expect(await reasons(['nobody'], [nobody])).toMatch(/node nobody: it does not answer as it must: .*ECONNREFUSED/);
  const refused = await post(config, '/v1/apply', {
    proposal: { ...inForce, shards: [] },
    basis: (await planOf(config, inForce)).basis,
  });
  expect(refused).toMatchObject({ status: 409, body: { error: 'no shard would be left' } });
});

test('a shard that is left without keys when a leader ends is dropped by the next one', async () => {
  const config = await started();
  const supervisor = await stand.restart(config, topology => ({
    ...topology,
    shards: [
      ...topology.shards,
      { ...(topology.shards[0] as Topology['shards'][0]), name: 's9', weight: 0, primary: 'c', nodes: ['c'] },
    ],
  }));
  await stand.statusWhen(({ changesRoles, shards }) => changesRoles && shards.length === 1);
  expect((await stand.topology()).shards.map(({ name }) => name)).toEqual(['s1']);
  await supervisor.close();
});

test("the nodes' default user is switched off as the file changes, without a restart", async () => {
  const config = await started(ONE, '', 'nodeAccess: { keepDefaultUser: true }');
  expect(await stand.node('a').command('DBSIZE')).toBe(KEYS);
  writeFileSync(config.file, readFileSync(config.file, 'utf8').replace('nodeAccess: { keepDefaultUser: true }', ''));
  await until(
    async () =>
      stand
        .node('a')
        .command('DBSIZE')
        .catch((error: Error) => error.message),
    answer => /NOAUTH|WRONGPASS|NOPERM/.test(String(answer)),
  );
});

test('of two supervisors whoever leads goes on with the move, also one with an old settings file', async () => {
  etcd = await TestEtcd.start();
  const store = `  store: { etcd: { endpoints: ${JSON.stringify(etcd.endpoints)} } }\n`;
  await Promise.all(stand.nodes.map(node => node.start()));
  const config = stand.settings({ shards: ONE, supervisor: store });
  const first = await stand.start(config);
  await stand.statusWhen(({ changesRoles, shards }) => changesRoles && shards[0]?.state === 'healthy');
  // Its file knows nothing of the third node.
  const old = stand.settings({ which: 1, shards: ONE, supervisor: store });
  const text = readFileSync(old.file, 'utf8').replace(/ {2}- \{ id: c, .*\n/, '');
  writeFileSync(old.file, text);
  await stand.start(loadConfig(old.file));
  await until(
    () => stand.topology(1),
    ({ version }) => version >= 1,
  );
  const inForce = proposalOf(config);
  const shards = [...inForce.shards, { name: 's2', weight: 1, nodes: ['c'], copies: 1 }];
  const plan = await planOf(config, { ...inForce, shards });
  await post(config, '/v1/apply', { proposal: { ...inForce, shards }, basis: plan.basis });
  await first.close();
  const done = await until(() => stand.topology(1), isDone, 30_000);
  expect(done.shards.map(({ name, nodes }) => [name, nodes])).toEqual([
    ['s1', ['a']],
    ['s2', ['c']],
  ]);
  const status = await until(
    () => stand.status(1),
    ({ changesRoles }) => changesRoles,
  );
  expect(status.leader).toBe(stand.url(1));
  expect(status.problems).toEqual([expect.stringContaining('remove shard s2')]);
});
