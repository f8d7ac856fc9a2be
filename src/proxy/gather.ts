import { MINUS } from '../resp/protocol.ts';
import { type Failure, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { failureReply } from './failures.ts';

/**
 * Collects the replies of a command that was sent to several shards, and makes one of them.
 *
 *   MGET a b c ──► s1: MGET a c     parts[0]  *2 …  ┐
 *              └─► s2: MGET b       parts[1]  *1 …  ┴► merge, when the last has come ──► the client's place in line
 *
 * The first error wins over all that came well: the client gets one reply, and a part that failed is not hidden.
 */
export class Gather implements ReplyReceiver {
  readonly client: Client;
  /** The client's place in its line, which the merged reply takes. */
  readonly slot: Request;
  /** The whole reply of each part, in the order in which the parts were added; empty: none is owed (`isExcused`). */
  readonly parts: Buffer[] = [];
  /** Tells for which parts a failure, or an error, counts as no reply: who was to answer them has no part in it any more. */
  isExcused: (tag: number) => boolean = () => false;
  /** The merging keeps no part, nor a view of one, beyond its own call. */
  protected readonly mergesAtOnce: boolean = false;
  #cut: Buffer[][] = [];
  #due = 0;
  readonly #merge: (gather: Gather) => void;

  constructor(client: Client, slot: Request, merge: (gather: Gather) => void) {
    this.client = client;
    this.slot = slot;
    this.#merge = merge;
  }

  /** Announces one more part; its request carries the answer as `tag`. All parts are announced before any is sent. */
  addPart(): number {
    this.parts.push(EMPTY);
    this.#due += 1;
    return this.parts.length - 1;
  }

  /** The first part that is an error; null when all went well. */
  get error(): Buffer | null {
    for (const part of this.parts) if (part[0] === MINUS) return part;
    return null;
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    const { tag } = request;
    // The last part is merged before this call returns: where the merging keeps nothing, it need not be copied.
    const view = bytes.subarray(from, to);
    const piece = last && this.#due === 1 && this.mergesAtOnce ? view : Buffer.from(view);
    if (!last) {
      const pieces = this.#cut[tag];
      if (pieces === undefined) this.#cut[tag] = [piece];
      else pieces.push(piece);
      return;
    }
    const pieces = this.#cut[tag];
    const part = pieces === undefined ? piece : Buffer.concat([...pieces, piece]);
    this.parts[tag] = part[0] === MINUS && this.isExcused(tag) ? EMPTY : part;
    releaseRequest(request);
    this.#finishPart();
  }

  onSkipped(): void {}

  onFailure(request: Request, failure: Failure, detail: string): void {
    const { tag } = request;
    releaseRequest(request);
    if (this.isExcused(tag)) this.settle(tag, EMPTY);
    else this.fail(tag, failureReply(failure, detail));
  }

  /** Answers a part that was never sent. */
  fail(tag: number, reply: Buffer): void {
    this.client.port.onError(reply);
    this.settle(tag, reply);
  }

  /** Takes the whole reply of a part that went on no lane. */
  settle(tag: number, reply: Buffer): void {
    this.parts[tag] = reply;
    this.#finishPart();
  }

  #finishPart(): void {
    this.#due -= 1;
    if (this.#due === 0) this.#merge(this);
  }
}

const EMPTY = Buffer.alloc(0);
