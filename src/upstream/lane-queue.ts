import type { BufferPool } from '../base/buffer-pool.ts';
import { coarse, tick } from '../base/coarse-clock.ts';
import { Fifo } from '../base/fifo.ts';
import type { Protocol } from '../resp/protocol.ts';
import type { ShardCells } from '../telemetry/proxy-cells.ts';
import type { Connection } from './connection.ts';
import type { Era, Guard, Guarded } from './guard.ts';
import { KeptReplies } from './kept-replies.ts';
import { judgeLost, Outcome } from './lost.ts';
import { Failure, Request } from './request.ts';
import { Segments } from './segments.ts';

/**
 * The requests of a lane, from acceptance to outcome, whatever connection they travel on.
 *
 *   #kept           │ #waiting: lost │ sent, unanswered │ accepted, not sent │
 *   answered, to be │   fate is open ▲ the next reply   ▲ accept() appends   │
 *   confirmed       │                │ is this one's    │ behind these       │
 *
 * The bytes of a command stay in their segment until it is answered, and confirmed where that is asked for (rule R1:
 * `Request.confirm`, and the guard says when). So when the connection breaks, nothing is lost here: what was not sent
 * waits for the next connection; what was sent and not confirmed waits until the next login tells what became of it, and
 * is then confirmed there, sent again or answered with an error (`lost.ts`). Nothing that was sent is ever sent twice,
 * unless it was a read, or is proven not to have survived.
 */
export class LaneQueue {
  readonly segments: Segments;
  readonly #settings: QueueSettings;
  readonly #lane: QueuedLane;
  readonly #kept = new Fifo<Request>(NONE, 16);
  readonly #waiting = new Fifo<Request>(NONE, 64);
  #lost = 0;
  #lostMs = 0;
  #sent = 0;
  #spent = false;
  #era: Era | null = null;
  readonly #replies: KeptReplies;

  constructor(settings: QueueSettings, lane: QueuedLane) {
    this.#settings = settings;
    this.#lane = lane;
    this.segments = new Segments(settings.pool);
    this.#replies = new KeptReplies(settings.pool);
  }

  /** Requests that nobody was told the outcome of, sent or not, answered or not. */
  get pending(): number {
    return this.#kept.length + this.#waiting.length;
  }

  /** Those of them that were sent. */
  get inFlight(): number {
    return this.#kept.length + this.#lost + this.#sent;
  }

  /** Answers kept, and requests whose fate is open. */
  get unsettled(): number {
    return this.#kept.length + this.#lost;
  }

  /** Requests whose answer is due on the connection that stands. */
  get sent(): number {
    return this.#sent;
  }

  /** Answers that wait to be confirmed. */
  get kept(): number {
    return this.#kept.length;
  }

  /** Not answered, sent or not. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The connection of a lent lane is lost: nothing more is sent, only fates are waited for. */
  get spent(): boolean {
    return this.#spent;
  }

  /** In which the kept answers were given; null: none yet. */
  get era(): Era | null {
    return this.#era;
  }

  /** The one to which the next reply belongs. */
  get first(): Request {
    return this.#waiting.peek();
  }

  /** Bytes of buffers. */
  get heldBytes(): number {
    return this.segments.heldBytes + this.#replies.heldBytes;
  }

  /** Takes a request whose bytes are in its segment. */
  accept(request: Request): void {
    request.lower = this.#era === null ? 0 : this.#era.known;
    this.#waiting.push(request);
    this.#settings.cells.commands += 1;
  }

  /** Refuses a request whose bytes are in its segment already. */
  turnAway(request: Request, failure: Failure): void {
    const { segment } = request;
    if (segment !== null) segment.flushed = request.to;
    this.segments.forget(segment);
    if (failure === Failure.Closing) this.segments.release();
    this.#fail(request, failure, 'its connection is closed');
  }

  /** Writes what was not written yet. */
  flush(connection: Connection): void {
    this.#settings.cells.bytesOut += this.segments.flush(connection);
    this.#sent = this.#waiting.length - this.#lost;
  }

  /** A part of the first one's reply. */
  onPart(request: Request, bytes: Buffer, from: number, to: number): void {
    if (request.kept !== null || this.#mustKeep(request)) {
      this.#replies.keepPart(request, bytes, from, to);
      return;
    }
    request.started = true;
    request.receiver.onReply(request, bytes, from, to, false);
  }

  /** The rest of the first one's reply, or all of it. */
  onWhole(request: Request, bytes: Buffer, from: number, to: number): void {
    this.#waiting.shift();
    this.#sent -= 1;
    if (request.kept !== null || (request.confirm !== 0 && this.#mustKeep(request))) {
      this.#keep(request, bytes, from, to);
      return;
    }
    const { segment } = request;
    request.receiver.onReply(request, bytes, from, to, true);
    this.segments.forget(segment);
  }

  /** Passes on what is kept under numbers up to `number`. Returns how many answers that were. */
  confirm(number: number): number {
    const kept = this.#kept;
    let count = 0;
    while (kept.length > 0 && kept.peek().number <= number) {
      const request = kept.shift();
      const { segment } = request;
      // What has waited longest stands for its batch.
      if (count === 0) this.#settings.cells.keptTime.observe((coarse.nowMs - request.keptMs) * 1000);
      count += 1;
      if (request.keptBytes < 0) this.#fail(request, Failure.Uncertain, 'its reply was too large to be held');
      else this.#replies.deliver(request);
      this.segments.forget(segment);
    }
    return count;
  }

  /** What a login tells decides what was open; what is sent from now on stands behind the offset that is known. */
  enter(era: Era): void {
    this.settle(era, 'the connection was lost');
    this.#era = era;
    for (let i = 0; i < this.#waiting.length; i += 1) this.#waiting.at(i).lower = era.known;
  }

  /** The connection is lost: what was sent on it waits for what the next login tells, where that can prove anything. */
  lose(reason: string): void {
    if (this.#sent === 0) return;
    this.#replies.drop(this.#waiting.peek());
    this.#lost += this.#sent;
    this.#sent = 0;
    this.#lostMs = tick();
    let isOpen = false;
    for (let i = 0; i < this.#lost; i += 1) {
      const request = this.#waiting.at(i);
      request.skip += request.skipped;
      request.skipped = 0;
      // The wait for another connection begins now, however long the node has left it unanswered.
      request.arrivedMs = this.#lostMs;
      if (request.isWrite && !request.started) isOpen = true;
    }
    const { guard } = this.#settings;
    if (isOpen && guard?.provable === true) guard.watch(this.#lane);
    else this.settle(null, reason);
  }

  /** A lent connection is lost with what its client had set up there: nothing more is sent. */
  spend(reason: string): void {
    this.#spent = true;
    const sent = drain(this.#waiting, this.#lost + this.#sent);
    const unsent = drain(this.#waiting, this.#waiting.length);
    for (const request of sent) this.#waiting.push(request);
    this.lose(reason);
    for (const request of unsent) this.#refuse(request, false, Failure.Gone, reason);
  }

  /** Judges what was lost, and under another era what is kept too; null: nothing more will be known. */
  settle(era: Era | null, reason: string): void {
    const was = this.#era;
    const isOther = era !== null && was !== null && era !== was;
    if (era !== null) this.#era = era;
    if (this.#lost === 0 && !(isOther && this.#kept.length > 0)) return;
    const { guard, cells } = this.#settings;
    const stay = isOther ? [] : drain(this.#kept, this.#kept.length);
    const judged = [...drain(this.#kept, this.#kept.length), ...drain(this.#waiting, this.#lost)];
    const unsent = drain(this.#waiting, this.#waiting.length);
    this.#lost = 0;
    const outcomes = judgeLost(judged, request =>
      isOther && guard !== null ? guard.fateOf(request, was, era) : 'open',
    );
    const survivors = judged.filter((_, i) => outcomes[i] === Outcome.Confirm);
    const again = judged.filter((_, i) => outcomes[i] === Outcome.Again);
    const failed = judged.filter((_, i) => outcomes[i] === Outcome.Fail);
    for (const request of survivors) request.number = guard?.number(this.#lane) ?? 0;
    for (const request of [...again, ...failed]) {
      this.#replies.drop(request);
      // As with what was lost unanswered: its wait for a connection begins now.
      if (request.number > 0) request.arrivedMs = tick();
      request.number = 0;
    }
    const kept = [...stay, ...survivors];
    const toSend = this.#spent ? [] : [...again, ...unsent];
    this.segments.rebuild([...kept, ...toSend], kept.length);
    for (const request of kept) this.#kept.push(request);
    for (const request of toSend) this.#waiting.push(request);
    cells.survived += survivors.length;
    for (const request of again) {
      // One whose answer was kept has had its skipped replies too, and gets them all once more.
      request.skip += request.skipped;
      request.skipped = 0;
      if (request.isWrite) cells.resent += 1;
    }
    for (const request of failed) this.#fail(request, request.isWrite ? Failure.Uncertain : Failure.ReadLost, reason);
    if (toSend.length === 0) for (const request of again) this.#fail(request, Failure.Gone, reason);
  }

  /** Refuses kept answers that no copy's word has come for in time, and lost commands that no primary told about. */
  giveUp(nowMs: number, problem: string): void {
    const { writeMs, holdMs } = this.#settings;
    const isLate = (request: Request): boolean => nowMs - request.keptMs >= (request.confirmMs || writeMs);
    let late = false;
    for (let i = 0; i < this.#kept.length && !late; i += 1) late = isLate(this.#kept.at(i));
    if (late) {
      const all = drain(this.#kept, this.#kept.length);
      for (const request of all) if (!isLate(request)) this.#kept.push(request);
      for (const request of all) {
        if (isLate(request)) this.#refuse(request, true, Failure.Uncertain, 'not every copy confirmed it in time');
      }
    }
    if (this.#lost > 0 && nowMs - this.#lostMs >= holdMs) this.settle(null, problem);
  }

  /** Refuses what has waited too long for a connection. */
  expire(nowMs: number, problem: string): void {
    const { cells, holdMs } = this.#settings;
    while (this.#waiting.length > 0 && this.#waiting.peek().arrivedMs + holdMs <= nowMs) {
      const request = this.#waiting.shift();
      cells.expired += 1;
      // Its bytes must not leave any more, though the segment also holds commands that still wait.
      if (request.segment !== null) request.segment.flushed = request.to;
      this.segments.forget(request.segment);
      this.#fail(request, Failure.Down, problem);
    }
  }

  /** Gives back the buffers that nothing lies in. */
  releaseIdle(): void {
    if (this.pending === 0) this.segments.release();
    if (this.#kept.length === 0) this.#replies.release();
  }

  /** The lane is closed: what waits is refused, what was sent is answered as after a broken connection. */
  close(failure: Failure, detail: string): void {
    for (; this.#kept.length > 0; ) this.#refuse(this.#kept.shift(), true, failure, detail);
    for (let sent = this.#lost + this.#sent; this.#waiting.length > 0; sent -= 1) {
      this.#refuse(this.#waiting.shift(), sent > 0, failure, detail);
    }
    this.#lost = 0;
    this.#sent = 0;
    this.segments.release();
    this.#replies.release();
  }

  /**
   * Keys were taken away from the lane's shard: what is yet to be sent and names one of them is handed over, in order.
   * No connection may stand on which an answer is due.
   */
  sieve(sieve: Sieve, lane: SievedLane): void {
    const lost = drain(this.#waiting, this.#lost);
    const unsent = drain(this.#waiting, this.#waiting.length);
    const taken: { readonly request: Request; readonly bytes: Buffer }[] = [];
    const staying: Request[] = [];
    for (const request of unsent) {
      const { segment, from, to } = request;
      if (segment === null || sieve.stays(request, segment.buffer, from, to)) staying.push(request);
      else taken.push({ request, bytes: Buffer.from(segment.buffer.subarray(from, to)) });
    }
    if (taken.length > 0) {
      const kept: Request[] = [];
      for (let i = 0; i < this.#kept.length; i += 1) kept.push(this.#kept.at(i));
      this.segments.rebuild([...kept, ...lost, ...staying], kept.length + lost.length);
    }
    for (const request of [...lost, ...staying]) this.#waiting.push(request);
    for (const { request, bytes } of taken) {
      request.segment = null;
      sieve.take(request, bytes, lane);
    }
  }

  /** The lane, which only reads, is closed: what it holds goes on over another one, behind what that holds. */
  handOver(to: NextLane, reason: string): void {
    for (const request of drain(this.#waiting, this.#waiting.length)) {
      request.skip += request.skipped;
      request.skipped = 0;
      const { segment, from, to: end, started } = request;
      if (started || segment === null) this.#fail(request, Failure.ReadLost, reason);
      else to.send(request, segment.buffer, from, end);
    }
    this.#sent = 0;
    this.segments.release();
  }

  #mustKeep(request: Request): boolean {
    const { guard } = this.#settings;
    if (guard === null || request.confirm === 0 || request.started) return false;
    return !guard.passes(this.#lane.epoch);
  }

  #keep(request: Request, bytes: Buffer, from: number, to: number): void {
    const number = this.#settings.guard?.number(this.#lane) ?? 0;
    if (number === 0) {
      // The answer is of a history that has ended meanwhile; what became of it nobody can tell.
      this.#replies.drop(request);
      const { segment } = request;
      this.#fail(request, Failure.Uncertain, 'the primary has begun another history');
      this.segments.forget(segment);
      return;
    }
    this.#replies.keep(request, bytes, from, to);
    request.number = number;
    request.keptMs = coarse.nowMs;
    this.#kept.push(request);
  }

  /** Lets go of all that is held for a request, and tells its receiver. */
  #refuse(request: Request, sent: boolean, failure: Failure, detail: string): void {
    this.#replies.drop(request);
    this.segments.forget(request.segment);
    this.#fail(request, sent && request.isWrite ? Failure.Uncertain : failure, detail);
  }

  /** Tells the receiver, with the shard that it is about. */
  #fail(request: Request, failure: Failure, detail: string): void {
    request.segment = null;
    if (failure === Failure.Uncertain) this.#settings.cells.uncertain += 1;
    request.receiver.onFailure(request, failure, `shard ${this.#settings.cells.name}: ${detail}`);
  }
}

/** The lane of a queue. */
export interface QueuedLane extends Guarded {
  /** The shard's epoch as whose user it is logged in; 0 while there is no connection. */
  readonly epoch: number;
}

/** Where another lane's reads go on. */
export interface NextLane {
  send(request: Request, bytes: Buffer, from: number, to: number): void;
}

/** What a sieve must know of the lane that it looks through. */
export interface SievedLane {
  readonly database: number;
  readonly protocol: Protocol;
  /** It is one client's alone, with whatever that has set up there. */
  readonly lent: boolean;
}

/** Tells which commands a shard may no longer be sent, since their keys have gone to another one. */
export interface Sieve {
  /** Another number whenever some keys have another owner. */
  readonly version: number;
  /** Whether the request, whose command or block is bytes[from, to), may still be sent to its shard. */
  stays(request: Request, bytes: Buffer, from: number, to: number): boolean;
  /** Takes over one that may not, with its command. */
  take(request: Request, bytes: Buffer, lane: SievedLane): void;
}

/** What a queue is told once. */
export interface QueueSettings {
  readonly pool: BufferPool;
  readonly cells: ShardCells;
  /** Confirms writes; null: none is confirmed here. */
  readonly guard: Guard | null;
  /** How long a command waits for a connection before it is refused. */
  readonly holdMs: number;
  /** How long an answer waits to be confirmed, where its request says nothing else. */
  readonly writeMs: number;
}

/** Takes so many out. */
function drain(fifo: Fifo<Request>, count: number): Request[] {
  const taken: Request[] = [];
  for (let i = 0; i < count; i += 1) taken.push(fifo.shift());
  return taken;
}

const NONE = new Request();
