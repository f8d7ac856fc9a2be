/** What is passed on when one connection that listens takes over from another. */
import { describe, expect, test } from 'vitest';
import { Overlap } from '../../src/proxy/subscriber-overlap.ts';

describe('where the old connection breaks before the word has come on it', () => {
  const told = (old: string, before: string, behind = ''): string => {
    const overlap = new Overlap();
    for (const text of old) overlap.noteOld(Buffer.from(text));
    for (const text of before) overlap.keepNew({ kind: 'c', name: 'x', frame: Buffer.from(text) });
    overlap.isNewHeard = behind !== '';
    for (const text of behind) overlap.keepNew({ kind: 'c', name: 'x', frame: Buffer.from(text) });
    return overlap
      .rest()
      .map(({ frame }) => frame.toString())
      .join('');
  };

  test.each([
    ['', '', ''],
    ['', 'ab', 'ab'],
    ['ab', '', ''],
    ['ab', 'cd', 'cd'],
    ['abc', 'bcde', 'de'],
    ['abc', 'abc', ''],
    ['abc', 'bc', ''],
    ['aab', 'abab', 'ab'],
  ])('it brought %s, the new one %s: %s is left to be told', (old, before, rest) => {
    expect(told(old, before)).toBe(rest);
    expect(told(old, before, 'xy')).toBe(`${rest}xy`);
  });
});
