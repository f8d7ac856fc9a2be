import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  confirms,
  dropReadings,
  fateUnder,
  goOn,
  isSameHistory,
  mayAsk,
  needsNone,
  newEra,
  noteReading,
  upperBound,
} from '../../src/proxy/commit-rules.ts';
import type { Era } from '../../src/upstream/guard.ts';
import type { History } from '../../src/upstream/login.ts';
import { EFFORT, SEED } from '../fuzz/seed.ts';

const history = (change: Partial<History> = {}): History => ({
  runId: 'r1',
  replicationId: 'h1',
  offset: 100,
  previousId: '',
  promotedAt: -1,
  hasBacklog: true,
  ...change,
});
const promoted = (promotedAt: number, previousId = 'h1'): History =>
  history({ runId: 'r2', replicationId: 'h2', previousId, promotedAt });
const params = { seed: SEED, numRuns: 2000 * EFFORT };
const offset = fc.nat(1000);

describe('a count', () => {
  test('confirms with at least what was required when it was asked, and never at a requirement of none', () => {
    fc.assert(
      fc.property(fc.nat(5), fc.nat(5), fc.nat(9), (required, count, epoch) => {
        expect(confirms({ epoch, required }, count)).toBe(required >= 1 && count >= required);
      }),
      params,
    );
  });

  test('is not asked for while a replica joins, nor where there is no copy', () => {
    expect(mayAsk({ epoch: 1, required: 2, held: false })).toBe(true);
    expect(mayAsk({ epoch: 1, required: 2, held: true })).toBe(false);
    expect(mayAsk({ epoch: 1, required: 0, held: false })).toBe(false);
  });

  test('is not needed only where there is no copy, none joins, and the answer is of this epoch', () => {
    expect(needsNone({ epoch: 3, required: 0, held: false }, 3)).toBe(true);
    expect(needsNone({ epoch: 3, required: 0, held: false }, 2)).toBe(false);
    expect(needsNone({ epoch: 3, required: 0, held: true }, 3)).toBe(false);
    expect(needsNone({ epoch: 3, required: 1, held: false }, 3)).toBe(false);
  });
});

describe('the fate of a write under another primary', () => {
  /** A write lies somewhere in (lower, upper]; the new primary has all up to `at`, and nothing behind it. */
  test('is never told wrongly, wherever the write really ended', () => {
    fc.assert(
      fc.property(offset, offset, offset, offset, fc.boolean(), (lower, before, size, at, known) => {
        const from = lower + before;
        const end = from + 1 + size;
        const upper = known ? end + (at % 7) : -1;
        const fate = fateUnder(lower, upper, history(), promoted(at));
        if (fate === 'survived') expect(at).toBeGreaterThanOrEqual(end);
        if (fate === 'gone') expect(at).toBeLessThanOrEqual(from);
      }),
      params,
    );
  });

  test('is told at the bounds themselves', () => {
    expect(fateUnder(10, 20, history(), promoted(20))).toBe('survived');
    expect(fateUnder(10, 20, history(), promoted(19))).toBe('open');
    expect(fateUnder(10, 20, history(), promoted(11))).toBe('open');
    expect(fateUnder(10, 20, history(), promoted(10))).toBe('gone');
    expect(fateUnder(10, -1, history(), promoted(900))).toBe('open');
  });

  test('is open where the new primary does not come out of the same history, whatever the offsets', () => {
    fc.assert(
      fc.property(offset, offset, offset, (lower, upper, at) => {
        expect(fateUnder(lower, upper, history(), promoted(at, 'h0'))).toBe('open');
        expect(fateUnder(lower, upper, history({ replicationId: '' }), promoted(at, ''))).toBe('open');
      }),
      params,
    );
  });

  test('is of another history as soon as process or replication id are others', () => {
    expect(isSameHistory(history(), history({ offset: 900 }))).toBe(true);
    expect(isSameHistory(history(), history({ runId: 'r2' }))).toBe(false);
    expect(isSameHistory(history(), history({ replicationId: 'h2' }))).toBe(false);
  });

  test("goes on when a lone process's first replica gives it another replication id, and no other way round", () => {
    const alone = history({ hasBacklog: false, offset: 0 });
    const followed = history({ replicationId: 'h2', offset: 70 });
    expect(isSameHistory(alone, followed)).toBe(true);
    expect(isSameHistory(followed, alone)).toBe(true);
    expect(isSameHistory(alone, { ...followed, runId: 'r2' })).toBe(false);
    expect(isSameHistory(alone, { ...followed, previousId: 'h1', promotedAt: 0 })).toBe(false);
    expect(isSameHistory(alone, { ...alone, replicationId: 'h2' })).toBe(false);
    expect(isSameHistory(history(), followed)).toBe(false);
    const era = newEra(alone);
    // While nothing is counted, no write can be proven to be missing: its place would be that of all others.
    expect(fateUnder(era.known, -1, followed, promoted(0, 'h2'))).toBe('open');
    expect(goOn(era, followed)).toBe(true);
    expect(era).toMatchObject({ history: followed, known: 70 });
    expect(goOn(era, alone)).toBe(true);
    expect(era).toMatchObject({ history: followed, known: 70 });
  });
});

describe('offsets read by barriers', () => {
  const era = (): Era => ({ history: history(), known: 100, readings: [] });

  test('bound an answer by the first that was read behind it', () => {
    const one = era();
    noteReading(one, 3, 150);
    noteReading(one, 3, 170);
    noteReading(one, 8, 200);
    expect([1, 3, 4, 8, 9].map(number => upperBound(one, number))).toEqual([150, 150, 200, 200, -1]);
    expect(one.known).toBe(200);
  });

  test('are kept as long as an answer needs them', () => {
    const one = era();
    for (const number of [2, 4, 6]) noteReading(one, number, number * 100);
    dropReadings(one, 4);
    expect(one.readings).toEqual([{ seq: 6, offset: 600 }]);
  });
});
