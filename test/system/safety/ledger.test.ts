/**
 * The judgement of what writers were told: that it finds each kind of loss, and calls nothing a loss that is none.
 */
import { expect, test } from 'vitest';
import { type Content, differences, together } from './copies.ts';
import { type Entry, judge, type Outcome, type Write } from './ledger.ts';

const entry = (outcome: Outcome, write: Write): Entry => ({ write, outcome });
const put = (outcome: Outcome, ...keys: string[]) => entry(outcome, { kind: 'put', keys, value: 'v' });
const putEach = (outcome: Outcome, ...keys: string[]) => entry(outcome, { kind: 'putEach', keys, value: 'v' });
const overwrite = (outcome: Outcome, value: number) => entry(outcome, { kind: 'overwrite', key: 'o', value });
const increment = (outcome: Outcome, sum: number | null) => entry(outcome, { kind: 'increment', key: 'c', sum });
const push = (outcome: Outcome, value: string) => entry(outcome, { kind: 'push', key: 'l', value });
const remove = (outcome: Outcome, key: string) => entry(outcome, { kind: 'remove', key });
const take = (outcome: Outcome, value: string | null) => entry(outcome, { kind: 'take', key: 'l', value });

type Values = Record<string, string | string[]>;
const problems = (found: Values, ...entries: Entry[]) => judge(entries, new Map(Object.entries(found)));

test('an acknowledged key is there, a refused one is not, an uncertain one may be', () => {
  expect(problems({ a: 'v', b: 'v' }, put('acknowledged', 'a'), put('uncertain', 'b'), put('refused', 'c'))).toEqual(
    [],
  );
  expect(problems({}, put('uncertain', 'b'))).toEqual([]);
  expect(problems({}, put('acknowledged', 'a'))).toEqual([expect.stringMatching(/^lost: a/)]);
  expect(problems({ c: 'v' }, put('refused', 'c'))).toEqual([expect.stringMatching(/^c was refused/)]);
  expect(problems({ a: 'w' }, put('acknowledged', 'a'))).toEqual([expect.stringMatching(/holds what nobody wrote/)]);
});

test('a transaction happens whole or not at all, MSET over shards may happen in part', () => {
  expect(problems({ a: 'v' }, put('uncertain', 'a', 'b'))).toEqual([expect.stringMatching(/only a is there/)]);
  expect(problems({ a: 'v' }, putEach('uncertain', 'a', 'b'))).toEqual([]);
  expect(problems({ a: 'v' }, putEach('acknowledged', 'a', 'b'))).toEqual([expect.stringMatching(/^lost: b/)]);
});

test('a key that was deleted stays away, and one that was to expire has done so', () => {
  const history = [put('acknowledged', 'a'), remove('acknowledged', 'a')];
  expect(problems({}, ...history)).toEqual([]);
  expect(problems({ a: 'v' }, ...history)).toEqual([expect.stringMatching(/^come back: a/)]);
  expect(problems({ a: 'w' }, ...history)).toEqual([expect.stringMatching(/holds what nobody wrote/)]);
  for (const found of [{}, { a: 'v' }])
    expect(problems(found, put('acknowledged', 'a'), remove('uncertain', 'a'))).toEqual([]);
  expect(problems({}, put('acknowledged', 'a'), remove('refused', 'a'))).toEqual([expect.stringMatching(/^lost: a/)]);
  const brief = entry('acknowledged', { kind: 'brief', key: 'b' });
  expect(problems({}, brief)).toEqual([]);
  expect(problems({ b: 'b' }, brief)).toEqual([expect.stringMatching(/^outlived: b/)]);
});

test('a key that one client overwrites holds what it was told last, or something later', () => {
  const history = [overwrite('acknowledged', 1), overwrite('uncertain', 2), overwrite('refused', 3)];
  expect(problems({ o: '1' }, ...history)).toEqual([]);
  expect(problems({ o: '2' }, ...history)).toEqual([]);
  expect(problems({ o: '3' }, ...history)).toHaveLength(1);
  expect(problems({ o: '1' }, ...history, overwrite('acknowledged', 4))).toHaveLength(1);
  expect(problems({}, overwrite('uncertain', 1))).toEqual([]);
  expect(problems({}, overwrite('acknowledged', 1))).toHaveLength(1);
});

test('a counter lies between what was acknowledged and that with what is uncertain', () => {
  const history = [increment('acknowledged', 1), increment('uncertain', null), increment('acknowledged', 3)];
  expect(problems({ c: '3' }, ...history)).toEqual([]);
  expect(problems({ c: '4' }, ...history)).toEqual([expect.stringMatching(/more than the 3/)]);
  expect(problems({ c: '1' }, ...history)).toHaveLength(2);
  expect(problems({ c: '2' }, increment('acknowledged', 1), increment('acknowledged', 1))).toEqual([
    expect.stringMatching(/a sum twice: 1/),
  ]);
});

test('an element of a list is there once, or was given to one client', () => {
  const history = [push('acknowledged', 'x'), push('acknowledged', 'y'), push('refused', 'z')];
  expect(problems({ l: ['x', 'y'] }, ...history)).toEqual([]);
  expect(problems({ l: ['x'] }, ...history, take('acknowledged', 'y'))).toEqual([]);
  expect(problems({ l: ['x'] }, ...history)).toEqual([expect.stringMatching(/1 acknowledged elements are gone/)]);
  expect(problems({ l: ['x'] }, ...history, take('uncertain', null))).toEqual([]);
  expect(problems({ l: [] }, ...history, take('uncertain', null))).toHaveLength(1);
  expect(problems({ l: ['x', 'y', 'y'] }, ...history)).toEqual([expect.stringMatching(/twice: y/)]);
  expect(problems({ l: ['x', 'y'] }, ...history, take('acknowledged', 'y'))).toEqual([expect.stringMatching(/twice/)]);
  expect(problems({ l: ['x', 'y', 'z'] }, ...history)).toEqual([expect.stringMatching(/which was refused/)]);
  expect(problems({ l: ['x', 'y', 'q'] }, ...history)).toEqual([expect.stringMatching(/which nobody pushed/)]);
});

test('copies differ in value, type or expiry, and by what only one of them has', () => {
  const content = (value: string, expiresAtMs = -1, type = 'string'): Content => ({ type, value, expiresAtMs });
  const compare = (a: Content | null, b: Content | null) => {
    const copy = (one: Content | null) => new Map(one === null ? [] : [['0:k', one]]);
    return differences('n1', copy(a), 'n2', copy(b)).length;
  };
  expect(compare(content('a'), content('a'))).toBe(0);
  expect(compare(content('a'), content('b'))).toBe(1);
  expect(compare(content('a'), content('a', 5))).toBe(1);
  expect(compare(content('a'), content('a', -1, 'list'))).toBe(1);
  expect(compare(content('a'), null)).toBe(1);
  expect(() => together([new Map([['0:k', content('a')]]), new Map([['0:k', content('a')]])])).toThrow(/two shards/);
});
