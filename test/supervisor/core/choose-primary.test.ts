import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Candidate, chooseColdCopy, choosePrimary } from '../../../src/supervisor/core/choose-primary.ts';
import { compareMarks, loadMark, type Mark, parseMark } from '../../../src/supervisor/core/mark.ts';
import type { NodeReport } from '../../../src/supervisor/core/node-report.ts';

/**
 * Which copy becomes the primary, after a loss and after a cold start. `RINGSIDE_SEED` replays what fast-check prints.
 */
const seed = Number(process.env.RINGSIDE_SEED ?? Date.now() % 1_000_000);
const replay = `RINGSIDE_SEED=${seed} npx vitest run test/supervisor/core/choose-primary.test.ts`;

function candidate(nodeId: string, offset: number, id = 'h', keptFrom: number | null = 1): Candidate {
  const report = { runId: nodeId, replicationId: id, offset } as NodeReport;
  return { report, stream: { id, offset, keptFrom }, target: { nodeId, runId: nodeId }, users: [] };
}

const names = (list: readonly Candidate[]): string[] => list.map(one => one.target.nodeId);

describe('after a loss', () => {
  test('nobody is chosen from nobody', () => {
    expect(choosePrimary([])).toBeNull();
  });

  test('the one that is furthest, then the first', () => {
    expect(choosePrimary([candidate('a', 10), candidate('b', 12), candidate('c', 12)])?.winner.target.nodeId).toBe('b');
  });

  test('of equal ones that which the others can follow', () => {
    const choice = choosePrimary([candidate('a', 12, 'h', 13), candidate('b', 12), candidate('c', 9)]);
    expect(choice?.winner.target.nodeId).toBe('b');
    expect(names(choice?.followers ?? [])).toEqual(['a', 'c']);
  });

  test('whoever has only the id before the winner’s own would be copied to in full: it is dropped', () => {
    const choice = choosePrimary([candidate('a', 12, 'new'), candidate('b', 10, 'old')]);
    expect(names(choice?.dropped ?? [])).toEqual(['b']);
  });

  test('whoever needs more than the winner has kept is dropped', () => {
    const choice = choosePrimary([candidate('a', 100, 'h', 52), candidate('b', 50), candidate('c', 51)]);
    expect([names(choice?.followers ?? []), names(choice?.dropped ?? [])]).toEqual([['c'], ['b']]);
  });

  test('none is ahead of the winner, and each of the others either follows or is dropped', () => {
    const one = fc.record({ offset: fc.nat(50), id: fc.constantFrom('h', 'g'), keptFrom: fc.option(fc.nat(60)) });
    const property = fc.property(fc.array(one, { minLength: 1, maxLength: 5 }), list => {
      const all = list.map(({ offset, id, keptFrom }, i) => candidate(`n${i}`, offset, id, keptFrom));
      const choice = choosePrimary(all);
      if (choice === null) return false;
      const rest = [...choice.followers, ...choice.dropped];
      return (
        all.every(other => other.stream.offset <= choice.winner.stream.offset) &&
        rest.length === all.length - 1 &&
        !rest.includes(choice.winner) &&
        choice.followers.every(other => other.stream.id === choice.winner.stream.id)
      );
    });
    const { failed, counterexample } = fc.check(property, { seed, numRuns: 500 });
    expect(failed ? `${JSON.stringify(counterexample)}; again: ${replay}` : 'holds').toBe('holds');
  });
});

const mark = (epoch: number, counter: number): Mark => ({ cluster: 'shop', shard: 's1', epoch, counter });
const copy = (nodeId: string, its: Mark | null, keys: number) => ({
  target: { nodeId, runId: nodeId },
  mark: its,
  keys,
  usedMemoryBytes: keys,
});

describe('after a cold start', () => {
  test.each([
    ['the greater epoch', [copy('a', mark(1, 9), 100), copy('b', mark(2, 1), 1)], 'b'],
    ['then the greater counter', [copy('a', mark(2, 1), 100), copy('b', mark(2, 2), 1)], 'b'],
    ['among equal marks the one with more data', [copy('a', mark(2, 2), 1), copy('b', mark(2, 2), 100)], 'b'],
    ['one with a mark before any without', [copy('a', null, 1000), copy('b', mark(1, 1), 0)], 'b'],
  ])('%s', (_what, copies, winner) => {
    expect(chooseColdCopy(copies)?.target.nodeId).toBe(winner);
  });
});

describe('the mark', () => {
  const read = (code: string): Mark | null => parseMark([['library_name', 'ringside_mark', 'library_code', code]]);

  test('is read as it was written', () => {
    expect(read(loadMark(mark(7, 3_000_000_002)).at(-1) ?? '')).toEqual(mark(7, 3_000_000_002));
  });

  test.each([
    ['no library', []],
    ['an error', { error: 'ERR' }],
    ['another text', [['library_code', '-- {"epoch":1}']]],
  ])('%s is no mark', (_what, reply) => {
    expect(parseMark(reply)).toBeNull();
  });

  test('any mark is newer than none', () => {
    expect(compareMarks(mark(1, 1), null)).toBeGreaterThan(0);
    expect(compareMarks(null, null)).toBe(0);
  });
});
