import { Backoff } from '../base/backoff.ts';
import { Random } from '../base/random.ts';
import { encodeCommand } from '../resp/encoder.ts';
import { REPLY_GARBAGE, REPLY_UNFINISHED, ReplyDecoder } from '../resp/reply-decoder.ts';
import { decodeReply, textOf } from '../resp/reply-value.ts';
import type { Connection, ConnectionOwner } from '../upstream/connection.ts';
import type { Shard } from './shard.ts';

/**
 * The one connection on which this proxy listens to one shard, whatever number of clients share a channel.
 *
 * It holds what is wanted, not what is: when the connection is lost, everything wanted is asked for again on the next.
 */
export class SubscriberLink implements ConnectionOwner {
  readonly shard: Shard;
  readonly #onMessage: (kind: MessageKind, name: string, frame: Buffer) => void;
  readonly #wanted = new Set<string>();
  readonly #confirmed = new Set<string>();
  readonly #waiting = new Map<string, (() => void)[]>();
  /** How often each topic was asked for without an answer: only the last one is about what is wanted now. */
  readonly #asked = new Map<string, number>();
  readonly #backoff = new Backoff(50, 1000, new Random((Math.random() * 2 ** 32) >>> 0));
  readonly #decoder = new ReplyDecoder();
  #connection: Connection | null = null;
  #retry: NodeJS.Timeout | null = null;
  #cut: Buffer[] = [];
  #closed = false;
  /** When the node last said something, or was asked whether it is there. */
  #heardMs = 0;
  #pinged = false;

  /** `onMessage` gets the kind, the channel or pattern it was sent for, and the whole frame as RESP2 has it. */
  constructor(shard: Shard, onMessage: (kind: MessageKind, name: string, frame: Buffer) => void) {
    this.shard = shard;
    this.#onMessage = onMessage;
  }

  /** Listens to a topic; `onConfirmed` is called once the node has said so, maybe at once. */
  want(topic: Topic, onConfirmed: () => void): void {
    const key = topic.kind + topic.name;
    if (this.#confirmed.has(key)) return onConfirmed();
    const waiters = this.#waiting.get(key);
    if (waiters !== undefined) waiters.push(onConfirmed);
    else this.#waiting.set(key, [onConfirmed]);
    if (this.#wanted.has(key)) return;
    this.#wanted.add(key);
    if (this.#connection?.ready === true) this.#ask([key]);
    else this.#connect();
  }

  /** Listens to a topic no more. */
  drop(topic: Topic): void {
    const key = topic.kind + topic.name;
    if (!this.#wanted.delete(key)) return;
    this.#confirmed.delete(key);
    this.#waiting.delete(key);
    if (this.#connection?.ready === true) {
      this.#connection.write(encodeCommand([UNSUBSCRIBE[topic.kind], Buffer.from(topic.name, 'latin1')]));
    }
  }

  /** The shard's primary, or its user, is another: listen there, without a pause in which messages are missed. */
  reconnect(reason: string): void {
    this.#connection?.end(reason);
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    if (this.#wanted.size > 0) this.#connect();
  }

  /** Asks a node that has been silent for half of `timeoutMs` whether it is there, and leaves it after all of it. */
  sweep(nowMs: number, timeoutMs: number): void {
    const connection = this.#connection;
    if (connection?.ready !== true || nowMs - this.#heardMs < timeoutMs / 2) return;
    if (this.#pinged) return connection.end(`the node was silent for ${timeoutMs} ms`);
    this.#pinged = true;
    this.#heardMs = nowMs;
    connection.write(PING);
  }

  close(): void {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#connection?.end('the proxy listens to this shard no more');
  }

  onReady(): void {
    this.#backoff.reset();
    this.#decoder.reset();
    this.#cut = [];
    this.#heardMs = performance.now();
    this.#pinged = false;
    this.#ask([...this.#wanted]);
  }

  onBytes(length: number, bytes: Buffer): void {
    this.#heardMs = performance.now();
    this.#pinged = false;
    let at = 0;
    while (at < length) {
      const next = this.#decoder.frame(bytes, at, length);
      if (next === REPLY_GARBAGE) return this.#connection?.end('the node sent something that is not RESP');
      if (next === REPLY_UNFINISHED) {
        this.#cut.push(Buffer.from(bytes.subarray(at, length)));
        return;
      }
      const piece = Buffer.from(bytes.subarray(at, next));
      const frame = this.#cut.length === 0 ? piece : Buffer.concat([...this.#cut, piece]);
      this.#cut = [];
      this.#onFrame(frame);
      at = next;
    }
  }

  onEnded(): void {
    this.#connection = null;
    this.#confirmed.clear();
    this.#asked.clear();
    if (this.#closed || this.#wanted.size === 0) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#connect();
    }, this.#backoff.nextMs());
  }

  #connect(): void {
    if (this.#closed || this.#connection !== null || this.#retry !== null) return;
    this.#connection = this.shard.openConnection(this);
  }

  #ask(keys: readonly string[]): void {
    for (const key of keys) this.#asked.set(key, (this.#asked.get(key) ?? 0) + 1);
    for (const kind of KINDS) {
      const names = keys.filter(key => key[0] === kind).map(key => Buffer.from(key.slice(1), 'latin1'));
      for (let i = 0; i < names.length; i += MOST_IN_ONE) {
        this.#connection?.write(encodeCommand([SUBSCRIBE[kind], ...names.slice(i, i + MOST_IN_ONE)]));
      }
    }
  }

  #onFrame(frame: Buffer): void {
    const reply = decodeReply(frame);
    if (!Array.isArray(reply)) return;
    const word = textOf(reply[0]);
    const name = textOf(reply[1]);
    switch (word) {
      case 'message':
        return this.#onMessage('c', name, frame);
      case 'pmessage':
        return this.#onMessage('p', name, frame);
      case 'smessage':
        return this.#onMessage('s', name, frame);
      case 'subscribe':
        return this.#confirm(`c${name}`);
      case 'psubscribe':
        return this.#confirm(`p${name}`);
      case 'ssubscribe':
        return this.#confirm(`s${name}`);
      default:
        return;
    }
  }

  #confirm(key: string): void {
    const due = (this.#asked.get(key) ?? 1) - 1;
    if (due > 0) {
      this.#asked.set(key, due);
      return;
    }
    this.#asked.delete(key);
    if (!this.#wanted.has(key)) return;
    this.#confirmed.add(key);
    const waiters = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    for (const waiter of waiters) waiter();
  }
}

/** c: channel, p: pattern, s: sharded channel. */
export type MessageKind = 'c' | 'p' | 's';

/** What can be listened to; the name is latin1 text, one character per byte. */
export interface Topic {
  readonly kind: MessageKind;
  readonly name: string;
}

const KINDS: readonly MessageKind[] = ['c', 'p', 's'];
const SUBSCRIBE: Readonly<Record<MessageKind, string>> = { c: 'SUBSCRIBE', p: 'PSUBSCRIBE', s: 'SSUBSCRIBE' };
const UNSUBSCRIBE: Readonly<Record<MessageKind, string>> = { c: 'UNSUBSCRIBE', p: 'PUNSUBSCRIBE', s: 'SUNSUBSCRIBE' };
const MOST_IN_ONE = 1000;
const PING = encodeCommand(['PING']);
