import { decodeReply, ReplyError, type ReplyValue, textOf } from '../resp/reply-value.ts';
import { DROP_KEYS, NO_ROOM, PULLED_FIRST, PUT_KEYS, READ_KEYS, TOO_LARGE } from '../topology/pull.ts';
import { acquireRequest, type Failure, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import type { Pull } from './pull.ts';
import type { Asker, PullLink } from './pull-link.ts';
import { PlainCall, Script, ScriptCall, type Sendable, type Word } from './pull-script.ts';

/**
 * Keys of one database on their way together from the giver of a portion to its taker (rules M2 and M3), one script a
 * step.
 *
 *   giver                     READ ──► values and expiries                                      ┌─► DROP ──► pulled
 *   taker   (LOOK ──► absent) ─┘                └─► PUT ──► every in-sync copy of it has that ──┘
 *             └─► there, and every in-sync copy of it has that: somebody else has pulled it
 *
 * While others, the supervisor's walk first of all, have pulled a good part of what is wanted, the taker is asked for that
 * before anything else: it costs one strict reading there, in the place of three scripts.
 *
 * A key that cannot go on with the others leaves the batch: it has no room in it, is too large, or the taker refuses it.
 * Whatever fails before the taker's copies have the keys leaves the giver's as they are, and all that are still in the
 * batch are begun anew, in another one. Once the copies have them, they are pulled: should the last step be lost, the
 * supervisor's walk finds the keys and drops them.
 */
export class PullBatch implements ReplyReceiver {
  readonly #host: PullHost;
  readonly #database: number;
  /** Those that are still in it, in the order in which the step under way names them. */
  #pulls: readonly Pull[];
  /** All that is asked of the giver is asked over this one connection (M3). */
  readonly #link: Pick<PullLink, 'ask'>;
  /** What the taker is asked just now. */
  #step: 'look' | 'put' = 'look';
  #cut: Buffer[] = [];

  /** `pulls`: of one database. */
  constructor(pulls: readonly [Pull, ...Pull[]], link: Pick<PullLink, 'ask'>, host: PullHost) {
    this.#pulls = pulls;
    this.#database = pulls[0].database;
    this.#link = link;
    this.#host = host;
  }

  /** Takes the first step. */
  begin(): void {
    if (this.#host.looksFirst) this.#look();
    else this.#read();
  }

  #look(): void {
    const host = this.#host;
    const words = ['SMISMEMBER', host.setName, PULLED_FIRST];
    for (const { name } of this.#pulls) words.push(name);
    const request = acquireRequest(this, null, false, host.nowMs);
    // As after a put of our own: whatever becomes the primary must have them, for what clients send now may be sent there.
    request.confirm = 1;
    request.fixed = true;
    this.#step = 'look';
    host.sendToTaker(request, new PlainCall(words));
  }

  #read(): void {
    const { thereSetName, bigKeyBytes } = this.#host;
    const keys: Word[] = [thereSetName ?? ''];
    for (const { key } of this.#pulls) keys.push(key);
    const asker: Asker = { onAnswer: reply => this.#onRead(reply), onLost: () => this.#again('the giver was lost') };
    this.#link.ask(new ScriptCall(READ, keys, [this.#database, bigKeyBytes, MOST_BATCH_BYTES]), asker);
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
    const reply = decodeReply(whole);
    if (this.#step === 'look') this.#onLooked(reply);
    else this.#onPut(reply);
  }

  onSkipped(): void {}

  onFailure(request: Request, _failure: Failure, detail: string): void {
    releaseRequest(request);
    this.#cut = [];
    this.#again(detail);
  }

  #onLooked(reply: ReplyValue): void {
    const host = this.#host;
    if (host.ended) return;
    if (reply instanceof ReplyError) return this.#again(`the taker answers ${reply.text}`);
    const [first, ...found] = Array.isArray(reply) ? reply : [];
    if (found.length !== this.#pulls.length) return this.#again(`the taker ${OTHERWISE}`);
    if (first !== 1) return this.#closed();
    const there = this.#pulls.filter((_, i) => found[i] === 1);
    const absent = this.#pulls.filter((_, i) => found[i] !== 1);
    host.noteThere(there.length, found.length);
    host.onThere(there);
    this.#pulls = absent;
    if (absent.length === 0) host.onPlaceFree();
    else this.#read();
  }

  #onRead(reply: ReplyValue): void {
    const host = this.#host;
    if (host.ended) return;
    if (reply instanceof ReplyError) return this.#again(`the giver answers ${reply.text}`);
    // The way there was closed, or its set was lost.
    if (reply === null) return this.#closed();
    const values = Array.isArray(reply) ? reply : [];
    if (values.length !== 2 * this.#pulls.length) return this.#again(`the giver ${OTHERWISE}`);
    const going: Pull[] = [];
    const noRoom: Pull[] = [];
    const keys: Word[] = [host.setName];
    const args: Word[] = [this.#database];
    this.#pulls.forEach((pull, i) => {
      const [value, expiry] = [values[2 * i], values[2 * i + 1]];
      if (expiry === NO_ROOM) noRoom.push(pull);
      else if (expiry === TOO_LARGE) host.onSetBack(pull, tooLarge(value));
      else if (typeof expiry !== 'number') host.onSetBack(pull, `the giver ${OTHERWISE}`);
      else {
        going.push(pull);
        keys.push(pull.key);
        args.push(Buffer.isBuffer(value) ? value : EMPTY, expiry);
      }
    });
    this.#pulls = going;
    host.onNoRoom(noRoom);
    if (going.length === 0) return host.onPlaceFree();
    const request = acquireRequest(this, null, true, host.nowMs);
    // Whatever clients were promised for their keys: nothing is dropped on the giver before every copy here has it.
    request.confirm = 1;
    request.fixed = true;
    this.#step = 'put';
    host.sendToTaker(request, new ScriptCall(PUT, keys, args));
  }

  #onPut(reply: ReplyValue): void {
    const host = this.#host;
    if (host.ended) return;
    if (reply instanceof ReplyError) return this.#again(`the taker answers ${reply.text}`);
    // The portion is closed, or its set was lost: the topology will say how it goes on.
    if (reply === null) return this.#closed();
    const outcomes = Array.isArray(reply) ? reply : [];
    if (outcomes.length !== this.#pulls.length) return this.#again(`the taker ${OTHERWISE}`);
    const arrived: Pull[] = [];
    this.#pulls.forEach((pull, i) => {
      if (typeof outcomes[i] === 'number') arrived.push(pull);
      else host.onRefused(pull, textOf(outcomes[i]));
    });
    this.#pulls = arrived;
    host.noteThere(outcomes.filter(outcome => outcome === 1).length, outcomes.length);
    // Nobody else needs to wait for what is left to do.
    host.onPlaceFree();
    if (arrived.length === 0) return;
    const keys = arrived.map(({ key }) => key);
    const asker: Asker = { onAnswer: () => this.#done(), onLost: () => this.#done() };
    this.#link.ask(new ScriptCall(DROP, keys, [this.#database]), asker);
  }

  #done(): void {
    if (!this.#host.ended) this.#host.onPulled(this.#pulls);
  }

  /** Who waits is held until the topology says how it goes on. */
  #closed(): void {
    this.#host.onClosed();
    this.#host.onPlaceFree();
  }

  #again(problem: string): void {
    if (this.#host.ended) return;
    for (const pull of this.#pulls) this.#host.onSetBack(pull, problem);
    this.#host.onPlaceFree();
  }
}

/** The portion that the keys belong to. */
export interface PullHost {
  readonly nowMs: number;
  /** The portion is over, or goes on between others: no step is taken any more, and nobody is told anything. */
  readonly ended: boolean;
  readonly setName: string;
  /** See `READ_KEYS`. */
  readonly thereSetName: string | null;
  readonly bigKeyBytes: number;
  /** Whether the taker is to be asked first what it has. */
  readonly looksFirst: boolean;
  /** Sends it to the taker; there may be no room: then the request fails. */
  sendToTaker(request: Request, call: Sendable): void;
  /** So many of so many keys had been pulled by somebody else before. */
  noteThere(there: number, asked: number): void;
  /** Somebody else has pulled them. */
  onThere(pulls: readonly Pull[]): void;
  /** They have arrived. */
  onPulled(pulls: readonly Pull[]): void;
  /** The taker has refused the key, in these words. */
  onRefused(pull: Pull, text: string): void;
  /** It must be begun anew, by and by. */
  onSetBack(pull: Pull, problem: string): void;
  /** There was no room for them with the others: they go first in the next batch of their database. */
  onNoRoom(pulls: readonly Pull[]): void;
  /** A set of pulled keys is not there any more: no key is pulled. */
  onClosed(): void;
  /** The batch needs its place among those that are under way no more. Each says so once. */
  onPlaceFree(): void;
}

function tooLarge(bytes: ReplyValue | undefined): string {
  return `it takes ${textOf(bytes)} bytes, and is moved by the supervisor`;
}

/** Keys of a batch: some may take longer on a node than clients' other commands should wait. */
export const MOST_BATCH_KEYS = 64;
/** Of memory on the giver, for all keys of a batch together, and for their names; a single key may take more. */
export const MOST_BATCH_BYTES = 1024 * 1024;

const OTHERWISE = 'answers something else than was asked';
const READ = new Script(READ_KEYS);
const PUT = new Script(PUT_KEYS);
const DROP = new Script(DROP_KEYS);
const EMPTY = Buffer.alloc(0);
