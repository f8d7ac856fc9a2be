import { describe, expect, it } from 'vitest';
import { splitInline } from '../../src/resp/inline.ts';

const split = (line: string): string[] | null =>
  splitInline(Buffer.from(line, 'latin1'))?.map(word => word.toString('latin1')) ?? null;

describe('an inline command', () => {
  it.each([
    ['PING', ['PING']],
    ['  SET \t k   v  ', ['SET', 'k', 'v']],
    ['', []],
    ['   ', []],
    ['SET k "a b"', ['SET', 'k', 'a b']],
    [String.raw`ECHO "\x41\n\r\t\b\a\"\\\q"`, ['ECHO', 'A\n\r\t\b\x07"\\q']],
    [String.raw`ECHO "\xZZ\x4"`, ['ECHO', 'xZZx4']],
    [String.raw`ECHO 'a\'b\n"c'`, ['ECHO', String.raw`a'b\n"c`]],
    ['ECHO ""', ['ECHO', '']],
    ["ECHO '' x", ['ECHO', '', 'x']],
    ['ECHO ab"cd"', ['ECHO', 'abcd']],
    ['A\x0bB', ['A\x0bB']],
    ['GET k\0 rest', ['GET', 'k']],
    ['ECHO \xff\xe9', ['ECHO', '\xff\xe9']],
  ])('%j is split as sdssplitargs splits it', (line, words) => {
    expect(split(line)).toEqual(words);
  });

  it.each(['ECHO "a', "ECHO 'a", 'ECHO "a"b', "ECHO 'a'b", 'ECHO "a\\', '"'])(
    '%j has quotes that do not match',
    line => {
      expect(split(line)).toBeNull();
    },
  );
});
