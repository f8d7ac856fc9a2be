import { encodeCommand } from '../resp/encoder.ts';
import { REPLY_GARBAGE, REPLY_UNFINISHED, ReplyDecoder } from '../resp/reply-decoder.ts';
import { decodeReply, textOf } from '../resp/reply-value.ts';
import type { Connection, ConnectionOwner } from '../upstream/connection.ts';
import type { Shard } from './shard.ts';

/**
 * One connection that listens, from the login to the end: what was asked for on it, what the node has confirmed, and the
 * messages that come.
 */
export class SubscriberFeed implements ConnectionOwner {
  /** Topics that the node has confirmed. */
  readonly confirmed = new Set<string>();
  readonly #owner: FeedOwner;
  readonly #connection: Connection;
  /** How often each topic was asked for without an answer: only the last one is about what is wanted now. */
  readonly #asked = new Map<string, number>();
  readonly #decoder = new ReplyDecoder();
  #cut: Buffer[] = [];
  #ended = false;
  /** When the node last said something, or was asked whether it is there. */
  #heardMs = 0;
  #pinged = false;
  /** Nothing is listened to any more; it ends with the last of so many answers to `PING`. */
  #lastPongs = 0;

  /** Opens a connection to the shard's primary as it is now. */
  constructor(shard: Shard, owner: FeedOwner) {
    this.#owner = owner;
    this.#connection = shard.openConnection(this);
  }

  get ready(): boolean {
    return this.#connection.ready;
  }

  /** Where it leads. */
  get target(): Connection['target'] {
    return this.#connection.target;
  }

  /** Listens to these topics as well. */
  ask(topics: readonly string[]): void {
    if (!this.ready) return;
    for (const topic of topics) this.#asked.set(topic, (this.#asked.get(topic) ?? 0) + 1);
    for (const kind of KINDS) this.#send(SUBSCRIBE[kind], kind, topics);
  }

  /** Listens to this topic no more. */
  drop(topic: string): void {
    this.confirmed.delete(topic);
    if (this.ready) this.#send(UNSUBSCRIBE[topic[0] as MessageKind], topic[0] as MessageKind, [topic]);
  }

  /** Stops listening, and ends once everything that was said until then has come. */
  leave(topics: readonly string[]): void {
    if (!this.ready) return this.end('it is not needed any more');
    this.#lastPongs = this.#pinged ? 2 : 1;
    for (const kind of KINDS) this.#send(UNSUBSCRIBE[kind], kind, topics);
    this.#connection.write(PING);
  }

  /** Asks a node that has been silent for half of `timeoutMs` whether it is there, and leaves it after all of it. */
  sweep(nowMs: number, timeoutMs: number): void {
    if (!this.ready || nowMs - this.#heardMs < timeoutMs / 2) return;
    if (this.#pinged) return this.end(`the node was silent for ${timeoutMs} ms`);
    this.#pinged = true;
    this.#heardMs = nowMs;
    this.#connection.write(PING);
  }

  end(reason: string): void {
    this.#connection.end(reason);
  }

  /** Ends it without a word to its owner. */
  abandon(reason: string): void {
    this.#ended = true;
    this.#connection.end(reason);
  }

  onReady(): void {
    this.#heardMs = performance.now();
    this.#owner.onFeedReady(this);
  }

  onBytes(length: number, bytes: Buffer): void {
    this.#heardMs = performance.now();
    this.#pinged = false;
    for (let at = 0; at < length && !this.#ended; ) {
      const next = this.#decoder.frame(bytes, at, length);
      if (next === REPLY_GARBAGE) return this.end('the node sent something that is not RESP');
      if (next === REPLY_UNFINISHED) {
        this.#cut.push(Buffer.from(bytes.subarray(at, length)));
        return;
      }
      const piece = Buffer.from(bytes.subarray(at, next));
      const frame = this.#cut.length === 0 ? piece : Buffer.concat([...this.#cut, piece]);
      this.#cut = [];
      at = next;
      this.#onFrame(frame);
    }
  }

  onEnded(_connection: Connection, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#owner.onFeedEnded(this, reason);
  }

  #send(word: string, kind: MessageKind, topics: readonly string[]): void {
    const names = topics.filter(topic => topic[0] === kind).map(topic => Buffer.from(topic.slice(1), 'latin1'));
    for (let i = 0; i < names.length; i += MOST_IN_ONE) {
      this.#connection.write(encodeCommand([word, ...names.slice(i, i + MOST_IN_ONE)]));
    }
  }

  #onFrame(frame: Buffer): void {
    const reply = decodeReply(frame);
    const isPong = Array.isArray(reply) ? textOf(reply[0]) === 'pong' : textOf(reply) === 'PONG';
    if (isPong && this.#lastPongs > 0) {
      this.#lastPongs -= 1;
      if (this.#lastPongs === 0) return this.end('it is not needed any more');
    }
    if (!Array.isArray(reply)) return;
    const kind = MESSAGES.get(textOf(reply[0]));
    if (kind !== undefined) return this.#owner.onFeedMessage(this, kind, textOf(reply[1]), frame);
    const confirmed = CONFIRMATIONS.get(textOf(reply[0]));
    if (confirmed !== undefined) this.#confirm(confirmed + textOf(reply[1]));
  }

  #confirm(topic: string): void {
    const due = (this.#asked.get(topic) ?? 1) - 1;
    if (due > 0) {
      this.#asked.set(topic, due);
      return;
    }
    this.#asked.delete(topic);
    this.confirmed.add(topic);
    this.#owner.onFeedConfirmed(this, topic);
  }
}

/** c: channel, p: pattern, s: sharded channel. A topic is its kind's letter and its name, as latin1 text. */
export type MessageKind = 'c' | 'p' | 's';

export interface FeedOwner {
  onFeedReady(feed: SubscriberFeed): void;
  /** The node has confirmed a topic; it may not be wanted any more. */
  onFeedConfirmed(feed: SubscriberFeed, topic: string): void;
  /** The kind, the channel or pattern that the message was sent for, and the whole frame as RESP2 has it. */
  onFeedMessage(feed: SubscriberFeed, kind: MessageKind, name: string, frame: Buffer): void;
  onFeedEnded(feed: SubscriberFeed, reason: string): void;
}

const KINDS: readonly MessageKind[] = ['c', 'p', 's'];
const SUBSCRIBE: Readonly<Record<MessageKind, string>> = { c: 'SUBSCRIBE', p: 'PSUBSCRIBE', s: 'SSUBSCRIBE' };
const UNSUBSCRIBE: Readonly<Record<MessageKind, string>> = { c: 'UNSUBSCRIBE', p: 'PUNSUBSCRIBE', s: 'SUNSUBSCRIBE' };
const MESSAGES: ReadonlyMap<string, MessageKind> = new Map([
  ['message', 'c'],
  ['pmessage', 'p'],
  ['smessage', 's'],
]);
const CONFIRMATIONS: ReadonlyMap<string, MessageKind> = new Map([
  ['subscribe', 'c'],
  ['psubscribe', 'p'],
  ['ssubscribe', 's'],
]);
const MOST_IN_ONE = 1000;
const PING = encodeCommand(['PING']);
