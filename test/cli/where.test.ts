import { describe, expect, it } from 'vitest';
import { placesOf } from '../../src/cli/where.ts';
import { createRing, type RingConfig } from '../../src/ring/ring.ts';
import type { Topology } from '../../src/topology/snapshot.ts';

function topologyOf(ring: RingConfig, names: readonly string[]): Topology {
  return {
    cluster: 'test',
    version: 1,
    term: 0,
    ring,
    shards: names.map(name => {
      return {
        name,
        weight: 1,
        epoch: 1,
        primary: `n-${name}`,
        inSync: [],
        joining: null,
        paused: false,
        nodes: [`n-${name}`],
      };
    }),
    nodes: names.map((name, i) => ({
      id: `n-${name}`,
      host: '10.0.0.1',
      port: 7000 + i,
      zone: 'a',
      runId: null,
      draining: false,
    })),
    move: null,
  };
}

const murmur: RingConfig = { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 };
const three = topologyOf(murmur, ['s1', 's2', 's3']);

function whyOf(key: string, topology = three): { hashed: string; why: string } {
  const [place] = placesOf([key], topology);
  return { hashed: place?.hashed ?? '', why: place?.why ?? '' };
}

describe('where a key lies', () => {
  it('is the owner by the ring, with the primary of its shard', () => {
    const ring = createRing(murmur, three.shards);
    const keys = Array.from({ length: 100 }, (_, i) => `key:${i}`);
    for (const place of placesOf(keys, three)) {
      const bytes = Buffer.from(place.key);
      const owner = three.shards[ring.ownerOf(bytes, 0, bytes.length)];
      expect(place).toMatchObject({ shard: owner?.name, hash: ring.hashOf(bytes, 0, bytes.length) });
      expect(place.node.id).toBe(owner?.primary);
    }
  });

  it('is explained by the part of the key that is hashed, which the ring confirms', () => {
    expect(whyOf('{user:1}:cart')).toEqual({ hashed: 'user:1', why: 'the hash tag {user:1}' });
    expect(whyOf('a{b}{c}')).toEqual({ hashed: 'b', why: 'the hash tag {b}' });
    expect(whyOf('a{{b}}')).toEqual({ hashed: '{b', why: 'the hash tag {{b}' });
    expect(whyOf('}a{b}')).toEqual({ hashed: 'b', why: 'the hash tag {b}' });
    expect(whyOf('a{}b')).toEqual({ hashed: 'a{}b', why: 'the whole key: its {} is empty' });
    expect(whyOf('a{}{b}')).toEqual({ hashed: 'a{}{b}', why: 'the whole key: its {} is empty' });
    expect(whyOf('plain')).toEqual({ hashed: 'plain', why: 'the whole key: no {…} in it' });
    expect(whyOf('a{b')).toEqual({ hashed: 'a{b', why: 'the whole key: no {…} in it' });
    expect(whyOf('')).toEqual({ hashed: '', why: 'the whole key: no {…} in it' });
    const ring = createRing(murmur, three.shards);
    for (const key of ['{user:1}:cart', 'a{b}{c}', 'a{{b}}', '}a{b}', 'a{}b', 'a{}{b}', 'plain', 'a{b', 'ä{é}']) {
      const hashed = Buffer.from(whyOf(key).hashed);
      expect(placesOf([key], three)[0]?.hash, key).toBe(ring.hashOf(hashed, 0, hashed.length));
    }
  });

  it('follows the hash tag of the ring, or none', () => {
    const angular = topologyOf({ ...murmur, hashTag: '<>' }, ['s1', 's2']);
    expect(whyOf('a<b>c', angular)).toEqual({ hashed: 'b', why: 'the hash tag <b>' });
    const none = topologyOf({ ...murmur, hashTag: '' }, ['s1', 's2']);
    expect(whyOf('{a}b', none)).toEqual({ hashed: '{a}b', why: 'the whole key: the ring has no hash tag' });
  });

  it('goes by what was moved so far', () => {
    const portions = ['s1', 's2'].map(source => ({ source, target: 's3', part: 0, parts: 1, keys: 1 }));
    const move = {
      ...{ id: 1, ring: murmur, weights: { s1: 1, s2: 1, s3: 1 }, portions, moved: 1 },
      current: { index: 1, phase: 'moving', way: 'there', set: 1, thereSet: null } as const,
      ...{ aborting: false, paused: null, keysPerSecond: null, allowStalls: false },
    };
    const shards = three.shards.map(shard => (shard.name === 's3' ? { ...shard, weight: 0 } : shard));
    const keys = Array.from({ length: 300 }, (_, i) => `key:${i}`);
    const [before, now, after] = [{ ...three, shards }, { ...three, shards, move }, three].map(one =>
      placesOf(keys, one),
    );
    const seen = new Set<string>();
    now?.forEach(({ shard, why }, i) => {
      const [from, to] = [before?.[i]?.shard, after?.[i]?.shard];
      const isOnItsWay = why.endsWith('; it is being moved there from s2');
      expect([shard, isOnItsWay]).toEqual([to, from === 's2' && to === 's3']);
      seen.add(`${from} ${to}`);
    });
    expect([...seen].sort()).toEqual(['s1 s1', 's1 s3', 's2 s2', 's2 s3']);
  });

  it('needs no hash when there is one shard', () => {
    const [place] = placesOf(['any'], topologyOf(murmur, ['s1']));
    expect(place).toMatchObject({ hash: null, shard: 's1', why: 'there is one shard' });
  });
});
