import { expect, test } from 'vitest';
import { ketamaPoints, modulaSlots } from '../../src/ring/twemproxy.ts';

function servers(...weights: number[]): { name: string; weight: number }[] {
  return weights.map((weight, i) => ({ name: `cache-${i}`, weight }));
}

function pointCounts(...weights: number[]): number[] {
  const counts: number[] = [];
  for (const { owner, tokens } of ketamaPoints(servers(...weights))) counts[owner] = tokens.length;
  return counts;
}

test('equal servers have 160 points each', () => {
  expect(pointCounts(1, 1, 1)).toEqual([160, 160, 160]);
  expect(pointCounts(7, 7)).toEqual([160, 160]);
});

test('points follow weights, in whole digests of four', () => {
  expect(pointCounts(1, 3)).toEqual([80, 240]);
  expect(pointCounts(1, 2)).toEqual([104, 212]);
});

test('a featherweight beside a heavy server has no point at all', () => {
  expect(pointCounts(100_000, 1)).toEqual([316, 0]);
});

test('25 equal servers lose a digest each to single precision', () => {
  expect(new Set(pointCounts(...Array(24).fill(1)))).toEqual(new Set([160]));
  expect(new Set(pointCounts(...Array(25).fill(1)))).toEqual(new Set([156]));
});

test('modula has a slot for each unit of weight, shorter names first, equally long ones by their bytes', () => {
  const shards = [
    { name: 'zz', weight: 1 },
    { name: 'b', weight: 2 },
    { name: 'aaa', weight: 1 },
    { name: 'B', weight: 1 },
  ];
  expect([...modulaSlots(shards)]).toEqual([3, 1, 1, 0, 2]);
});

test('the length that orders names is counted in bytes', () => {
  const shards = [
    { name: 'ü', weight: 1 },
    { name: 'z', weight: 1 },
  ];
  expect([...modulaSlots(shards)]).toEqual([1, 0]);
});

test.each([0, -1, 1.5])('weight %d, which twemproxy could not have, is refused', weight => {
  expect(() => ketamaPoints(servers(1, weight))).toThrow('whole weights');
  expect(() => modulaSlots(servers(1, weight))).toThrow('whole weights');
});
