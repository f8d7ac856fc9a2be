import type { Backoff } from '../base/backoff.ts';
import { type BufferPool, LARGEST_BYTES } from '../base/buffer-pool.ts';
import { coarse, tick } from '../base/coarse-clock.ts';
import { Fifo } from '../base/fifo.ts';
import { type Flushable, scheduleFlush } from '../base/flush-queue.ts';
import type { Protocol } from '../resp/protocol.ts';
import { REPLY_GARBAGE, REPLY_UNFINISHED, ReplyDecoder } from '../resp/reply-decoder.ts';
import type { ShardCells } from '../telemetry/proxy-cells.ts';
import { Connection, type ConnectionOwner } from './connection.ts';
import type { Target } from './login.ts';
import { Failure, Request, type Segment } from './request.ts';
import type { Secure } from './secure.ts';

/**
 * A pipelined first-in-first-out line of commands to one node, in one database and protocol, over many connections'
 * lives.
 *
 *   #waiting   │ sent, unanswered │ accepted, not sent │
 *              ▲ the next reply is this one's           ▲ send() appends here
 *              └── #sent requests ──┘
 *
 * The bytes of a command stay in their segment until it is answered. So when the connection breaks, nothing is lost
 * here: what was not sent waits for the next connection; a read that was sent is sent again, unless a later write of
 * the same client was sent too (it could then answer what only came after it); a write that was sent is `Uncertain`.
 * Nothing that was sent is ever sent twice, unless it was a read.
 */
export class Lane implements Flushable, ConnectionOwner {
  flushScheduled = false;
  /** When something was last sent or heard here, for closing idle lanes and noticing hung nodes. */
  activeMs = 0;
  /** Why the last connection ended; empty while connected. */
  problem = 'not connected yet';
  readonly #settings: LaneSettings;
  #target: Target;
  #connection: Connection | null = null;
  #retry: NodeJS.Timeout | null = null;
  #closed = false;
  #everReady = false;
  #waiting = new Fifo<Request>(NONE, 64);
  #sent = 0;
  #sweptMs = 0;
  #segments: Segment[] = [];
  readonly #decoder = new ReplyDecoder();
  /** The first part of a skipped reply that was cut. */
  #cut: Buffer = EMPTY;
  /** How long a sent command may stay without any sign of the node; a lent lane's borrower sets its own. */
  patienceMs: number;

  constructor(target: Target, settings: LaneSettings) {
    this.#target = target;
    this.#settings = settings;
    this.patienceMs = settings.timeoutMs;
  }

  /** Whether commands go out at once. */
  get ready(): boolean {
    return this.#connection?.ready === true;
  }

  /** Commands that are not answered yet, sent or not. */
  get pending(): number {
    return this.#waiting.length;
  }

  /** Commands sent and not answered. */
  get inFlight(): number {
    return this.#sent;
  }

  get full(): boolean {
    return this.#waiting.length >= this.#settings.queueBound;
  }

  /** Bytes of buffers that it holds. */
  get heldBytes(): number {
    let bytes = 0;
    for (const segment of this.#segments) bytes += segment.buffer.length;
    return bytes;
  }

  get closed(): boolean {
    return this.#closed;
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

  get database(): number {
    return this.#target.database;
  }

  get protocol(): Protocol {
    return this.#target.protocol;
  }

  /** The next connection goes to this target; the present one stays. */
  expect(target: Target): void {
    this.#target = target;
  }

  /** Opens the connection if there is none and none is on its way. */
  connect(): void {
    if (this.#closed || this.#connection !== null || this.#retry !== null) return;
    const { secure, connectMs } = this.#settings;
    this.#connection = new Connection(this.#target, secure, connectMs, this);
  }

  /** Appends a command, copied from bytes[from, to). The caller has looked at `full`. */
  send(request: Request, bytes: Buffer, from: number, to: number): void {
    const segment = this.room(to - from);
    copyBytes(bytes, from, to, segment.buffer, segment.used);
    this.sendWritten(request, segment, to - from);
  }

  /** Room for a command of so many bytes, to be written at `used` and then sent by `sendWritten`, in the same breath. */
  room(length: number): Segment {
    const last = this.#segments[this.#segments.length - 1];
    if (last !== undefined && last.used + length <= last.buffer.length) return last;
    const buffer = this.#settings.pool.acquire(Math.max(length, LARGEST_BYTES));
    const segment: Segment = { buffer, used: 0, flushed: 0, live: 0 };
    this.#segments.push(segment);
    return segment;
  }

  /** Appends the command of `length` bytes that was written into `room`. */
  sendWritten(request: Request, segment: Segment, length: number): void {
    const from = segment.used;
    segment.used = from + length;
    this.#enqueue(request, segment, from, segment.used);
  }

  /** Appends a command whose buffer the lane takes over (and gives back to the pool). */
  sendOwned(request: Request, buffer: Buffer, from: number, to: number): void {
    const segment: Segment = { buffer, used: to, flushed: from, live: 0 };
    this.#segments.push(segment);
    this.#enqueue(request, segment, from, to);
  }

  /** Everything from here on goes to another address, or to another incarnation of the same. */
  retarget(target: Target, reason: string): void {
    this.#target = target;
    this.#connection?.end(reason);
    this.#cancelRetry();
    this.#settings.backoff.reset();
    if (this.#settings.lasting || this.#waiting.length > 0) this.connect();
  }

  /** Ends the lane; what waits is refused, what was sent is answered as after a broken connection. */
  close(failure: Failure, detail: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry();
    this.#connection?.end(detail);
    this.#failAll(failure, detail);
    this.#releaseSegments();
  }

  /** Looks at the clock: refuses what has waited too long, ends a connection that has gone silent. */
  sweep(nowMs: number): void {
    const stoodStill = nowMs - this.#sweptMs > STANDSTILL_MS;
    this.#sweptMs = nowMs;
    if (this.#waiting.length === 0) this.#releaseSegments();
    if (this.#connection?.ready === true) {
      // After a standstill of this process timers come before sockets, on which the answers may lie unread.
      if (stoodStill) this.activeMs = nowMs;
      if (this.#sent > 0 && nowMs - this.activeMs > this.patienceMs) {
        this.#settings.cells.timeouts += 1;
        this.#connection.end(`the node left a command unanswered for ${this.patienceMs} ms`);
      }
      return;
    }
    while (this.#waiting.length > 0 && this.#waiting.peek().arrivedMs + this.#settings.holdMs <= nowMs) {
      const request = this.#waiting.shift();
      this.#settings.cells.expired += 1;
      // Its bytes must not leave any more, though the segment also holds commands that still wait.
      if (request.segment !== null) request.segment.flushed = request.to;
      this.#forgetBytes(request.segment);
      request.segment = null;
      request.receiver.onFailure(request, Failure.Down, this.#told(this.problem));
    }
  }

  flush(): void {
    const connection = this.#connection;
    if (connection === null || !connection.ready) return;
    const segments = this.#segments;
    const many = segments.length > 1;
    if (many) connection.cork();
    for (let i = 0; i < segments.length; i += 1) {
      const segment = segments[i] as Segment;
      if (segment.flushed === segment.used) continue;
      this.#settings.cells.bytesOut += segment.used - segment.flushed;
      connection.write(segment.buffer.subarray(segment.flushed, segment.used));
      segment.flushed = segment.used;
    }
    if (many) connection.uncork();
    this.#sent = this.#waiting.length;
  }

  onReady(): void {
    this.#everReady = true;
    this.problem = '';
    this.activeMs = tick();
    this.#settings.backoff.reset();
    this.#settings.onState?.(this);
    this.flush();
  }

  onBytes(length: number, bytes: Buffer): void {
    this.#settings.cells.bytesIn += length;
    this.activeMs = tick();
    let at = 0;
    while (at < length) {
      const request = this.#waiting.peek();
      if (this.#sent === 0) return this.#garbage('the node sent a reply that nobody had asked for');
      const next = this.#decoder.frame(bytes, at, length);
      if (next === REPLY_UNFINISHED) {
        if (request.skip > 0) {
          this.#cut = Buffer.concat([this.#cut, bytes.subarray(at, length)]);
        } else {
          request.started = true;
          request.receiver.onReply(request, bytes, at, length, false);
        }
        return;
      }
      if (next === REPLY_GARBAGE) return this.#garbage('the node sent something that is not RESP');
      if (request.skip > 0) {
        this.#skipped(request, bytes, at, next);
      } else {
        const { segment } = request;
        this.#waiting.shift();
        this.#sent -= 1;
        request.receiver.onReply(request, bytes, at, next, true);
        this.#forgetBytes(segment);
      }
      at = next;
    }
  }

  onEnded(_connection: Connection, reason: string): void {
    this.#connection = null;
    this.problem = reason;
    this.#decoder.reset();
    this.#cut = EMPTY;
    if (this.#closed) return;
    this.#settings.onState?.(this);
    this.#recover(reason);
    if (this.#closed) return;
    if (!this.#settings.lasting && this.#everReady && this.#settings.lent) {
      this.close(Failure.Uncertain, reason);
      return;
    }
    if (this.#settings.lasting || this.#waiting.length > 0) this.#retryLater();
  }

  /** A reply that only the receiver's bookkeeping wants; it is small, so a cut one is put together. */
  #skipped(request: Request, bytes: Buffer, from: number, to: number): void {
    request.skip -= 1;
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
    if (this.#closed) {
      this.#releaseSegments();
      request.segment = null;
      request.receiver.onFailure(request, Failure.Closing, this.#told('its connection is closed'));
      return;
    }
    if (this.#sent === 0) this.activeMs = request.arrivedMs;
    this.#waiting.push(request);
    this.#settings.cells.commands += 1;
    if (this.#connection === null) this.connect();
    scheduleFlush(this);
  }

  /** One command of the segment is answered: its bytes are not needed any more. */
  #forgetBytes(segment: Segment | null): void {
    if (segment === null) return;
    segment.live -= 1;
    if (segment.live > 0) return;
    const segments = this.#segments;
    // All commands in it were answered, so all of its bytes had left: it can be written anew, or given back.
    if (segments.length === 1 && segment === segments[0] && segment.buffer.length <= LARGEST_BYTES) {
      segment.used = 0;
      segment.flushed = 0;
      return;
    }
    const index = segments.indexOf(segment);
    // Not ours any more: the reply made its receiver close this lane, and the segments went back with it.
    if (index < 0) return;
    segments.splice(index, 1);
    this.#settings.pool.release(segment.buffer);
  }

  /** Sorts the requests of a broken connection into those that wait on and those whose fate is open. */
  #recover(reason: string): void {
    const old = this.#waiting;
    const oldSegments = this.#segments;
    const sent = this.#sent;
    if (sent === 0) return;
    lastMark += 1;
    const again: boolean[] = [];
    for (let i = sent - 1; i >= 0; i -= 1) {
      const request = old.at(i);
      again[i] = this.#mayRepeat(request);
      if (request.isWrite && request.origin !== null) request.origin.lostMark = lastMark;
    }
    this.#waiting = new Fifo<Request>(NONE, 64);
    this.#segments = [];
    this.#sent = 0;
    const failed: Request[] = [];
    for (let i = 0; old.length > 0; i += 1) {
      const request = old.shift();
      // The wait for another connection begins now, however long the node has left it unanswered.
      if (i < sent && again[i] === true) request.arrivedMs = coarse.nowMs;
      if (i >= sent || again[i] === true) this.#requeue(request);
      else failed.push(request);
    }
    for (const segment of oldSegments) this.#settings.pool.release(segment.buffer);
    for (const request of failed) {
      request.segment = null;
      request.receiver.onFailure(request, request.isWrite ? Failure.Uncertain : Failure.ReadLost, this.#told(reason));
    }
  }

  #mayRepeat(request: Request): boolean {
    if (request.isWrite || request.started) return false;
    if (request.skip > 0) return false;
    return request.origin === null || request.origin.lostMark !== lastMark;
  }

  #requeue(request: Request): void {
    const { buffer } = request.segment as Segment;
    const length = request.to - request.from;
    const segment = this.room(length);
    buffer.copy(segment.buffer, segment.used, request.from, request.to);
    request.segment = segment;
    request.from = segment.used;
    request.to = segment.used + length;
    segment.used += length;
    segment.live += 1;
    this.#waiting.push(request);
  }

  #retryLater(): void {
    if (this.#connection !== null) return;
    this.#settings.cells.reconnects += 1;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.connect();
    }, this.#settings.backoff.nextMs());
  }

  #cancelRetry(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
  }

  #failAll(failure: Failure, detail: string): void {
    while (this.#waiting.length > 0) {
      const request = this.#waiting.shift();
      const sent = this.#sent > 0;
      if (sent) this.#sent -= 1;
      this.#forgetBytes(request.segment);
      request.segment = null;
      request.receiver.onFailure(request, sent && request.isWrite ? Failure.Uncertain : failure, this.#told(detail));
    }
  }

  /** A reason with the shard that it is about. */
  #told(reason: string): string {
    return `shard ${this.#settings.cells.name}: ${reason}`;
  }

  #releaseSegments(): void {
    for (const segment of this.#segments) this.#settings.pool.release(segment.buffer);
    this.#segments = [];
  }
}

/** What a lane is told once. */
export interface LaneSettings {
  readonly pool: BufferPool;
  readonly cells: ShardCells;
  readonly backoff: Backoff;
  readonly secure: Secure | null;
  readonly connectMs: number;
  /** How long a command waits for a connection before it is refused. */
  readonly holdMs: number;
  /** How long a sent command may stay without any sign of the node. */
  readonly timeoutMs: number;
  /** Most commands in line. */
  readonly queueBound: number;
  /** Keeps its connection open, and opens it again, though nothing is in line. */
  readonly lasting: boolean;
  /** Lent to one client: once it was ready it ends with its connection, because the client's state is lost. */
  readonly lent: boolean;
  /** Told when the lane becomes ready or loses its connection. */
  readonly onState: ((lane: Lane) => void) | null;
}

const NONE = new Request();
const EMPTY = Buffer.alloc(0);
let lastMark = 0;
/** More than this between two looks at the clock: it was this process that did not run. */
const STANDSTILL_MS = 1000;

/** Up to so many bytes a loop beats the call into the engine (1.2 ns a byte against some 36 ns). */
const LOOP_BYTES = 32;

/** Copies bytes[from, to) to `target` at `at`. */
export function copyBytes(bytes: Buffer, from: number, to: number, target: Buffer, at: number): void {
  if (to - from > LOOP_BYTES) {
    // `Buffer.copy` does the same behind more checks, and takes half as long again.
    target.set(new Uint8Array(bytes.buffer, bytes.byteOffset + from, to - from), at);
    return;
  }
  for (let i = from, j = at; i < to; i += 1, j += 1) target[j] = bytes[i] as number;
}
