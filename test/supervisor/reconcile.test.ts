import { expect, test } from 'vitest';
import type { Proposal } from '../../src/supervisor/proposal.ts';
import { reconcile, withoutEmptyShards } from '../../src/supervisor/reconcile.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { validateTopology } from '../../src/topology/validate.ts';

const node = (id: string, port: number, runId: string | null = null) => ({
  id,
  host: '10.0.0.1',
  port,
  zone: 'z1',
  runId,
  draining: false,
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
  move: null,
};
const wish = (name: string, nodes: string[], weight = 1) => ({ name, nodes, weight, copies: nodes.length });
const same: Proposal = {
  ring: kept.ring,
  shards: [wish('s1', ['a', 'b']), wish('s2', ['c'])],
  nodes: kept.nodes.map(({ id, host, port, zone }) => ({ id, host, port, zone })),
};

test('settings that say the same leave the topology as it was kept, roles included', () => {
  expect(reconcile(kept, same)).toEqual({ topology: kept, refused: [], pending: [] });
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

test('what would move keys waits for a person, by name; what would take copies away is refused', () => {
  const proposed: Proposal = {
    ...same,
    ring: { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 100 },
    shards: [wish('s1', ['a', 'b'], 2), wish('s3', ['new'])],
    nodes: [...same.nodes.slice(1, 2), node('new', 9)],
  };
  const { topology, refused, pending } = reconcile(kept, proposed);
  expect(pending).toEqual(['another ring', 'weight 2 of shard s1, which is 1', 'no shard s2', 'a new shard s3']);
  expect(refused).toEqual(['no node a, a member of shard s1']);
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
  const taken = { ...same, shards: [wish('s1', ['a', 'b', 'c']), wish('s2', ['c'])] };
  expect(reconcile(kept, taken).refused).toEqual(['node c in shard s1: it is a member of shard s2']);
});

test('a member under another name does not make a second node of the same address', () => {
  const nodes = [node('renamed', 1), ...same.nodes.slice(1)];
  const { topology, refused } = reconcile(kept, {
    ...same,
    nodes,
    shards: [wish('s1', ['renamed', 'b']), wish('s2', ['c'])],
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

test('the ring may be written in any order of its fields', () => {
  const ring = { vnodes: 256, hashTag: '{}', hash: 'murmur3', kind: 'murmur3' } as const;
  expect(reconcile(kept, { ...same, ring }).pending).toEqual([]);
});

test('a node that is drained stays drained, whatever the settings say of it otherwise', () => {
  const draining = { ...kept, nodes: kept.nodes.map(one => ({ ...one, draining: one.id === 'a' })) };
  expect(reconcile(draining, same).topology).toBe(draining);
  const elsewhere = { ...same, nodes: same.nodes.map(one => ({ ...one, zone: 'z2' })) };
  expect(reconcile(draining, elsewhere).topology.nodes[0]).toEqual({
    ...node('a', 1, 'run-a'),
    zone: 'z2',
    draining: true,
  });
});

test('a shard that is to have more copies gets those that are named and free, and no more than it lacks', () => {
  const more = { ...same, shards: [wish('s1', ['a', 'b', 'spare']), wish('s2', ['c', 'spare', 'new'])] };
  const { topology } = reconcile(kept, { ...more, nodes: [...same.nodes, node('new', 9)] });
  expect(topology.shards.map(({ nodes }) => nodes)).toEqual([
    ['a', 'b', 'spare'],
    ['c', 'new'],
  ]);
  // A spare took the place of a, which is back: three are not asked for.
  const replaced = { ...kept, shards: [{ ...shard('s1', ['spare', 'b']), primary: 'b' }, shard('s2', ['c'])] };
  expect(reconcile(replaced, same).topology).toBe(replaced);
});

const move = {
  ...{ id: 5, ring: kept.ring, weights: { s1: 1, s2: 1, s3: 1 }, portions: [], moved: 0, current: null },
  ...{ aborting: false, paused: null, keysPerSecond: null, allowStalls: false },
};
const moving: Topology = {
  ...kept,
  shards: [...kept.shards, { ...shard('s3', ['d']), weight: 0 }],
  nodes: [...kept.nodes, node('d', 5)],
  move,
};

test('while keys move, the settings are compared with where they go; nodes of that are needed', () => {
  const after = { ...same, shards: [...same.shards, wish('s3', ['d'])], nodes: [...same.nodes, node('d', 5)] };
  expect(reconcile(moving, after)).toEqual({ topology: moving, refused: [], pending: [] });
  const old = reconcile(moving, same);
  expect(old).toEqual({ topology: moving, refused: [], pending: ['no shard s3'] });
  const back = { ...moving, move: { ...move, aborting: true } };
  expect(reconcile(back, same).pending).toEqual([]);
  expect(reconcile(back, after).pending).toEqual(['a new shard s3']);
});

test('a shard that is to go is not missed, nor are its nodes', () => {
  const leaving = { ...kept, move: { ...move, weights: { s1: 1, s2: 0 } } };
  const without = { ...same, shards: [wish('s1', ['a', 'b'])], nodes: same.nodes.filter(({ id }) => id !== 'c') };
  expect(reconcile(leaving, without)).toEqual({ topology: leaving, refused: [], pending: [] });
  expect(reconcile(kept, without)).toMatchObject({ refused: [], pending: ['no shard s2'] });
});

test('shards without keys go once no move is on', () => {
  expect(withoutEmptyShards(moving)).toBe(moving);
  expect(withoutEmptyShards(kept)).toBe(kept);
  const over = { ...moving, move: null };
  const dropped = withoutEmptyShards(over);
  expect(dropped).toEqual({ ...kept, version: 6, nodes: moving.nodes });
  expect(() => validateTopology(dropped)).not.toThrow();
});
