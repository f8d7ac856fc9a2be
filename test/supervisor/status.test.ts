import { expect, test } from 'vitest';
import type { NodeReport } from '../../src/supervisor/node-report.ts';
import type { Observation } from '../../src/supervisor/probe.ts';
import { clusterStatus } from '../../src/supervisor/status.ts';
import type { Topology } from '../../src/topology/snapshot.ts';

const node = (id: string, port: number) => ({ id, host: '127.0.0.1', port, zone: 'z1', runId: null });

const topology: Topology = {
  cluster: 'shop',
  version: 7,
  ring: { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 },
  shards: [{ name: 's1', weight: 1, epoch: 4, primary: 'a', inSync: [], joining: null, nodes: ['a', 'b', 'c'] }],
  nodes: [node('a', 7001), node('b', 7002), node('c', 7003), node('d', 7004)],
};

const primary: NodeReport = {
  runId: 'run-a',
  processId: 1,
  version: '7.0.15',
  role: 'primary',
  loading: false,
  replicationId: 'history-1',
  offset: 1000,
  following: null,
  keys: 3,
  usedMemoryBytes: 1_000_000,
  maxMemoryBytes: 0,
};
const replica: NodeReport = {
  ...primary,
  runId: 'run-b',
  role: 'replica',
  offset: 940,
  following: { host: '127.0.0.1', port: 7001, linkUp: true, syncing: false },
};
const up = (report: NodeReport): Observation => ({ up: true, report, error: null, atMs: 5 });
const down = (report: NodeReport | null): Observation => ({ up: false, report, error: 'ECONNREFUSED', atMs: 5 });

function statusOf(seen: Record<string, Observation>) {
  const status = clusterStatus(topology, new Map(Object.entries(seen)));
  const [shard] = status.shards;
  if (shard === undefined) throw new Error('no shard');
  return { status, shard };
}

test('the form that scripts read', () => {
  const { status } = statusOf({ a: up(primary), b: up(replica), c: down(null), d: up({ ...primary, runId: 'run-d' }) });
  expect(status).toEqual({
    cluster: 'shop',
    version: 7,
    changesRoles: false,
    shards: [
      {
        name: 's1',
        epoch: 4,
        primary: 'a',
        inSync: ['b'],
        joining: null,
        nodes: [
          {
            id: 'a',
            role: 'primary',
            up: true,
            lagBytes: 0,
            address: '127.0.0.1:7001',
            runId: 'run-a',
            linkUp: null,
            usedMemoryBytes: 1_000_000,
            error: null,
          },
          {
            id: 'b',
            role: 'replica',
            up: true,
            lagBytes: 60,
            address: '127.0.0.1:7002',
            runId: 'run-b',
            linkUp: true,
            usedMemoryBytes: 1_000_000,
            error: null,
          },
          {
            id: 'c',
            role: 'replica',
            up: false,
            lagBytes: null,
            address: '127.0.0.1:7003',
            runId: null,
            linkUp: null,
            usedMemoryBytes: null,
            error: 'ECONNREFUSED',
          },
        ],
      },
    ],
    spares: [
      {
        id: 'd',
        role: 'spare',
        up: true,
        lagBytes: null,
        address: '127.0.0.1:7004',
        runId: 'run-d',
        linkUp: null,
        usedMemoryBytes: 1_000_000,
        error: null,
      },
    ],
  });
});

const following = replica.following;
if (following === null) throw new Error('a replica follows somebody');

test.each<[string, NodeReport]>([
  ['whose link is down', { ...replica, following: { ...following, linkUp: false } }],
  ['that is being copied to', { ...replica, following: { ...following, syncing: true } }],
  ['with another history', { ...replica, replicationId: 'history-2' }],
  ['that is loading', { ...replica, loading: true }],
  ['that has become a primary', { ...primary, runId: 'run-b' }],
])('a replica %s is not in sync and has no known lag', (_, report) => {
  const { shard } = statusOf({ a: up(primary), b: up(report) });
  expect(shard.inSync).toEqual([]);
  expect(shard.nodes[1]).toMatchObject({ up: true, lagBytes: null });
});

test('nobody is in sync with a primary that is down, and no lag is known', () => {
  const { shard } = statusOf({ a: down(primary), b: up(replica) });
  expect(shard.inSync).toEqual([]);
  expect(shard.nodes[0]).toMatchObject({ role: 'primary', up: false, lagBytes: null });
  expect(shard.nodes[1]?.lagBytes).toBeNull();
});

test('a replica that was asked after the primary has no lag below zero', () => {
  const { shard } = statusOf({ a: up(primary), b: up({ ...replica, offset: 1100 }) });
  expect(shard.nodes[1]?.lagBytes).toBe(0);
});

test('a node that was not asked yet counts as down', () => {
  const { shard } = statusOf({});
  expect(shard.nodes.map(node => [node.role, node.up, node.error])).toEqual([
    ['primary', false, 'not asked yet'],
    ['replica', false, 'not asked yet'],
    ['replica', false, 'not asked yet'],
  ]);
});
