import { Backoff } from '../base/backoff.ts';
import type { BufferPool } from '../base/buffer-pool.ts';
import type { Random } from '../base/random.ts';
import { MOST_IDLE, MOST_LANES } from '../config/budget.ts';
import { encodeCommand } from '../resp/encoder.ts';
import type { Protocol } from '../resp/protocol.ts';
import type { ShardCells } from '../telemetry/proxy-cells.ts';
import { proxyUser, userPassword } from '../topology/credentials.ts';
import { Connection, type ConnectionOwner } from '../upstream/connection.ts';
import { Lane, type LaneSettings } from '../upstream/lane.ts';
import type { Sieve } from '../upstream/lane-queue.ts';
import type { Target } from '../upstream/login.ts';
import { acquireRequest, Failure } from '../upstream/request.ts';
import type { Secure } from '../upstream/secure.ts';
import { IGNORED } from './client-unblock.ts';
import { Commit } from './commit.ts';
import type { Requirement } from './commit-rules.ts';
import { UNCONFIRMED } from './commitment.ts';
import { ReadLanes } from './read-lanes.ts';
import { KnownScripts } from './script-cache.ts';
import type { PrimaryAddress, ShardState } from './shard-state.ts';

/**
 * One shard as the proxy uses it: the shared lanes to its primary, the connections lent to single clients, what
 * confirms its writes, and lanes to its replicas for reading.
 *
 * Every connection is logged in as the user of one epoch of the shard, on one incarnation of a node (rule R1). So a
 * change of epoch is a change of connections, even where the node stays: they are left as soon as what was sent on them
 * is answered, while others take over. Lanes are opened as databases and protocols are asked for; the main one (database 0, RESP2) stays open always and
 * tells whether the shard can be reached.
 */
export class Shard {
  readonly name: string;
  /** Its place in `Proxy.shards` and in what the ring answers. */
  index: number;
  readonly cells: ShardCells;
  /** Digests of scripts that the primary at hand is known to hold. */
  readonly scripts = new KnownScripts();
  /** Confirms what is written. */
  readonly commit: Commit;
  #state: ShardState;
  #settings: ShardSettings;
  readonly #readLanes: ReadLanes;
  /** What each lane was told, to tell it anew when the settings change. */
  readonly #told = new WeakMap<Lane, Mutable<LaneSettings>>();
  readonly #lanes: (Lane | null)[] = new Array<Lane | null>(DATABASES * 2).fill(null);
  #open: Lane[] = [];
  #idle: Lane[] = [];
  readonly #lent = new Set<Lane>();
  readonly #sieve: Sieve;
  #retired = false;
  #problem = '';
  #closed = false;

  constructor(name: string, index: number, state: ShardState, settings: ShardSettings, cells: ShardCells) {
    this.name = name;
    this.index = index;
    this.cells = cells;
    this.#state = state;
    this.#settings = settings;
    this.#sieve = settings.sieveOf(this);
    this.commit = new Commit(requirementOf(state), {
      cells,
      secure: settings.secure,
      backoff: new Backoff(50, 1000, settings.random),
      isOwed: () => [...this.#open, ...this.#lent].some(lane => lane.owed),
      timing: () => this.#settings,
    });
    this.#readLanes = new ReadLanes(state, {
      makeLane: (copy, database, protocol) => this.#makeLane(this.#copyTarget(copy, database, protocol), 'copy'),
      toPrimary: (database, protocol) => this.lane(database, protocol),
    });
    const barred = barredBy(state);
    this.commit.require(requirementOf(state), barred === '' ? this.#target(0, 2) : null);
    const main = this.lane(0, 2);
    if (barred === '') main.connect();
  }

  /** What the topology says of it. */
  get state(): ShardState {
    return this.#state;
  }

  get address(): PrimaryAddress {
    return this.#state.primary;
  }

  /** Copies that hold every acknowledged write, the primary included. */
  get copies(): number {
    return this.#state.inSync.length + 1;
  }

  /** Whether it is no longer part of the cluster. */
  get retired(): boolean {
    return this.#retired;
  }

  /** Whether a supervisor has set it up: until then nobody can log in there. */
  get formed(): boolean {
    return this.#state.primary.runId !== null;
  }

  /** Whether nobody waits for anything of it. */
  get idle(): boolean {
    const isDone = (lane: Lane): boolean => lane.closed || lane.pending === 0;
    return this.#open.every(isDone) && [...this.#lent].every(isDone) && this.#readLanes.all().every(isDone);
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
    const made = this.#makeLane(this.#target(database, protocol), index === 0 ? 'main' : 'shared');
    const barred = barredBy(this.#state);
    if (barred !== '') made.bar(barred);
    this.#lanes[index] = made;
    this.#open.push(made);
    this.cells.lanes = this.#open.length;
    return made;
  }

  /** A connection for one client alone; null when as many are lent as may be. */
  borrow(database: number, protocol: Protocol): Lane | null {
    if (this.#closed || this.#retired || this.#lent.size >= this.#settings.exclusiveBound) return null;
    for (let i = this.#idle.length - 1; i >= 0; i -= 1) {
      const lane = this.#idle[i] as Lane;
      if (lane.database !== database || lane.protocol !== protocol) continue;
      this.#idle.splice(i, 1);
      if (lane.closed || !lane.ready) continue;
      // Who begins anew because the epoch ends must not meet its connections once more.
      if (lane.epoch !== this.#state.epoch) {
        lane.close(Failure.Closing, 'another epoch has begun');
        continue;
      }
      this.#lent.add(lane);
      this.cells.exclusive = this.#lent.size;
      return lane;
    }
    const lane = this.#makeLane(this.#target(database, protocol), 'lent');
    const barred = barredBy(this.#state);
    if (barred !== '') lane.bar(barred);
    this.#lent.add(lane);
    this.cells.exclusive = this.#lent.size;
    return lane;
  }

  /**
   * A lane to an in-sync replica, the same for a client as long as the replicas are the same; null: the client reads
   * from the primary (it is one of the copies among which clients are spread, or no replica is ready yet). `wantedZone`:
   * only copies there count; null: all.
   */
  readLane(database: number, protocol: Protocol, clientId: number, wantedZone: string | null): Lane | null {
    return this.#closed ? null : this.#readLanes.choose(database, protocol, clientId, wantedZone);
  }

  /** Takes a lent connection back; one that is not `clean` (watched keys, an answer still due) is closed. */
  giveBack(lane: Lane, clean: boolean): void {
    this.#lent.delete(lane);
    this.cells.exclusive = this.#lent.size;
    if (
      clean &&
      lane.ready &&
      lane.epoch === this.#state.epoch &&
      lane.pending === 0 &&
      this.#idle.length < MOST_IDLE
    ) {
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

  /** A connection to the node to which a lane that is connected leads, logged in as the lane is. */
  openBeside(lane: Lane, owner: ConnectionOwner): Connection | null {
    const { secure, connectMs } = this.#settings;
    return lane.login === null
      ? null
      : new Connection({ ...lane.login, database: 0, protocol: 2 }, secure, connectMs, owner);
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

  /** Takes what a newer topology says of this shard. */
  follow(state: ShardState): void {
    const before = this.#state;
    this.#state = state;
    this.#readLanes.follow(state);
    const [was, barred] = [barredBy(before), barredBy(state)];
    const samePlace = isSamePlace(before.primary, state.primary);
    if (samePlace && before.epoch === state.epoch && was === barred) {
      if (barred === '') this.commit.require(requirementOf(state), this.#target(0, 2));
      return;
    }
    // What is in flight is still confirmed by the epoch that ends: the requirement stays what it was.
    if (samePlace && barred !== '') return was === '' ? this.#leave(barred) : undefined;
    this.commit.require(requirementOf(state), barred === '' ? this.#target(0, 2) : null);
    if (barred !== '') return this.#leave(barred);
    // Also where a planned change was given up: what is still in flight is answered on the connections that stand.
    if (samePlace) return this.#renew();
    this.#move();
  }

  /** Some keys have another owner: what waits to be sent here and names such keys goes there. */
  sieve(): void {
    for (const lane of [...this.#open, ...this.#lent]) lane.sieve();
  }

  /**
   * It is no longer part of the cluster, and owns no key: what was sent is answered, what waits goes elsewhere. To be
   * closed once it is `idle`.
   */
  retire(): void {
    this.#retired = true;
    this.#settings.onLeaving(this);
    this.#unblock();
    this.#readLanes.follow({ ...this.#state, inSync: [] });
    for (const lane of this.#open) lane.retire(NO_PART);
    for (const lane of this.#idle) lane.close(Failure.Closing, NO_PART);
    this.#idle = [];
    for (const lane of [...this.#lent]) {
      if (lane.pending === 0) lane.close(Failure.Closing, NO_PART);
      else lane.retire(NO_PART);
    }
    this.commit.leave();
  }

  /** Takes bounds and times that may change while running; lanes that are open take them too. */
  reconfigure(timing: ShardTiming): void {
    this.#settings = { ...this.#settings, ...timing };
    const { connectMs, holdMs, timeoutMs, writeMs, queueBound } = timing;
    for (const lane of [...this.#open, ...this.#idle, ...this.#lent, ...this.#readLanes.all()]) {
      Object.assign(this.#told.get(lane) as LaneSettings, { connectMs, holdMs, timeoutMs, writeMs, queueBound });
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
    this.#readLanes.sweep(nowMs);
    this.commit.sweep(nowMs);
    this.cells.epoch = this.#state.epoch;
    this.cells.required = this.#state.inSync.length;
    this.cells.queued = queued;
    this.cells.inFlight = inFlight;
    this.#closeIdle(nowMs);
  }

  close(): void {
    this.#closed = true;
    for (const lane of [...this.#open, ...this.#idle, ...this.#lent])
      lane.close(Failure.Closing, 'the proxy is closing');
    this.#readLanes.close();
    this.commit.close();
  }

  /** Who waits for data there is let go by the node. */
  #unblock(): void {
    const main = this.lane(0, 2);
    for (const lane of this.#lent) {
      if (lane.pending === 0 || lane.clientId === 0 || !main.ready) continue;
      const request = acquireRequest(IGNORED, null, true, performance.now());
      request.confirm = UNCONFIRMED;
      request.fixed = true;
      const bytes = encodeCommand(['CLIENT', 'UNBLOCK', lane.clientId]);
      main.send(request, bytes, 0, bytes.length);
    }
  }

  /** Nothing more is sent to this primary for now: what is in flight is finished, the rest is held. */
  #leave(barred: string): void {
    this.#settings.onLeaving(this);
    for (const lane of this.#open) lane.bar(barred, true);
    this.#leaveLent(barred, false);
    this.commit.leave();
    this.#settings.onMoved(this);
  }

  /** Another epoch on the same incarnation: the same lanes, over connections of its user. */
  #renew(): void {
    const reason = `epoch ${this.#state.epoch} has begun`;
    this.#settings.onLeaving(this);
    for (const lane of this.#open) lane.renew(this.#target(lane.database, lane.protocol), reason);
    this.#leaveLent(reason, true);
    this.#settings.onMoved(this);
  }

  /** Another node, or another incarnation, is primary. */
  #move(): void {
    const { host, port } = this.#state.primary;
    this.scripts.clear();
    const reason = `${host}:${port} is the primary now`;
    for (const lane of this.#open) lane.retarget(this.#target(lane.database, lane.protocol), reason);
    for (const lane of this.#idle) lane.close(Failure.Closing, reason);
    this.#idle = [];
    // What waited on these may be begun again at once, on others that are lent while this goes on.
    for (const lane of [...this.#lent]) lane.retarget(this.#target(lane.database, lane.protocol), reason);
    this.#settings.onMoved(this);
  }

  /**
   * Lent connections finish what they are at; those on which nothing is under way (a watch, say) end now. One that is
   * still being opened is opened anew as the new epoch's user, if there is one already.
   */
  #leaveLent(reason: string, isRenewed: boolean): void {
    for (const lane of this.#idle) lane.close(Failure.Closing, reason);
    this.#idle = [];
    for (const lane of [...this.#lent]) {
      if (lane.pending === 0) lane.close(Failure.Closing, reason);
      else if (isRenewed && lane.runId === '') lane.retarget(this.#target(lane.database, lane.protocol), reason);
      else if (isRenewed) lane.finish(this.#target(lane.database, lane.protocol), reason);
      else lane.bar(reason, true);
    }
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
    const { primary, epoch } = this.#state;
    return { ...this.#login(primary), database, protocol, epoch };
  }

  #copyTarget(copy: PrimaryAddress, database: number, protocol: Protocol): Target {
    return { ...this.#login(copy), database, protocol, epoch: this.#state.epoch, copy: true };
  }

  #login({ host, port, runId }: PrimaryAddress): Pick<Target, 'host' | 'port' | 'runId' | 'username' | 'password'> {
    const username = proxyUser(this.#state.epoch);
    return { host, port, runId, username, password: userPassword(this.#settings.secret, username, runId ?? '') };
  }

  #makeLane(target: Target, kind: 'main' | 'shared' | 'lent' | 'copy'): Lane {
    const { pool, secure, connectMs, holdMs, timeoutMs, writeMs, queueBound, random } = this.#settings;
    // Never so long that a node which came back in time is found only when the hold is over.
    const backoff = new Backoff(50, Math.min(1000, Math.max(50, holdMs / 4)), random);
    const settings: LaneSettings = {
      pool,
      cells: this.cells,
      backoff,
      secure,
      guard: kind === 'copy' ? null : this.commit,
      connectMs,
      holdMs,
      timeoutMs,
      writeMs,
      queueBound,
      lasting: kind === 'main',
      lent: kind === 'lent',
      // What a copy was to be asked goes to the primary's lanes when an epoch ends, and is looked through there.
      sieve: kind === 'copy' ? null : this.#sieve,
      onState:
        kind === 'main' ? lane => this.#onMainLane(lane) : kind === 'copy' ? lane => this.#onReadLane(lane) : null,
    };
    const lane = new Lane(target, settings);
    this.#told.set(lane, settings);
    return lane;
  }

  #onReadLane(lane: Lane): void {
    if (!lane.ready) this.#readLanes.onLost(lane);
  }

  #onMainLane(lane: Lane): void {
    if (!lane.ready) this.scripts.clear();
    this.cells.up = lane.ready ? 1 : 0;
    this.#problem = lane.problem;
    this.#settings.onState(this);
  }
}

/** Bounds and times that may change while running. */
export interface ShardTiming {
  readonly connectMs: number;
  readonly holdMs: number;
  readonly timeoutMs: number;
  /** How long the copies may take to confirm a write. */
  readonly writeMs: number;
  /** Most commands in line on one lane. */
  readonly queueBound: number;
  /** Most connections lent at a time. */
  readonly exclusiveBound: number;
}

/** What all shards of a proxy have in common. */
export interface ShardSettings extends ShardTiming {
  readonly pool: BufferPool;
  readonly secure: Secure | null;
  /** Every password is derived from it. */
  readonly secret: string;
  readonly random: Random;
  /** Looks through what waits on a shard's lanes after keys have got other owners. */
  readonly sieveOf: (shard: Shard) => Sieve;
  /** A shard's primary has become reachable, or is so no more. */
  readonly onState: (shard: Shard) => void;
  /**
   * The connections in use are about to be left, though the node is the same: another epoch begins, or a planned change
   * of primary. Who waits for data there must be let go (CLIENT UNBLOCK goes out if it is sent in this call).
   */
  readonly onLeaving: (shard: Shard) => void;
  /** The primary is another node or incarnation, or its epoch another: connections must be made anew. */
  readonly onMoved: (shard: Shard) => void;
}

function requirementOf({ epoch, inSync, joining }: ShardState): Requirement {
  return { epoch, required: inSync.length, held: joining !== null };
}

/** Why nothing may be sent to the primary now; empty: it may. */
function barredBy({ primary, paused }: ShardState): string {
  if (primary.runId === null) return 'it was never formed: no supervisor has set it up yet';
  return paused ? 'it is about to get another primary, as planned' : '';
}

function isSamePlace(one: PrimaryAddress, other: PrimaryAddress): boolean {
  return one.host === other.host && one.port === other.port && one.runId === other.runId;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const NO_PART = 'the shard is no longer part of the cluster';

/** Databases of a node, as Redis has them by default. */
export const DATABASES = MOST_LANES / 2;
const IDLE_MS = 60_000;
