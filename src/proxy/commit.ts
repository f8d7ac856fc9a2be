import type { Backoff } from '../base/backoff.ts';
import { type Flushable, scheduleFlush } from '../base/flush-queue.ts';
import { MOST_BARRIERS } from '../config/budget.ts';
import type { ShardCells } from '../telemetry/proxy-cells.ts';
import type { Connection } from '../upstream/connection.ts';
import type { Era, Fate, Guard, Guarded } from '../upstream/guard.ts';
import type { History, Target } from '../upstream/login.ts';
import type { Request } from '../upstream/request.ts';
import type { Secure } from '../upstream/secure.ts';
import { BarrierLink, type BarrierOwner, WAIT_MS } from './barrier-link.ts';
import {
  confirms,
  dropReadings,
  fateUnder,
  goOn,
  mayAsk,
  needsNone,
  newEra,
  noteReading,
  type Requirement,
  upperBound,
} from './commit-rules.ts';

/**
 * Confirms the writes of one shard (rule R1): answers are kept by their lanes until a barrier that was sent after them
 * has reached every in-sync copy.
 *
 *   lanes      SET a ─► OK (kept as 1)   SET b ─► OK (kept as 2)   SET c ─► OK (kept as 3)
 *   barriers                    └──── up to 1 ────► 2 copies ──► 1 is passed on
 *                                                 └──── up to 3 ────► 2 copies ──► 2 and 3 are passed on
 *
 * A barrier is sent at the end of a turn of the event loop and covers all that was answered until then, over all lanes,
 * so its cost is shared. Reads never wait for one.
 */
export class Commit implements Guard, Flushable, BarrierOwner {
  flushScheduled = false;
  readonly #settings: CommitSettings;
  #requirement: Requirement;
  /** Where barriers go; null: nowhere, for now. */
  #target: Target | null = null;
  /** The shard is about to get another primary: what is left is confirmed by the epoch that ends. */
  #ending = false;
  #era: Era | null = null;
  /** The epoch as whose user somebody has logged in to the present era. */
  #provenEpoch = -1;
  #links: BarrierLink[] = [];
  #lastNumber = 0;
  #confirmed = 0;
  /** Answers up to here are covered by a barrier that is under way. */
  #covered = 0;
  #askedMs = 0;
  /** How long barriers have taken of late. */
  #usualMs = 0;
  readonly #lanes = new Set<Guarded>();
  #retry: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(requirement: Requirement, settings: CommitSettings) {
    this.#requirement = requirement;
    this.#settings = settings;
  }

  get provable(): boolean {
    return this.#requirement.required > 0 || this.#requirement.held;
  }

  passes(epoch: number): boolean {
    return needsNone(this.#requirement, epoch);
  }

  eraOf(connection: Connection, lane: Guarded | null): Era {
    const history = connection.history as History;
    let era = this.#era;
    if (era === null || !goOn(era, history)) {
      era = newEra(history);
      this.#era = era;
      this.#forgetBarriers();
      for (const link of this.#links) if (link.era !== null) link.end('the primary has begun another history');
      for (const one of [...this.#lanes]) if (one !== lane) one.learn(era);
    }
    this.#provenEpoch = Math.max(this.#provenEpoch, connection.target.epoch ?? 0);
    if (this.#lanes.size > 0) scheduleFlush(this);
    return era;
  }

  number(lane: Guarded): number {
    if (this.#era === null || lane.era !== this.#era) return 0;
    this.#lastNumber += 1;
    this.#lanes.add(lane);
    scheduleFlush(this);
    return this.#lastNumber;
  }

  watch(lane: Guarded): void {
    this.#lanes.add(lane);
  }

  fateOf({ lower, number }: Request, was: Era, now: Era): Fate {
    return fateUnder(lower, number > 0 ? upperBound(was, number) : -1, was.history, now.history);
  }

  /** The topology asks for this from now on; barriers go to `target` (null: nowhere, the shard serves nobody now). */
  require(requirement: Requirement, target: Target | null): void {
    const before = this.#requirement;
    const moved = target === null || this.#target === null || !isSamePlace(this.#target, target);
    this.#requirement = requirement;
    this.#target = target;
    this.#ending = false;
    const isNew = moved || before.epoch !== requirement.epoch;
    if (isNew) this.#leaveLinks(moved);
    // What is under way is judged by what it was asked for; what is asked from now on by what is known now.
    this.#covered = this.#confirmed;
    if (target !== null && this.provable && !this.#links.some(link => link.epoch === requirement.epoch)) this.#open();
    scheduleFlush(this);
  }

  /** A planned change of primary begins: what was answered is still confirmed, by the epoch that ends; then it leaves. */
  leave(): void {
    this.#ending = true;
    this.onLeft();
  }

  onLeft(): void {
    if (this.#ending) this.#closeIdle(Number.POSITIVE_INFINITY);
  }

  flush(): void {
    if (this.#closed || this.#lastNumber === this.#confirmed || this.#era === null) return;
    const requirement = this.#requirement;
    if (needsNone(requirement, this.#provenEpoch)) return this.#confirm(this.#lastNumber);
    if (!mayAsk(requirement) || this.#covered === this.#lastNumber) return;
    let free: BarrierLink | null = null;
    let busy = 0;
    let coming = false;
    for (const link of this.#links) {
      if (link.epoch !== requirement.epoch) continue;
      if (link.era === null) coming = true;
      if (link.era !== this.#era) continue;
      if (link.busy) busy += 1;
      else free ??= link;
    }
    // Another barrier while one is under way shortens the wait, and costs a barrier: so some part of the way apart.
    if (busy > 0 && this.#covered > this.#confirmed && performance.now() - this.#askedMs < this.#usualMs / OVERLAP)
      return;
    if (free === null) {
      if (this.#links.length < MOST_BARRIERS && !coming) this.#open();
      return;
    }
    this.#covered = this.#lastNumber;
    this.#askedMs = performance.now();
    this.#settings.cells.barriers += 1;
    free.ask(requirement.required, this.#lastNumber, this.#askedMs);
  }

  /** Looks at the clock: links that nobody answers on, or that nobody needs. */
  sweep(nowMs: number): void {
    let kept = 0;
    for (const lane of this.#lanes) {
      kept += lane.unsettled;
      if (lane.unsettled === 0) this.#lanes.delete(lane);
    }
    this.#settings.cells.kept = kept;
    if (kept === 0) this.#confirmed = this.#lastNumber;
    for (const link of [...this.#links]) {
      if (link.busy && nowMs - link.sentMs > WAIT_MS + this.#settings.timing().timeoutMs) {
        link.end('the node left a barrier unanswered');
      }
    }
    this.#closeIdle(nowMs);
    if (this.#lastNumber > this.#confirmed) scheduleFlush(this);
  }

  close(): void {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    for (const link of [...this.#links]) link.end('the proxy is closing');
  }

  onLinkReady(link: BarrierLink, connection: Connection): void {
    link.era = this.eraOf(connection, null);
    scheduleFlush(this);
  }

  onOffset(link: BarrierLink, offset: number): void {
    if (link.era !== null) noteReading(link.era, link.upTo, offset);
  }

  onCount(link: BarrierLink, count: number): void {
    // Not sooner: a node may take the login and refuse the barrier.
    this.#settings.backoff.reset();
    const tookMs = performance.now() - link.sentMs;
    const isGood = confirms(link, count);
    if (isGood) this.#usualMs += (tookMs - this.#usualMs) / 8;
    if (isGood && link.era === this.#era) this.#confirm(link.upTo);
    // Too few: the whole is asked for again.
    else this.#covered = this.#confirmed;
    if (link.epoch !== this.#requirement.epoch || this.#ending) this.#closeIdle(Number.POSITIVE_INFINITY);
    this.flush();
  }

  onLinkEnded(link: BarrierLink): void {
    this.#links = this.#links.filter(one => one !== link);
    if (this.#closed) return;
    if (link.busy) {
      this.#covered = this.#confirmed;
      scheduleFlush(this);
    }
    if (link.epoch !== this.#requirement.epoch || this.#hasLeft) return;
    if (link.era !== null && this.#links.length > 0) return;
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      if (this.#links.length === 0 && mayAsk(this.#requirement)) this.#open();
    }, this.#settings.backoff.nextMs());
  }

  #confirm(upTo: number): void {
    if (upTo <= this.#confirmed) return;
    this.#confirmed = upTo;
    if (this.#covered < upTo) this.#covered = upTo;
    const era = this.#era as Era;
    for (const lane of this.#lanes) {
      if (lane.era === era) lane.confirm(upTo);
      if (lane.unsettled === 0) this.#lanes.delete(lane);
    }
    dropReadings(era, upTo);
  }

  /** Another history: no barrier that is under way covers anything of it. */
  #forgetBarriers(): void {
    this.#provenEpoch = -1;
    this.#confirmed = this.#lastNumber;
    this.#covered = this.#lastNumber;
  }

  /** The shard is about to get another primary, and nothing is left, nor will come, that must be confirmed before. */
  get #hasLeft(): boolean {
    return this.#ending && this.#lastNumber === this.#confirmed && !this.#settings.isOwed();
  }

  #open(): void {
    if (this.#closed || this.#target === null || this.#retry !== null || this.#hasLeft) return;
    const { secure, timing } = this.#settings;
    this.#links.push(new BarrierLink(this.#target, secure, timing().connectMs, this));
  }

  /** Links of an epoch that has ended finish what is under way; those to another place end at once. */
  #leaveLinks(moved: boolean): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    this.#settings.backoff.reset();
    for (const link of [...this.#links]) if (moved || !link.busy) link.end('another epoch has begun');
  }

  /** Closes links that are of no more use, and all but one when none was needed for a while. */
  #closeIdle(nowMs: number): void {
    const { epoch } = this.#requirement;
    const isLeaving = this.#hasLeft;
    for (const link of [...this.#links]) {
      if (!link.free) continue;
      const isSpare = this.#links.length > 1 && nowMs - Math.max(link.sentMs, this.#askedMs) > IDLE_MS;
      if (link.epoch !== epoch || isLeaving || (isSpare && !this.#ending)) link.end('it is not needed any more');
    }
  }
}

function isSamePlace(one: Target, other: Target): boolean {
  return one.host === other.host && one.port === other.port && one.runId === other.runId;
}

/** What a shard's commit is told once. */
export interface CommitSettings {
  readonly cells: ShardCells;
  readonly secure: Secure | null;
  readonly backoff: Backoff;
  /** Whether a lane still waits for an answer that may have to be confirmed. */
  readonly isOwed: () => boolean;
  /** As they are now. */
  readonly timing: () => { readonly connectMs: number; readonly timeoutMs: number };
}

/** So many barriers overlap at the most, by the time that one usually takes. */
const OVERLAP = 2;
const IDLE_MS = 10_000;
