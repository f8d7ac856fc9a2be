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
    ['nothing', null, 'malformed'],
    ['a text', 'topology', 'malformed'],
    ['a version of 0', { ...example, version: 0 }, 'version'],
    ['a field that nobody knows', { ...example, moves: [] }, 'moves'],
    ['a ring of no kind', { ...example, ring: { ...example.ring, kind: 'jump' } }, 'ring.kind'],
    ['half a hash tag', { ...example, ring: { ...example.ring, hashTag: '{' } }, 'ring.hashTag'],
    ['no shards', { ...example, shards: [] }, 'shards'],
    ['an epoch of one and a half', withShard({ epoch: 1.5 }), 'shards[0].epoch'],
    ['a weight of 0', withShard({ weight: 0 }), 'shards[0].weight'],
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
  ];

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
