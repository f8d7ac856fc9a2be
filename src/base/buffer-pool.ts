/**
 * Lends buffers and counts what is lent, so that the memory held for all clients together has one number and a bound.
 *
 * Sizes are powers of two from 4 KiB to 64 KiB, kept for the next borrower; larger ones are made to measure and left
 * to the garbage collector when they come back.
 */
export class BufferPool {
  /** Bytes lent at this moment, of whatever size. */
  heldBytes = 0;
  /** Of those, in buffers above 1 MiB: single large commands, most of all. */
  largeBytes = 0;
  /** Of those, in replies that their clients have yet to read; counted by the sessions. */
  unreadBytes = 0;
  /** What `admits` measures against. */
  boundBytes: number;
  readonly #free: Buffer[][] = [];
  #freeBytes = 0;

  constructor(boundBytes: number) {
    this.boundBytes = boundBytes;
    for (let i = 0; i <= LARGEST_SHIFT - SMALLEST_SHIFT; i += 1) this.#free.push([]);
  }

  /** A buffer of at least `bytes`; its content is whatever was there. */
  acquire(bytes: number): Buffer {
    if (bytes > LARGEST_BYTES) {
      this.heldBytes += bytes;
      if (bytes > LARGE_BYTES) this.largeBytes += bytes;
      return Buffer.allocUnsafeSlow(bytes);
    }
    const size = sizeClass(bytes);
    const list = this.#free[size] as Buffer[];
    const kept = list.pop();
    this.heldBytes += SMALLEST_BYTES << size;
    if (kept !== undefined) {
      this.#freeBytes -= kept.length;
      return kept;
    }
    return Buffer.allocUnsafeSlow(SMALLEST_BYTES << size);
  }

  /** Takes back what `acquire` lent; the caller keeps no view of it. */
  release(buffer: Buffer): void {
    this.heldBytes -= buffer.length;
    if (buffer.length > LARGEST_BYTES) {
      if (buffer.length > LARGE_BYTES) this.largeBytes -= buffer.length;
      return;
    }
    if (this.#freeBytes + buffer.length > KEEP_BYTES) return;
    (this.#free[sizeClass(buffer.length)] as Buffer[]).push(buffer);
    this.#freeBytes += buffer.length;
  }

  /** Whether another command of ordinary size may be taken. A single large one, or a slow reader, blocks nobody. */
  admitsSmall(): boolean {
    return this.heldBytes - this.largeBytes - this.unreadBytes < this.boundBytes;
  }

  /**
   * Whether a single command may take so many bytes, of which it holds `owned` already (in one buffer, to be given back
   * for a larger one): the only large one always, others within the bound.
   */
  admitsLarge(bytes: number, owned = 0): boolean {
    const largeOfOthers = this.largeBytes - (owned > LARGE_BYTES ? owned : 0);
    return largeOfOthers === 0 || this.heldBytes - owned - this.unreadBytes + bytes <= this.boundBytes;
  }
}

/** A command with so many bytes in one argument must be admitted by itself. */
export const LARGE_BYTES = 1024 * 1024;
const SMALLEST_SHIFT = 12;
const LARGEST_SHIFT = 16;
const SMALLEST_BYTES = 1 << SMALLEST_SHIFT;
export const LARGEST_BYTES = 1 << LARGEST_SHIFT;
/** Free buffers kept, in all. */
const KEEP_BYTES = 4 * 1024 * 1024;

function sizeClass(bytes: number): number {
  if (bytes <= SMALLEST_BYTES) return 0;
  return 32 - Math.clz32(bytes - 1) - SMALLEST_SHIFT;
}
