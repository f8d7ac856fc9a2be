import { Backoff } from '../base/backoff.ts';
import type { BufferPool } from '../base/buffer-pool.ts';
import type { Random } from '../base/random.ts';
import { MOST_IDLE, MOST_LANES } from '../config/budget.ts';
import type { Protocol } from '../resp/protocol.ts';
import type { ShardCells } from '../telemetry/proxy-cells.ts';
import { Connection, type ConnectionOwner } from '../upstream/connection.ts';
import { Lane, type LaneSettings } from '../upstream/lane.ts';
import type { Target } from '../upstream/login.ts';
import { Failure } from '../upstream/request.ts';
import type { Secure } from '../upstream/secure.ts';
import { KnownScripts } from './script-cache.ts';

/**
 * One shard as the proxy uses it: the shared lanes to its primary, and the connections lent to single clients.
 *
 * Lanes are opened as databases and protocols are asked for; the main one (database 0, RESP2) stays open always and
 * tells whether the shard can be reached.
 */
export class Shard {
  readonly name: string;
  /** Its place in `Proxy.shards` and in what the ring answers. */
  index: number;
  readonly cells: ShardCells;
  /** Digests of scripts that the primary at hand is known to hold. */
  readonly scripts = new KnownScripts();
  #address: PrimaryAddress;
  #settings: ShardSettings;
  /** What each lane was told, to tell it anew when the settings change. */
  readonly #told = new WeakMap<Lane, Mutable<LaneSettings>>();
  readonly #lanes: (Lane | null)[] = new Array<Lane | null>(DATABASES * 2).fill(null);
  #open: Lane[] = [];
  #idle: Lane[] = [];
  readonly #lent = new Set<Lane>();
  #problem = '';
  #closed = false;

  constructor(name: string, index: number, address: PrimaryAddress, settings: ShardSettings, cells: ShardCells) {
    this.name = name;
    this.index = index;
    this.cells = cells;
    this.#address = address;
    this.#settings = settings;
    this.lane(0, 2).connect();
  }

  get address(): PrimaryAddress {
    return this.#address;
  }

  /** Whether the primary is logged in to. */
  get up(): boolean {
    return (this.#lanes[0] as Lane).ready;
  }

  /** Why it is not up, in words. */
  get problem(): string {
    return this.up ? '' : this.#problem || (this.#lanes[0] as Lane).problem;
  }

  /** The shared lane for a database and protocol. */
  lane(database: number, protocol: Protocol): Lane {
    const index = (protocol - 2) * DATABASES + database;
    const lane = this.#lanes[index] as Lane | null;
    if (lane !== null) return lane;
    const made = this.#makeLane(database, protocol, index === 0, false);
    this.#lanes[index] = made;
    this.#open.push(made);
    this.cells.lanes = this.#open.length;
    return made;
  }

  /** A connection for one client alone; null when as many are lent as may be. */
  borrow(database: number, protocol: Protocol): Lane | null {
    if (this.#closed || this.#lent.size >= this.#settings.exclusiveBound) return null;
    for (let i = this.#idle.length - 1; i >= 0; i -= 1) {
      const lane = this.#idle[i] as Lane;
      if (lane.database !== database || lane.protocol !== protocol) continue;
      this.#idle.splice(i, 1);
      if (lane.closed || !lane.ready) continue;
      this.#lent.add(lane);
      this.cells.exclusive = this.#lent.size;
      return lane;
    }
    const lane = this.#makeLane(database, protocol, false, true);
    this.#lent.add(lane);
    this.cells.exclusive = this.#lent.size;
    return lane;
  }

  /** Takes a lent connection back; one that is not `clean` (watched keys, an answer still due) is closed. */
  giveBack(lane: Lane, clean: boolean): void {
    this.#lent.delete(lane);
    this.cells.exclusive = this.#lent.size;
    if (clean && lane.ready && lane.pending === 0 && this.#idle.length < MOST_IDLE) {
      lane.activeMs = performance.now();
      this.#idle.push(lane);
      return;
    }
    lane.close(Failure.Closing, 'the connection was given back');
  }

  /** A connection that is neither lane nor lent: for subscriptions. */
  openConnection(owner: ConnectionOwner): Connection {
    return new Connection(this.#target(0, 2), this.#settings.secure, this.#settings.connectMs, owner);
  }

  /**
   * A connection on which a node that a script keeps busy can be told to end it. Until the script counts as too long
   * (busy-reply-threshold, 5 s) the node hears nobody, so the login may take as long as an answer.
   */
  openControl(owner: ConnectionOwner): Connection {
    const { secure, connectMs, timeoutMs } = this.#settings;
    const target = { ...this.#target(0, 2), control: true };
    return new Connection(target, secure, Math.max(connectMs, timeoutMs), owner);
  }

  /** Another node, or another incarnation, is primary from now on. */
  follow(address: PrimaryAddress): void {
    const before = this.#address;
    const samePlace = before.host === address.host && before.port === address.port;
    this.#address = address;
    if (samePlace && before.runId === address.runId) return;
    // The first time an incarnation is named at the address in use, the connections that stand are to it. Nor does one
    // that is named no more make them wrong.
    if (samePlace && (before.runId === null || address.runId === null)) {
      for (const lane of [...this.#open, ...this.#lent]) lane.expect(this.#target(lane.database, lane.protocol));
      return;
    }
    this.scripts.clear();
    const reason = `${address.host}:${address.port} is the primary now`;
    for (const lane of this.#open) lane.retarget(this.#target(lane.database, lane.protocol), reason);
    for (const lane of this.#idle) lane.close(Failure.Closing, reason);
    this.#idle = [];
    // What waited on these may be begun again at once, on others that are lent while this goes on.
    for (const lane of [...this.#lent]) lane.retarget(this.#target(lane.database, lane.protocol), reason);
    this.#settings.onMoved(this);
  }

  /** Takes bounds and times that may change while running; lanes that are open take them too. */
  reconfigure(timing: ShardTiming): void {
    this.#settings = { ...this.#settings, ...timing };
    const { connectMs, holdMs, timeoutMs, queueBound } = timing;
    for (const lane of [...this.#open, ...this.#idle, ...this.#lent]) {
      Object.assign(this.#told.get(lane) as LaneSettings, { connectMs, holdMs, timeoutMs, queueBound });
      if (!this.#lent.has(lane)) lane.patienceMs = timeoutMs;
    }
  }

  /** Looks at the clock, some times a second: bounds, hung nodes, idle lanes. */
  sweep(nowMs: number): void {
    let queued = 0;
    let inFlight = 0;
    for (const lane of this.#open) {
      lane.sweep(nowMs);
      queued += lane.pending - lane.inFlight;
      inFlight += lane.inFlight;
    }
    for (const lane of this.#lent) lane.sweep(nowMs);
    this.cells.queued = queued;
    this.cells.inFlight = inFlight;
    this.#closeIdle(nowMs);
  }

  close(): void {
    this.#closed = true;
    for (const lane of [...this.#open, ...this.#idle, ...this.#lent])
      lane.close(Failure.Closing, 'the proxy is closing');
  }

  #closeIdle(nowMs: number): void {
    const isIdle = (lane: Lane): boolean => lane.pending === 0 && nowMs - lane.activeMs > IDLE_MS;
    for (let i = 1; i < this.#lanes.length; i += 1) {
      const lane = this.#lanes[i] as Lane | null;
      if (lane === null || !isIdle(lane)) continue;
      lane.close(Failure.Closing, 'idle');
      this.#lanes[i] = null;
      this.#open = this.#open.filter(one => one !== lane);
    }
    this.cells.lanes = this.#open.length;
    for (const lane of this.#idle.filter(isIdle)) lane.close(Failure.Closing, 'idle');
    this.#idle = this.#idle.filter(lane => !lane.closed);
  }

  #target(database: number, protocol: Protocol): Target {
    const { username, password } = this.#settings;
    return { ...this.#address, username, password, database, protocol };
  }

  #makeLane(database: number, protocol: Protocol, lasting: boolean, lent: boolean): Lane {
    const { pool, secure, connectMs, holdMs, timeoutMs, queueBound, random } = this.#settings;
    // Never so long that a node which came back in time is found only when the hold is over.
    const backoff = new Backoff(50, Math.min(1000, Math.max(50, holdMs / 4)), random);
    const settings: LaneSettings = {
      pool,
      cells: this.cells,
      backoff,
      secure,
      connectMs,
      holdMs,
      timeoutMs,
      queueBound,
      lasting,
      lent,
      onState: lasting ? lane => this.#onMainLane(lane) : null,
    };
    const lane = new Lane(this.#target(database, protocol), settings);
    this.#told.set(lane, settings);
    return lane;
  }

  #onMainLane(lane: Lane): void {
    if (!lane.ready) this.scripts.clear();
    this.cells.up = lane.ready ? 1 : 0;
    this.#problem = lane.problem;
    this.#settings.onState(this);
  }
}

/** Where a primary is. */
export interface PrimaryAddress {
  readonly nodeId: string;
  readonly host: string;
  readonly port: number;
  readonly runId: string | null;
}

/** Bounds and times that may change while running. */
export interface ShardTiming {
  readonly connectMs: number;
  readonly holdMs: number;
  readonly timeoutMs: number;
  /** Most commands in line on one lane. */
  readonly queueBound: number;
  /** Most connections lent at a time. */
  readonly exclusiveBound: number;
}

/** What all shards of a proxy have in common. */
export interface ShardSettings extends ShardTiming {
  readonly pool: BufferPool;
  readonly secure: Secure | null;
  readonly username: string;
  readonly password: string;
  readonly random: Random;
  /** A shard's primary has become reachable, or is so no more. */
  readonly onState: (shard: Shard) => void;
  /** The primary is another node, or another incarnation. */
  readonly onMoved: (shard: Shard) => void;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Databases of a node, as Redis has them by default. */
export const DATABASES = MOST_LANES / 2;
const IDLE_MS = 60_000;
