import { encodeCommand } from '../resp/encoder.ts';
import { decodeReply, ReplyError, type ReplyValue, textOf } from '../resp/reply-value.ts';
import { DROP_KEYS, PUT_KEYS, READ_KEYS, TOO_LARGE } from '../topology/pull.ts';
import { acquireRequest, type Failure, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import type { Asker, PullLink } from './pull-link.ts';

/**
 * One key on its way from the giver of a portion to its taker, on behalf of all who wait for it (rules M2 and M3).
 *
 *   giver   READ ──► value and expiry                                         ┌─► DROP ──► pulled
 *   taker                     └─► PUT ──► every in-sync copy of it has that ──┘
 *
 * Whatever fails before the taker's copies have the key leaves the giver's as it is, and the whole is begun anew. Once
 * they have it, it is pulled: should the last step be lost, the supervisor's walk finds the key and drops it.
 */
export class Pull implements ReplyReceiver {
  readonly database: number;
  readonly key: Buffer;
  /** Who is told when it is here. */
  waiters: Waiter[] = [];
  readonly begunMs: number;
  #pruneAt = 32;
  readonly #host: PullHost;
  #link: PullLink | null = null;
  #cut: Buffer[] = [];

  constructor(database: number, key: Buffer, host: PullHost) {
    this.database = database;
    this.key = key;
    this.begunMs = host.nowMs;
    this.#host = host;
  }

  /** Somebody still waits for it. */
  get isWanted(): boolean {
    return this.waiters.some(waiter => !waiter.over);
  }

  /** Those who waited and are gone are forgotten now and then, however long it takes. */
  join(waiter: Waiter): void {
    this.waiters.push(waiter);
    if (this.waiters.length < this.#pruneAt) return;
    this.waiters = this.waiters.filter(({ over }) => !over);
    this.#pruneAt = Math.max(32, this.waiters.length * 2);
  }

  /** From the first step, over this connection. */
  begin(link: PullLink): void {
    this.#link = link;
    const { thereSetName, bigKeyBytes } = this.#host;
    const words = ['EVAL', READ_SCRIPT, 2, thereSetName ?? '', this.key, this.database, bigKeyBytes];
    const asker: Asker = { onAnswer: reply => this.#onRead(reply), onLost: () => this.#again('the giver was lost') };
    link.ask(encodeCommand(words), asker);
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    const piece = bytes.subarray(from, to);
    if (!last) {
      this.#cut.push(Buffer.from(piece));
      return;
    }
    releaseRequest(request);
    const whole = this.#cut.length === 0 ? piece : Buffer.concat([...this.#cut, piece]);
    this.#cut = [];
    if (!this.#host.ended) this.#onPut(decodeReply(whole));
  }

  onSkipped(): void {}

  onFailure(request: Request, _failure: Failure, detail: string): void {
    releaseRequest(request);
    this.#cut = [];
    this.#again(detail);
  }

  #onRead(reply: ReplyValue): void {
    if (this.#host.ended) return;
    if (reply instanceof ReplyError) return this.#again(`the giver answers ${reply.text}`);
    // The way there was closed, or its set was lost.
    if (reply === null) return this.#host.onClosed();
    const [value, expiry] = Array.isArray(reply) ? reply : [];
    if (typeof expiry !== 'number') return this.#again('the giver answers something else than was asked');
    if (expiry === TOO_LARGE) return this.#again(`it takes ${textOf(value)} bytes, and is moved by the supervisor`);
    const dump = Buffer.isBuffer(value) ? value : EMPTY;
    const words = ['EVAL', PUT_SCRIPT, 2, this.#host.setName, this.key, this.database, dump, expiry];
    const request = acquireRequest(this, null, true, this.#host.nowMs);
    // Whatever clients were promised for their keys: nothing is dropped on the giver before every copy here has it.
    request.confirm = 1;
    request.fixed = true;
    this.#host.sendPut(request, encodeCommand(words));
  }

  #onPut(reply: ReplyValue): void {
    if (reply instanceof ReplyError) return this.#again(`the taker answers ${reply.text}`);
    // The portion is closed, or its set was lost: the topology will say how it goes on.
    if (reply === null) return this.#host.onClosed();
    const [outcome] = Array.isArray(reply) ? reply : [];
    if (typeof outcome !== 'number') return this.#host.onRefused(this, textOf(outcome));
    const asker: Asker = { onAnswer: () => this.#done(), onLost: () => this.#done() };
    this.#link?.ask(encodeCommand(['EVAL', DROP_SCRIPT, 1, this.key, this.database]), asker);
  }

  #done(): void {
    if (!this.#host.ended) this.#host.onPulled(this);
  }

  #again(problem: string): void {
    this.#link = null;
    if (!this.#host.ended) this.#host.onSetBack(this, problem);
  }
}

/** Who waits for keys of a portion. */
export interface Waiter {
  /** How many of its keys are not here yet. */
  left: number;
  /** It waits no more, and must not be told anything. */
  over: boolean;
  /** All its keys are here, or (`problem` not empty) one of them cannot be had. */
  onArrived(problem: string): void;
}

/** The portion that a key belongs to. */
export interface PullHost {
  readonly nowMs: number;
  /** The portion is over, or goes on between others: no step is taken any more. */
  readonly ended: boolean;
  readonly setName: string;
  /** See `READ_KEYS`. */
  readonly thereSetName: string | null;
  readonly bigKeyBytes: number;
  /** Sends it to the taker; there may be no room: then the request fails. */
  sendPut(request: Request, command: Buffer): void;
  onPulled(pull: Pull): void;
  /** The taker has refused the key, in these words. */
  onRefused(pull: Pull, text: string): void;
  /** It must be begun anew. */
  onSetBack(pull: Pull, problem: string): void;
  /** The set of pulled keys is not there any more: no key is pulled. */
  onClosed(): void;
}

const READ_SCRIPT = Buffer.from(READ_KEYS);
const PUT_SCRIPT = Buffer.from(PUT_KEYS);
const DROP_SCRIPT = Buffer.from(DROP_KEYS);
const EMPTY = Buffer.alloc(0);
