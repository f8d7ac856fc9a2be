import { expect, test } from 'vitest';
import { reconcile } from '../../src/supervisor/reconcile.ts';
import type { Topology } from '../../src/topology/snapshot.ts';

const node = (id: string, port: number, runId: string | null = null) => ({
  id,
  host: '10.0.0.1',
  port,
  zone: 'z1',
  runId,
});
const shard = (name: string, nodes: string[]) => {
  return { name, weight: 1, epoch: 1, primary: nodes[0] as string, inSync: [], joining: null, nodes };
};

const kept: Topology = {
  cluster: 'shop',
  version: 5,
  ring: { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 },
  shards: [{ ...shard('s1', ['a', 'b']), primary: 'b', epoch: 3 }, shard('s2', ['c'])],
  nodes: [node('a', 1, 'run-a'), node('b', 2, 'run-b'), node('c', 3, 'run-c'), node('spare', 4)],
};
const same: Topology = {
  ...kept,
  version: 1,
  shards: [shard('s1', ['a', 'b']), shard('s2', ['c'])],
  nodes: kept.nodes.map(node => ({ ...node, runId: null })),
};

test('settings that say the same leave the topology as it was kept, roles included', () => {
  expect(reconcile(kept, same)).toEqual({ topology: kept, refused: [] });
});

test('another address of a node is taken up, and its incarnation is unknown again', () => {
  const moved = { ...same, nodes: [node('a', 11), ...same.nodes.slice(1)] };
  const { topology, refused } = reconcile(kept, moved);
  expect(refused).toEqual([]);
  expect(topology.version).toBe(6);
  expect(topology.nodes).toEqual([node('a', 11), ...kept.nodes.slice(1)]);
  expect(topology.shards).toEqual(kept.shards);
});

test('further spares are taken up, and spares that are no longer named go', () => {
  const nodes = [...same.nodes.slice(0, 3), node('new', 9)];
  const { topology, refused } = reconcile(kept, { ...same, nodes });
  expect(refused).toEqual([]);
  expect(topology.nodes.map(node => node.id)).toEqual(['a', 'b', 'c', 'new']);
});

test('what would move keys or take away copies is refused by name', () => {
  const proposed: Topology = {
    ...same,
    ring: { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 100 },
    shards: [{ ...shard('s1', ['a', 'b']), weight: 2 }, shard('s3', ['new'])],
    nodes: [...same.nodes.slice(0, 2), node('new', 9)],
  };
  const { topology, refused } = reconcile(kept, proposed);
  expect(refused).toEqual([
    'another ring',
    'another weight of shard s1',
    'no shard s2',
    'no node c, a member of shard s2',
    'a new shard s3',
  ]);
  expect(topology.shards).toEqual(kept.shards);
  expect(topology.nodes.map(node => node.id)).toEqual(['a', 'b', 'c', 'new']);
});

test('other members of a shard are refused', () => {
  const proposed = { ...same, shards: [shard('s1', ['a', 'b', 'spare']), shard('s2', ['c'])] };
  expect(reconcile(kept, proposed).refused).toEqual(['other nodes in shard s1']);
});
