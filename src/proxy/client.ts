import { type BufferPool, LARGEST_BYTES } from '../base/buffer-pool.ts';
import { Fifo } from '../base/fifo.ts';
import type { Protocol } from '../resp/protocol.ts';
import type { ClientCells } from '../telemetry/proxy-cells.ts';
import { copyBytes } from '../upstream/copy-bytes.ts';
import type { Lane } from '../upstream/lane.ts';
import {
  abandonRequest,
  acquireRequest,
  type Failure,
  type Origin,
  type ReplyReceiver,
  Request,
  releaseRequest,
} from '../upstream/request.ts';
import type { Transaction } from './block.ts';
import { failureReply } from './failures.ts';
import type { ClientWait } from './gate.ts';

/**
 * One client as the proxy knows it: what it has set on its connection, and the line in which its replies leave.
 *
 * Replies come from several nodes in any order and leave in the order of the commands:
 *
 *   #line   │ GET a ✓ │ GET b … │ SET c ✓ │        a was written to #out; c waits in #stash until b is here
 *
 * The reply of the command at the head goes straight to #out, even in parts; all others are kept until their turn.
 */
export class Client implements ReplyReceiver, Origin {
  readonly id: number;
  lostMark = 0;

  database = 0;
  protocol: Protocol = 2;
  authenticated = true;
  user = 'default';
  name = '';
  libName = '';
  libVersion = '';
  replyMode: ReplyMode = ReplyMode.On;
  noEvict = false;
  noTouch = false;
  /** Commands between MULTI and EXEC. */
  transaction: Transaction | null = null;
  /** The connection on which this client's keys are watched. */
  watch: Watch | null = null;
  /** What it has borrowed for the command at hand, to be ended when the client goes away. */
  borrowed: Borrowed | null = null;
  /** While set, replies are put here and not out: a transaction is being composed. */
  capture: Buffer[] | null = null;
  /** Channels and patterns it listens to, as latin1 text; null until the first. */
  channels: Set<string> | null = null;
  patterns: Set<string> | null = null;
  shardChannels: Set<string> | null = null;
  /** Nothing above changes how a command is treated: the quick way may be taken. */
  plain = true;
  /** Commands are not looked at until `release`: one is being carried out that the next must wait for. */
  held = false;
  /** How its command at hand, or the last one that did, has waited for keys on the move; owned by the gate. */
  waited: ClientWait | null = null;
  /** Keys have other owners since: its next command waits until all that is in flight is answered. */
  settling = false;
  /** The connection ends once everything in #out has left. */
  ending = false;
  /** The shard of the last PUBLISH, and its place among the client's `commands`. */
  publishedTo = -1;
  publishedAs = -1;
  lastCommand = '';
  lastActiveMs = 0;
  commands = 0;

  /** Reads that a copy has yet to answer: while there are any, nothing is sent to a primary. */
  copyReads = 0;
  /** Shards to which it wrote something that no copy is known to have; null until the first. */
  unconfirmed: Set<unknown> | null = null;

  /** Bytes of replies that wait for those of earlier commands. */
  keptBytes = 0;

  readonly port: ClientPort;
  readonly #pool: BufferPool;
  readonly #cells: ClientCells;
  readonly #line = new Fifo<Request>(NONE, 4);
  #out: Buffer | null = null;
  #used = 0;
  #full: OutPiece[] = [];
  #stash: Buffer | null = null;
  #stashed = 0;
  #stashUsed = 0;
  #pushes: Buffer[] = [];
  #gone = false;

  constructor(id: number, port: ClientPort, pool: BufferPool, cells: ClientCells) {
    this.id = id;
    this.port = port;
    this.#pool = pool;
    this.#cells = cells;
  }

  /** Commands whose replies have not been put out yet. */
  get inFlight(): number {
    return this.#line.length;
  }

  get gone(): boolean {
    return this.#gone;
  }

  get subscriptions(): number {
    return (this.channels?.size ?? 0) + (this.patterns?.size ?? 0) + (this.shardChannels?.size ?? 0);
  }

  /** Bytes of replies that have not been handed to the socket. */
  get outBytes(): number {
    let bytes = this.#used;
    for (const piece of this.#full) bytes += piece.used;
    return bytes;
  }

  /** Buffers with replies that have not been handed to the socket. */
  get outPieces(): number {
    return this.#full.length + (this.#out === null ? 0 : 1);
  }

  /** Works out `plain` anew, after any of the fields that it sums up has changed. */
  settle(): void {
    this.plain =
      this.authenticated &&
      this.transaction === null &&
      this.watch === null &&
      !this.settling &&
      this.replyMode === ReplyMode.On &&
      (this.protocol === 3 || this.subscriptions === 0);
  }

  /** A command takes its place in the line; the request goes to a lane next. */
  request(isWrite: boolean, nowMs: number): Request {
    const request = acquireRequest(this, this, isWrite, nowMs);
    request.muted = this.replyMode !== ReplyMode.On;
    this.#line.push(request);
    return request;
  }

  /** A place in the line for a reply that the proxy will make itself, by `fulfil`. */
  reserve(): Request {
    return this.request(false, 0);
  }

  /** Answers in this moment, behind the replies that are still due. */
  reply(bytes: Buffer): void {
    if (this.capture !== null) {
      this.capture.push(bytes);
      return;
    }
    if (this.#line.length === 0) {
      if (this.replyMode === ReplyMode.On && !this.#gone) this.#append(bytes, 0, bytes.length);
      return;
    }
    this.fulfil(this.reserve(), bytes);
  }

  /** Answers a reserved place. */
  fulfil(request: Request, bytes: Buffer): void {
    if (this.#gone) return;
    this.onReply(request, bytes, 0, bytes.length, true);
  }

  /** Whether the reply for this place leaves next. */
  isNext(request: Request): boolean {
    return this.#line.peek() === request;
  }

  /** Makes room for so many bytes at once, where they would otherwise come in small pieces. */
  reserveOut(bytes: number): void {
    if (this.#gone || bytes > LARGEST_BYTES) return;
    if (this.#out === null || this.#used + bytes > this.#out.length) this.#outRoom(bytes);
  }

  /** A piece of the reply for the place that leaves next; `fulfil` with nothing more ends it. */
  appendPart(request: Request, bytes: Buffer, from: number, to: number): void {
    if (!request.muted && !this.#gone) this.#append(bytes, from, to);
  }

  /** A message that no command asked for; it never stands inside a reply. */
  push(bytes: Buffer): void {
    if (this.#gone) return;
    if (this.#line.length > 0 && this.#line.peek().started) this.#pushes.push(bytes);
    else this.#append(bytes, 0, bytes.length);
  }

  /** Lets the commands behind the present one be looked at again. */
  release(): void {
    this.held = false;
    if (!this.#gone) this.port.wake();
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    if (this.#line.peek() !== request) {
      this.#keep(request, bytes, from, to, last);
      return;
    }
    if (!request.muted) this.#append(bytes, from, to);
    if (!last) return;
    this.#line.shift();
    this.port.onAnswered(request);
    releaseRequest(request);
    if (this.#pushes.length > 0) this.#appendPushes();
    if (this.#line.length > 0 && (this.#line.peek().done || this.#line.peek().parts !== null)) this.#advance();
    else if (this.#line.length === 0) this.port.wake();
  }

  onSkipped(): void {}

  onFailure(request: Request, failure: Failure, detail: string): void {
    if (request.started) {
      // Half of its reply is out: there is no way to take it back, nor to say that the rest will not come.
      this.port.end('broken');
      return;
    }
    const reply = failureReply(failure, detail);
    this.port.onError(reply);
    this.onReply(request, reply, 0, reply.length, true);
  }

  /** Hands every full or begun piece of #out to the port and starts anew. */
  takeOut(): void {
    if (this.#full.length > 0) {
      const pieces = this.#full;
      this.#full = [];
      for (const piece of pieces) {
        this.#pool.unreadBytes -= piece.buffer.length;
        this.port.write(piece.buffer, piece.used);
      }
    }
    const out = this.#out;
    if (out === null) return;
    this.#out = null;
    const used = this.#used;
    this.#used = 0;
    this.port.write(out, used);
  }

  /** The connection is gone: gives everything back; replies that are still due go nowhere. */
  close(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.borrowed?.cancel();
    this.borrowed = null;
    this.watch?.drop();
    this.watch = null;
    while (this.#line.length > 0) {
      const request = this.#line.shift();
      if (request.done) releaseRequest(request);
      else abandonRequest(request);
    }
    if (this.#out !== null) this.#pool.release(this.#out);
    for (const piece of this.#full) {
      this.#pool.unreadBytes -= piece.buffer.length;
      this.#pool.release(piece.buffer);
    }
    if (this.#stash !== null) this.#pool.release(this.#stash);
    this.#out = null;
    this.#full = [];
    this.#stash = null;
    this.#pushes = [];
  }

  /** Puts out what has become the head of the line. */
  #advance(): void {
    while (this.#line.length > 0) {
      const request = this.#line.peek();
      if (request.parts !== null) {
        for (const part of request.parts) {
          this.#append(part, 0, part.length);
          this.keptBytes -= part.length;
        }
        request.parts = null;
      }
      if (!request.done) break;
      if (request.stashTo > request.stashFrom) {
        this.#append(this.#stash as Buffer, request.stashFrom, request.stashTo);
        this.keptBytes -= request.stashTo - request.stashFrom;
        this.#stashed -= 1;
      }
      this.#line.shift();
      this.port.onAnswered(request);
      releaseRequest(request);
    }
    if (this.#stashed === 0) this.#dropStash();
    this.port.wake();
  }

  /** Keeps a reply, or a part of a long one, until the ones before it have left. */
  #keep(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    if (this.#gone) return;
    request.done = last;
    // By the time it leaves, its lane has others' bytes there.
    if (last) request.segment = null;
    if (request.muted) return;
    const length = to - from;
    this.keptBytes += length;
    // The stash is filled once and then emptied: a line that is never empty must not make it grow for ever.
    if (!last || request.parts !== null || this.#stashUsed + length > LARGEST_BYTES) {
      request.parts ??= [];
      request.parts.push(Buffer.from(bytes.subarray(from, to)));
      return;
    }
    const at = this.#stashUsed;
    const stash = this.#stashRoom(at + length);
    copyBytes(bytes, from, to, stash, at);
    request.stashFrom = at;
    request.stashTo = at + length;
    this.#stashUsed = at + length;
    this.#stashed += 1;
  }

  #stashRoom(bytes: number): Buffer {
    const stash = this.#stash;
    if (stash !== null && stash.length >= bytes) return stash;
    const larger = this.#pool.acquire(stash === null ? bytes : Math.max(bytes, stash.length * 2));
    if (stash !== null) {
      stash.copy(larger, 0, 0, this.#stashUsed);
      this.#pool.release(stash);
    }
    this.#stash = larger;
    return larger;
  }

  #dropStash(): void {
    if (this.#stash !== null) this.#pool.release(this.#stash);
    this.#stash = null;
    this.#stashUsed = 0;
  }

  #append(bytes: Buffer, from: number, to: number): void {
    const length = to - from;
    let out = this.#out;
    if (out === null || this.#used + length > out.length) out = this.#outRoom(length);
    copyBytes(bytes, from, to, out, this.#used);
    this.#used += length;
    this.#cells.bytesOut += length;
    this.port.wake();
  }

  /** Room for so many bytes more: a larger piece as long as it is small, another piece after that. */
  #outRoom(length: number): Buffer {
    const out = this.#out;
    const used = this.#used;
    if (out !== null && used + length > LARGEST_BYTES) {
      this.#full.push({ buffer: out, used });
      // A reply on its way out is the slow reader's, not a command that is held: it must not keep others out.
      this.#pool.unreadBytes += out.length;
      this.#used = 0;
      this.#out = this.#pool.acquire(length > LARGEST_BYTES / 8 ? Math.max(length, LARGEST_BYTES) : length);
      return this.#out;
    }
    const larger = this.#pool.acquire(used + length);
    if (out !== null) {
      out.copy(larger, 0, 0, used);
      this.#pool.release(out);
    }
    this.#out = larger;
    return larger;
  }

  #appendPushes(): void {
    const pushes = this.#pushes;
    this.#pushes = [];
    for (const bytes of pushes) this.#append(bytes, 0, bytes.length);
  }
}

/** A connection on which keys are watched, and the shard that it leads to. */
export interface Watch {
  readonly lane: Lane;
  readonly shard: number;
  /** Ends the watch and gives the connection back. */
  drop(): void;
}

export interface Borrowed {
  readonly lane: Lane;
  readonly shard: number;
  cancel(): void;
  /** Its connection is about to be left for another one: what waits on the node is let go and begun again there. */
  leave?(): void;
}

/** CLIENT REPLY: whether replies are wanted. */
export const ReplyMode = { On: 0, Off: 1, SkipNext: 2 } as const;
export type ReplyMode = (typeof ReplyMode)[keyof typeof ReplyMode];

/** The socket side of a client, as the proxy needs it. */
export interface ClientPort {
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly connectedMs: number;
  /** There is something to write, or to look at again, before this turn of the event loop ends. */
  wake(): void;
  /** Sends the first `used` bytes of a pool buffer and gives it back when they have left. */
  write(buffer: Buffer, used: number): void;
  /** The buffer of the command at hand, when it may be kept without copying; see `CommandDecoder.takeOwned`. */
  takeOwned(): Buffer | null;
  /** Tells the decoder that small commands are no longer the only ones allowed. */
  setAuthenticated(authenticated: boolean): void;
  /** A reply has left the line; its request still knows its bytes if it came from a lane just now. */
  onAnswered(request: Request): void;
  /** An error of Ringside's own was answered. */
  onError(reply: Buffer): void;
  /** Ends the connection at once; the word says why, for the counters. */
  end(reason: EndReason): void;
}

export type EndReason = 'client' | 'quit' | 'killed' | 'protocol' | 'slow' | 'drained' | 'broken';

interface OutPiece {
  readonly buffer: Buffer;
  readonly used: number;
}

const NONE = new Request();
