import { expect, test } from 'vitest';
import { reconcile } from '../../src/supervisor/reconcile.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { validateTopology } from '../../src/topology/validate.ts';

const node = (id: string, port: number, runId: string | null = null) => ({
  id,
  host: '10.0.0.1',
  port,
  zone: 'z1',
  runId,
});
const shard = (name: string, nodes: string[]) => {
  return { name, weight: 1, epoch: 1, primary: nodes[0] as string, inSync: [], joining: null, paused: false, nodes };
};

const kept: Topology = {
  cluster: 'shop',
  version: 5,
  term: 3,
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

test('another address of a node that holds nothing that counts is taken up, and its incarnation is unknown again', () => {
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

test('a node that holds acknowledged writes keeps its address, whatever an old settings file says', () => {
  const moved = { ...same, nodes: same.nodes.map(one => (one.id === 'b' ? { ...node('b', 12), zone: 'z2' } : one)) };
  const { topology, refused } = reconcile(kept, moved);
  expect(refused).toEqual(['10.0.0.1:12 as the address of b, which holds data elsewhere']);
  expect(topology.nodes.find(({ id }) => id === 'b')).toEqual({ ...node('b', 2, 'run-b'), zone: 'z2' });
});

test('a primary that was never formed may be anywhere', () => {
  const unformed = { ...kept, nodes: kept.nodes.map(one => ({ ...one, runId: null })) };
  const moved = { ...same, nodes: same.nodes.map(one => (one.id === 'b' ? node('b', 12) : one)) };
  expect(reconcile(unformed, moved)).toMatchObject({ refused: [], topology: { version: 6 } });
});

test('a spare that took the place of a lost copy is no difference; a member of another shard is refused', () => {
  const rebuilt = { ...kept, shards: [{ ...shard('s1', ['spare', 'b']), primary: 'b' }, shard('s2', ['c'])] };
  expect(reconcile(rebuilt, same).refused).toEqual([]);
  const taken = { ...same, shards: [shard('s1', ['a', 'b', 'c']), shard('s2', ['c'])] };
  expect(reconcile(kept, taken).refused).toEqual(['node c in shard s1: it is a member of shard s2']);
});

test('a member under another name does not make a second node of the same address', () => {
  const nodes = [node('renamed', 1), ...same.nodes.slice(1)];
  const { topology, refused } = reconcile(kept, {
    ...same,
    nodes,
    shards: [shard('s1', ['renamed', 'b']), shard('s2', ['c'])],
  });
  expect(() => validateTopology(topology)).not.toThrow();
  expect(topology.nodes.map(({ id }) => id)).toEqual(['a', 'b', 'c', 'spare']);
  expect(refused).toContain('node renamed at 10.0.0.1:1, where a is');
});

test('an address that another node keeps is given to nobody', () => {
  // a, which holds nothing, and b, the primary, are to change places; b does not move.
  const nodes = [node('a', 2), node('b', 1), ...same.nodes.slice(2)];
  const { topology, refused } = reconcile(kept, { ...same, nodes });
  expect(() => validateTopology(topology)).not.toThrow();
  expect(topology).toBe(kept);
  expect(refused).toEqual([
    '10.0.0.1:1 as the address of b, which holds data elsewhere',
    '10.0.0.1:2 as the address of a, as another node keeps it',
  ]);
});
