/** Where nodes go when only numbers are given. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { placeShards } from '../../src/topology/placement.ts';

const seed = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 2 ** 31);

/** Nodes in the order of the letters, each letter a zone: `aab` gives a1, a2, b1. */
function nodesOf(zones: string): { id: string; zone: string }[] {
  const seen = new Map<string, number>();
  return [...zones].map(zone => {
    const number = (seen.get(zone) ?? 0) + 1;
    seen.set(zone, number);
    return { id: `${zone}${number}`, zone };
  });
}

function placed(zones: string, count: number, copies: number): string[] {
  return placeShards(nodesOf(zones), count, copies).shards.map(shard => shard.nodes.join(' '));
}

const zoneOf = (id: string) => id[0] as string;

describe('placement', () => {
  test('gives each shard one node of each zone, and each zone one primary', () => {
    expect(placed('aaabbbccc', 3, 3)).toEqual(['a1 b1 c1', 'b2 a2 c2', 'c3 a3 b3']);
  });

  test('takes nodes of one zone in their order', () => {
    expect(placed('aaaaaa', 2, 3)).toEqual(['a1 a2 a3', 'a4 a5 a6']);
  });

  test('takes most from the zone that has most, so that later shards find different zones too', () => {
    expect(placed('abbcc', 2, 2)).toEqual(['b1 c1', 'a1 b2']);
    expect(placed('aaabc', 2, 2).map(shard => new Set(shard.split(' ').map(zoneOf)).size)).toEqual([2, 2]);
  });

  test('doubles a zone within a shard only where there is no other', () => {
    expect(placed('aaab', 1, 3)).toEqual(['a1 a2 b1']);
  });

  test('leaves the rest as spares, in their order', () => {
    expect(placeShards(nodesOf('aabbcc'), 1, 3).spares).toEqual(['a2', 'b2', 'c2']);
  });

  test('uses every node once, puts copies into different zones wherever that can be, and spreads primaries', () => {
    const cluster = fc.record({
      zones: fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1, maxLength: 40 }),
      count: fc.integer({ min: 1, max: 8 }),
      copies: fc.integer({ min: 1, max: 5 }),
    });
    fc.assert(
      fc.property(cluster, ({ zones, count, copies }) => {
        fc.pre(count * copies <= zones.length);
        const nodes = nodesOf(zones.join(''));
        const { shards, spares } = placeShards(nodes, count, copies);
        expect([...shards.flatMap(shard => shard.nodes), ...spares].sort()).toEqual(nodes.map(node => node.id).sort());
        expect(shards.every(shard => shard.nodes.length === copies)).toBe(true);
        // A placement over different zones exists exactly when the zones, each counted at most once a shard, suffice.
        const sizes = [...new Set(zones)].map(zone => zones.filter(other => other === zone).length);
        const canDiffer = sizes.reduce((sum, size) => sum + Math.min(size, count), 0) >= count * copies;
        const doDiffer = shards.every(shard => new Set(shard.nodes.map(zoneOf)).size === copies);
        expect(doDiffer).toBe(canDiffer);
        expect(placeShards(nodes, count, copies)).toEqual({ shards, spares });
      }),
      { seed, numRuns: 300 },
    );
  });

  test(`was drawn from the seed ${seed} (set RINGSIDE_SEED to draw it again)`, () => {
    expect(Number.isInteger(seed)).toBe(true);
  });
});
