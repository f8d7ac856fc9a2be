import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Random } from '../../src/base/random.ts';
import { findChannels, findKeys, KeyPositions } from '../../src/commands/keys.ts';
import { KeyFinder, Route } from '../../src/commands/routes.ts';
import type { CommandRow } from '../../src/commands/row.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { argumentsOf, bytesOf, type Word } from './arguments-of.ts';
import { RedisUnderTest } from './redis.ts';
import { seeded } from './seed.ts';

const table = CommandTable.fromSnapshot();
const positions = new KeyPositions();
let redis: RedisUnderTest;

beforeAll(async () => {
  redis = await RedisUnderTest.start();
});

afterAll(() => redis.stop());

/** What we find: the keys themselves, or -1. */
function ours(words: readonly Word[]): string[] | -1 {
  const args = argumentsOf(...words);
  const row = table.resolve(args);
  if (row === null) throw new Error(`no such command: ${String(words[0])}`);
  const count = findKeys(row, args, positions);
  if (count < 0) return -1;
  return [...positions.at.subarray(0, count)].map(index => args.text(index));
}

/** What COMMAND GETKEYS finds, in the same form. */
async function theirs(words: readonly Word[]): Promise<string[] | -1> {
  const reply = await redis.call('COMMAND', 'GETKEYS', ...words);
  if (Array.isArray(reply)) return reply.map(key => (key as Buffer).toString('latin1'));
  if (reply instanceof Error && reply.message === 'ERR Invalid arguments specified for command') return -1;
  if (reply instanceof Error && reply.message === 'ERR The command has no key arguments') return [];
  throw new Error(`COMMAND GETKEYS ${words.join(' ')}: ${String(reply)}`);
}

function line(text: string): string[] {
  return text.split(' ').map(word => (word === "''" ? '' : word));
}

describe('keys', () => {
  test.each([
    ['GET k', ['k']],
    ['SET k v EX 10 GET', ['k']],
    ['MSET a 1 b 2 c 3', ['a', 'b', 'c']],
    ['MSETNX a 1 b 2', ['a', 'b']],
    ["GET ''", ['']],
    ['DEL a b c', ['a', 'b', 'c']],
    ['BITOP AND dest a b', ['dest', 'a', 'b']],
    ['SMOVE a b m', ['a', 'b']],
    ['SINTERSTORE dest a b', ['dest', 'a', 'b']],
    ['PFMERGE dest a', ['dest', 'a']],
    ['BLPOP a b 0', ['a', 'b']],
    ['BRPOPLPUSH a b 0', ['a', 'b']],
    ['BLMOVE a b LEFT RIGHT 0', ['a', 'b']],
    ['LMPOP 2 a b LEFT COUNT 2', ['a', 'b']],
    ['BLMPOP 0 2 a b LEFT', ['a', 'b']],
    ['ZMPOP 1 a MIN', ['a']],
    ['BZMPOP 0 2 a b MIN', ['a', 'b']],
    ['SINTERCARD 2 a b LIMIT 3', ['a', 'b']],
    ['ZUNIONSTORE dest 2 a b WEIGHTS 1 2', ['dest', 'a', 'b']],
    ['ZUNIONSTORE dest 0 a b', -1],
    ['ZUNIONSTORE dest 3 a b', -1],
    ['ZUNION 2 a b WITHSCORES', ['a', 'b']],
    ['ZDIFF -1 a b', -1],
    ['ZRANGESTORE d s 0 -1', ['d', 's']],
    ['EVAL script 2 a b x y', ['a', 'b']],
    ['EVAL script 0', []],
    ['EVAL script 9 a', []],
    ['EVALSHA 0123 1 a', ['a']],
    ['EVAL_RO script 1 a', ['a']],
    ['FCALL f 2 a b c', ['a', 'b']],
    ['FCALL_RO f x', []],
    ['XADD s * f v', ['s']],
    ['XREAD COUNT 2 BLOCK 5 STREAMS a b 0 0', ['a', 'b']],
    ['xread streams a $', ['a']],
    ['XREADGROUP GROUP g c NOACK STREAMS a b > >', ['a', 'b']],
    ['XREADGROUP GROUP g c NOACK COUNT 2 a b', -1],
    ['XGROUP CREATE s g $ MKSTREAM', ['s']],
    ['XINFO STREAM s FULL', ['s']],
    ['OBJECT ENCODING k', ['k']],
    ['OBJECT HELP', []],
    ['MEMORY USAGE k SAMPLES 5', ['k']],
    ['SORT k', ['k']],
    ['SORT k LIMIT 0 10 BY w_* GET # GET STORE ALPHA STORE d', ['k', 'd']],
    ['SORT k STORE a STORE b', ['k', 'b']],
    ['SORT_RO k GET store', ['k']],
    ['GEORADIUS k 1 2 3 km STORE d', ['k', 'd']],
    ['GEORADIUS k 1 2 3 km COUNT 3 ASC STOREDIST d', ['k', 'd']],
    ['GEORADIUS k 1 2 3 km STORE', ['k']],
    ['GEORADIUSBYMEMBER k store 3 km STORE d', ['k', 'd']],
    ['GEORADIUS_RO k 1 2 3 km', ['k']],
    ['GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 1 km', ['d', 's']],
    ['COPY a b DB 1 REPLACE', ['a', 'b']],
    ['RENAME a b', ['a', 'b']],
    ['LCS a b LEN', ['a', 'b']],
    ['WATCH a b', ['a', 'b']],
    ['PFDEBUG GETREG k', ['k']],
    ['RESTORE k 0 x REPLACE', ['k']],
    ['FLUSHALL ASYNC', []],
    ['SPUBLISH c m', []],
  ] as [string, string[] | -1][])('of %s are what COMMAND GETKEYS says', async (text, expected) => {
    expect(ours(line(text))).toEqual(expected);
    expect(await theirs(line(text))).toEqual(expected);
  });

  test('of random arguments to any command are what COMMAND GETKEYS says', async () => {
    const random = seeded('random keys');
    const rows = keyed();
    const refused: Word[][] = [];
    let found = 0;
    for (let round = 0; round < 40; round += 1) {
      const batch = rows.map(row => randomCall(row, random)).filter(comparable);
      const replies = await Promise.all(batch.map(theirs));
      for (const [i, words] of batch.entries()) {
        expect(ours(words), words.join(' ')).toEqual(replies[i]);
        if (replies[i] === -1) refused.push(words);
        else found += 1;
      }
    }
    expect(found).toBeGreaterThan(1000);
    // What "unknown" promises: it does not matter which node such a command is sent to.
    const errors = await Promise.all(refused.map(words => redis.errorOf(...words)));
    for (const [i, error] of errors.entries()) expect(error, (refused[i] as Word[]).join(' ')).not.toBeNull();
    expect(refused.length).toBeGreaterThan(20);
  });

  test.each([
    ['XREADGROUP COUNT 1 GROUP STREAMS c STREAMS k >', ['k']],
    ['XREAD COUNT STREAMS STREAMS k 0', ['k']],
    ['XREAD CLAIM 100 STREAMS k 0', ['k']],
    ['GEORADIUS k 1 2 3 km STORE a STOREDIST b', ['k', 'b']],
    ['SORT k STORE by STORE b', ['k', 'b']],
  ] as [string, string[]][])('of %s follow the command where COMMAND GETKEYS is misled', (text, expected) => {
    expect(ours(line(text))).toEqual(expected);
  });

  test('of PFMERGE with nothing to merge are its destination, which it creates', async () => {
    expect(ours(['PFMERGE', 'made'])).toEqual(['made']);
    expect(String(await redis.call('PFMERGE', 'made'))).toBe('OK');
    expect(await redis.call('EXISTS', 'made')).toBe(1);
  });

  test('of SORT are the ones it uses when options look like others', async () => {
    await redis.call('RPUSH', 'k', '2', '1');
    expect(await redis.call('SORT', 'k', 'STORE', 'by', 'STORE', 'b')).toBe(2);
    expect(await redis.call('EXISTS', 'by')).toBe(0);
    expect(await redis.call('LLEN', 'b')).toBe(2);
    expect(await redis.call('SORT', 'k', 'STORE\0x', 'hidden')).toBe(2);
    expect(await redis.call('LLEN', 'hidden')).toBe(2);
    expect(ours(['SORT', 'k', 'STORE\0x', 'hidden'])).toEqual(['k', 'hidden']);
  });

  test.each(['+1', '01', '1x', ' 1', '', '99999999999', '2147483648', '1.0'])(
    'of a command are unknown when it counts them as "%s", which it refuses itself',
    async number => {
      expect(ours(['ZUNION', number, 'a'])).toBe(-1);
      expect(await redis.errorOf('ZUNION', number, 'a')).not.toBeNull();
      expect(ours(['EVAL', 'return 1', number, 'a'])).toEqual([]);
      expect(await redis.errorOf('EVAL', 'return 1', number, 'a')).not.toBeNull();
    },
  );

  test('of an XREAD with more keys than ids are unknown, and Redis refuses it', async () => {
    expect(ours(line('XREAD STREAMS a b 0'))).toBe(-1);
    expect(await redis.errorOf(...line('XREAD STREAMS a b 0'))).toMatch(/Unbalanced/);
  });

  test('of more arguments than ever before are all found', () => {
    const keys = Array.from({ length: 5000 }, (_, i) => `key:${i}`);
    expect(ours(['DEL', ...keys])).toEqual(keys);
    expect(ours(['GET', 'k'])).toEqual(['k']);
  });

  test('at a fixed single place are where findKeys finds them', async () => {
    const random = seeded('single keys');
    let seen = 0;
    for (const row of keyed()) {
      if (row.singleKeyAt < 0) continue;
      seen += 1;
      const words = randomCall(row, random);
      expect(ours(words), row.name).toEqual([argumentsOf(...words).text(row.singleKeyAt)]);
    }
    expect(seen).toBeGreaterThan(100);
  });
});

describe('channels', () => {
  test.each([
    ['SPUBLISH c m', [1]],
    ['SSUBSCRIBE a b', [1, 2]],
    ['SUNSUBSCRIBE', []],
    ['SUNSUBSCRIBE a', [1]],
  ] as [string, number[]][])('of %s are found', (text, expected) => {
    const args = argumentsOf(...line(text));
    const count = findChannels(table.find(args) as CommandRow, args, positions);
    expect([...positions.at.subarray(0, count)]).toEqual(expected);
  });
});

/** Every command with keys that is carried out at all. */
function keyed(): CommandRow[] {
  const all = table.rows.flatMap(row => [row, ...row.subcommandRows]);
  return all.filter(row => row.hasKeys && row.route !== Route.Refused && row.route !== Route.Own);
}

const WORDS = [
  'a',
  'b',
  '{t}c',
  '',
  '0',
  '1',
  '2',
  '3',
  '-1',
  '77',
  '\0\xff\r\n',
  'KEYS',
  'STREAMS',
  'streams',
  'STORE',
];
const OPTIONS = ['storedist', 'BLOCK', 'COUNT', 'GROUP', 'NOACK', 'BY', 'GET', 'limit', '*', 'ASC', 'x', 'y', 'z', 'w'];

function randomCall(row: CommandRow, random: Random): Word[] {
  const words: Word[] = row.name.split('|').map(word => (random.below(2) === 0 ? word : word.toUpperCase()));
  const least = Math.abs(row.arity);
  const count = row.arity > 0 ? least : least + random.below(7);
  while (words.length < count) words.push(random.pick(random.below(3) === 0 ? OPTIONS : WORDS));
  return words;
}

/** Leaves out the calls in which COMMAND GETKEYS is misled; those have tests of their own. */
function comparable(words: readonly Word[]): boolean {
  const row = table.byName(String(words[0]));
  const said = (name: string) => words.filter(word => bytesOf(word).toString('latin1').toLowerCase() === name).length;
  switch (row?.finder) {
    case KeyFinder.Sort:
      return said('store') <= 1;
    case KeyFinder.GeoStore:
      return said('store') + said('storedist') <= 1;
    case KeyFinder.Streams: {
      const at = words.findIndex(word => bytesOf(word).toString('latin1').toLowerCase() === 'streams');
      return said('streams') === 1 && (words.length - at) % 2 === 1 && !hidden(words, at);
    }
    default:
      return row?.name !== 'pfmerge' || words.length > 2;
  }
}

/** Whether the word is the value of an option before it, not an option. */
function hidden(words: readonly Word[], at: number): boolean {
  const before = (distance: number) => String(words[at - distance] ?? '').toLowerCase();
  return ['block', 'count', 'group'].includes(before(1)) || before(2) === 'group' || at < 4;
}
