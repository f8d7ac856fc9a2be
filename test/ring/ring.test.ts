import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createRing, type Ring, type RingConfig } from '../../src/ring/ring.ts';

const USUAL: RingConfig = { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 };
const KETAMA: RingConfig = { kind: 'twemproxy', hash: 'fnv1a_64', distribution: 'ketama', hashTag: '' };
const MODULA: RingConfig = { kind: 'twemproxy', hash: 'md5', distribution: 'modula', hashTag: '' };
const KINDS: [string, RingConfig][] = [
  ['murmur3', USUAL],
  ['ketama', KETAMA],
  ['modula', MODULA],
];

function named(count: number): { name: string; weight: number }[] {
  return Array.from({ length: count }, (_, i) => ({ name: `s${i + 1}`, weight: 1 }));
}

function ownerOf(ring: Ring, key: string): number {
  const bytes = Buffer.from(key, 'latin1');
  return ring.ownerOf(bytes, 0, bytes.length);
}

function hashOf(ring: Ring, key: string): number {
  const bytes = Buffer.from(key, 'latin1');
  return ring.hashOf(bytes, 0, bytes.length);
}

function ownersOf(ring: Ring, keys: number): number[] {
  return Array.from({ length: keys }, (_, i) => ownerOf(ring, `user:${i}:profile`));
}

function shares(ring: Ring, keys: number): number[] {
  const counts = Array<number>(ring.shardCount).fill(0);
  for (const owner of ownersOf(ring, keys)) counts[owner] = (counts[owner] as number) + 1;
  return counts.map(count => count / keys);
}

describe('who owns what', () => {
  test.each([3, 16, 64])('%d shards with 256 vnodes have shares within a standard deviation of 8 percent', count => {
    const relative = shares(createRing(USUAL, named(count)), 200_000).map(share => share * count);
    const deviation = Math.sqrt(relative.reduce((sum, share) => sum + (share - 1) ** 2, 0) / count);
    // In theory 1/√256 = 6.3 percent of the mean, and a little for the sample of keys.
    expect(deviation).toBeLessThan(0.08);
    expect(deviation).toBeGreaterThan(0);
    expect(Math.max(...relative)).toBeLessThan(1.25);
  });

  test.each([3, 16])('a shard beside %d others takes its part of the keys and moves no other key', count => {
    const before = ownersOf(createRing(USUAL, named(count)), 100_000);
    const after = ownersOf(createRing(USUAL, named(count + 1)), 100_000);
    const moved = before.flatMap((owner, i) => (owner === after[i] ? [] : [after[i]]));
    expect(new Set(moved)).toEqual(new Set([count]));
    const fair = 100_000 / (count + 1);
    expect(moved.length).toBeGreaterThan(fair * 0.8);
    expect(moved.length).toBeLessThan(fair * 1.2);
  });

  test('a shard of double weight has about double the keys, one of half weight half', () => {
    const weighted = named(4).map((shard, i) => ({ ...shard, weight: [2, 1, 0.5, 0.5][i] as number }));
    const got = shares(createRing(USUAL, weighted), 100_000);
    [0.5, 0.25, 0.125, 0.125].forEach((fair, i) => {
      expect(got[i]).toBeGreaterThan(fair * 0.8);
      expect(got[i]).toBeLessThan(fair * 1.2);
    });
  });

  test('a shard of next to no weight still has a token', () => {
    const ring = createRing({ ...USUAL, vnodes: 4 }, [
      { name: 'large', weight: 1 },
      { name: 'small', weight: 0.001 },
    ]);
    expect(new Set(ownersOf(ring, 10_000))).toEqual(new Set([0, 1]));
  });

  test.each(KINDS)('the order in which shards are given changes no owner: %s', (_, config) => {
    const shards = named(12);
    const turned = [...shards].reverse();
    const owners = ownersOf(createRing(config, shards), 5000).map(i => shards[i]?.name);
    expect(ownersOf(createRing(config, turned), 5000).map(i => turned[i]?.name)).toEqual(owners);
    expect(new Set(owners).size).toBe(12);
  });

  test.each(KINDS)('a single shard owns every key: %s', (_, config) => {
    expect(new Set(ownersOf(createRing(config, named(1)), 100))).toEqual(new Set([0]));
  });

  test('the owners of the usual ring are what they were in every version so far', () => {
    const owners = ownersOf(createRing(USUAL, named(5)), 10_000).join('');
    expect(createHash('sha256').update(owners).digest('hex')).toBe(
      'b3e8e543a3ebfe4b863ef3ed19fcf47103333df756573ca32a9a17f7d90a2356',
    );
  });
});

describe('what is hashed', () => {
  const ring = createRing(USUAL, named(8));

  // The examples of Redis's cluster specification, with the part that counts.
  test.each([
    ['{user1000}.following', 'user1000'],
    ['foo{bar}{zap}', 'bar'],
    ['foo{{bar}}zap', '{bar'],
    ['a}b{tag}', 'tag'],
    ['{tag', '{tag'],
    ['tag}', 'tag}'],
    ['foo{}{bar}', 'foo{}{bar}'],
    ['{}', '{}'],
    ['{a}', 'a'],
  ])('of the key %s it is %s', (key, part) => {
    const plain = createRing({ ...USUAL, hashTag: '' }, named(8));
    expect(hashOf(ring, key)).toBe(hashOf(plain, part));
    expect(ownerOf(ring, key)).toBe(ownerOf(plain, part));
  });

  test('two other characters may mark the tag, or the same one twice', () => {
    expect(hashOf(createRing({ ...USUAL, hashTag: '<>' }, named(8)), '{x}<tag>')).toBe(hashOf(ring, 'tag'));
    expect(hashOf(createRing({ ...KETAMA, hashTag: '$$' }, named(8)), 'x$tag$y')).toBe(
      hashOf(createRing(KETAMA, named(8)), 'tag'),
    );
  });

  test('a tag is looked for within the key only', () => {
    const bytes = Buffer.from('{a}key{b}');
    expect(ring.hashOf(bytes, 3, 3)).toBe(hashOf(ring, 'key'));
    expect(ring.hashOf(bytes, 0, 2)).toBe(hashOf(ring, '{a'));
  });

  test.each(KINDS)('an empty key hashes to 0: %s', (_, config) => {
    expect(hashOf(createRing(config, named(8)), '')).toBe(0);
  });

  test('the hash that a person sees is unsigned', () => {
    const hashes = Array.from({ length: 100 }, (_, i) => hashOf(ring, `key:${i}`));
    expect(Math.min(...hashes)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...hashes)).toBeGreaterThan(2 ** 31);
  });
});

describe('what is refused', () => {
  test('a ring of no shards', () => {
    expect(() => createRing(USUAL, [])).toThrow('at least one shard');
  });

  test('two shards of one name', () => {
    expect(() => createRing(USUAL, [...named(2), { name: 's1', weight: 1 }])).toThrow('different names');
  });

  test('a hash tag of one character, or of characters that are more than a byte', () => {
    expect(() => createRing({ ...USUAL, hashTag: '{' }, named(2))).toThrow('two characters');
    expect(() => createRing({ ...USUAL, hashTag: '«»' }, named(2))).toThrow('two characters');
  });
});
