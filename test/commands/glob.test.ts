/** Patterns match what KEYS of a real node finds by them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { matchesGlob } from '../../src/commands/glob.ts';
import { stockRedisOfFile } from '../differential/measure.ts';
import { HANG_MS } from '../support/patience.ts';

const seed = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 2 ** 31);
const stockRedis = stockRedisOfFile();

const matches = (pattern: string, key: string): boolean => {
  const bytes = Buffer.from(`xx${key}yy`, 'latin1');
  return matchesGlob(Buffer.from(pattern, 'latin1'), bytes, 2, 2 + key.length);
};

test.each([
  ['session:*', 'session:', true],
  ['session:*', 'session', false],
  ['*', '', true],
  ['h?llo', 'hallo', true],
  ['h?llo', 'hllo', false],
  ['h[^e]llo', 'hello', false],
  ['h[a-c]llo', 'hbllo', true],
  ['h[c-a]llo', 'hbllo', true],
  ['h\\*llo', 'h*llo', true],
  ['a*b*c', 'axxbyybzc', true],
  ['a*b*c', 'axxbyybz', false],
  ['*a', 'aaab', false],
])('%s and %s: %s', (pattern, key, expected) => {
  expect(matches(pattern, key)).toBe(expected);
});

describe('any pattern and key', () => {
  test(`agree with a real node (RINGSIDE_SEED=${seed} npx vitest run test/commands/glob.test.ts)`, async () => {
    const letter = fc.constantFrom('a', 'b', 'c', '*', '?', '[', ']', '^', '-', '\\');
    const text = fc.string({ unit: letter, maxLength: 8 });
    const keyText = fc.string({ unit: letter, minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(text, keyText, async (pattern, key) => {
        await stockRedis().ask('FLUSHALL');
        await stockRedis().ask('SET', key, '1');
        const found = (await stockRedis().ask('KEYS', pattern)).toString('latin1').startsWith('*1');
        return matches(pattern, key) === found;
      }),
      { seed, numRuns: 1500 },
    );
  });

  test('with many stars take no time that grows out of bounds', () => {
    const begun = performance.now();
    expect(matches('*a*a*a*a*a*a*a*a*a*b', 'a'.repeat(2000))).toBe(false);
    expect(performance.now() - begun).toBeLessThan(HANG_MS);
  });
});
