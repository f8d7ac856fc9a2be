import { type BufferPool, LARGEST_BYTES } from '../base/buffer-pool.ts';
import type { Connection } from './connection.ts';
import type { Request, Segment } from './request.ts';

/**
 * The outgoing bytes of a lane, kept until every command in them is done with, so that they can be sent again.
 */
export class Segments {
  readonly #pool: BufferPool;
  #list: Segment[] = [];

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  /** Bytes of buffers. */
  get heldBytes(): number {
    let bytes = 0;
    for (const segment of this.#list) bytes += segment.buffer.length;
    return bytes;
  }

  /** Room for a command of so many bytes, at `used`. */
  room(length: number): Segment {
    const last = this.#list[this.#list.length - 1];
    if (last !== undefined && last.used + length <= last.buffer.length) return last;
    const buffer = this.#pool.acquire(Math.max(length, LARGEST_BYTES));
    const segment: Segment = { buffer, used: 0, flushed: 0, live: 0 };
    this.#list.push(segment);
    return segment;
  }

  /** Takes over a buffer with one command, which goes back to the pool when that is done with. */
  own(buffer: Buffer, from: number, to: number): Segment {
    const segment: Segment = { buffer, used: to, flushed: from, live: 0 };
    this.#list.push(segment);
    return segment;
  }

  /** Writes what was not written yet; how many bytes that were. */
  flush(connection: Connection): number {
    const list = this.#list;
    const many = list.length > 1;
    let bytes = 0;
    if (many) connection.cork();
    for (let i = 0; i < list.length; i += 1) {
      const segment = list[i] as Segment;
      if (segment.flushed === segment.used) continue;
      bytes += segment.used - segment.flushed;
      connection.write(segment.buffer.subarray(segment.flushed, segment.used));
      segment.flushed = segment.used;
    }
    if (many) connection.uncork();
    return bytes;
  }

  /** One command of the segment is done with: its bytes are not needed any more. */
  forget(segment: Segment | null): void {
    if (segment === null) return;
    segment.live -= 1;
    if (segment.live > 0) return;
    const list = this.#list;
    // All commands in it were answered, so all of its bytes had left: it can be written anew, or given back.
    if (list.length === 1 && segment === list[0] && segment.buffer.length <= LARGEST_BYTES) {
      segment.used = 0;
      segment.flushed = 0;
      return;
    }
    const index = list.indexOf(segment);
    // Not ours any more: the reply made its receiver close the lane, and the segments went back with it.
    if (index < 0) return;
    list.splice(index, 1);
    this.#pool.release(segment.buffer);
  }

  /** Copies these commands, in this order, into fresh buffers; those from `firstUnsent` on will be written (again). */
  rebuild(requests: readonly Request[], firstUnsent: number): void {
    const old = this.#list;
    this.#list = [];
    requests.forEach((request, i) => {
      const { buffer } = request.segment as Segment;
      const length = request.to - request.from;
      // What is to be written shares no buffer with what is only kept.
      const segment = i === firstUnsent ? this.#fresh(length) : this.room(length);
      buffer.copy(segment.buffer, segment.used, request.from, request.to);
      request.segment = segment;
      request.from = segment.used;
      request.to = segment.used + length;
      segment.used = request.to;
      segment.live += 1;
      if (i < firstUnsent) segment.flushed = segment.used;
    });
    for (const segment of old) this.#pool.release(segment.buffer);
  }

  /** Gives everything back. */
  release(): void {
    for (const segment of this.#list) this.#pool.release(segment.buffer);
    this.#list = [];
  }

  #fresh(length: number): Segment {
    const buffer = this.#pool.acquire(Math.max(length, LARGEST_BYTES));
    return this.own(buffer, 0, 0);
  }
}
