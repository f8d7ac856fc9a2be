import { type Flushable, scheduleFlush } from '../base/flush-queue.ts';
import { REPLY_GARBAGE, REPLY_UNFINISHED, ReplyDecoder } from '../resp/reply-decoder.ts';
import { decodeReply, type ReplyValue } from '../resp/reply-value.ts';
import type { Connection, ConnectionOwner } from '../upstream/connection.ts';
import type { ScriptCall } from './pull-script.ts';
import type { Shard } from './shard.ts';

/**
 * One connection to the giver of a portion, for reading its keys and dropping them there.
 *
 * It belongs to one epoch and one incarnation of the giver and ends with them; what was asked on it is never asked again
 * over another one by itself (`REPLICATION.md`, M3): whoever asked hears that it was lost.
 */
export class PullLink implements ConnectionOwner, Flushable {
  flushScheduled = false;
  readonly #owner: PullLinkOwner;
  readonly #connection: Connection;
  readonly #decoder = new ReplyDecoder();
  #asked: Asker[] = [];
  #unsent: ScriptCall[] = [];
  /** What has come of a reply that is not whole. */
  #cut: Buffer[] = [];
  #heardMs = 0;
  #ended = false;

  /** Opens a connection to the giver as it is now. */
  constructor(giver: Shard, owner: PullLinkOwner) {
    this.#owner = owner;
    this.#connection = giver.openConnection(this);
  }

  get ready(): boolean {
    return this.#connection.ready;
  }

  /** Sends a call at the end of this turn of the event loop, or at the next `flush`. */
  ask(call: ScriptCall, asker: Asker): void {
    if (this.#ended) return asker.onLost();
    if (this.#asked.length === 0) this.#heardMs = performance.now();
    this.#asked.push(asker);
    this.#unsent.push(call);
    scheduleFlush(this);
  }

  /** Ends it when an answer is due for longer than this. */
  sweep(nowMs: number, patienceMs: number): void {
    if (this.#asked.length > 0 && nowMs - this.#heardMs > patienceMs) {
      this.end(`the node left a command unanswered for ${patienceMs} ms`);
    }
  }

  end(reason: string): void {
    this.#connection.end(reason);
  }

  flush(): void {
    if (this.#unsent.length === 0) return;
    const unsent = this.#unsent;
    this.#unsent = [];
    const bytes = Buffer.allocUnsafe(unsent.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const call of unsent) at = call.write(bytes, at);
    this.#connection.write(bytes);
  }

  onReady(): void {
    this.#owner.onLinkReady(this);
  }

  onBytes(length: number, bytes: Buffer): void {
    this.#heardMs = performance.now();
    for (let at = 0; at < length && !this.#ended; ) {
      const next = this.#decoder.frame(bytes, at, length);
      if (next === REPLY_GARBAGE) return this.end('the node sent something that is not RESP');
      if (next === REPLY_UNFINISHED) {
        this.#cut.push(Buffer.from(bytes.subarray(at, length)));
        return;
      }
      const piece = bytes.subarray(at, next);
      at = next;
      const whole = this.#cut.length === 0 ? piece : Buffer.concat([...this.#cut, piece]);
      this.#cut = [];
      const asker = this.#asked.shift();
      if (asker === undefined) return this.end('the node sent a reply that nobody had asked for');
      asker.onAnswer(decodeReply(whole));
    }
  }

  onEnded(_connection: Connection, reason: string): void {
    this.#ended = true;
    const asked = this.#asked;
    this.#asked = [];
    this.#unsent = [];
    this.#owner.onLinkEnded(this, reason);
    for (const asker of asked) asker.onLost();
  }
}

/** Who has asked something on a link. */
export interface Asker {
  onAnswer(reply: ReplyValue): void;
  /** The connection has ended before the answer came: it was carried out or not. */
  onLost(): void;
}

export interface PullLinkOwner {
  onLinkReady(link: PullLink): void;
  onLinkEnded(link: PullLink, reason: string): void;
}
