import { expect, test } from 'vitest';
import type { Observation } from '../../src/supervisor/core/effect.ts';
import type { EngineStatus } from '../../src/supervisor/core/engine.ts';
import type { NodeReport } from '../../src/supervisor/core/node-report.ts';
import { clusterStatus, type LeaderKnowledge } from '../../src/supervisor/status.ts';
import type { Topology } from '../../src/topology/snapshot.ts';

const topology: Topology = {
  cluster: 'shop',
  version: 9,
  move: null,
  term: 3,
  ring: { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 },
  shards: [
    {
      name: 's1',
      weight: 1,
      epoch: 4,
      primary: 'b',
      inSync: ['a'],
      joining: 'c',
      paused: false,
      nodes: ['a', 'b', 'c'],
    },
  ],
  nodes: ['a', 'b', 'c', 'd'].map((id, index) => {
    return { id, host: '10.0.0.1', port: index + 1, zone: `z${index}`, runId: `run-${id}`, draining: false };
  }),
};

const base: NodeReport = {
  ...{ runId: 'run-b', processId: 1, version: '7.0.15', role: 'primary', loading: false, replicationId: 'h' },
  ...{ offset: 100, previousReplicationId: null, promotedAtOffset: -1, following: null, keys: 1, replicaLinks: 1 },
  ...{ usedMemoryBytes: 1000, maxMemoryBytes: 0, maxMemoryPolicy: 'noeviction' },
};
const following = { host: '10.0.0.1', port: 2, linkUp: true, syncing: false, syncLeftBytes: 0, lastHeardSeconds: 0 };
const replica: NodeReport = { ...base, runId: 'run-a', role: 'replica', offset: 88, following };

const engine: EngineStatus = {
  term: 4,
  move: null,
  shards: [
    {
      name: 's1',
      state: 'degraded',
      why: 'c joins',
      running: 'grow',
      rebuild: { nodeId: 'c', from: 'a', sinceMs: 900, leftBytes: 5000, lagBytes: null },
      shortage: null,
      needs: null,
      changes: [{ kind: 'failover', cause: 'a crashed', atMs: 500, durationMs: 231.4, from: 'a', to: 'b' }],
    },
  ],
  nodes: [
    {
      id: 'a',
      health: 'up',
      ready: true,
      report: replica,
      reportedAtMs: 990,
      lagBytes: 12,
      needs: null,
      drain: null,
      emptying: null,
    },
    {
      id: 'b',
      health: 'up',
      ready: true,
      report: base,
      reportedAtMs: 990,
      lagBytes: null,
      needs: null,
      drain: null,
      emptying: null,
    },
    {
      id: 'c',
      health: 'crashed',
      ready: false,
      report: null,
      reportedAtMs: null,
      lagBytes: null,
      needs: null,
      drain: null,
      emptying: null,
    },
  ],
};
const seen = new Map<string, Observation>([
  ['a', { kind: 'report', report: replica }],
  ['b', { kind: 'report', report: base }],
  ['c', { kind: 'refused', text: 'ECONNREFUSED' }],
]);
const leading: LeaderKnowledge = { engine, seen, lagMs: () => 1234, wallMs: engineMs => 1_000_000 + engineMs };
const knowledge = { leader: 'http://s1', knownBy: 'http://s1', problems: [], leading };

test('the leader tells what stands in the topology, what it saw, and what it does', () => {
  const status = clusterStatus('shop', topology, knowledge);
  expect(status).toMatchObject({ cluster: 'shop', version: 9, term: 4, leader: 'http://s1', changesRoles: true });
  expect(status.shards[0]).toMatchObject({
    ...{ name: 's1', epoch: 4, primary: 'b', inSync: ['a'], joining: 'c', paused: false, required: 1 },
    ...{ state: 'degraded', why: 'c joins', running: 'grow', needs: null },
    rebuild: { node: 'c', from: 'a', since: 1_000_900, leftBytes: 5000, lagBytes: null },
    changes: [{ kind: 'failover', cause: 'a crashed', at: 1_000_500, durationMs: 231, from: 'a', to: 'b' }],
  });
  const rows = status.shards[0]?.nodes.map(node => [node.id, node.role, node.up, node.lagBytes, node.lagSeconds]);
  expect(rows).toEqual([
    ['a', 'replica', true, 12, 1.2],
    ['b', 'primary', true, 0, 0],
    ['c', 'replica', false, null, null],
  ]);
  expect(status.shards[0]?.nodes[2]).toMatchObject({ error: 'ECONNREFUSED', health: 'crashed', runId: 'run-c' });
  expect(status.spares).toMatchObject([{ id: 'd', role: 'spare', up: false, error: 'not asked yet', zone: 'z3' }]);
});

test('a replica that has everything is not behind in time', () => {
  const even = { ...engine, nodes: engine.nodes.map(node => (node.id === 'a' ? { ...node, lagBytes: -3 } : node)) };
  const status = clusterStatus('shop', topology, { ...knowledge, leading: { ...leading, engine: even } });
  expect(status.shards[0]?.nodes[0]).toMatchObject({ lagBytes: 0, lagSeconds: 0 });
});

test('a node that is drained is told, how far by the leader alone; a member more is no copy missing', () => {
  const drain = { step: 'copies', why: 'd becomes a copy of s1', needs: null } as const;
  const draining: Topology = {
    ...topology,
    shards: topology.shards.map(shard => (shard.name === 's1' ? { ...shard, copies: 2 } : shard)),
    nodes: topology.nodes.map(node => (node.id === 'a' ? { ...node, draining: true } : node)),
  };
  const nodes = engine.nodes.map(node => (node.id === 'a' ? { ...node, drain } : node));
  const status = clusterStatus('shop', draining, {
    ...knowledge,
    leading: { ...leading, engine: { ...engine, nodes } },
  });
  expect(status.shards[0]?.copies).toBe(2);
  expect(status.shards[0]?.nodes.map(node => [node.draining, node.drain])).toEqual([
    [true, drain],
    [false, null],
    [false, null],
  ]);
  const follower = clusterStatus('shop', draining, { ...knowledge, leading: null });
  expect(follower.shards[0]?.nodes[0]).toMatchObject({ draining: true, drain: null });
});

test('a move is told as the leader sees it, and by a follower as far as it is published', () => {
  const ring = topology.ring;
  const portions = [0, 1].map(part => ({ source: 's1', target: 's2', part, parts: 2, keys: 300 }));
  const current = { index: 1, phase: 'moving', way: 'there', set: 7, thereSet: null } as const;
  const move = {
    ...{ id: 8, ring, weights: { s1: 1, s2: 1 }, portions, moved: 1, current },
    ...{ aborting: false, paused: null, keysPerSecond: 50, allowStalls: true },
  };
  const moving: Topology = { ...topology, move };
  const work: NonNullable<EngineStatus['move']> = {
    ...{ phase: 'moves', way: 'there' },
    ...{ why: 'keys go from s1 to s2', portion: 2, portions: 2, giver: 's1', taker: 's2' },
    ...{ keysMoved: 310, keysInAll: 620, bytesMoved: 5000, keysPerSecond: 48, mostKeysPerSecond: 50 },
    ...{ addedLatencyMs: 0.4, mostAddedLatencyMs: 5, leftMs: 6000, paused: null, aborting: false, needs: null },
    ...{ largeKeys: [], evicted: 0 },
  };
  const told = clusterStatus('shop', moving, {
    ...knowledge,
    leading: { ...leading, engine: { ...engine, move: work } },
  });
  expect(told.move).toEqual({ ...work, id: 8, allowStalls: true });
  const follower = clusterStatus('shop', moving, { ...knowledge, leading: null });
  expect(follower.move).toMatchObject({
    ...{ id: 8, phase: 'unknown', portion: 2, portions: 2, giver: 's1', taker: 's2', keysMoved: 300, keysInAll: 600 },
    ...{ leftMs: null, mostKeysPerSecond: 50 },
  });
  expect(clusterStatus('shop', topology, knowledge).move).toBeNull();
});

test('a follower tells the topology and says what it does not know', () => {
  const status = clusterStatus('shop', topology, { ...knowledge, knownBy: 'http://s2', leading: null });
  expect(status).toMatchObject({ changesRoles: false, leader: 'http://s1', knownBy: 'http://s2', term: 3 });
  expect(status.shards[0]).toMatchObject({ primary: 'b', inSync: ['a'], state: 'unknown', changes: [], rebuild: null });
  expect(status.shards[0]?.nodes[0]).toMatchObject({ up: false, error: expect.stringContaining('does not lead') });
});

test('before any topology is known there is a status all the same', () => {
  const status = clusterStatus('shop', null, { leader: null, knownBy: 'http://s1', problems: ['etcd'], leading: null });
  expect(status).toMatchObject({ version: 0, shards: [], spares: [], problems: ['etcd'], leader: null });
});
