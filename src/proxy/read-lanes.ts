import { MOST_LANES } from '../config/budget.ts';
import type { Protocol } from '../resp/protocol.ts';
import type { Lane } from '../upstream/lane.ts';
import { Failure } from '../upstream/request.ts';
import type { PrimaryAddress, ShardState } from './shard-state.ts';

/**
 * The lanes over which one shard's in-sync replicas are read.
 *
 * Clients are spread over the copies by their number, the primary being one of them, so that a client reads from the
 * same copy as long as the copies are the same. Only copies in sync are asked: a lane ends as soon as the topology no
 * longer names its replica, or the shard's epoch is another; what it still holds is then read from the primary.
 */
export class ReadLanes {
  readonly #maker: ReadLaneMaker;
  #state: ShardState;
  /** By incarnation; within it by database and protocol. */
  readonly #lanes = new Map<string, (Lane | null)[]>();
  /** Until when no connection to a copy is tried, which had refused or lost one; by incarnation. */
  readonly #restsUntilMs = new Map<string, number>();

  constructor(state: ShardState, maker: ReadLaneMaker) {
    this.#state = state;
    this.#maker = maker;
  }

  /** See `Shard.readLane`. */
  choose(database: number, protocol: Protocol, clientId: number, wantedZone: string | null): Lane | null {
    const { primary, inSync, paused } = this.#state;
    if (paused || inSync.length === 0) return null;
    let eligible = 0;
    const isPrimaryEligible = wantedZone === null || primary.zone === wantedZone;
    if (isPrimaryEligible) eligible += 1;
    for (const copy of inSync) if (isEligible(copy, wantedZone)) eligible += 1;
    if (eligible === 0) return null;
    let place = clientId % eligible;
    if (isPrimaryEligible) {
      if (place === 0) return null;
      place -= 1;
    }
    for (const copy of inSync) {
      if (!isEligible(copy, wantedZone)) continue;
      if (place === 0) return this.#laneTo(copy, database, protocol);
      place -= 1;
    }
    return null;
  }

  /** Takes what a newer topology says. */
  follow(state: ShardState): void {
    const isSameEpoch = state.epoch === this.#state.epoch;
    this.#state = state;
    for (const [runId, lanes] of this.#lanes) {
      if (isSameEpoch && state.inSync.some(copy => copy.runId === runId)) continue;
      this.#lanes.delete(runId);
      this.#restsUntilMs.delete(runId);
      for (const lane of lanes) if (lane !== null) this.#endLane(lane, 'the replica is in sync no more');
    }
  }

  /** A lane has lost its connection: what it holds waits for no replica. */
  onLost(lane: Lane): void {
    const runId = this.#drop(lane);
    if (runId !== null) this.#restsUntilMs.set(runId, performance.now() + REST_MS);
  }

  sweep(nowMs: number): void {
    for (const lane of this.all()) {
      lane.sweep(nowMs);
      if (lane.ready && lane.pending === 0 && nowMs - lane.activeMs > IDLE_MS) this.#drop(lane);
    }
  }

  all(): Lane[] {
    return [...this.#lanes.values()].flat().filter(lane => lane !== null);
  }

  close(): void {
    for (const lane of this.all()) lane.close(Failure.Closing, 'the proxy is closing');
    this.#lanes.clear();
  }

  /** Null while it is not connected: nobody waits for a replica. */
  #laneTo(copy: PrimaryAddress, database: number, protocol: Protocol): Lane | null {
    const runId = copy.runId as string;
    let lanes = this.#lanes.get(runId);
    if (lanes === undefined) {
      lanes = new Array<Lane | null>(MOST_LANES).fill(null);
      this.#lanes.set(runId, lanes);
    }
    const index = (protocol - 2) * (MOST_LANES / 2) + database;
    // Or every read would knock at a replica that is away.
    if (lanes[index] === null && performance.now() < (this.#restsUntilMs.get(runId) ?? 0)) return null;
    const lane = lanes[index] ?? this.#maker.makeLane(copy, database, protocol);
    lanes[index] = lane;
    if (lane.ready) return lane;
    lane.connect();
    return null;
  }

  /** Ends a lane; whose incarnation's it was, null: it was ended before. */
  #drop(lane: Lane): string | null {
    let owner: string | null = null;
    for (const [runId, lanes] of this.#lanes) {
      const index = lanes.indexOf(lane);
      if (index < 0) continue;
      lanes[index] = null;
      owner = runId;
    }
    this.#endLane(lane, lane.problem);
    return owner;
  }

  #endLane(lane: Lane, reason: string): void {
    lane.handOver(this.#maker.toPrimary(lane.database, lane.protocol), reason);
  }
}

function isEligible(copy: PrimaryAddress, wantedZone: string | null): boolean {
  return copy.runId !== null && (wantedZone === null || copy.zone === wantedZone);
}

/** What makes lanes, and where what they hold goes when they end. */
export interface ReadLaneMaker {
  makeLane(copy: PrimaryAddress, database: number, protocol: Protocol): Lane;
  toPrimary(database: number, protocol: Protocol): Lane;
}

const IDLE_MS = 60_000;
const REST_MS = 250;
