import { describe, expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import { exchangeBetween, type RingSide } from '../../src/ring/arcs.ts';
import { Circle } from '../../src/ring/circle.ts';
import { createRing, type RingConfig, tokensOn } from '../../src/ring/ring.ts';

/** The exact arcs, against what the rings themselves say of many hashes and keys. */
const murmur = (vnodes: number): RingConfig => ({ kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes });
const side = (ring: RingConfig, weights: readonly number[]): RingSide => ({
  ring,
  shards: weights.map((weight, index) => ({ name: `s${index + 1}`, weight })),
});

const KEYS = 200_000;
const seed = Number(process.env['RINGSIDE_SEED'] ?? 7);

/** Shares by the rings' own answers over random keys. */
function counted(before: RingSide, after: RingSide): Map<string, number> {
  const random = new Random(seed);
  const [a, b] = [createRing(before.ring, before.shards), createRing(after.ring, after.shards)];
  const found = new Map<string, number>();
  for (let i = 0; i < KEYS; i += 1) {
    const key = Buffer.from(`k${random.below(1e9)}:${i}`);
    const pair = `${a.ownerOf(key, 0, key.length)} ${b.ownerOf(key, 0, key.length)}`;
    found.set(pair, (found.get(pair) ?? 0) + 1 / KEYS);
  }
  return found;
}

function compare(before: RingSide, after: RingSide): void {
  const exchange = exchangeBetween(before, after);
  const found = counted(before, after);
  const told = new Map(exchange.flows.map(({ source, target, share }) => [`${source} ${target}`, share]));
  for (const [pair, share] of found) {
    const [source, target] = pair.split(' ');
    if (source === target) continue;
    // Five times the deviation of a count that is as likely as the share says.
    const expected = told.get(pair) ?? 0;
    expect(Math.abs(share - expected), `${pair} seed ${seed}`).toBeLessThan(5 * Math.sqrt(share / KEYS) + 1 / KEYS);
  }
  expect(exchange.before.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
  expect(exchange.after.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
}

describe('what changes owner between two rings', () => {
  test('a shard more takes its part from each of the others, and nothing else moves', () => {
    const [before, after] = [side(murmur(256), [1, 1, 1, 0]), side(murmur(256), [1, 1, 1, 1])];
    const { flows, isExact, after: owned } = exchangeBetween(before, after);
    expect(isExact).toBe(true);
    expect(flows.map(({ source, target }) => [source, target])).toEqual([
      [0, 3],
      [1, 3],
      [2, 3],
    ]);
    expect(flows.reduce((sum, { share }) => sum + share, 0)).toBe(owned[3]);
    expect(owned[3]).toBeGreaterThan(0.2);
    expect(owned[3]).toBeLessThan(0.3);
    compare(before, after);
  });

  test('a shard less gives all that it has', () => {
    const [before, after] = [side(murmur(64), [1, 1, 1]), side(murmur(64), [1, 0, 1])];
    const { flows, before: owned } = exchangeBetween(before, after);
    expect(flows.map(({ source }) => source)).toEqual([1, 1]);
    expect(flows.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(owned[1] as number, 12);
    compare(before, after);
  });

  test('other weights, other vnodes, ketama, one shard alone', () => {
    compare(side(murmur(100), [1, 2, 1]), side(murmur(100), [1, 1, 3]));
    compare(side(murmur(16), [1, 1, 1]), side(murmur(256), [1, 1, 1]));
    compare(side(murmur(256), [1, 0, 0]), side(murmur(256), [1, 1, 1]));
    const ketama: RingConfig = { kind: 'twemproxy', hash: 'fnv1a_64', distribution: 'ketama', hashTag: '' };
    compare(side(ketama, [1, 1, 1, 0]), side(ketama, [1, 1, 1, 1]));
    expect(exchangeBetween(side(ketama, [1, 1]), side(ketama, [1, 2])).isExact).toBe(true);
  });

  test('the same ring twice exchanges nothing', () => {
    expect(exchangeBetween(side(murmur(256), [1, 1, 1]), side(murmur(256), [1, 1, 1])).flows).toEqual([]);
  });

  test('every hash is counted once: as the circles themselves answer at both ends of every arc', () => {
    const [before, after] = [side(murmur(3), [1, 1, 0]), side(murmur(3), [1, 1, 1])];
    const sets = [before, after].map(({ ring, shards }) => tokensOn(ring, shards));
    const circles = sets.map(one => new Circle(one));
    const ends = sets.flatMap(one => one.flatMap(({ tokens }) => [...tokens]));
    const bounds = [...new Set([...ends, 0xffffffff])].sort((x, y) => x - y);
    const expected = new Map<string, number>();
    let from = 0;
    for (const to of bounds) {
      const owners = circles.map(circle => circle.ownerOf(to));
      expect(circles.map(circle => circle.ownerOf(from))).toEqual(owners);
      const [source, target] = owners;
      if (source !== target)
        expected.set(`${source} ${target}`, (expected.get(`${source} ${target}`) ?? 0) + (to + 1 - from));
      from = to + 1;
    }
    const { flows } = exchangeBetween(before, after);
    expect(new Map(flows.map(({ source, target, share }) => [`${source} ${target}`, share * 2 ** 32]))).toEqual(
      expected,
    );
  });

  test('rings of other hashes, of modula, or of a hash with few values are sampled, and no pair is left out', () => {
    const modula: RingConfig = { kind: 'twemproxy', hash: 'fnv1a_64', distribution: 'modula', hashTag: '' };
    const narrow: RingConfig = { kind: 'twemproxy', hash: 'crc32', distribution: 'ketama', hashTag: '' };
    for (const [before, after] of [
      [side(modula, [1, 1]), side(murmur(256), [1, 1])],
      [side(modula, [1, 1]), side(modula, [1, 2])],
      [side(narrow, [1, 1]), side(narrow, [2, 1])],
      [side({ ...murmur(256), hashTag: '' } as RingConfig, [1, 1]), side(murmur(256), [1, 1])],
    ] as const) {
      const { isExact, flows } = exchangeBetween(before, after);
      expect(isExact).toBe(false);
      expect(flows.map(({ source, target }) => [source, target])).toEqual([
        [0, 1],
        [1, 0],
      ]);
    }
  });
});
