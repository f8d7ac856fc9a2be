/**
 * MD5 (RFC 1321) of a stretch of bytes, for rings that place points or keys by it; never for secrets.
 *
 * Written out here because a look-up may not allocate: `node:crypto` makes an object, a copy and a string or buffer for
 * each digest and takes several times as long on keys of usual length.
 */

/** RFC 1321, 3.4: the integer part of 2^32 × |sin(step + 1)|. */
const ADDENDS = Int32Array.from({ length: 64 }, (_, step) => Math.floor(4294967296 * Math.abs(Math.sin(step + 1))) | 0);

/** How far step i of each round rotates: four amounts a round, taken in turn. */
const ROTATIONS = Uint8Array.from([7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21]);

const BLOCK_BYTES = 64;

/** Scratch of the calls below, which run to their end without giving way. */
const padded = new Uint8Array(2 * BLOCK_BYTES);
const words = new Int32Array(16);

/** Writes the digest of `bytes[start, start + length)` as four 32-bit words, least significant byte first in each. */
export function md5(bytes: Uint8Array, start: number, length: number, digest: Int32Array): void {
  digest[0] = 0x67452301;
  digest[1] = 0xefcdab89;
  digest[2] = 0x98badcfe;
  digest[3] = 0x10325476;
  const whole = length - (length % BLOCK_BYTES);
  for (let at = 0; at < whole; at += BLOCK_BYTES) addBlock(bytes, start + at, digest);

  const left = length - whole;
  const size = left + 9 <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
  padded.fill(0, left, size);
  for (let i = 0; i < left; i += 1) padded[i] = bytes[start + whole + i] as number;
  padded[left] = 0x80;
  // The length in bits, as 64 bits: shifted in 32-bit halves, as a number of JavaScript shifts 32 bits only.
  const low = (length << 3) >>> 0;
  const high = Math.floor(length / 0x20000000);
  for (let i = 0; i < 4; i += 1) {
    padded[size - 8 + i] = low >>> (8 * i);
    padded[size - 4 + i] = high >>> (8 * i);
  }
  for (let at = 0; at < size; at += BLOCK_BYTES) addBlock(padded, at, digest);
}

function addBlock(bytes: Uint8Array, start: number, digest: Int32Array): void {
  for (let i = 0, at = start; i < 16; i += 1, at += 4) {
    words[i] =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
  }
  let a = digest[0] as number;
  let b = digest[1] as number;
  let c = digest[2] as number;
  let d = digest[3] as number;
  for (let step = 0; step < 64; step += 1) {
    const round = step >> 4;
    let mixed: number;
    let word: number;
    if (round === 0) {
      mixed = (b & c) | (~b & d);
      word = step;
    } else if (round === 1) {
      mixed = (d & b) | (~d & c);
      word = (5 * step + 1) & 15;
    } else if (round === 2) {
      mixed = b ^ c ^ d;
      word = (3 * step + 5) & 15;
    } else {
      mixed = c ^ (b | ~d);
      word = (7 * step) & 15;
    }
    const sum = (a + mixed + (ADDENDS[step] as number) + (words[word] as number)) | 0;
    const turn = ROTATIONS[(round << 2) | (step & 3)] as number;
    a = d;
    d = c;
    c = b;
    b = (b + ((sum << turn) | (sum >>> (32 - turn)))) | 0;
  }
  digest[0] = ((digest[0] as number) + a) | 0;
  digest[1] = ((digest[1] as number) + b) | 0;
  digest[2] = ((digest[2] as number) + c) | 0;
  digest[3] = ((digest[3] as number) + d) | 0;
}
