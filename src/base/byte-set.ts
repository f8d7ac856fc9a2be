import { assert } from './assert.ts';

/**
 * A set of byte strings, each with a small number beside it, that is asked without making a string or an object.
 *
 * Open addressing over offsets into one buffer, in which the members lie one behind another. It only grows, up to a
 * bound; then it forgets everything and begins anew, so whoever uses it must be able to find out again.
 */
export class ByteSet {
  readonly #boundBytes: number;
  /** Offsets into `#bytes`, plus 1; 0: free. A power of two long. */
  #slots = new Int32Array(64);
  /** Of each member: its number (one byte), its length (four bytes), its bytes. */
  #bytes = Buffer.allocUnsafe(1024);
  #used = 0;
  #size = 0;

  /** `boundBytes`: most bytes of members, below 2 GiB. */
  constructor(boundBytes: number) {
    assert(boundBytes < 2 ** 31, 'offsets are 31 bits');
    this.#boundBytes = boundBytes;
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes of memory that it takes. */
  get heldBytes(): number {
    return this.#bytes.length + this.#slots.byteLength;
  }

  /** Whether bytes[start, start + length) with this number (0 to 255) is a member. */
  has(number: number, bytes: Uint8Array, start: number, length: number): boolean {
    return this.#slots[this.#find(number, bytes, start, length)] !== 0;
  }

  /** Makes it a member; one that alone is above the bound is not taken. */
  add(number: number, bytes: Uint8Array, start: number, length: number): void {
    const need = HEAD_BYTES + length;
    if (need > this.#boundBytes) return;
    if (this.#slots[this.#find(number, bytes, start, length)] !== 0) return;
    if (this.#used + need > this.#boundBytes) this.clear();
    if (this.#used + need > this.#bytes.length) this.#growBytes(this.#used + need);
    if ((this.#size + 1) * 2 > this.#slots.length) this.#growSlots();
    const slot = this.#find(number, bytes, start, length);
    const at = this.#used;
    this.#bytes[at] = number;
    this.#bytes.writeUInt32LE(length, at + 1);
    this.#bytes.set(bytes.subarray(start, start + length), at + HEAD_BYTES);
    this.#used += need;
    this.#size += 1;
    this.#slots[slot] = at + 1;
  }

  /** Forgets every member, and gives most of the memory back. */
  clear(): void {
    this.#slots = new Int32Array(64);
    this.#bytes = Buffer.allocUnsafe(1024);
    this.#used = 0;
    this.#size = 0;
  }

  /** The slot in which it stands, or the free one in which it would. */
  #find(number: number, bytes: Uint8Array, start: number, length: number): number {
    const mask = this.#slots.length - 1;
    let slot = hashOf(number, bytes, start, length) & mask;
    for (;;) {
      const entry = this.#slots[slot] as number;
      if (entry === 0 || this.#equals(entry - 1, number, bytes, start, length)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #equals(at: number, number: number, bytes: Uint8Array, start: number, length: number): boolean {
    const own = this.#bytes;
    if (own[at] !== number || own.readUInt32LE(at + 1) !== length) return false;
    const from = at + HEAD_BYTES;
    for (let i = 0; i < length; i += 1) if (own[from + i] !== bytes[start + i]) return false;
    return true;
  }

  #growBytes(need: number): void {
    const larger = Buffer.allocUnsafe(Math.min(this.#boundBytes, Math.max(need, this.#bytes.length * 2)));
    this.#bytes.copy(larger, 0, 0, this.#used);
    this.#bytes = larger;
  }

  #growSlots(): void {
    this.#slots = new Int32Array(this.#slots.length * 2);
    const mask = this.#slots.length - 1;
    for (let at = 0; at < this.#used; ) {
      const length = this.#bytes.readUInt32LE(at + 1);
      let slot = hashOf(this.#bytes[at] as number, this.#bytes, at + HEAD_BYTES, length) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = at + 1;
      at += HEAD_BYTES + length;
    }
  }
}

const HEAD_BYTES = 5;

/** FNV-1a, with its bits mixed once more, since only the lowest choose the slot. */
function hashOf(number: number, bytes: Uint8Array, start: number, length: number): number {
  let hash = Math.imul(0x811c9dc5 ^ number, 0x01000193);
  for (let i = start; i < start + length; i += 1) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}
