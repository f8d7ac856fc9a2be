import { expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import { Circle, type TokenSet } from '../../src/ring/circle.ts';

const SEED = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 2 ** 31);
const TOP = 0xffffffff;

/** The definition, by looking at every token. */
function ownerByDefinition(sets: readonly TokenSet[], hash: number): number {
  const all = sets.flatMap((set, rank) => [...set.tokens].map(token => ({ token, rank, owner: set.owner })));
  all.sort((a, b) => a.token - b.token || a.rank - b.rank);
  const found = all.find(({ token }) => token >= hash) ?? all[0];
  return found?.owner ?? -1;
}

function setsOf(...lists: number[][]): TokenSet[] {
  return lists.map((tokens, owner) => ({ owner, tokens: Uint32Array.from(tokens) }));
}

test(`the table finds the token that a plain search finds, at and around each (RINGSIDE_SEED=${SEED})`, () => {
  const random = new Random(SEED);
  for (let round = 0; round < 60; round += 1) {
    // Narrow ranges crowd the tokens into a few entries of the table.
    const range = random.pick([4, 1000, 2 ** 20, 2 ** 32]);
    const base = random.below(2 ** 32 - range + 1);
    const lists = Array.from({ length: 1 + random.below(5) }, () =>
      Array.from({ length: 1 + random.below(12) }, () => base + random.below(range)),
    );
    const sets = setsOf(...lists);
    const circle = new Circle(sets);
    const hashes = [0, 1, TOP, 0x7fffffff, 0x80000000, random.below(2 ** 32)];
    for (const token of lists.flat()) hashes.push(Math.max(0, token - 1), token, Math.min(TOP, token + 1));
    for (const hash of hashes) {
      expect(circle.ownerOf(hash), `round ${round}, hash ${hash}`).toBe(ownerByDefinition(sets, hash));
      expect(circle.ownerOf(hash | 0), `round ${round}, signed hash ${hash | 0}`).toBe(circle.ownerOf(hash));
    }
  }
});

test('past the last token the circle closes at the first', () => {
  const circle = new Circle(setsOf([100], [200]));
  expect([0, 100, 101, 200, 201, TOP].map(hash => circle.ownerOf(hash))).toEqual([0, 0, 1, 1, 0, 0]);
});

test('a token at the very top owns the hash at the very top', () => {
  const circle = new Circle(setsOf([0], [TOP]));
  expect([0, 1, TOP].map(hash => circle.ownerOf(hash))).toEqual([0, 1, 1]);
});

test('of equal tokens the earlier set has the key', () => {
  const circle = new Circle([
    { owner: 7, tokens: Uint32Array.of(5, 50) },
    { owner: 3, tokens: Uint32Array.of(50, 60) },
  ]);
  expect([50, 51].map(hash => circle.ownerOf(hash))).toEqual([7, 3]);
});

test('a set without tokens owns nothing and hinders nobody', () => {
  const circle = new Circle(setsOf([], [9], []));
  expect([0, 9, 10].map(hash => circle.ownerOf(hash))).toEqual([1, 1, 1]);
});

test('a circle without any token is refused', () => {
  expect(() => new Circle(setsOf([], []))).toThrow('at least one token');
});
