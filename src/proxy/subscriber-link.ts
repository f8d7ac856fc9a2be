import { randomBytes } from 'node:crypto';
import { Backoff } from '../base/backoff.ts';
import { Random } from '../base/random.ts';
import { encodeCommand } from '../resp/encoder.ts';
import { acquireRequest, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import { UNCONFIRMED } from './commitment.ts';
import type { Shard } from './shard.ts';
import { type FeedOwner, type MessageKind, SubscriberFeed } from './subscriber-feed.ts';
import { Overlap } from './subscriber-overlap.ts';

/**
 * How this proxy listens to one shard, whatever number of clients share a channel.
 *
 * It holds what is wanted, not what is: when the connection is lost, everything wanted is asked for again on the next.
 *
 * When an epoch ends and the primary stays, as at both ends of a portion's way, no message is lost or comes twice: another
 * connection listens beside the one in use until it hears all that is wanted; then a word is published, which comes on
 * both. What comes before it is passed on from the old connection, what comes after it from the new one.
 *
 *   old   a  b  ─ word ─   (ended)              passed on: a b c d
 *   new   b  ─ word ─  c  d
 */
export class SubscriberLink implements FeedOwner, ReplyReceiver {
  readonly shard: Shard;
  readonly #onMessage: (kind: MessageKind, name: string, frame: Buffer) => void;
  readonly #wanted = new Set<string>();
  readonly #waiting = new Map<string, (() => void)[]>();
  readonly #backoff = new Backoff(50, 1000, new Random((Math.random() * 2 ** 32) >>> 0));
  /** The channel on which the word is published, of each overlap another; empty: there is no overlap. */
  #word = '';
  /** What is passed on comes from here. */
  #feed: SubscriberFeed | null = null;
  /** Is about to take over. */
  #next: SubscriberFeed | null = null;
  #overlap = new Overlap();
  #overlapSinceMs = 0;
  #isWordSent = false;
  /** The connection in use has taken over from one that had brought all before this word, which it is yet to hear itself. */
  #missedWord = '';
  #retry: NodeJS.Timeout | null = null;
  #leaving: NodeJS.Timeout | null = null;
  #closed = false;

  /** `onMessage` gets the kind, the channel or pattern it was sent for, and the whole frame as RESP2 has it. */
  constructor(shard: Shard, onMessage: (kind: MessageKind, name: string, frame: Buffer) => void) {
    this.shard = shard;
    this.#onMessage = onMessage;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Listens to a topic; `onConfirmed` is called once the node has said so, maybe at once. Null: nobody waits for that. */
  want({ kind, name }: Topic, onConfirmed: (() => void) | null): void {
    const topic = kind + name;
    if (onConfirmed !== null) {
      if (this.#isConfirmed(topic)) return onConfirmed();
      const waiters = this.#waiting.get(topic);
      if (waiters !== undefined) waiters.push(onConfirmed);
      else this.#waiting.set(topic, [onConfirmed]);
    }
    if (this.#wanted.has(topic)) return;
    this.#wanted.add(topic);
    this.#feed?.ask([topic]);
    this.#next?.ask([topic]);
    this.#connect();
  }

  /** Listens to a topic no more. */
  drop({ kind, name }: Topic): void {
    const topic = kind + name;
    if (!this.#wanted.delete(topic)) return;
    this.#waiting.delete(topic);
    this.#feed?.drop(topic);
    this.#next?.drop(topic);
  }

  /** The shard's primary, or its user, is another: listens there. */
  reconnect(reason: string): void {
    if (this.#closed || this.#leaving !== null) return;
    // What the old connection brought behind the word was left to the new one.
    if (this.#overlap.isOldHeard) this.#promote();
    else this.#dropNext(reason);
    this.#cancelRetry();
    const feed = this.#feed;
    if (feed?.ready === true && this.#isStillThere(feed)) {
      this.#openNext();
      return;
    }
    feed?.abandon(reason);
    this.#feed = null;
    this.#connect();
  }

  /**
   * The shard is no longer part of the cluster. Others may not have heard of that yet, and publish there for a moment
   * more; and what was published before is still to come.
   */
  leave(): void {
    if (this.#closed || this.#leaving !== null) return;
    this.#cancelRetry();
    this.#leaving = setTimeout(() => {
      if (this.#feed === null) return this.close();
      this.#feed.leave([...this.#wanted]);
    }, LINGER_MS);
    if (this.#feed === null && this.#next === null) this.close();
  }

  /** Looks at the clock. */
  sweep(nowMs: number, timeoutMs: number): void {
    this.#feed?.sweep(nowMs, timeoutMs);
    this.#next?.sweep(nowMs, timeoutMs);
    if (this.#next?.ready !== true) return;
    if (nowMs - this.#overlapSinceMs > timeoutMs) this.#promote();
    else this.#sendWord();
  }

  close(): void {
    this.#closed = true;
    this.#cancelRetry();
    if (this.#leaving !== null) clearTimeout(this.#leaving);
    this.#dropNext(NOT_NEEDED);
    this.#feed?.abandon(NOT_NEEDED);
    this.#feed = null;
  }

  onFeedReady(feed: SubscriberFeed): void {
    this.#backoff.reset();
    feed.ask([...this.#wanted]);
    if (feed !== this.#next) return;
    this.#overlapSinceMs = performance.now();
    this.#overlap = new Overlap();
    this.#isWordSent = false;
    this.#word = `${WORDS}${randomBytes(16).toString('hex')}`;
    feed.ask([`s${this.#word}`]);
    this.#feed?.ask([`s${this.#word}`]);
    this.#sendWord();
  }

  onFeedConfirmed(feed: SubscriberFeed, topic: string): void {
    // Without an overlap there is no word; a client's channel may be one without a name.
    if (this.#word !== '' && topic === `s${this.#word}`) return this.#sendWord();
    if (!this.#wanted.has(topic)) return void feed.confirmed.delete(topic);
    this.#tellWaiters(topic);
    this.#sendWord();
  }

  onFeedMessage(feed: SubscriberFeed, kind: MessageKind, name: string, frame: Buffer): void {
    const overlap = this.#overlap;
    const isOwn = kind === 's' && name.startsWith(WORDS);
    const isWord = isOwn && name === this.#word;
    // That of an overlap which came to nothing.
    if (isOwn && !isWord && name !== this.#missedWord) return;
    if (feed === this.#next) {
      if (isWord) overlap.isNewHeard = true;
      else overlap.keepNew({ kind, name, frame });
      if (overlap.isFull) return this.#promote();
    } else if (isWord) {
      overlap.isOldHeard = true;
    } else if (this.#missedWord !== '') {
      if (isOwn) this.#missedWord = '';
    } else if (!overlap.isOldHeard) {
      if (this.#next?.ready === true) overlap.noteOld(frame);
      this.#onMessage(kind, name, frame);
    }
    if (overlap.isOldHeard && overlap.isNewHeard) this.#promote();
  }

  onFeedEnded(feed: SubscriberFeed): void {
    if (feed === this.#next) {
      this.#dropNext('');
      this.#tellAll();
    } else if (this.#next?.ready === true) return this.#promote();
    else this.#feed = null;
    if (this.#leaving !== null) return this.close();
    if (this.#feed === null && this.#next !== null) {
      // It is still on its way, and there is nothing to take over from.
      this.#feed = this.#next;
      this.#next = null;
      return;
    }
    if (this.#wanted.size > 0) this.#retryLater();
  }

  /** The word was published. */
  onReply(request: Request, _bytes: Buffer, _from: number, _to: number, last: boolean): void {
    if (last) releaseRequest(request);
  }

  onSkipped(): void {}

  onFailure(request: Request): void {
    releaseRequest(request);
    this.#isWordSent = false;
  }

  /** Once all that is wanted is heard on the new connection, and the word itself on both. */
  #sendWord(): void {
    const next = this.#next;
    const feed = this.#feed;
    const word = `s${this.#word}`;
    if (next === null || feed === null || this.#isWordSent || this.#word === '') return;
    if (!next.confirmed.has(word) || !feed.confirmed.has(word)) return;
    for (const topic of this.#wanted) if (!next.confirmed.has(topic)) return;
    this.#isWordSent = true;
    const bytes = encodeCommand(['SPUBLISH', this.#word, '']);
    const request = acquireRequest(this, null, true, performance.now());
    request.confirm = UNCONFIRMED;
    request.fixed = true;
    this.shard.lane(0, 2).send(request, bytes, 0, bytes.length);
  }

  /** The new connection carries on: with the word heard on both, or because the old one is of no use any more. */
  #promote(): void {
    const next = this.#next as SubscriberFeed;
    this.#feed?.abandon('another connection listens');
    this.#feed = next;
    this.#next = null;
    const overlap = this.#overlap;
    this.#missedWord = overlap.isOldHeard && !overlap.isNewHeard ? this.#word : '';
    this.#endWord();
    this.#overlap = new Overlap();
    for (const { kind, name, frame } of overlap.rest()) this.#onMessage(kind, name, frame);
    this.#tellAll();
  }

  /** Whatever was published on its channel still comes. */
  #endWord(): void {
    if (this.#word !== '') this.#feed?.drop(`s${this.#word}`);
    this.#word = '';
  }

  #isConfirmed(topic: string): boolean {
    if (this.#feed?.confirmed.has(topic) !== true) return false;
    return this.#next?.ready !== true || this.#next.confirmed.has(topic);
  }

  #tellAll(): void {
    for (const topic of [...this.#waiting.keys()]) this.#tellWaiters(topic);
  }

  #tellWaiters(topic: string): void {
    if (!this.#isConfirmed(topic)) return;
    const waiters = this.#waiting.get(topic) ?? [];
    this.#waiting.delete(topic);
    for (const waiter of waiters) waiter();
  }

  /** Whether the primary is where this connection leads, and is not about to be another. */
  #isStillThere({ target }: SubscriberFeed): boolean {
    const { primary, paused } = this.shard.state;
    return !paused && target.host === primary.host && target.port === primary.port && target.runId === primary.runId;
  }

  #connect(): void {
    if (this.#closed || this.#feed !== null || this.#retry !== null || this.#wanted.size === 0) return;
    // As soon as it is formed, the shard says that its primary is another.
    if (!this.shard.formed) return;
    this.#missedWord = '';
    this.#feed = new SubscriberFeed(this.shard, this);
  }

  #openNext(): void {
    this.#next = new SubscriberFeed(this.shard, this);
  }

  #dropNext(reason: string): void {
    const next = this.#next;
    this.#next = null;
    this.#overlap = new Overlap();
    this.#endWord();
    next?.abandon(reason);
  }

  #retryLater(): void {
    if (this.#closed || this.#retry !== null) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      if (this.#feed === null) this.#connect();
      else if (this.#next === null && this.#isStillThere(this.#feed)) this.#openNext();
    }, this.#backoff.nextMs());
  }

  #cancelRetry(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
  }
}

/** What can be listened to; the name is latin1 text, one character per byte. */
export interface Topic {
  readonly kind: MessageKind;
  readonly name: string;
}

/** How the channels begin by which links tell old connections from new ones; they are nobody else's. */
export const WORDS = 'ringside:listener:';
const NOT_NEEDED = 'the proxy listens to this shard no more';
/** Longer than a topology takes to reach every proxy that can be reached. */
const LINGER_MS = 1000;
