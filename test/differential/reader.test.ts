import { describe, expect, test } from 'vitest';
import { FrameReader, frameEnd, NotResp, parseReply } from './reader.ts';

const FRAMES = [
  '+OK\r\n',
  '-ERR no\r\n',
  ':42\r\n',
  '$-1\r\n',
  '$0\r\n\r\n',
  '$7\r\na\r\nb\r\nc\r\n',
  '*-1\r\n',
  '*0\r\n',
  '*3\r\n:1\r\n*1\r\n$1\r\nx\r\n$-1\r\n',
  '%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n',
  '~1\r\n,3.14\r\n',
  '>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n',
  '=7\r\ntxt:abc\r\n',
  '(123456789012345678901234567890\r\n',
  '#t\r\n',
];

describe('the reader of the differential test', () => {
  test('finds every frame in a stream, wherever it is cut', () => {
    const stream = Buffer.from(FRAMES.join(''));
    for (let size = 1; size <= 17; size += 1) {
      const reader = new FrameReader();
      const found: string[] = [];
      for (let at = 0; at < stream.length; at += size) {
        found.push(...reader.feed(stream.subarray(at, at + size)).map(String));
      }
      expect(found).toEqual(FRAMES);
      expect(reader.pendingBytes).toBe(0);
    }
  });

  test('keeps the bytes of nested elements', () => {
    const reply = parseReply(Buffer.from('*3\r\n:1\r\n%1\r\n+k\r\n$3\r\nval\r\n_\r\n'));
    expect(reply.items.map(item => item.raw.toString())).toEqual([':1\r\n', '%1\r\n+k\r\n$3\r\nval\r\n', '_\r\n']);
    expect(reply.items[1]?.items[1]?.text.toString()).toBe('val');
    expect(reply.items[2]?.isNull).toBe(true);
  });

  test('refuses what is no RESP', () => {
    expect(() => frameEnd(Buffer.from('hello\r\n'), 0)).toThrow(NotResp);
    expect(() => frameEnd(Buffer.from('$x\r\n'), 0)).toThrow(NotResp);
    expect(() => frameEnd(Buffer.from('$1\r\nab\r\n'), 0)).toThrow(NotResp);
  });
});
