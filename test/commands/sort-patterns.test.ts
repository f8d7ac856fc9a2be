import { describe, expect, test } from 'vitest';
import { KeyPositions } from '../../src/commands/keys.ts';
import { patternFollowsKey, sortPatterns } from '../../src/commands/sort-patterns.ts';
import { argumentsOf } from './arguments-of.ts';
import { seeded } from './seed.ts';

const positions = new KeyPositions();

function patterns(text: string): string[] {
  const args = argumentsOf(...text.split(' '));
  const count = sortPatterns(args, positions);
  return [...positions.at.subarray(0, count)].map(index => args.text(index));
}

function follows(key: string, pattern: string, hashTag = '{}'): boolean {
  return patternFollowsKey(argumentsOf('SORT', key, 'BY', pattern), 1, 3, hashTag);
}

describe('the patterns of SORT', () => {
  test.each([
    ['SORT k', []],
    ['SORT k BY w_* GET d_*->f GET # STORE x', ['w_*', 'd_*->f']],
    ['SORT k BY nosort GET fixed', []],
    ['SORT k STORE by* LIMIT 0 get* ALPHA', []],
    ['SORT k by w_*', ['w_*']],
    ['SORT k BY', []],
  ] as [string, string[]][])('in %s are %j', (text, expected) => {
    expect(patterns(text)).toEqual(expected);
  });

  test.each([
    ['{t}k', '{t}w_*', true],
    ['a{t}b', 'w{t}_*->f', true],
    ['{t}k', '{u}w_*', false],
    ['{t}k', '{tt}w_*', false],
    ['{t}k', 'w_*', false],
    ['k', 'w_*', false],
    ['k', 'k*', false],
    ['{t}k', '*{t}', false],
    ['{t*}k', '{t*}x', false],
    ['{}k', '{}w_*', false],
    ['{t', '{t*', false],
  ] as [string, string, boolean][])('with the key %s, %s stays on its shard: %s', (key, pattern, expected) => {
    expect(follows(key, pattern)).toBe(expected);
  });

  test('know the configured hash tag only', () => {
    expect(follows('<t>k', '<t>w_*', '<>')).toBe(true);
    expect(follows('{t}k', '{t}w_*', '<>')).toBe(false);
    expect(follows('$t$k', '$t$w_*', '$$')).toBe(true);
    expect(follows('{t}k', '{t}w_*', '')).toBe(false);
  });

  test('that follow the key make keys with its hash tag, whatever is put in', () => {
    const random = seeded('sort patterns');
    const text = (most: number) => Array.from({ length: random.below(most) }, () => random.pick([...'{}*ab'])).join('');
    let followed = 0;
    for (let round = 0; round < 20_000; round += 1) {
      const [key, pattern, element] = [`${text(3)}{a}${text(4)}`, `${text(3)}{a}${text(5)}`, text(5)];
      if (!follows(key, pattern)) continue;
      followed += 1;
      const made = pattern.replace('*', () => element);
      expect(tagOf(made), `${key} ${pattern} ${element}`).toBe(tagOf(key));
    }
    expect(followed).toBeGreaterThan(1000);
  });
});

/** The part of a key that decides its owner: between the first brace and the next that closes it, unless empty. */
function tagOf(key: string): string {
  const found = /^[^{]*\{([^}]+)\}/.exec(key);
  return found?.[1] ?? key;
}
