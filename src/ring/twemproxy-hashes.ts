/**
 * The twelve key hashes of twemproxy, bit for bit, oddities included: a key must land where twemproxy put it.
 *
 * The oddities, none of which may be "repaired": C's `char` is signed on x86-64, so a byte ≥ 0x80 enters some sums
 * with 24 one-bits before it; `fnv1a_64` works on 32 bits only; `crc32` keeps 15 bits of the sum; `crc16` keeps all 32
 * bits of a register of which only 16 mean something; `murmur` is MurmurHash2 with a seed made of the length.
 * Read from twemproxy's `src/hashkit` and compared with a running nutcracker, key by key, in the system tests.
 * All answer signed 32-bit integers and allocate nothing.
 */
import type { HashFunction } from './hash.ts';
import { md5 } from './md5.ts';

export const TWEMPROXY_HASHES = [
  'one_at_a_time',
  'md5',
  'crc16',
  'crc32',
  'crc32a',
  'fnv1_64',
  'fnv1a_64',
  'fnv1_32',
  'fnv1a_32',
  'hsieh',
  'murmur',
  'jenkins',
] as const;

/** A hash as twemproxy's configuration names it. */
export type TwemproxyHash = (typeof TWEMPROXY_HASHES)[number];

/** The function behind a name of twemproxy's configuration. */
export function twemproxyHash(name: TwemproxyHash): HashFunction {
  return FUNCTIONS[name];
}

const FUNCTIONS: Record<TwemproxyHash, HashFunction> = {
  one_at_a_time: oneAtATime,
  md5: md5Word,
  crc16,
  crc32,
  crc32a,
  fnv1_64: fnv1b64,
  fnv1a_64: fnv1a64,
  fnv1_32: fnv1b32,
  fnv1a_32: fnv1a32,
  hsieh,
  murmur: murmur2,
  jenkins,
};

const CRC16_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0);
  return crc & 0xffff;
});

const CRC32_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  return crc;
});

/** A byte as x86-64's signed `char`, widened to 32 bits. */
function signedByte(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 24) >> 24;
}

function word16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function word32(bytes: Uint8Array, at: number): number {
  return word16(bytes, at) | (word16(bytes, at + 2) << 16);
}

function oneAtATime(bytes: Uint8Array, start: number, length: number): number {
  let h = 0;
  for (let i = start; i < start + length; i += 1) {
    h = (h + signedByte(bytes, i)) | 0;
    h = (h + (h << 10)) | 0;
    h ^= h >>> 6;
  }
  h = (h + (h << 3)) | 0;
  h ^= h >>> 11;
  return (h + (h << 15)) | 0;
}

const digest = new Int32Array(4);

function md5Word(bytes: Uint8Array, start: number, length: number): number {
  md5(bytes, start, length, digest);
  return digest[0] as number;
}

function crc16(bytes: Uint8Array, start: number, length: number): number {
  let crc = 0;
  for (let i = start; i < start + length; i += 1) {
    crc = (crc << 8) ^ (CRC16_TABLE[((crc >>> 8) ^ (bytes[i] as number)) & 0xff] as number);
  }
  return crc;
}

function crc32a(bytes: Uint8Array, start: number, length: number): number {
  let crc = -1;
  for (let i = start; i < start + length; i += 1) {
    crc = (crc >>> 8) ^ (CRC32_TABLE[(crc ^ (bytes[i] as number)) & 0xff] as number);
  }
  return ~crc;
}

function crc32(bytes: Uint8Array, start: number, length: number): number {
  return (crc32a(bytes, start, length) >>> 16) & 0x7fff;
}

// Offset bases and primes of the FNV page (http://www.isthe.com/chongo/tech/comp/fnv/). The 64-bit ones are cut to
// their low halves: of a product or an exclusive or, the low 32 bits depend on nothing but the low 32 bits.
const FNV_32_BASE = 0x811c9dc5 | 0;
const FNV_32_PRIME = 0x01000193;
const FNV_64_BASE_LOW = 0x84222325 | 0;
const FNV_64_PRIME_LOW = 0x000001b3;

function fnv1(bytes: Uint8Array, start: number, length: number, base: number, prime: number): number {
  let h = base;
  for (let i = start; i < start + length; i += 1) h = Math.imul(h, prime) ^ signedByte(bytes, i);
  return h;
}

function fnv1a(bytes: Uint8Array, start: number, length: number, base: number, prime: number): number {
  let h = base;
  for (let i = start; i < start + length; i += 1) h = Math.imul(h ^ signedByte(bytes, i), prime);
  return h;
}

function fnv1b64(bytes: Uint8Array, start: number, length: number): number {
  return fnv1(bytes, start, length, FNV_64_BASE_LOW, FNV_64_PRIME_LOW);
}

function fnv1a64(bytes: Uint8Array, start: number, length: number): number {
  return fnv1a(bytes, start, length, FNV_64_BASE_LOW, FNV_64_PRIME_LOW);
}

function fnv1b32(bytes: Uint8Array, start: number, length: number): number {
  return fnv1(bytes, start, length, FNV_32_BASE, FNV_32_PRIME);
}

function fnv1a32(bytes: Uint8Array, start: number, length: number): number {
  return fnv1a(bytes, start, length, FNV_32_BASE, FNV_32_PRIME);
}

/** Paul Hsieh's SuperFastHash, begun at 0 (http://www.azillionmonkeys.com/qed/hash.html). */
function hsieh(bytes: Uint8Array, start: number, length: number): number {
  const tail = start + (length & ~3);
  let h = 0;
  for (let i = start; i < tail; i += 4) {
    h = (h + word16(bytes, i)) | 0;
    h = (h << 16) ^ (word16(bytes, i + 2) << 11) ^ h;
    h = (h + (h >>> 11)) | 0;
  }
  const left = length & 3;
  if (left === 3) {
    h = (h + word16(bytes, tail)) | 0;
    h ^= h << 16;
    h ^= signedByte(bytes, tail + 2) << 18;
    h = (h + (h >>> 11)) | 0;
  } else if (left === 2) {
    h = (h + word16(bytes, tail)) | 0;
    h ^= h << 11;
    h = (h + (h >>> 17)) | 0;
  } else if (left === 1) {
    h = (h + (bytes[tail] as number)) | 0;
    h ^= h << 10;
    h = (h + (h >>> 1)) | 0;
  }
  h ^= h << 3;
  h = (h + (h >>> 5)) | 0;
  h ^= h << 4;
  h = (h + (h >>> 17)) | 0;
  h ^= h << 25;
  return (h + (h >>> 6)) | 0;
}

const MURMUR2_FACTOR = 0x5bd1e995;

function murmur2(bytes: Uint8Array, start: number, length: number): number {
  const tail = start + (length & ~3);
  let h = Math.imul(0xdeadbeef, length) ^ length;
  for (let i = start; i < tail; i += 4) {
    const k = Math.imul(word32(bytes, i), MURMUR2_FACTOR);
    h = Math.imul(h, MURMUR2_FACTOR) ^ Math.imul(k ^ (k >>> 24), MURMUR2_FACTOR);
  }
  const left = length & 3;
  if (left > 2) h ^= (bytes[tail + 2] as number) << 16;
  if (left > 1) h ^= (bytes[tail + 1] as number) << 8;
  if (left > 0) h = Math.imul(h ^ (bytes[tail] as number), MURMUR2_FACTOR);
  h = Math.imul(h ^ (h >>> 13), MURMUR2_FACTOR);
  return h ^ (h >>> 15);
}

function turned(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** Up to four bytes from `at`, least significant first; those at or past `end` count as 0. */
function partialWord(bytes: Uint8Array, at: number, end: number): number {
  let word = 0;
  for (let i = Math.min(end, at + 4) - 1; i >= at; i -= 1) word = (word << 8) | (bytes[i] as number);
  return word;
}

/** Bob Jenkins' lookup3 `hashlittle` with initial value 13 (http://burtleburtle.net/bob/c/lookup3.c). */
function jenkins(bytes: Uint8Array, start: number, length: number): number {
  let a = (0xdeadbeef + length + 13) | 0;
  let b = a;
  let c = a;
  const end = start + length;
  let at = start;
  for (; end - at > 12; at += 12) {
    a = (a + word32(bytes, at)) | 0;
    b = (b + word32(bytes, at + 4)) | 0;
    c = (c + word32(bytes, at + 8)) | 0;
    a = ((a - c) ^ turned(c, 4)) | 0;
    c = (c + b) | 0;
    b = ((b - a) ^ turned(a, 6)) | 0;
    a = (a + c) | 0;
    c = ((c - b) ^ turned(b, 8)) | 0;
    b = (b + a) | 0;
    a = ((a - c) ^ turned(c, 16)) | 0;
    c = (c + b) | 0;
    b = ((b - a) ^ turned(a, 19)) | 0;
    a = (a + c) | 0;
    c = ((c - b) ^ turned(b, 4)) | 0;
    b = (b + a) | 0;
  }
  if (at === end) return c;
  a = (a + partialWord(bytes, at, end)) | 0;
  b = (b + partialWord(bytes, at + 4, end)) | 0;
  c = (c + partialWord(bytes, at + 8, end)) | 0;
  c = ((c ^ b) - turned(b, 14)) | 0;
  a = ((a ^ c) - turned(c, 11)) | 0;
  b = ((b ^ a) - turned(a, 25)) | 0;
  c = ((c ^ b) - turned(b, 16)) | 0;
  a = ((a ^ c) - turned(c, 4)) | 0;
  b = ((b ^ a) - turned(a, 14)) | 0;
  return ((c ^ b) - turned(b, 24)) | 0;
}
