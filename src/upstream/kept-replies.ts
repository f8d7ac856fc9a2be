import { type BufferPool, LARGE_BYTES, LARGEST_BYTES } from '../base/buffer-pool.ts';
import { copyBytes } from './copy-bytes.ts';
import type { Request, Segment } from './request.ts';

/**
 * The bytes of answers that wait for their confirmation.
 *
 * Small ones lie one behind another in buffers of the pool; one that came in several parts is kept whole, part by part.
 * All of them count as held, so that a replica that stands still makes the proxy refuse new commands, and not grow.
 */
export class KeptReplies {
  readonly #pool: BufferPool;
  #chunks: Segment[] = [];

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  /** Bytes of buffers that it holds for small answers. */
  get heldBytes(): number {
    let bytes = 0;
    for (const chunk of this.#chunks) bytes += chunk.buffer.length;
    return bytes;
  }

  /** Keeps the last part, or the whole, of an answer. False: it is too large to be held, and was let go. */
  keep(request: Request, bytes: Buffer, from: number, to: number): boolean {
    if (request.kept !== null) return this.keepPart(request, bytes, from, to);
    const chunk = this.#room(to - from);
    copyBytes(bytes, from, to, chunk.buffer, chunk.used);
    request.reply = chunk;
    request.replyFrom = chunk.used;
    chunk.used += to - from;
    request.replyTo = chunk.used;
    chunk.live += 1;
    return true;
  }

  /** Keeps a part of an answer. False: with it the answer is too large to be held; nothing of it is kept any more. */
  keepPart(request: Request, bytes: Buffer, from: number, to: number): boolean {
    request.kept ??= [];
    if (request.keptBytes < 0) return false;
    const size = to - from;
    const before = request.keptBytes;
    // One large answer may always be held; further ones as far as the bound for all allows.
    if (before + size > LARGE_BYTES && !this.#pool.admitsLarge(before + size, before)) {
      this.drop(request);
      request.kept = [];
      request.keptBytes = -1;
      return false;
    }
    request.kept.push(Buffer.from(bytes.subarray(from, to)));
    this.#count(request, before + size);
    return true;
  }

  /** Hands the answer to its receiver, which releases the request. */
  deliver(request: Request): void {
    const { receiver, reply, replyFrom, replyTo, kept } = request;
    if (kept !== null) {
      this.#count(request, 0);
      request.kept = null;
      const last = kept.length - 1;
      kept.forEach((part, i) => void receiver.onReply(request, part, 0, part.length, i === last));
      return;
    }
    if (reply === null) return;
    request.reply = null;
    receiver.onReply(request, reply.buffer, replyFrom, replyTo, true);
    this.#forget(reply);
  }

  /** Lets the answer go. */
  drop(request: Request): void {
    if (request.keptBytes > 0) this.#count(request, 0);
    request.kept = null;
    request.keptBytes = 0;
    const { reply } = request;
    request.reply = null;
    if (reply !== null) this.#forget(reply);
  }

  /** Gives the buffers back; to be called when no answer is kept. */
  release(): void {
    for (const chunk of this.#chunks) this.#pool.release(chunk.buffer);
    this.#chunks = [];
  }

  #room(length: number): Segment {
    const last = this.#chunks[this.#chunks.length - 1];
    if (last !== undefined && last.used + length <= last.buffer.length) return last;
    // A lent connection keeps one answer at a time: the first buffer is a small one.
    const buffer = this.#pool.acquire(Math.max(length, last === undefined ? 1 : LARGEST_BYTES));
    const chunk: Segment = { buffer, used: 0, flushed: 0, live: 0 };
    this.#chunks.push(chunk);
    return chunk;
  }

  #forget(chunk: Segment): void {
    chunk.live -= 1;
    if (chunk.live > 0) return;
    const last = this.#chunks.length - 1;
    if (chunk === this.#chunks[last] && chunk.buffer.length <= LARGEST_BYTES) {
      chunk.used = 0;
      return;
    }
    const index = this.#chunks.indexOf(chunk);
    // Not ours any more: the receiver made its lane close, and the buffers went back with it.
    if (index < 0) return;
    this.#chunks.splice(index, 1);
    this.#pool.release(chunk.buffer);
  }

  /** Counts the parts of an answer as held; those of one above the size of a large command as large. */
  #count(request: Request, bytes: number): void {
    const before = request.keptBytes;
    this.#pool.heldBytes += bytes - before;
    this.#pool.largeBytes += (bytes > LARGE_BYTES ? bytes : 0) - (before > LARGE_BYTES ? before : 0);
    request.keptBytes = bytes;
  }
}
