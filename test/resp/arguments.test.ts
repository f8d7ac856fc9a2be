import { describe, expect, it } from 'vitest';
import { argumentsOf } from '../commands/arguments-of.ts';

describe('arguments', () => {
  it('give each argument as a copy, as text and all together', () => {
    const args = argumentsOf('SET', 'k\xff', '');
    expect(args.copy(1)).toEqual(Buffer.from([0x6b, 0xff]));
    expect(args.text(1)).toBe('k\xff');
    expect(args.copyAll().map(String)).toEqual(['SET', Buffer.from([0x6b, 0xff]).toString(), '']);
    const copy = args.copy(0);
    args.bytes.fill(0);
    expect(String(copy)).toBe('SET');
  });

  it('cloned, live on when the read buffer is written anew, wherever in it they lay', () => {
    const args = argumentsOf('SET', 'key', 'value');
    const shifted = argumentsOf('SET', 'key', 'value');
    const before = Buffer.from('*1\r\n$4\r\nPING\r\n');
    shifted.bytes = Buffer.concat([before, args.bytes, before]);
    shifted.from = before.length;
    shifted.to = before.length + args.bytes.length;
    for (let i = 0; i < 3; i += 1) shifted.starts[i] = (args.starts[i] as number) + before.length;
    const clone = shifted.clone();
    shifted.bytes.fill(0);
    expect(clone.bytes).toEqual(args.bytes);
    expect([clone.from, clone.to, clone.count]).toEqual([0, args.bytes.length, 3]);
    expect(clone.copyAll().map(String)).toEqual(['SET', 'key', 'value']);
  });
});
