/** What the local cluster says of itself before and after its supervisors have published. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { ClusterView } from '../../src/local/cluster-view.ts';
import { directorySettings } from '../../src/local/local-settings.ts';
import { overview } from '../../src/local/overview.ts';
import { rolesOf } from '../../src/local/roles.ts';
import { wantedPorts } from '../../src/local/wanted-ports.ts';
import { initialTopology, type Topology, type TopologyShard } from '../../src/topology/snapshot.ts';

let directory = '';
let server: Server;
let streams: ServerResponse[] = [];
let view: ClusterView | null = null;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'ringside-view-'));
  streams = [];
  server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': hello\n\n');
    streams.push(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(() => {
  view?.close();
  server.closeAllConnections();
  server.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Two shards of two copies and a spare, whose one supervisor is the test. */
function settings(): Config {
  const flags = { shards: 2, copies: 2, spares: 1, supervisorPort: (server.address() as AddressInfo).port };
  return directorySettings(directory, flags, false);
}

/** The proposed topology as one that is served: every primary has an incarnation. */
function formed(config: Config, change: Partial<TopologyShard> = {}): Topology {
  const proposed = initialTopology(config);
  const [first, ...others] = proposed.shards.map(shard => ({ ...shard, inSync: shard.nodes.slice(1) }));
  if (first === undefined) throw new Error('no shard');
  const nodes = proposed.nodes.map(node => ({ ...node, runId: 'a'.repeat(40) }));
  return { ...proposed, shards: [{ ...first, ...change }, ...others], nodes };
}

async function told(config: Config, topology: Topology): Promise<ClusterView> {
  let changes = 0;
  view = new ClusterView(config, () => {
    changes += 1;
  });
  view.start();
  await expect.poll(() => streams.length).toBe(1);
  streams[0]?.write(`event: topology\ndata: ${JSON.stringify(topology)}\n\n`);
  await expect.poll(() => changes).toBe(1);
  return view;
}

test('before anybody has told it, it is as proposed, without roles', () => {
  const early = new ClusterView(settings(), () => undefined);
  expect(early.topology.shards.map(({ primary }) => primary)).toEqual(['n1', 'n3']);
  expect(early.shardOf('n4')?.name).toBe('s2');
  expect(early.roleOf('n1')).toBeNull();
  expect(early.unformed).toBe('no supervisor has told who owns what');
});

test('whole: every shard has a primary, and all its copies are in sync', async () => {
  const config = settings();
  const whole = await told(config, formed(config));
  expect([whole.unformed, whole.incomplete]).toEqual([null, null]);
  expect(['n1', 'n2', 'n5'].map(id => whole.roleOf(id))).toEqual(['primary', 'replica', null]);
});

test.each<[string, Partial<TopologyShard>, string | null, string | null]>([
  ['a copy is missing', { inSync: [] }, null, 'only 1 of 2 copies of shard s1 in sync'],
  ['a copy joins', { inSync: [], joining: 'n2' }, null, 'only 1 of 2 copies of shard s1 in sync'],
  ['a change of primary is on', { paused: true }, 'shard s1 has no primary yet', null],
])('%s', async (_, change, unformed, incomplete) => {
  const config = settings();
  const seen = await told(config, formed(config, change));
  expect([seen.unformed, seen.incomplete]).toEqual([unformed, incomplete]);
});

test('a primary that never served is none', async () => {
  const config = settings();
  const topology = formed(config);
  const nodes = topology.nodes.map(node => (node.id === 'n3' ? { ...node, runId: null } : node));
  expect((await told(config, { ...topology, nodes })).unformed).toBe('shard s2 has no primary yet');
});

test('the table shows roles as published, a spare that was taken in, and what is missing', async () => {
  const config = settings();
  const taken = { primary: 'n2', inSync: [], nodes: ['n1', 'n2', 'n5'] };
  const seen = await told(config, formed(config, taken));
  const pids = { proxy: 1, supervisors: [2], etcd: [], node: () => 3 };
  const roles = rolesOf(config, directory);
  const text = overview({ config, directory, redisVersion: '7.0.15', roles, view: seen, pids });
  expect(text).toMatch(/^node n1 .* replica of s1, not in sync$/m);
  expect(text).toMatch(/^node n2 .* primary of s1$/m);
  expect(text).toMatch(/^node n5 .* replica of s1, not in sync$/m);
  expect(text).toMatch(/^node n4 .* replica of s2$/m);
  expect(text).toContain('missing    only 1 of 2 copies of shard s1 in sync: see `ringside status`\n');
});

test('ports of every supervisor and of etcd are wanted, each with what to do where it is taken', () => {
  const config = directorySettings(directory, { shards: 1, copies: 1, supervisors: 3 }, false);
  const wanted = wantedPorts(config, directory, rolesOf(config, directory), config.nodes);
  expect(wanted.map(({ port, what }) => `${port} ${what}`)).toEqual([
    '7001 node n1',
    '6379 the proxy',
    '9121 the admin endpoint',
    '7700 supervisor 1',
    '7701 supervisor 2',
    '7702 supervisor 3',
    '7710 etcd e1',
    '7711 etcd e1',
    '7712 etcd e2',
    '7713 etcd e2',
    '7714 etcd e3',
    '7715 etcd e3',
  ]);
  expect(wanted[4]?.remedy).toBe('choose another port, such as --supervisor-port 7702');
  expect(wanted[6]?.remedy).toBe('end that process, or choose others with --etcd-port and a new --dir');
});
