import { expect, test } from 'vitest';
import { TWEMPROXY_HASHES, type TwemproxyHash, twemproxyHash } from '../../src/ring/twemproxy-hashes.ts';

function hashOf(name: TwemproxyHash, key: Buffer): number {
  return twemproxyHash(name)(key, 0, key.length) >>> 0;
}

// Published check values: FNV's own page, the CRC catalogue, RFC 1321, Bob Jenkins' page on one-at-a-time.
const PUBLISHED: [TwemproxyHash, string, number][] = [
  ['fnv1_32', 'a', 0x050c5d7e],
  ['fnv1_32', 'foobar', 0x31f0b262],
  ['fnv1a_32', 'a', 0xe40c292c],
  ['fnv1a_32', 'foobar', 0xbf9cf968],
  ['fnv1_64', 'a', 0x8601b7be],
  ['fnv1_64', 'foobar', 0xa4dda9c2],
  ['crc32a', '123456789', 0xcbf43926],
  ['md5', '', 0xd98c1dd4],
  ['md5', 'abc', 0x98500190],
  ['one_at_a_time', 'a', 0xca2e9442],
  ['one_at_a_time', 'The quick brown fox jumps over the lazy dog', 0x519e91f5],
];

test.each(PUBLISHED)('%s of "%s" is the published value', (name, key, expected) => {
  expect(hashOf(name, Buffer.from(key))).toBe(expected);
});

test('crc16 is XMODEM in its low half and keeps what was shifted out in its high half', () => {
  const hash = hashOf('crc16', Buffer.from('123456789'));
  expect(hash & 0xffff).toBe(0x31c3);
  expect(hash >>> 16).not.toBe(0);
});

test('crc32 is the 15 bits above the low half of crc32a', () => {
  expect(hashOf('crc32', Buffer.from('123456789'))).toBe((0xcbf43926 >>> 16) & 0x7fff);
});

test('fnv1a_64 is cut to 32 bits while it works, which the low half of the true one equals', () => {
  let full = 0xcbf29ce484222325n;
  for (const byte of Buffer.from('some key')) full = BigInt.asUintN(64, (full ^ BigInt(byte)) * 0x100000001b3n);
  expect(hashOf('fnv1a_64', Buffer.from('some key'))).toBe(Number(full & 0xffffffffn));
});

test('a high byte enters fnv1a_32 with its sign, unlike the published FNV', () => {
  const signed = Math.imul(0x811c9dc5 ^ 0xffffff80, 0x01000193) >>> 0;
  expect(hashOf('fnv1a_32', Buffer.from([0x80]))).toBe(signed);
});

test.each(TWEMPROXY_HASHES)('%s looks at the given stretch and at nothing around it', name => {
  const key = Buffer.from('{some} key of 27 bytes, \x80\xff\x01', 'latin1');
  for (let length = 1; length <= key.length; length += 1) {
    const alone = hashOf(name, key.subarray(0, length));
    const within = Buffer.concat([Buffer.alloc(3, 0xaa), key.subarray(0, length), Buffer.alloc(13, 0x55)]);
    expect(twemproxyHash(name)(within, 3, length) >>> 0).toBe(alone);
  }
});
