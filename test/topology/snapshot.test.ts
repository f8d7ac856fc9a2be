/** What may be a topology, and what is different between two. */
import { describe, expect, test } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { feedToken } from '../../src/topology/credentials.ts';
import { diffTopologies, initialTopology, type Topology, topologyEquals } from '../../src/topology/snapshot.ts';
import { TopologyError, validateTopology } from '../../src/topology/validate.ts';
import { exampleTopology } from './example.ts';

const example = exampleTopology(7);
const [s1, s2] = example.shards as [Topology['shards'][0], Topology['shards'][0]];

/** The example with one shard replaced, in the first place. */
function withShard(change: Partial<Topology['shards'][0]>): Topology {
  return { ...example, shards: [{ ...s1, ...change }, s2] };
}

const portion = { source: 's1', target: 's2', part: 0, parts: 1, keys: 10 };
const current = { index: 0, phase: 'preparing', way: 'there', set: 1, thereSet: null };

/** The example with a move of one portion on, changed. */
function moving(change: object): unknown {
  const move = {
    ...{ id: 7, ring: example.ring, weights: { s1: 1, s2: 2 }, portions: [portion], moved: 0, current: null },
    ...{ aborting: false, paused: null, keysPerSecond: null, allowStalls: false },
  };
  return { ...example, move: { ...move, ...change } };
}

describe('validation', () => {
  test('lets a sound topology through unchanged, also after a way over JSON', () => {
    expect(validateTopology(JSON.parse(JSON.stringify(example)))).toEqual(example);
    const twemproxy = { kind: 'twemproxy', hash: 'crc16', distribution: 'modula', hashTag: '' } as const;
    expect(validateTopology({ ...example, ring: twemproxy }).ring).toEqual(twemproxy);
  });

  test('takes a document of the first release, which knew neither terms nor pauses', () => {
    const { term, ...document } = example;
    const shards = example.shards.map(({ paused, ...shard }) => shard);
    expect(validateTopology({ ...document, shards })).toEqual({ ...example, term: 0 });
    expect(term).toBe(0);
  });

  const wrong: [string, unknown, string][] = [
    ['a term below 0', { ...example, term: -1 }, 'term'],
    ['a pause that is no truth value', { ...example, shards: [{ ...s1, paused: 'yes' }, s2] }, 'shards[0].paused'],
    ['no copies', { ...example, shards: [{ ...s1, copies: 0 }, s2] }, 'shards[0].copies'],
    ['nothing', null, 'malformed'],
    ['a text', 'topology', 'malformed'],
    ['a version of 0', { ...example, version: 0 }, 'version'],
    ['a field that nobody knows', { ...example, moves: [] }, 'moves'],
    ['a ring of no kind', { ...example, ring: { ...example.ring, kind: 'jump' } }, 'ring.kind'],
    ['half a hash tag', { ...example, ring: { ...example.ring, hashTag: '{' } }, 'ring.hashTag'],
    ['no shards', { ...example, shards: [] }, 'shards'],
    ['an epoch of one and a half', withShard({ epoch: 1.5 }), 'shards[0].epoch'],
    ['a weight below 0', withShard({ weight: -1 }), 'shards[0].weight'],
    ['no shard that owns a key', { ...example, shards: [s1, s2].map(one => ({ ...one, weight: 0 })) }, 'owns any key'],
    ['two nodes of one id', { ...example, nodes: [...example.nodes, { ...example.nodes[0], port: 9 }] }, 'the id a1'],
    [
      'two nodes of one address',
      { ...example, nodes: [...example.nodes, { ...example.nodes[0], id: 'x' }] },
      'address',
    ],
    ['two shards of one name', { ...example, shards: [s1, { ...s2, name: 's1' }] }, 'the name s1'],
    ['a node in two shards', { ...example, shards: [s1, { ...s2, nodes: [...s2.nodes, 'b1'] }] }, 'node b1'],
    ['a member that is no node', withShard({ nodes: ['a1', 'b1', 'x9'] }), 'its member x9'],
    ['a primary that is no member', withShard({ primary: 'c1' }), 'its primary c1'],
    ['a primary that is in sync with itself', withShard({ inSync: ['a1'] }), 'also an in-sync replica'],
    ['an in-sync replica that is no member', withShard({ inSync: ['d1'] }), 'replica d1'],
    ['an in-sync replica twice', withShard({ inSync: ['b1', 'b1'] }), 'in sync twice'],
    ['a joining node that is no member', withShard({ joining: 'd1' }), 'joining node d1'],
    ['a joining node that is in sync', withShard({ joining: 'b1', inSync: ['b1'] }), 'in sync already'],
    ['a joining primary', withShard({ joining: 'a1' }), 'in sync already'],
    ['a move with a field that nobody knows', moving({ speed: 1 }), 'move.speed'],
    ['a move that is no map', { ...example, move: 7 }, 'move: expected a map'],
    ['a move to a ring of no kind', moving({ ring: { kind: 'jump' } }), 'move.ring.kind'],
    ['a move without an id', moving({ id: 0 }), 'move.id'],
    ['weights that are no map', moving({ weights: null }), 'move.weights'],
    ['a goal weight below 0', moving({ weights: { s1: -1, s2: 1 } }), 'move.weights.s1'],
    ['a goal for a shard that is none', moving({ weights: { s1: 1, s9: 1 } }), 's9 is no shard'],
    ['a goal at which no shard owns a key', moving({ weights: { s1: 0, s2: 0 } }), 'would own any key'],
    ['a portion from a shard that is none', moving({ portions: [{ ...portion, source: 's9' }] }), 's9 is no shard'],
    ['a portion from a shard to itself', moving({ portions: [{ ...portion, target: 's1' }] }), 'from s1 to s1 is none'],
    ['a part beyond the last', moving({ portions: [{ ...portion, part: 1 }] }), 'part 1 of 1'],
    ['a part twice', moving({ portions: [portion, portion] }), 'there twice'],
    ['a part that is missing', moving({ portions: [{ ...portion, parts: 2 }] }), 'a part of a portion is missing'],
    ['more portions moved than there are', moving({ moved: 2 }), 'more was moved than there is'],
    ['a portion under way out of turn', moving({ moved: 1, current }), 'portion 0 cannot be under way'],
    ['a way back of what has not arrived', moving({ current: { ...current, way: 'back' } }), 'cannot be under way'],
    ['a phase that is none', moving({ current: { ...current, phase: 'closing' } }), 'move.current.phase'],
    ['a return without the set of the way there', moving({ current: { ...current, way: 'return' } }), 'is missing'],
    ['a set of the way there on the way there', moving({ current: { ...current, thereSet: 3 } }), 'too many'],
    ['a bound of no keys', moving({ keysPerSecond: 0 }), 'move.keysPerSecond'],
  ];

  test('lets the moves through that there can be', () => {
    const two = [0, 1].map(part => ({ ...portion, part, parts: 2 }));
    const sound: object[] = [
      {},
      { portions: [] },
      { current },
      { current: { ...current, phase: 'moving' } },
      { portions: two, moved: 1, current: { ...current, index: 1 } },
      { moved: 1, aborting: true, current: { ...current, way: 'back' } },
      { aborting: true, current: { ...current, way: 'return', thereSet: 1, set: 2 } },
      { paused: 'a person has paused it', keysPerSecond: 10, allowStalls: true, weights: { s1: 1, s2: 0 } },
    ];
    for (const change of sound) {
      const topology = moving(change);
      expect(validateTopology(JSON.parse(JSON.stringify(topology)))).toEqual(topology);
    }
  });

  test.each(wrong)('refuses %s', (_, value, words) => {
    expect(() => validateTopology(value)).toThrow(TopologyError);
    expect(() => validateTopology(value)).toThrow(words);
  });
});

describe('the first topology', () => {
  const config = {
    cluster: 'shop',
    ring: example.ring,
    shards: [{ name: 's1', weight: 2, nodes: ['b1', 'a1'] }],
    nodes: [
      { id: 'a1', host: '10.0.0.1', port: 6379, zone: 'a' },
      { id: 'b1', host: '10.0.0.2', port: 6379, zone: 'b' },
      { id: 'spare', host: '10.0.0.3', port: 6379, zone: 'c' },
    ],
  } as unknown as Config;

  test('proposes the first node of each shard, counts none in sync, and knows the spares', () => {
    const topology = initialTopology(config);
    expect(validateTopology(topology)).toEqual(topology);
    expect(topology).toMatchObject({
      cluster: 'shop',
      version: 1,
      shards: [{ epoch: 1, primary: 'b1', inSync: [], joining: null }],
    });
    expect(topology.nodes.map(node => node.id)).toEqual(['a1', 'b1', 'spare']);
  });
});

describe('comparison', () => {
  test('two versions that say the same are equal, whatever the version and the order of replicas', () => {
    const one = { ...withShard({ inSync: ['b1', 'c1'], nodes: ['a1', 'b1', 'c1'] }), version: 1 };
    const two = { ...withShard({ inSync: ['c1', 'b1'], nodes: ['a1', 'b1', 'c1'] }), version: 2 };
    expect(topologyEquals(one, two)).toBe(true);
    const otherOrder = { ...two, ring: { vnodes: 256, hashTag: '{}', hash: 'murmur3', kind: 'murmur3' } as const };
    expect(topologyEquals(one, otherOrder)).toBe(true);
  });

  test('every field counts', () => {
    const others: Topology[] = [
      { ...example, cluster: 'other' },
      { ...example, ring: { ...example.ring, hashTag: '' } },
      withShard({ epoch: 2 }),
      withShard({ primary: 'b1' }),
      withShard({ inSync: ['b1'] }),
      withShard({ joining: 'b1' }),
      withShard({ weight: 2 }),
      { ...example, nodes: example.nodes.map(node => ({ ...node, runId: 'other' })) },
    ];
    for (const other of others) expect(topologyEquals(example, other)).toBe(false);
  });

  test('nothing differs between a topology and itself', () => {
    expect(diffTopologies(example, { ...example, version: 8 })).toEqual({
      ring: false,
      shardsAdded: [],
      shardsRemoved: [],
      shardsChanged: [],
      nodesAdded: [],
      nodesRemoved: [],
      nodesMoved: [],
      nodesReborn: [],
      nodesDraining: [],
      nodesKept: [],
      move: false,
    });
  });

  test('a promotion is a change of one shard and not of the ring', () => {
    const diff = diffTopologies(example, withShard({ epoch: 2, primary: 'b1', inSync: [] }));
    expect(diff.ring).toBe(false);
    expect(diff.shardsChanged).toEqual([
      { name: 's1', epoch: true, primary: true, inSync: false, joining: false, paused: false, nodes: false },
    ]);
  });

  test('a pause is a change, a term is none', () => {
    const paused = withShard({ paused: true });
    expect(topologyEquals(example, paused)).toBe(false);
    expect(diffTopologies(example, paused).shardsChanged).toEqual([
      { name: 's1', epoch: false, primary: false, inSync: false, joining: false, paused: true, nodes: false },
    ]);
    expect(topologyEquals(example, { ...example, term: 9 })).toBe(true);
  });

  test('shards, nodes, addresses and incarnations are named', () => {
    const [a1, b1, c1] = example.nodes as [Topology['nodes'][0], Topology['nodes'][0], Topology['nodes'][0]];
    const after = {
      ...example,
      shards: [s1, { ...s2, name: 's3' }],
      nodes: [{ ...a1, port: 1 }, { ...b1, runId: 'new' }, c1, { ...a1, id: 'e1', port: 2 }],
    };
    expect(diffTopologies(example, after)).toMatchObject({
      ring: true,
      shardsAdded: ['s3'],
      shardsRemoved: ['s2'],
      shardsChanged: [],
      nodesAdded: ['e1'],
      nodesRemoved: ['d1'],
      nodesMoved: ['a1'],
      nodesReborn: ['b1'],
    });
  });

  test('a node that is drained is named, and one that is drained no more; a member more is another topology', () => {
    const nodes = example.nodes.map(node => (node.id === 'a1' ? { ...node, draining: true } : node));
    const drained = { ...example, nodes };
    expect(diffTopologies(example, drained)).toMatchObject({ nodesDraining: ['a1'], nodesKept: [] });
    expect(diffTopologies(drained, example)).toMatchObject({ nodesDraining: [], nodesKept: ['a1'] });
    expect(topologyEquals(example, drained)).toBe(false);
    expect(topologyEquals(example, withShard({ copies: 3 }))).toBe(false);
  });

  test('a move that begins or goes on is a change, and another topology', () => {
    const before = validateTopology(moving({}));
    const after = validateTopology(moving({ current }));
    expect(diffTopologies(example, before)).toMatchObject({ move: true, ring: false });
    expect(diffTopologies(before, after).move).toBe(true);
    expect(topologyEquals(before, after)).toBe(false);
  });

  test('another weight is another ring', () => {
    expect(diffTopologies(example, withShard({ weight: 3 })).ring).toBe(true);
  });
});

describe('the feed token', () => {
  test('is the HMAC of a message that names its purpose and the cluster', () => {
    // printf 'ringside supervisor-http 1\0shop' | openssl dgst -sha256 -hmac 0123456789abcdef
    expect(feedToken('0123456789abcdef', 'shop')).toBe(
      '9f2c675b02bf6f3881a477591bfd6d3f91e188ad2575be64a0ff8458f0fd0757',
    );
  });

  test('differs by secret and by cluster', () => {
    const tokens = [feedToken('a', 'shop'), feedToken('b', 'shop'), feedToken('a', 'shops')];
    expect(new Set(tokens).size).toBe(3);
  });
});
