/**
 * The checksum under which Redis dumps what it stores (`crc64.c`): CRC-64 by Jones, over bytes from the lowest bit up.
 *
 * 64 bits in two halves, because numbers of that size are slow here and payloads are large.
 */

/** The checksum of bytes[0, length) as it stands in a payload: eight bytes, the lowest first. */
export function crc64(bytes: Uint8Array, length: number): Buffer {
  let low = 0;
  let high = 0;
  for (let i = 0; i < length; i += 1) {
    const at = (low ^ (bytes[i] as number)) & 0xff;
    low = ((low >>> 8) | (high << 24)) ^ (LOW[at] as number);
    high = (high >>> 8) ^ (HIGH[at] as number);
  }
  const sum = Buffer.alloc(8);
  sum.writeInt32LE(low | 0, 0);
  sum.writeInt32LE(high | 0, 4);
  return sum;
}

/** The polynomial 0xad93d23594c935a9, turned around. */
const POLYNOMIAL_LOW = 0xac4bc9b5;
const POLYNOMIAL_HIGH = 0x95ac9329;
const LOW = new Int32Array(256);
const HIGH = new Int32Array(256);

for (let byte = 0; byte < 256; byte += 1) {
  let low = byte;
  let high = 0;
  for (let bit = 0; bit < 8; bit += 1) {
    const carries = (low & 1) === 1;
    low = (low >>> 1) | (high << 31);
    high >>>= 1;
    if (carries) {
      low ^= POLYNOMIAL_LOW;
      high ^= POLYNOMIAL_HIGH;
    }
  }
  LOW[byte] = low;
  HIGH[byte] = high;
}
