import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { RedisProcess } from '../../src/local/redis-process.ts';
import type { ClusterStatus } from '../../src/supervisor/status.ts';
import { type RunningSupervisor, runSupervisor } from '../../src/supervisor/supervisor.ts';
import { feedToken } from '../../src/topology/credentials.ts';
import { TopologyFeed } from '../../src/topology/feed.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { freePorts } from '../support/ports.ts';

const access = { username: 'default', password: '', tls: null };
const silent = pino({ level: 'silent' });
let directory = '';
let firstPort = 0;
let nodes: RedisProcess[] = [];
let supervisor: RunningSupervisor | null = null;
let feed: TopologyFeed | null = null;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'ringside-supervisor-'));
  firstPort = await freePorts(4);
  nodes = ['a', 'b', 'c'].map((id, index) => {
    const node = { id, host: '127.0.0.1', port: firstPort + index, zone: 'z1' };
    return new RedisProcess(node, path.join(directory, id), access, () => undefined);
  });
});

afterEach(async () => {
  feed?.close();
  await supervisor?.close();
  supervisor = null;
  feed = null;
  for (const node of nodes) node.kill();
  while (nodes.some(node => node.identity !== null)) await new Promise(resolve => setTimeout(resolve, 5));
  rmSync(directory, { recursive: true, force: true });
});

function settings(more = ''): Config {
  const file = path.join(directory, 'ringside.yaml');
  const list = nodes.map(({ node }) => `  - { id: ${node.id}, address: 127.0.0.1:${node.port} }`).join('\n');
  writeFileSync(
    file,
    `cluster: shop
secret: 0123456789abcdef0123456789abcdef
nodes:
${list}
shards: [ { name: s1, nodes: [a, b] } ]
supervisor:
  listen: 127.0.0.1:${firstPort + 3}
  detect: { every: 20ms }
${more}`,
  );
  return loadConfig(file);
}

async function startNode(index: number): Promise<RedisProcess> {
  const node = nodes[index] as RedisProcess;
  node.start();
  await node.ready();
  return node;
}

async function startReplicatedPair(): Promise<void> {
  await Promise.all([startNode(0), startNode(1), startNode(2)]);
  await nodes[1]?.command(1000, 'REPLICAOF', '127.0.0.1', String(firstPort));
}

const url = (where: string) => `http://127.0.0.1:${firstPort + 3}${where}`;
const readStatus = async () => (await (await fetch(url('/v1/status'))).json()) as ClusterStatus;

async function until<T>(read: () => Promise<T> | T, good: (value: T) => boolean): Promise<T> {
  const endMs = performance.now() + 10_000;
  for (;;) {
    const value = await read();
    if (good(value)) return value;
    if (performance.now() > endMs) throw new Error(`still ${JSON.stringify(value)} after 10 s`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

function listen(config: Config): Topology[] {
  const seen: Topology[] = [];
  feed = new TopologyFeed({
    peers: [url('')],
    token: feedToken(config.secret, config.cluster),
    cluster: config.cluster,
    knownVersion: 0,
    random: new Random(1),
    onTopology: topology => seen.push(topology),
    onEvent: () => undefined,
  });
  feed.start();
  return seen;
}

test('the status shows roles, links and lag as the nodes tell them', async () => {
  await startReplicatedPair();
  supervisor = await runSupervisor(settings(), silent);
  const status = await until(readStatus, status => status.shards[0]?.inSync.length === 1);
  expect(status).toMatchObject({ cluster: 'shop', changesRoles: false });
  expect(status.shards[0]).toMatchObject({ name: 's1', epoch: 1, primary: 'a', inSync: ['b'], joining: null });
  expect(status.shards[0]?.nodes.map(({ id, role, up, lagBytes }) => [id, role, up, lagBytes])).toEqual([
    ['a', 'primary', true, 0],
    ['b', 'replica', true, 0],
  ]);
  expect(status.spares.map(({ id, role, up }) => [id, role, up])).toEqual([['c', 'spare', true]]);
});

test('a node that dies is down in the status, and no other takes its role', async () => {
  await startReplicatedPair();
  supervisor = await runSupervisor(settings(), silent);
  await until(readStatus, status => status.shards[0]?.inSync.length === 1);
  nodes[0]?.kill();
  const refused = (status: ClusterStatus) => status.shards[0]?.nodes[0]?.error?.includes('ECONNREFUSED') === true;
  const status = await until(readStatus, refused);
  expect(status.shards[0]).toMatchObject({ primary: 'a', epoch: 1, inSync: [] });
  expect(status.shards[0]?.nodes[0]?.up).toBe(false);
  expect(status.shards[0]?.nodes[1]).toMatchObject({ role: 'replica', up: true });
});

test('a line of log names the role of this process once, and that of a node under another name', async () => {
  await startReplicatedPair();
  const lines: string[] = [];
  const log = pino({ base: { role: 'supervisor' } }, { write: line => lines.push(line) });
  supervisor = await runSupervisor(settings(), log);
  const upLines = () => lines.filter(line => line.includes('"node is up"'));
  await until(upLines, found => found.length >= 2);
  for (const line of lines) expect(line.match(/"role":/g), line).toHaveLength(1);
  expect(upLines().map(line => (JSON.parse(line) as { nodeRole: string }).nodeRole)).toContain('replica');
});

test('a hung node is down within its limit and up again once it answers', async () => {
  await startReplicatedPair();
  supervisor = await runSupervisor(settings(), silent);
  await until(readStatus, status => status.shards[0]?.nodes[1]?.up === true);
  const pid = nodes[1]?.identity?.pid as number;
  process.kill(pid, 'SIGSTOP');
  await until(readStatus, status => status.shards[0]?.nodes[1]?.up === false);
  process.kill(pid, 'SIGCONT');
  await until(readStatus, status => status.shards[0]?.nodes[1]?.up === true);
});

test('the feed gives the topology at once, and again when a node is another incarnation', async () => {
  await startReplicatedPair();
  const config = settings();
  supervisor = await runSupervisor(config, silent);
  const seen = listen(config);
  const runIds = await Promise.all(nodes.map(async node => (await node.ask())?.runId));
  const newest = () => seen.at(-1);
  const complete = await until(newest, topology => topology?.nodes.every(node => node.runId !== null) === true);
  expect(complete?.nodes.map(node => node.runId)).toEqual(runIds);
  const replica = nodes[1] as RedisProcess;
  replica.kill();
  await until(
    () => replica.identity,
    identity => identity === null,
  );
  replica.start();
  const { runId } = await replica.ready();
  const next = await until(newest, topology => topology?.nodes[1]?.runId === runId);
  expect(next?.version).toBeGreaterThan(complete?.version ?? 0);
  expect(JSON.parse(readFileSync(path.join(config.supervisor.store.file, 'topology.json'), 'utf8'))).toEqual(next);
});

test('what was published outlives the supervisor', async () => {
  await startReplicatedPair();
  const config = settings();
  supervisor = await runSupervisor(config, silent);
  const stored = async () => (await (await fetch(url('/v1/topology'))).json()) as Topology;
  const before = await until(stored, topology => topology.nodes.every(node => node.runId !== null));
  await supervisor.close();
  supervisor = await runSupervisor(config, silent);
  expect(await stored()).toEqual(before);
});

test('the feed is for who has the token, the status for anyone unless the settings say otherwise', async () => {
  supervisor = await runSupervisor(settings(), silent);
  const statusOf = async (where: string, headers = {}) => (await fetch(url(where), { headers })).status;
  expect(await statusOf('/v1/topology/feed')).toBe(401);
  expect(await statusOf('/v1/topology/feed', { authorization: `Bearer ${'0'.repeat(64)}` })).toBe(401);
  expect(await statusOf('/v1/status')).toBe(200);
  expect(await statusOf('/v1/topology')).toBe(200);
  expect(await statusOf('/healthz')).toBe(200);
  await supervisor.close();
  const config = settings('  auth: { dashboard: token }\n');
  supervisor = await runSupervisor(config, silent);
  expect(await statusOf('/v1/status')).toBe(401);
  expect(await statusOf('/v1/topology')).toBe(401);
  const authorization = `Bearer ${feedToken(config.secret, config.cluster)}`;
  expect(await statusOf('/v1/status', { authorization })).toBe(200);
});

test('a taken port and a directory in use are told with what to do', async () => {
  const config = settings();
  supervisor = await runSupervisor(config, silent);
  await expect(runSupervisor(config, silent)).rejects.toThrow(
    `supervisor.store.file: ${config.supervisor.store.file} is in use by process ${process.pid}`,
  );
  const elsewhere = { ...config.supervisor, store: { file: path.join(directory, 'other') } };
  await expect(runSupervisor({ ...config, supervisor: elsewhere }, silent)).rejects.toThrow(
    `127.0.0.1:${firstPort + 3} is taken by another process: end it, or set another supervisor.listen`,
  );
});

test("a kept topology of another cluster is not served under this one's name", async () => {
  const config = settings();
  supervisor = await runSupervisor(config, silent);
  await supervisor.close();
  supervisor = null;
  await expect(runSupervisor({ ...config, cluster: 'other' }, silent)).rejects.toThrow(
    'holds the topology of cluster shop',
  );
});
