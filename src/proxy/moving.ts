import { Backoff } from '../base/backoff.ts';
import { ByteSet } from '../base/byte-set.ts';
import { type Flushable, scheduleFlush } from '../base/flush-queue.ts';
import { Random } from '../base/random.ts';
import { ON_THE_MOVE } from '../ring/ring.ts';
import { pulledSetName } from '../topology/credentials.ts';
import { type CurrentPortion, currentRoute } from '../topology/move.ts';
import { pulledMember } from '../topology/pull.ts';
import type { Topology, TopologyShard } from '../topology/snapshot.ts';
import { Failure, type Request } from '../upstream/request.ts';
import type { Client } from './client.ts';
import type { Verdict } from './forward.ts';
import type { Proxy } from './proxy.ts';
import { Pull, type Waiter } from './pull.ts';
import { MOST_BATCH_BYTES, MOST_BATCH_KEYS, PullBatch, type PullHost } from './pull-batch.ts';
import { PullLink, type PullLinkOwner } from './pull-link.ts';
import { PullQueue } from './pull-queue.ts';
import type { Sendable } from './pull-script.ts';
import type { Shard } from './shard.ts';

/**
 * The portion of keys that is on the move, as one proxy takes part in it: which keys it knows to have arrived, and those
 * that are being pulled (`REPLICATION.md`, M2 and M3).
 *
 *   wanted ──► queue ──► batch ──► known to have arrived
 *                ▲         │
 *                └─ rest ──┘ set back
 *
 * Keys that are wanted in one turn of the event loop leave together at its end. While as many batches are under way as may
 * be, further keys gather, and leave together as soon as one of them is through.
 *
 * It is bound to the epochs and primaries of giver and taker with which it was made: when any of them changes, the proxy
 * makes another one, which takes over what is known to have arrived and begins all else anew.
 */
export class Moving implements PullHost, PullLinkOwner, Flushable {
  flushScheduled = false;
  readonly phase: CurrentPortion['phase'];
  readonly way: CurrentPortion['way'];
  readonly giver: Shard;
  readonly taker: Shard;
  /** The key of the set of pulled keys, in database 0 of the taker. */
  readonly setName: string;
  /** The one of the way there, in database 0 of the giver; null but on the way `return`. */
  readonly thereSetName: string | null;
  ended = false;
  /** What stands in the way of pulling, in words; empty: nothing that is known. */
  problem = '';
  /** See `bindingOf`. */
  readonly binding: string;
  readonly #proxy: Proxy;
  readonly #set: number;
  readonly #known: ByteSet;
  /** Of the keys that were asked for lately, the part that somebody else had pulled before. */
  #thereShare = 0;
  /** By `pulledMember`, in latin1: all that somebody waits for. */
  readonly #pulls = new Map<string, Pull>();
  /** Those that are not begun. */
  readonly #queue = new PullQueue();
  /** Those that were set back, and rest. */
  #resting: Pull[] = [];
  /** Batches under way. */
  #active = 0;
  /** So many that are not begun are looked through, for those that nobody waits for any more. */
  #pruneAt = PRUNE_AT;
  #link: PullLink | null = null;
  #started = false;
  #rest: NodeJS.Timeout | null = null;
  #retry: NodeJS.Timeout | null = null;
  readonly #backoff: Backoff;

  /** `before`: of the same proxy, what it had until now. The topology has a portion under way. */
  constructor(proxy: Proxy, topology: Topology, giver: Shard, taker: Shard, before: Moving | null) {
    const current = topology.move?.current as CurrentPortion;
    const { secret } = proxy.config;
    this.phase = current.phase;
    this.way = current.way;
    this.giver = giver;
    this.taker = taker;
    this.setName = pulledSetName(secret, topology.cluster, current.set);
    this.thereSetName = current.thereSet === null ? null : pulledSetName(secret, topology.cluster, current.thereSet);
    this.binding = bindingOf(topology);
    this.#proxy = proxy;
    this.#set = current.set;
    this.#known = before !== null && before.#set === this.#set ? before.#known : new ByteSet(MOST_KNOWN_BYTES);
    this.#backoff = new Backoff(REST_MS, 1000, new Random((proxy.random() * 2 ** 32) >>> 0));
  }

  get nowMs(): number {
    return this.#proxy.nowMs;
  }

  get bigKeyBytes(): number {
    return this.#proxy.config.supervisor.move.bigKeyBytes;
  }

  /** Whether the key bytes[start, start + length) is of the portion. */
  owns(bytes: Uint8Array, start: number, length: number): boolean {
    return this.#proxy.ring.ownerOf(bytes, start, length) >= ON_THE_MOVE;
  }

  /** See `Gate.awaitEnd`. */
  awaitEnd(client: Client): Verdict | null {
    return this.#proxy.gate.awaitEnd(client);
  }

  /** Whether a key of the portion may be used, on the taker: it is known to have arrived. */
  has(database: number, bytes: Uint8Array, start: number, length: number): boolean {
    return this.phase === 'moving' && this.#known.has(database, bytes, start, length);
  }

  /** Pulls a key of the portion, once however many want it, and tells the waiter. */
  want(database: number, key: Buffer, waiter: Waiter): void {
    const name = pulledMember(database, key.toString('latin1'));
    let pull = this.#pulls.get(name);
    if (pull === undefined) {
      pull = new Pull(database, key, name, this.nowMs);
      this.#pulls.set(name, pull);
      this.#queue.push(pull);
    }
    pull.join(waiter);
    this.#pump();
  }

  /** The shards follow the topology that it was made of: from here on it opens connections. */
  start(): void {
    this.#started = true;
    if (this.phase === 'moving' && this.#link === null) this.#open();
    this.#pump();
  }

  sweep(nowMs: number): void {
    this.#link?.sweep(nowMs, this.#proxy.config.proxy.timeoutMs);
    if (this.#queue.length >= this.#pruneAt) this.#prune();
    this.#pump();
  }

  /** Takes no further step; who waits is told by the gate. */
  end(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    if (this.#rest !== null) clearTimeout(this.#rest);
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#link?.end(reason);
    this.#link = null;
    this.#pulls.clear();
    this.#resting = [];
  }

  /** At the end of the event loop's turn: begins what was wanted, and sends it with whatever else the giver is asked. */
  flush(): void {
    this.#begin();
    this.#link?.flush();
  }

  /** While a good part of what is wanted is there already, asking for that saves more than it costs. */
  get looksFirst(): boolean {
    return this.#thereShare > WORTH_LOOKING;
  }

  noteThere(there: number, asked: number): void {
    this.#thereShare += (there / asked - this.#thereShare) * Math.min(1, asked / RECENT_KEYS);
  }

  onThere(pulls: readonly Pull[]): void {
    const { moving } = this.#proxy.metrics;
    this.problem = '';
    for (const { database, key } of pulls) {
      moving.there += 1;
      this.#known.add(database, key, 0, key.length);
    }
    for (const pull of pulls) this.#finish(pull, '');
  }

  sendToTaker(request: Request, call: Sendable): void {
    const lane = this.taker.lane(0, 2);
    if (lane.full) return request.receiver.onFailure(request, Failure.Overloaded, 'proxy.limits.laneQueue is reached');
    const segment = lane.room(call.length);
    call.write(segment.buffer, segment.used);
    lane.sendWritten(request, segment, call.length);
  }

  onPulled(pulls: readonly Pull[]): void {
    const { moving } = this.#proxy.metrics;
    const nowMs = performance.now();
    this.problem = '';
    // All of them may be used before anybody goes on.
    for (const { database, key, begunMs } of pulls) {
      moving.pulled += 1;
      moving.pullTime.observe((nowMs - begunMs) * 1000);
      this.#known.add(database, key, 0, key.length);
    }
    for (const pull of pulls) this.#finish(pull, '');
  }

  onRefused(pull: Pull, text: string): void {
    this.#proxy.metrics.moving.failed += 1;
    this.problem = `shard ${this.taker.name} refuses it: ${text}`;
    this.#finish(pull, this.problem);
  }

  onSetBack(pull: Pull, problem: string): void {
    this.#proxy.metrics.moving.failed += 1;
    this.problem = problem;
    this.#resting.push(pull);
    this.#rest ??= setTimeout(() => this.#endRest(), REST_MS);
  }

  onNoRoom(pulls: readonly Pull[]): void {
    this.#queue.putBack(pulls);
    this.#pump();
  }

  onClosed(): void {
    this.problem = `the portion is closed on shard ${this.taker.name}`;
  }

  onPlaceFree(): void {
    this.#active -= 1;
    this.#pump();
  }

  onLinkReady(link: PullLink): void {
    if (link !== this.#link) return;
    this.#backoff.reset();
    this.#pump();
  }

  onLinkEnded(link: PullLink, reason: string): void {
    if (link !== this.#link || this.ended) return;
    this.#link = null;
    this.problem = `shard ${this.giver.name}: ${reason}`;
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.#pump();
    }, this.#backoff.nextMs());
  }

  /** There may be something to begin, at the end of this turn of the event loop. */
  #pump(): void {
    if (this.#queue.length > 0) scheduleFlush(this);
  }

  /** Begins as many batches as may be under way at a time. */
  #begin(): void {
    if (this.ended || !this.#started || this.phase !== 'moving') return;
    while (this.#queue.length > 0 && this.#active < MOST_ACTIVE) {
      if (this.#link === null) this.#open();
      const link = this.#link;
      if (link === null || !link.ready || !this.#proxy.pool.admitsSmall()) return;
      const wanted: Pull[] = [];
      for (const pull of this.#queue.take(MOST_BATCH_KEYS, MOST_BATCH_BYTES)) {
        if (pull.isWanted) wanted.push(pull);
        else this.#forget(pull);
      }
      const [first, ...others] = wanted;
      if (first === undefined) continue;
      this.#active += 1;
      new PullBatch([first, ...others], link, this).begin();
    }
  }

  #prune(): void {
    for (const pull of this.#queue.prune()) this.#forget(pull);
    this.#pruneAt = Math.max(PRUNE_AT, this.#queue.length * 2);
  }

  #open(): void {
    const { primary, paused } = this.giver.state;
    if (this.#retry !== null || paused || primary.runId === null) return;
    this.#link = new PullLink(this.giver, this);
  }

  #endRest(): void {
    this.#rest = null;
    const rested = this.#resting;
    this.#resting = [];
    for (const pull of rested) this.#queue.push(pull);
    this.#pump();
  }

  #finish(pull: Pull, problem: string): void {
    this.#forget(pull);
    for (const waiter of pull.waiters) {
      if (waiter.over) continue;
      waiter.left -= 1;
      if (waiter.left === 0 || problem !== '') waiter.onArrived(problem);
    }
  }

  #forget(pull: Pull): void {
    this.#pulls.delete(pull.name);
  }
}

/** All that the steps of a pull are bound to: the portion, its phase and way, epochs and primaries. Empty: none is under way. */
export function bindingOf(topology: Topology): string {
  const { move, shards, nodes } = topology;
  const route = currentRoute(move);
  if (route === null || move?.current == null) return '';
  const place = (name: string): unknown => {
    const { epoch, paused, primary } = shards.find(shard => shard.name === name) as TopologyShard;
    const node = nodes.find(one => one.id === primary);
    return [name, epoch, paused, primary, node?.host, node?.port, node?.runId];
  };
  return JSON.stringify([move.id, move.current, place(route.giver), place(route.taker)]);
}

/** Batches under way at a time: each holds values of `MOST_BATCH_BYTES`, or one of at most `move.bigKey`. */
const MOST_ACTIVE = 4;
/** Below this part, most readings would be in vain, and only delay what has to be pulled. */
const WORTH_LOOKING = 0.25;
/** Keys over which that part is taken. */
const RECENT_KEYS = 32;
const PRUNE_AT = 1024;
/** How long a pull rests that was set back. */
const REST_MS = 50;
/** Of the keys that are known to have arrived; what is forgotten is asked for again. */
const MOST_KNOWN_BYTES = 64 * 1024 * 1024;
