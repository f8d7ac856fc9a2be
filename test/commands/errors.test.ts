import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Random } from '../../src/base/random.ts';
import { isStrayedHttp, unknownError, wrongArityError } from '../../src/commands/errors.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { argumentsOf, type Word } from './arguments-of.ts';
import { RedisUnderTest } from './redis.ts';
import { seeded } from './seed.ts';

const table = CommandTable.fromSnapshot();
let redis: RedisUnderTest;

beforeAll(async () => {
  redis = await RedisUnderTest.start();
});

afterAll(() => redis.stop());

/** What the proxy says to a command before it looks at its route; null when nothing is wrong so far. */
function ours(words: readonly Word[]): string | null {
  const args = argumentsOf(...words);
  const row = table.resolve(args);
  if (row === null) return unknownError(table.find(args), args);
  return row.arityOk(args.count) ? null : wrongArityError(row);
}

describe('the error for', () => {
  test.each([
    [['foo'], "ERR unknown command 'foo', with args beginning with: "],
    [['foo', 'a', 'b'], "ERR unknown command 'foo', with args beginning with: 'a' 'b' "],
    [['Foo\r\nBar', '\n'], "ERR unknown command 'Foo  Bar', with args beginning with: ' ' "],
    [['foo\0bar', 'a\0b', 'c'], "ERR unknown command 'foo', with args beginning with: 'a' 'c' "],
    [['client', 'Foo'], "ERR unknown subcommand 'Foo'. Try CLIENT HELP."],
    [['cOnFiG', ''], "ERR unknown subcommand ''. Try CONFIG HELP."],
    [['client'], "ERR wrong number of arguments for 'client' command"],
    [['CLIENT', 'ID', 'x'], "ERR wrong number of arguments for 'client|id' command"],
    [['get'], "ERR wrong number of arguments for 'get' command"],
    [['GETX', 'x'.repeat(200)], `ERR unknown command 'GETX', with args beginning with: '${'x'.repeat(128)}' `],
    [[''], "ERR unknown command '', with args beginning with: "],
  ] as [string[], string][])('%j is Redis’s own', async (words, expected) => {
    expect(ours(words)).toBe(expected);
    expect(await redis.errorOf(...words)).toBe(expected);
  });

  test('an unknown name with random arguments is Redis’s own', async () => {
    const random = seeded('unknown commands');
    const calls = Array.from({ length: 2000 }, () => unknownCall(random));
    const replies = await Promise.all(calls.map(words => redis.errorOf(...words)));
    for (const [i, words] of calls.entries()) expect(ours(words)).toBe(replies[i]);
  });

  test('a random subcommand of every container is Redis’s own', async () => {
    const random = seeded('unknown subcommands');
    const containers = table.rows.filter(row => row.subcommands !== null);
    expect(containers.length).toBeGreaterThan(10);
    const calls = containers.flatMap(row =>
      Array.from({ length: 30 }, () => [
        anyCase(row.name, random),
        `~${randomText(random, 200)}`,
        randomText(random, 9),
      ]),
    );
    const replies = await Promise.all(calls.map(words => redis.errorOf(...words)));
    for (const [i, words] of calls.entries()) expect(ours(words)).toBe(replies[i]);
  });

  test('a wrong number of arguments to any command is Redis’s own', async () => {
    const calls: string[][] = [];
    for (const row of stockRows()) {
      const name = row.name.split('|');
      for (let count = name.length; count < 9; count += 1) {
        const words = [...name, ...new Array<string>(count - name.length).fill('x')];
        if (!row.arityOk(count)) calls.push(words);
      }
    }
    expect(calls.length).toBeGreaterThan(900);
    const replies = await Promise.all(calls.map(words => redis.errorOf(...words)));
    for (const [i, words] of calls.entries()) {
      expect(replies[i], words.join(' ')).toMatch(/wrong number of arguments for '.*' command$/);
      expect(ours(words)).toBe(replies[i]);
    }
  });

  test.each(['POST', 'post', 'Host:', 'HOST:'])('%s is none: an HTTP request has strayed here', name => {
    expect(isStrayedHttp(argumentsOf(name, '/', 'HTTP/1.1'))).toBe(true);
  });

  test.each(['GET', 'host', 'posts', 'hosts', 'pos'])('%s stays: it is no HTTP request', name => {
    expect(isStrayedHttp(argumentsOf(name))).toBe(false);
  });
});

/** Rows that a stock Redis 7.0 has too. */
function stockRows() {
  const ours70 = new Set(['gets', 'cas', 'client|setinfo', 'client|no-touch']);
  return table.rows.flatMap(row => [row, ...row.subcommandRows]).filter(row => !ours70.has(row.name));
}

function unknownCall(random: Random): string[] {
  const words = [`~${randomText(random, 160)}`];
  const count = random.below(8);
  for (let i = 0; i < count; i += 1) words.push(randomText(random, 90));
  return words;
}

/** Up to `most` bytes of any value; NUL and line ends often. */
function randomText(random: Random, most: number): string {
  const bytes = Buffer.alloc(random.below(most));
  for (let i = 0; i < bytes.length; i += 1)
    bytes[i] = random.below(40) === 0 ? random.pick([0, 10, 13]) : random.below(256);
  return bytes.toString('latin1');
}

function anyCase(name: string, random: Random): string {
  return [...name].map(letter => (random.below(2) === 0 ? letter : letter.toUpperCase())).join('');
}
