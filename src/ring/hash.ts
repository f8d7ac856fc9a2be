/**
 * The hash that spreads keys over the ring when nobody asks for another one: 32 bits of MurmurHash3.
 *
 * Every hash of this folder has the same form and answers a *signed* 32-bit integer: V8 keeps those unboxed wherever
 * they travel, while an unsigned one above 2^31 would be an object on the heap as soon as a call is not inlined. Who
 * shows a hash to a person, or compares it, takes `hash >>> 0`.
 */
export type HashFunction = (bytes: Uint8Array, start: number, length: number) => number;

/**
 * MurmurHash3_x86_32 with seed 0 of `bytes[start, start + length)`, after Austin Appleby's public-domain description
 * (https://github.com/aappleby/smhasher). Signed; allocates nothing.
 */
export function murmur3(bytes: Uint8Array, start: number, length: number): number {
  const tail = start + (length & ~3);
  let h = 0;
  for (let i = start; i < tail; i += 4) {
    const word =
      (bytes[i] as number) |
      ((bytes[i + 1] as number) << 8) |
      ((bytes[i + 2] as number) << 16) |
      ((bytes[i + 3] as number) << 24);
    h ^= scrambled(word);
    h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
  }
  const left = length & 3;
  if (left !== 0) {
    let word = bytes[tail] as number;
    if (left > 1) word |= (bytes[tail + 1] as number) << 8;
    if (left > 2) word |= (bytes[tail + 2] as number) << 16;
    h ^= scrambled(word);
  }
  h ^= length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function scrambled(word: number): number {
  const k = Math.imul(word, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}
