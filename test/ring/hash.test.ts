import { expect, test } from 'vitest';
import { murmur3 } from '../../src/ring/hash.ts';

// Widely published vectors of MurmurHash3_x86_32 with seed 0.
const VECTORS: [string, string, number][] = [
  ['nothing', '', 0],
  ['one zero byte', '00', 0x514e28b7],
  ['two zero bytes', '0000', 0x30f4c306],
  ['three zero bytes', '000000', 0x85f0b427],
  ['four zero bytes', '00000000', 0x2362f9de],
  ['four high bytes', 'ffffffff', 0x76293b50],
  ['a tail of one byte', '21', 0x72661cf4],
  ['a tail of two bytes', '2143', 0xa0f7b07a],
  ['a tail of three bytes', '214365', 0x7e4a8634],
  ['one word', '21436587', 0xf55b516b],
  ['text', hex('test'), 0xba6bd213],
  ['text with a tail', hex('Hello, world!'), 0xc0363e43],
  ['a sentence', hex('The quick brown fox jumps over the lazy dog'), 0x2e4ff723],
];

function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}

test.each(VECTORS)('murmur3 answers the published value for %s', (_, bytes, expected) => {
  const key = Buffer.from(bytes, 'hex');
  expect(murmur3(key, 0, key.length) >>> 0).toBe(expected);
});

test('murmur3 looks at the given stretch and at nothing around it', () => {
  for (let start = 0; start < 5; start += 1) {
    const bytes = Buffer.concat([Buffer.alloc(start, 0xee), Buffer.from('Hello, world!'), Buffer.from('more')]);
    expect(murmur3(bytes, start, 13) >>> 0).toBe(0xc0363e43);
  }
});
