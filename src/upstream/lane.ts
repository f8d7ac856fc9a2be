import type { Backoff } from '../base/backoff.ts';
import { coarse, tick } from '../base/coarse-clock.ts';
import { type Flushable, scheduleFlush } from '../base/flush-queue.ts';
import type { Protocol } from '../resp/protocol.ts';
import { REPLY_GARBAGE, REPLY_UNFINISHED, ReplyDecoder } from '../resp/reply-decoder.ts';
import { Connection, type ConnectionOwner } from './connection.ts';
import { copyBytes } from './copy-bytes.ts';
import type { Era } from './guard.ts';
import { LaneQueue, type QueuedLane, type QueueSettings, type Sieve } from './lane-queue.ts';
import type { Target } from './login.ts';
import { Failure, type Request, type Segment } from './request.ts';
import type { Secure } from './secure.ts';

/**
 * A pipelined first-in-first-out line of commands to one node, in one database and protocol, over many connections'
 * lives. What it does with connections is here, what becomes of the commands in `lane-queue.ts`.
 *
 *   connect ──► ready ──► ended ──► (pause) ──► connect     for as long as it is wanted
 *                 │
 *                 ├─ renew: another one is opened beside it, and takes over once nothing is unanswered
 *                 └─ bar: it sends no more, and leaves once nothing is unanswered
 */
export class Lane implements Flushable, ConnectionOwner, QueuedLane {
  flushScheduled = false;
  /** When something was last sent or heard here, for closing idle lanes and noticing hung nodes. */
  activeMs = 0;
  /** Why the last connection ended; empty while connected. */
  problem = 'not connected yet';
  readonly #settings: LaneSettings;
  #target: Target;
  #connection: Connection | null = null;
  /** Carries on in the place of `#connection` once nothing on that is unanswered; see `renew`. */
  #next: Connection | null = null;
  /** Why nothing may be sent for now; empty: it may. */
  #barred = '';
  /** Barred, it stays connected until its kept answers are confirmed. */
  #untilConfirmed = false;
  /** Barred, it still logs in to be told what became of that which was lost; see `finish`. */
  #asksWhenLost = false;
  #retry: NodeJS.Timeout | null = null;
  #closed = false;
  /** Its shard is no longer part of the cluster. */
  #retired = false;
  #everReady = false;
  #sweptMs = 0;
  readonly #queue: LaneQueue;
  readonly #decoder = new ReplyDecoder();
  /** The first part of a skipped reply that was cut. */
  #cut: Buffer = EMPTY;
  /** The version of the owners of keys by which every request in line was accepted, or has been looked through. */
  #sieved: number;
  /** How long a sent command may stay without any sign of the node; a lent lane's borrower sets its own. */
  patienceMs: number;

  constructor(target: Target, settings: LaneSettings) {
    this.#target = target;
    this.#settings = settings;
    this.patienceMs = settings.timeoutMs;
    this.#sieved = settings.sieve?.version ?? 0;
    this.#queue = new LaneQueue(settings, this);
  }

  /** Whether commands go out at once. */
  get ready(): boolean {
    return this.#connection?.ready === true && this.#barred === '' && !this.#queue.spent;
  }

  /** Whether a command goes out at once even so: no other connection waits to take over from the one in use. */
  get quick(): boolean {
    return this.ready && this.#next?.ready !== true;
  }

  /** Commands that nobody was told the outcome of, sent or not, answered or not. */
  get pending(): number {
    return this.#queue.pending;
  }

  /** Those of them that were sent. */
  get inFlight(): number {
    return this.#queue.inFlight;
  }

  get unsettled(): number {
    return this.#queue.unsettled;
  }

  /** Whether an answer is still due on a connection that stands. */
  get owed(): boolean {
    return this.#queue.sent > 0;
  }

  /** Answers that wait to be confirmed. */
  get kept(): number {
    return this.#queue.kept;
  }

  get full(): boolean {
    return this.pending >= this.#settings.queueBound;
  }

  /** Bytes of buffers that it holds. */
  get heldBytes(): number {
    return this.#queue.heldBytes;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get era(): Era | null {
    return this.#queue.era;
  }

  /** The incarnation at the other end; empty while there is none. */
  get runId(): string {
    return this.#connection?.runId ?? '';
  }

  /** The version of Redis at the other end; empty while there is none. */
  get version(): string {
    return this.#connection?.version ?? '';
  }

  /** The connection's number on the node, for CLIENT UNBLOCK; 0 while there is none. */
  get clientId(): number {
    return this.#connection?.clientId ?? 0;
  }

  /** The shard's epoch as whose user it is logged in; 0 while there is no connection. */
  get epoch(): number {
    return this.#connection?.target.epoch ?? 0;
  }

  /** What its connection has logged in to; null while there is none that stands. */
  get login(): Target | null {
    return this.#connection?.ready === true ? this.#connection.target : null;
  }

  get database(): number {
    return this.#target.database;
  }

  get protocol(): Protocol {
    return this.#target.protocol;
  }

  get lent(): boolean {
    return this.#settings.lent;
  }

  /** Opens the connection if there is none and none is on its way. */
  connect(): void {
    if (this.#closed || this.#connection !== null || this.#retry !== null || this.#barred !== '') return;
    this.#connection = this.#open();
  }

  /** Appends a command, copied from bytes[from, to). The caller has looked at `full`. */
  send(request: Request, bytes: Buffer, from: number, to: number): void {
    const segment = this.room(to - from);
    copyBytes(bytes, from, to, segment.buffer, segment.used);
    this.sendWritten(request, segment, to - from);
  }

  /** Room for a command of so many bytes, to be written at `used` and then sent by `sendWritten`, in the same breath. */
  room(length: number): Segment {
    return this.#queue.segments.room(length);
  }

  /** Appends the command of `length` bytes that was written into `room`. */
  sendWritten(request: Request, segment: Segment, length: number): void {
    const from = segment.used;
    segment.used = from + length;
    this.#enqueue(request, segment, from, segment.used);
  }

  /** Appends a command whose buffer the lane takes over (and gives back to the pool). */
  sendOwned(request: Request, buffer: Buffer, from: number, to: number): void {
    this.#enqueue(request, this.#queue.segments.own(buffer, from, to), from, to);
  }

  /** Everything from here on goes to another address, or to another incarnation of the same. */
  retarget(target: Target, reason: string): void {
    this.#target = target;
    this.#barred = '';
    this.#dropNext(reason);
    this.#connection?.end(reason);
    this.#cancelRetry();
    this.#settings.backoff.reset();
    if (this.#wanted) this.connect();
  }

  /**
   * Goes on as another user of the same incarnation: the connection in use serves until another one is ready, and is
   * left as soon as nothing on it is unanswered.
   */
  renew(target: Target, reason: string): void {
    if (this.#connection?.ready !== true) return this.retarget(target, reason);
    this.#target = target;
    this.#barred = '';
    this.#cancelRetry();
    this.#settings.backoff.reset();
    this.#dropNext(reason);
    this.#next = this.#open();
  }

  /**
   * Sends what was accepted so far, and then nothing more; leaves its connection when nothing is unanswered, and, for
   * `untilConfirmed`, no answer is kept: as long as it stands, the node's users of this epoch are not taken away.
   */
  bar(reason: string, untilConfirmed = false): void {
    this.flush();
    this.#barred = reason;
    this.#untilConfirmed = untilConfirmed;
    this.#asksWhenLost = false;
    this.#cancelRetry();
    this.#dropNext(reason);
    if (this.#connection === null) this.problem = reason;
    else if (this.#connection.ready) this.#leaveIfDone();
    else this.#connection.end(reason);
  }

  /**
   * A lent lane ends, since another epoch begins on the same incarnation: sends what was accepted so far, and leaves its
   * connection when nothing is unanswered. What is lost before that, to the fence say, is judged by a login as that
   * epoch's user: no other primary comes that would tell.
   */
  finish(target: Target, reason: string): void {
    this.#target = target;
    this.bar(reason);
    this.#asksWhenLost = true;
  }

  /**
   * Some keys have another owner. What was accepted before leaves at once over a connection that stands, which is a user's
   * of the epoch in which it was accepted: the fence decides whether it comes through. Where none stands, what names such
   * keys goes elsewhere, before anything that comes later does.
   */
  sieve(): void {
    const { sieve } = this.#settings;
    if (this.#closed || sieve === null || this.#queue.spent) return;
    const connection = this.#connection;
    if (connection?.ready === true) {
      if (this.#barred === '') this.#queue.flush(connection);
      return;
    }
    this.#sieveNow(sieve);
  }

  /** Nothing more is sent here, nor anywhere else as this shard's: what was sent is answered, then the lane is of no use. */
  retire(reason: string): void {
    this.#retired = true;
    this.sieve();
    this.bar(reason, true);
  }

  /** Ends the lane; what waits is refused, what was sent is answered as after a broken connection. */
  close(failure: Failure, detail: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry();
    this.#dropNext(detail);
    this.#connection?.end(detail);
    this.#queue.close(failure, detail);
  }

  /** Ends the lane, which only reads: what it holds goes on over another one, behind what that holds. */
  handOver(to: Lane, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry();
    this.#connection?.end(reason);
    this.#queue.handOver(to, reason);
  }

  confirm(number: number): number {
    const count = this.#queue.confirm(number);
    this.#leaveIfDone();
    this.#closeIfSpent();
    return count;
  }

  learn(era: Era): void {
    if (this.#closed || this.#queue.era === era) return;
    // A connection that still stands leads to a primary that is none any more, or has begun another history. One that is
    // being opened leads to the present one.
    if (this.#connection?.ready === true) this.#connection.end('the primary has begun another history');
    this.#queue.settle(era, this.problem);
    this.#closeIfSpent();
    if (this.#wanted) this.connect();
  }

  /** Looks at the clock: refuses what has waited too long, ends a connection that has gone silent. */
  sweep(nowMs: number): void {
    const stoodStill = nowMs - this.#sweptMs > STANDSTILL_MS;
    this.#sweptMs = nowMs;
    this.#queue.releaseIdle();
    // After a standstill of this process timers come before sockets, on which the answers may lie unread.
    if (stoodStill) this.activeMs = nowMs;
    else this.#giveUp(nowMs);
    if (this.#connection?.ready === true && this.#queue.sent > 0 && nowMs - this.activeMs > this.patienceMs) {
      this.#settings.cells.timeouts += 1;
      this.#connection.end(`the node left a command unanswered for ${this.patienceMs} ms`);
      return;
    }
    if (!this.ready && this.inFlight === this.kept) this.#queue.expire(nowMs, this.problem);
  }

  flush(): void {
    const connection = this.#connection;
    if (connection === null || !this.ready || this.#next?.ready === true) return;
    this.#queue.flush(connection);
  }

  onReady(connection: Connection): void {
    if (connection === this.#next) {
      if (this.#queue.sent === 0) this.#takeOver();
      return;
    }
    this.#everReady = true;
    this.problem = '';
    this.activeMs = tick();
    this.#settings.backoff.reset();
    this.#enter(connection);
    if (this.#closed) return;
    this.#sieveLate();
    if (this.#closed) return;
    this.#settings.onState?.(this);
    this.flush();
  }

  onBytes(length: number, bytes: Buffer): void {
    this.#settings.cells.bytesIn += length;
    this.activeMs = tick();
    const queue = this.#queue;
    let at = 0;
    while (at < length) {
      const request = queue.first;
      if (queue.sent === 0) return this.#garbage('the node sent a reply that nobody had asked for');
      const next = this.#decoder.frame(bytes, at, length);
      if (next === REPLY_UNFINISHED) {
        if (request.skip > 0) this.#cut = Buffer.concat([this.#cut, bytes.subarray(at, length)]);
        else queue.onPart(request, bytes, at, length);
        return;
      }
      if (next === REPLY_GARBAGE) return this.#garbage('the node sent something that is not RESP');
      if (request.skip > 0) this.#skipped(request, bytes, at, next);
      else queue.onWhole(request, bytes, at, next);
      at = next;
    }
    if (queue.sent > 0) return;
    if (this.#next?.ready === true) this.#takeOver();
    else this.#leaveIfDone();
  }

  onEnded(connection: Connection, reason: string): void {
    if (connection === this.#next) return this.#onNextEnded();
    if (connection !== this.#connection) return;
    this.#connection = this.#next;
    this.#next = null;
    this.problem = this.#barred === '' ? reason : this.#barred;
    this.#decoder.reset();
    this.#cut = EMPTY;
    if (this.#closed) return;
    if (this.#settings.lent && this.#everReady) this.#queue.spend(reason);
    else this.#queue.lose(reason);
    if (this.#retired) this.#giveUpLost(reason);
    this.#closeIfSpent();
    if (this.#barred !== '') this.#settings.guard?.onLeft();
    // Nothing can be sent here any more, barred or not.
    if (this.#asksWhenLost && this.#queue.spent) this.#barred = '';
    if (this.#closed) return;
    const follower = this.#connection;
    if (follower?.ready === true) return this.onReady(follower);
    this.#settings.onState?.(this);
    if (this.#connection === null && this.#wanted) this.#retryLater();
  }

  /** The one in use goes on meanwhile, with what was to go out over this one. */
  #onNextEnded(): void {
    this.#next = null;
    this.#retryLater();
    scheduleFlush(this);
  }

  #dropNext(reason: string): void {
    const next = this.#next;
    this.#next = null;
    next?.end(reason);
  }

  #leaveIfDone(): void {
    if (this.#barred === '' || this.#queue.sent > 0 || (this.#untilConfirmed && this.kept > 0)) return;
    this.#connection?.end(this.#barred);
  }

  /** Whether a connection is of use. */
  get #wanted(): boolean {
    return this.#settings.lasting || this.#queue.waiting > 0;
  }

  #open(): Connection {
    const { secure, connectMs } = this.#settings;
    return new Connection(this.#target, secure, connectMs, this);
  }

  /** The connection that was opened beside the one in use carries on. */
  #takeOver(): void {
    const old = this.#connection;
    const next = this.#next;
    if (next === null) return;
    this.#connection = next;
    this.#next = null;
    old?.end('another connection carries on');
    this.onReady(next);
  }

  /** Tells the queue what the login has told. */
  #enter(connection: Connection): void {
    const { guard } = this.#settings;
    if (guard === null) return;
    this.#queue.enter(guard.eraOf(connection, this));
    this.#closeIfSpent();
  }

  /** Whatever was still due when keys got other owners, and is to be sent (again) over this new login. */
  #sieveLate(): void {
    const { sieve } = this.#settings;
    if (sieve !== null && sieve.version !== this.#sieved && !this.#queue.spent) this.#sieveNow(sieve);
  }

  #sieveNow(sieve: Sieve): void {
    this.#queue.sieve(sieve, this);
    // What is kept, or lost with its fate open, may yet prove not to have survived, and is sent again then.
    if (this.unsettled === 0) this.#sieved = sieve.version;
  }

  /** A reply that only the receiver's bookkeeping wants; it is small, so a cut one is put together. */
  #skipped(request: Request, bytes: Buffer, from: number, to: number): void {
    request.skip -= 1;
    request.skipped += 1;
    if (this.#cut.length === 0) {
      request.receiver.onSkipped(request, bytes, from, to);
      return;
    }
    const whole = Buffer.concat([this.#cut, bytes.subarray(from, to)]);
    this.#cut = EMPTY;
    request.receiver.onSkipped(request, whole, 0, whole.length);
  }

  #garbage(reason: string): void {
    this.#connection?.end(reason);
  }

  #enqueue(request: Request, segment: Segment, from: number, to: number): void {
    request.segment = segment;
    request.from = from;
    request.to = to;
    segment.live += 1;
    const queue = this.#queue;
    if (this.#closed || queue.spent) return queue.turnAway(request, this.#closed ? Failure.Closing : Failure.Gone);
    // One that was taken from another lane came long ago.
    if (queue.sent === 0) this.activeMs = Math.max(request.arrivedMs, coarse.nowMs);
    queue.accept(request);
    if (this.#connection === null) this.connect();
    scheduleFlush(this);
  }

  /** No login will ever tell what has become of anything. */
  #giveUpLost(reason: string): void {
    this.#queue.settle(null, reason);
    const { sieve } = this.#settings;
    if (sieve !== null) this.#queue.sieve(sieve, this);
  }

  #closeIfSpent(): void {
    if (this.#queue.spent && this.unsettled === 0) this.close(Failure.Gone, this.problem);
  }

  #giveUp(nowMs: number): void {
    this.#queue.giveUp(nowMs, this.problem);
    this.#leaveIfDone();
    this.#closeIfSpent();
  }

  #retryLater(): void {
    if (this.#closed || this.#barred !== '' || this.#retry !== null) return;
    this.#settings.cells.reconnects += 1;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      if (this.#connection === null) this.connect();
      else if (this.#connection.target !== this.#target && this.#next === null) this.#next = this.#open();
    }, this.#settings.backoff.nextMs());
  }

  #cancelRetry(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
  }
}

/** What a lane is told once. */
export interface LaneSettings extends QueueSettings {
  readonly backoff: Backoff;
  readonly secure: Secure | null;
  readonly connectMs: number;
  /** How long a sent command may stay without any sign of the node. */
  readonly timeoutMs: number;
  /** Most commands in line. */
  readonly queueBound: number;
  /** Keeps its connection open, and opens it again, though nothing is in line. */
  readonly lasting: boolean;
  /** Lent to one client: once it was ready it ends with its connection, because the client's state is lost. */
  readonly lent: boolean;
  /** Looks through what is in line after keys have got other owners; null: it is never asked. */
  readonly sieve: Sieve | null;
  /** Told when the lane becomes ready or loses its connection. */
  readonly onState: ((lane: Lane) => void) | null;
}

const EMPTY = Buffer.alloc(0);
/** More than this between two looks at the clock: it was this process that did not run. */
const STANDSTILL_MS = 1000;
