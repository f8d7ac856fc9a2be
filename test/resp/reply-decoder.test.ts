import { describe, expect, it } from 'vitest';
import { endOfReply, REPLY_GARBAGE, REPLY_UNFINISHED, ReplyDecoder } from '../../src/resp/reply-decoder.ts';

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

/** Where the first reply ends; the same byte by byte as in one piece, and with anything behind what was read. */
function frame(text: string): number {
  const bytes = latin1(text);
  const whole = new ReplyDecoder().frame(bytes, 0, bytes.length);
  const decoder = new ReplyDecoder();
  let end = REPLY_UNFINISHED;
  for (let i = 0; i < bytes.length && end === REPLY_UNFINISHED; i += 1) end = decoder.frame(bytes, i, i + 1);
  expect(end).toBe(whole);
  for (const stale of ['\r\n\r\n\r\n', '+OK\r\n', '\r', '\n']) {
    const longer = latin1(text + stale);
    expect(new ReplyDecoder().frame(longer, 0, bytes.length)).toBe(whole);
  }
  return whole;
}

const REPLIES = [
  '+OK\r\n',
  '+\r\n',
  '-ERR no\r\n',
  ':-12\r\n',
  '$0\r\n\r\n',
  '$3\r\na\nb\r\n',
  '$-1\r\n',
  '*0\r\n',
  '*-1\r\n',
  '*2\r\n$1\r\na\r\n*1\r\n:1\r\n',
  '*3\r\n+a\r\n-ERR b\r\n$-1\r\n',
  '_\r\n',
  '#t\r\n',
  ',1.5e-3\r\n',
  '(123456789012345678901234567890\r\n',
  '!5\r\nERR x\r\n',
  '=7\r\ntxt:abc\r\n',
  '~1\r\n+a\r\n',
  '>2\r\n+message\r\n+a\r\n',
  '%2\r\n+a\r\n:1\r\n+b\r\n%1\r\n+c\r\n:2\r\n',
  '%0\r\n',
  '|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n',
  '*2\r\n|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n_\r\n',
];

describe('the reply decoder', () => {
  it.each(REPLIES)('finds the end of %j', reply => {
    expect(frame(reply)).toBe(reply.length);
    expect(frame(`${reply}+next\r\n`)).toBe(reply.length);
    expect(endOfReply(latin1(`x${reply}+next\r\n`), 1, reply.length + 8)).toBe(1 + reply.length);
  });

  it.each(REPLIES)('waits for the end of %j', reply => {
    for (let length = 1; length < reply.length; length += 1)
      expect(frame(reply.slice(0, length))).toBe(REPLY_UNFINISHED);
  });

  it.each([
    'HTTP/1.1 400\r\n',
    '\0',
    '\r\n',
    '$x\r\n',
    '$\r\n',
    '$1 \r\n',
    '$3\nabc\r\n',
    '$3\rabc\r\n',
    '$1-2\r\n',
    '$--1\r\n',
    '$-2\r\n',
    '*-3\r\n',
    '%-1\r\n',
    '|-1\r\n',
    '=-1\r\n',
    '$1234567890123456\r\n',
    '*9999999999999999999999\r\n',
    '*1\r\nx',
    '*?\r\n',
  ])('calls %j garbage', bytes => {
    expect(frame(bytes)).toBe(REPLY_GARBAGE);
  });

  it('follows nesting of any depth without a stack', () => {
    const deep = latin1(`${'*1\r\n'.repeat(200_000)}:1\r\n`);
    expect(new ReplyDecoder().frame(deep, 0, deep.length)).toBe(deep.length);
  });

  it('forgets an unfinished reply', () => {
    const decoder = new ReplyDecoder();
    const begun = latin1('*3\r\n$100\r\nabc');
    expect([decoder.frame(begun, 0, begun.length), decoder.inside]).toEqual([REPLY_UNFINISHED, true]);
    decoder.reset();
    expect(decoder.inside).toBe(false);
    expect(decoder.frame(latin1('+OK\r\n'), 0, 5)).toBe(5);
    const line = latin1('$12');
    decoder.frame(line, 0, line.length);
    decoder.reset();
    expect(decoder.frame(latin1('$1\r\na\r\n'), 0, 7)).toBe(7);
  });
});
