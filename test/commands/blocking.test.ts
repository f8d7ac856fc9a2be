import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blocks, timeoutAt, timeoutUnitMs } from '../../src/commands/blocking.ts';
import type { CommandRow } from '../../src/commands/row.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { argumentsOf } from './arguments-of.ts';
import { RedisUnderTest } from './redis.ts';

const table = CommandTable.fromSnapshot();
let redis: RedisUnderTest;

beforeAll(async () => {
  redis = await RedisUnderTest.start();
});

afterAll(() => redis.stop());

function rowOf(words: string[]): CommandRow {
  const row = table.find(argumentsOf(...words));
  if (row === null) throw new Error(`no command ${words[0]}`);
  return row;
}

describe('a blocking command', () => {
  // T stands where the timeout is.
  test.each([
    'BLPOP a b T',
    'BRPOP a T',
    'BRPOPLPUSH a b T',
    'BLMOVE a b LEFT RIGHT T',
    'BLMPOP T 1 a LEFT',
    'BZPOPMIN a b T',
    'BZPOPMAX a T',
    'BZMPOP T 2 a b MIN COUNT 1',
    'XREAD BLOCK T STREAMS a 0',
    'xread COUNT 3 block T STREAMS a $',
    'XREADGROUP GROUP block c BLOCK T STREAMS a >',
    'XREADGROUP GROUP g c COUNT 1 BLOCK T NOACK STREAMS a >',
    'XREAD BLOCK 1 BLOCK T STREAMS a 0',
    'WAIT 1 T',
  ])('%s has its timeout at T, in the unit that Redis reads there', async text => {
    const words = text.split(' ');
    const row = rowOf(words);
    const at = timeoutAt(row, argumentsOf(...words));
    expect(words[at]).toBe('T');
    // Redis's complaint tells which argument it took for the timeout, and what kind of number it wants.
    const wanted = timeoutUnitMs(row) === 1 ? 'integer' : 'float';
    expect(await redis.errorOf(...words)).toBe(
      `ERR timeout is not ${wanted === 'float' ? 'a float' : 'an integer'} or out of range`,
    );
  });

  test.each([
    ['BLPOP a 0', true],
    ['BLMOVE a b LEFT RIGHT 1', true],
    ['XREAD BLOCK 0 STREAMS a $', true],
    ['XREAD CLAIM 9 BLOCK 0 STREAMS a $', true],
    ['XREAD STREAMS a $', false],
    ['XREAD STREAMS BLOCK 0', false],
    ['XREAD COUNT BLOCK STREAMS a 0', false],
    ['XREADGROUP GROUP BLOCK BLOCK STREAMS a >', false],
    ['XREADGROUP GROUP g c STREAMS a >', false],
    ['LPOP a', false],
    ['WAIT 1 0', false],
  ] as [string, boolean][])('%s may wait: %s', (text, expected) => {
    const words = text.split(' ');
    expect(blocks(rowOf(words), argumentsOf(...words))).toBe(expected);
  });

  test.each(['GET a', 'XREAD STREAMS a $', 'LMPOP 1 a LEFT'])('%s has no timeout', text => {
    const words = text.split(' ');
    expect(timeoutAt(rowOf(words), argumentsOf(...words))).toBe(-1);
  });
});
