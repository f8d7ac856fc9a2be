import { describe, expect, it } from 'vitest';
import {
  array,
  bulk,
  encodeCommand,
  error,
  integer,
  map,
  nil,
  nilArray,
  push,
  set,
  status,
  verbatim,
} from '../../src/resp/encoder.ts';
import { ReplyDecoder } from '../../src/resp/reply-decoder.ts';

const text = (bytes: Buffer): string => bytes.toString('latin1');
const one = integer(1);

describe('the encoder', () => {
  it('writes a command of text, bytes and numbers, lengths in bytes', () => {
    expect(text(encodeCommand(['SET', Buffer.from([0xff, 0]), 7, 'ü']))).toBe(
      '*4\r\n$3\r\nSET\r\n$2\r\n\xff\0\r\n$1\r\n7\r\n$2\r\n\xc3\xbc\r\n',
    );
  });

  it('lets no line break into an error', () => {
    expect(text(error('ERR a\r\nb\nc'))).toBe('-ERR a  b c\r\n');
  });

  it.each([
    ['status', status('OK'), '+OK\r\n'],
    ['integer', integer(-12n), ':-12\r\n'],
    ['bulk string', bulk('ü'), '$2\r\n\xc3\xbc\r\n'],
    ['empty bulk string', bulk(''), '$0\r\n\r\n'],
    ['array', array([one, one]), '*2\r\n:1\r\n:1\r\n'],
  ])('writes a %s the same in both protocols', (_name, bytes, wanted) => {
    expect(text(bytes)).toBe(wanted);
  });

  it.each([
    ['map', map, '*2\r\n:1\r\n:1\r\n', '%1\r\n:1\r\n:1\r\n'],
    ['set', set, '*2\r\n:1\r\n:1\r\n', '~2\r\n:1\r\n:1\r\n'],
    ['push', push, '*2\r\n:1\r\n:1\r\n', '>2\r\n:1\r\n:1\r\n'],
  ] as const)('writes a %s as an array where there is none', (_name, encode, in2, in3) => {
    expect([text(encode(2, [one, one])), text(encode(3, [one, one]))]).toEqual([in2, in3]);
  });

  it('writes nulls and marked text as each protocol has them', () => {
    expect([text(nil(2)), text(nil(3)), text(nilArray(2)), text(nilArray(3))]).toEqual([
      '$-1\r\n',
      '_\r\n',
      '*-1\r\n',
      '_\r\n',
    ]);
    expect([text(verbatim(2, 'ü')), text(verbatim(3, 'ü'))]).toEqual(['$2\r\n\xc3\xbc\r\n', '=6\r\ntxt:\xc3\xbc\r\n']);
  });

  it('writes what the reply decoder finds whole', () => {
    const nested = array([
      map(3, [bulk('k'), set(3, [one, nil(3)])]),
      verbatim(3, 'text'),
      error('ERR no'),
      nilArray(2),
    ]);
    expect(new ReplyDecoder().frame(nested, 0, nested.length)).toBe(nested.length);
  });
});
