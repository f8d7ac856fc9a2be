import { describe, expect, it } from 'vitest';
import { decodeReplies, decodeReply, ReplyError, textOf } from '../../src/resp/reply-value.ts';

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('a decoded reply', () => {
  it.each([
    ['+OK\r\n', latin1('OK')],
    ['-ERR no \xff\r\n', new ReplyError('ERR no \xff')],
    [':-12\r\n', -12],
    ['$-1\r\n', null],
    ['*-1\r\n', null],
    ['$0\r\n\r\n', latin1('')],
    ['$3\r\n\r\n\xff\r\n', latin1('\r\n\xff')],
    ['*2\r\n:1\r\n*1\r\n$-1\r\n', [1, [null]]],
    ['_\r\n', null],
    ['#t\r\n', true],
    ['#f\r\n', false],
    [',1.5\r\n', latin1('1.5')],
    ['(123456789012345678901\r\n', latin1('123456789012345678901')],
    ['!6\r\nERR no\r\n', new ReplyError('ERR no')],
    ['=7\r\ntxt:abc\r\n', latin1('abc')],
    ['%1\r\n+a\r\n:1\r\n', [latin1('a'), 1]],
    ['~2\r\n:1\r\n:2\r\n', [1, 2]],
    ['>2\r\n+message\r\n:1\r\n', [latin1('message'), 1]],
    ['|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n', latin1('a')],
    ['*1\r\n|1\r\n+ttl\r\n:3\r\n:5\r\n', [5]],
  ])('of %j is what it says', (bytes, value) => {
    expect(decodeReply(latin1(bytes))).toEqual(value);
    expect(decodeReply(latin1(`+x\r\n${bytes}`), 4)).toEqual(value);
    expect(decodeReplies(latin1(bytes + bytes))).toEqual([value, value]);
  });

  it('keeps its bytes when the read buffer is written anew', () => {
    const bytes = latin1('*2\r\n$1\r\na\r\n=5\r\ntxt:b\r\n');
    const value = decodeReply(bytes);
    bytes.fill(0);
    expect(value).toEqual([latin1('a'), latin1('b')]);
  });

  it('is an error where it is nested deeper than any of Redis, and the next one is found', () => {
    const deep = `${'*1\r\n'.repeat(100_000)}:1\r\n`;
    expect(decodeReplies(latin1(`${deep}+OK\r\n`))).toEqual([expect.any(ReplyError), latin1('OK')]);
    const attributes = `${'|0\r\n'.repeat(100_000)}:1\r\n`;
    expect(decodeReplies(latin1(`${attributes}+OK\r\n`))).toEqual([expect.any(ReplyError), latin1('OK')]);
    expect(decodeReply(latin1(`${'*1\r\n'.repeat(100)}:1\r\n`))).not.toBeInstanceOf(ReplyError);
  });

  it('has a text when it is a string or a number', () => {
    expect([textOf(latin1('a\xff')), textOf(5), textOf(null), textOf([]), textOf(undefined)]).toEqual([
      'a\xff',
      '5',
      '',
      '',
      '',
    ]);
  });
});
