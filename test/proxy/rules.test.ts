/** Under which terms a key falls, and a command with several. */
import { describe, expect, test } from 'vitest';
import { KeyPositions } from '../../src/commands/keys.ts';
import type { Config, KeyRule, ReadRule, WriteRule } from '../../src/config/config.ts';
import { argumentsOf } from '../../src/proxy/own-commands.ts';
import { ReadFrom, Rules } from '../../src/proxy/rules.ts';

const WRITES: WriteRule = { acknowledge: 'all', timeoutMs: 5000, minimumCopies: 1 };
const READS: ReadRule = { from: 'primary', strict: false };

function rulesOf(...rules: (Partial<WriteRule> & Partial<ReadRule> & { match: string })[]): Rules {
  const whole: KeyRule[] = rules.map(({ match, from, strict, ...writes }) => ({
    match,
    writes: { ...WRITES, ...writes },
    reads: { from: from ?? 'primary', strict: strict ?? false },
  }));
  return new Rules({ writes: WRITES, reads: READS, rules: whole } satisfies Pick<Config, 'writes' | 'reads' | 'rules'>);
}

const ofKey = (rules: Rules, key: string) => rules.ofKey(Buffer.from(`..${key}..`), 2, Buffer.byteLength(key));

function ofKeys(rules: Rules, ...keys: string[]) {
  const positions = new KeyPositions();
  for (let i = 1; i <= keys.length; i += 1) positions.push(i);
  return rules.ofKeys(argumentsOf(['mset', ...keys]), positions, keys.length);
}

describe('without rules', () => {
  test('all keys have one set of terms, which nobody has to look up', () => {
    const rules = rulesOf();
    expect(rules.uniform).toEqual({
      confirmWrites: true,
      confirmReads: false,
      minimumCopies: 1,
      timeoutMs: 5000,
      readFrom: ReadFrom.Primary,
    });
    expect([ofKey(rules, 'a'), ofKeys(rules, 'a', 'b')]).toEqual([rules.uniform, rules.uniform]);
  });

  test('rules that change nothing cost nothing', () => {
    expect(rulesOf({ match: 'a*' }).uniform).not.toBeNull();
    expect(rulesOf({ match: 'a*', minimumCopies: 2 }).uniform).toBeNull();
  });
});

describe('a key', () => {
  test('falls under the first rule that matches it, else under the general terms', () => {
    const rules = rulesOf(
      { match: 'session:admin:*', minimumCopies: 2 },
      { match: 'session:*', acknowledge: 'primary' },
      { match: '*:tmp', minimumCopies: 3 },
      { match: 'exact', minimumCopies: 4 },
    );
    expect(ofKey(rules, 'session:admin:7')).toMatchObject({ confirmWrites: true, minimumCopies: 2 });
    expect(ofKey(rules, 'session:tmp')).toMatchObject({ confirmWrites: false, minimumCopies: 1 });
    expect(ofKey(rules, 'a:tmp').minimumCopies).toBe(3);
    expect([ofKey(rules, 'exact').minimumCopies, ofKey(rules, 'exactly').minimumCopies]).toEqual([4, 1]);
    expect(ofKey(rules, 'session')).toBe(rules.general);
    expect(ofKey(rules, '')).toBe(rules.general);
  });

  test('is compared byte for byte, in any encoding', () => {
    expect(ofKey(rulesOf({ match: 'füß:*', minimumCopies: 2 }), 'füß:1').minimumCopies).toBe(2);
  });
});

describe('a command with several keys', () => {
  const rules = rulesOf(
    { match: 'lax:*', acknowledge: 'primary', from: 'any', timeoutMs: 1000 },
    { match: 'near:*', from: 'zone', acknowledge: 'primary' },
    { match: 'money:*', minimumCopies: 2, strict: true },
  );

  test('goes by the strictest of their terms, in whatever order they come', () => {
    const expected = {
      confirmWrites: true,
      confirmReads: true,
      minimumCopies: 2,
      timeoutMs: 5000,
      readFrom: ReadFrom.Primary,
    };
    expect(ofKeys(rules, 'lax:1', 'money:1')).toEqual(expected);
    expect(ofKeys(rules, 'money:1', 'near:1', 'lax:1')).toEqual(expected);
    expect(ofKeys(rules, 'lax:1', 'other')).toMatchObject({ confirmWrites: true, readFrom: ReadFrom.Primary });
    expect(ofKeys(rules, 'lax:1', 'near:1')).toMatchObject({ confirmWrites: false, readFrom: ReadFrom.Zone });
  });

  test('that all fall under one rule, goes by that; one without keys by the general terms', () => {
    expect(ofKeys(rules, 'lax:1', 'lax:2')).toBe(ofKey(rules, 'lax:3'));
    expect(ofKeys(rules)).toBe(rules.general);
  });

  test('may be read from copies as soon as any key may', () => {
    expect([rules.readsCopies, rulesOf({ match: 'a', minimumCopies: 2 }).readsCopies]).toEqual([true, false]);
  });
});
