import { encodeCommand } from '../resp/encoder.ts';
import { REPLY_GARBAGE, REPLY_UNFINISHED, ReplyDecoder } from '../resp/reply-decoder.ts';
import { decodeReply, type ReplyValue, textOf } from '../resp/reply-value.ts';
import { Connection, type ConnectionOwner } from '../upstream/connection.ts';
import type { Era } from '../upstream/guard.ts';
import type { Target } from '../upstream/login.ts';
import type { Secure } from '../upstream/secure.ts';

/**
 * One connection that carries barriers and nothing else (rule R1).
 *
 *   SPUBLISH <word>   moves the primary's offset behind every write that was answered before
 *   ROLE              tells that offset
 *   WAIT n ms         comes back when n replicas have it, or with fewer when the time is over
 *   WAIT n ms         at once if they have it; see `FIRST_WAIT_MS`
 *
 * One barrier at a time: WAIT stops a connection. Barriers overlap over several links.
 */
export class BarrierLink implements ConnectionOwner {
  readonly epoch: number;
  /** The history that it was logged in to; null until then. */
  era: Era | null = null;
  /** Of the barrier under way: what its count is judged by, and the answers that it covers. */
  required = 0;
  upTo = 0;
  sentMs = 0;
  busy = false;
  readonly #owner: BarrierOwner;
  readonly #connection: Connection;
  readonly #decoder = new ReplyDecoder();
  #cut: Buffer = EMPTY;
  #replies = 0;
  #ended = false;

  constructor(target: Target, secure: Secure | null, connectMs: number, owner: BarrierOwner) {
    this.#owner = owner;
    this.epoch = target.epoch ?? 0;
    this.#connection = new Connection(target, secure, connectMs, this);
  }

  /** Whether a barrier may be sent on it. */
  get free(): boolean {
    return this.#connection.ready && !this.busy;
  }

  /** Sends a barrier that covers the answers up to this number. */
  ask(required: number, upTo: number, nowMs: number): void {
    this.busy = true;
    this.required = required;
    this.upTo = upTo;
    this.sentMs = nowMs;
    this.#replies = 0;
    this.#connection.write(barrierFor(required));
  }

  end(reason: string): void {
    this.#connection.end(reason);
  }

  onReady(connection: Connection): void {
    this.#owner.onLinkReady(this, connection);
  }

  onBytes(length: number, bytes: Buffer): void {
    let at = 0;
    // What comes behind a refused word, even in the same piece, confirms nothing: WAIT did not wait for that word.
    while (at < length && !this.#ended) {
      const next = this.#decoder.frame(bytes, at, length);
      if (next === REPLY_GARBAGE) return this.end('the node sent something that is not RESP');
      if (next === REPLY_UNFINISHED) {
        this.#cut = Buffer.concat([this.#cut, bytes.subarray(at, length)]);
        return;
      }
      if (!this.busy) return this.end('the node sent a reply that nobody had asked for');
      const from = at;
      at = next;
      const whole = this.#cut.length === 0 ? bytes.subarray(from, next) : this.#whole(bytes.subarray(from, next));
      this.#onReply(decodeReply(whole));
    }
  }

  onEnded(): void {
    this.#ended = true;
    this.#owner.onLinkEnded(this);
  }

  #whole(rest: Buffer): Buffer {
    const whole = Buffer.concat([this.#cut, rest]);
    this.#cut = EMPTY;
    return whole;
  }

  #onReply(reply: ReplyValue): void {
    this.#replies += 1;
    if (this.#replies === 2) return this.#onRole(reply);
    if (typeof reply !== 'number') return this.end(`the node refused a barrier: ${textOf(reply)}`);
    if (this.#replies < 4) return;
    this.busy = false;
    this.#owner.onCount(this, reply);
  }

  #onRole(reply: ReplyValue): void {
    const [role, offset] = Array.isArray(reply) ? reply : [];
    if (textOf(role) !== 'master' || typeof offset !== 'number') return this.end('the node is no primary any more');
    this.#owner.onOffset(this, offset);
  }
}

/** Who sends barriers and hears of them. */
export interface BarrierOwner {
  onLinkReady(link: BarrierLink, connection: Connection): void;
  /** The primary's offset behind all that the barrier covers. */
  onOffset(link: BarrierLink, offset: number): void;
  /** How many replicas have what the barrier covers; the link is free again. */
  onCount(link: BarrierLink, count: number): void;
  onLinkEnded(link: BarrierLink): void;
}

/** A channel of our own, to which nobody listens; a message touches no key and needs no handling by replicas. */
export const CHANNEL = 'ringside:barrier';
/**
 * How long the primary waits for its replicas before it asks them once more, for the same offset.
 *
 * Replicas leave Nagle's algorithm on towards their primary (`connectWithMaster` in replication.c of Redis 7.0 sets no
 * TCP_NODELAY): of two confirmations in a row the second stays in the replica's kernel until the primary acknowledges the
 * first. With nothing else on its way to the replica that takes 40 ms, the time of a delayed acknowledgement; the second
 * question takes it along. Another word would not do: its own confirmation would be the next to stay.
 */
const FIRST_WAIT_MS = 5;
/** After so long it says how many there were: then another barrier is sent. */
export const WAIT_MS = 100;

function barrierFor(required: number): Buffer {
  const known = encoded[required];
  if (known !== undefined) return known;
  const waits = [FIRST_WAIT_MS, WAIT_MS - FIRST_WAIT_MS].map(waitMs => ['WAIT', String(required), String(waitMs)]);
  const commands = [['SPUBLISH', CHANNEL, ''], ['ROLE'], ...waits];
  const bytes = Buffer.concat(commands.map(words => encodeCommand(words)));
  encoded[required] = bytes;
  return bytes;
}

const encoded: (Buffer | undefined)[] = [];
const EMPTY = Buffer.alloc(0);
