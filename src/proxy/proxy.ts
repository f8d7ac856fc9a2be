import { BufferPool } from '../base/buffer-pool.ts';
import { coarse, tick } from '../base/coarse-clock.ts';
import type { Log } from '../base/line-log.ts';
import { Random } from '../base/random.ts';
import { CommandTable } from '../commands/table.ts';
import type { Config } from '../config/config.ts';
import type { Ring } from '../ring/ring.ts';
import type { ProxyMetrics } from '../telemetry/proxy-cells.ts';
import { currentRoute, mayHoldKeys, ringInForce } from '../topology/move.ts';
import type { Topology, TopologyShard } from '../topology/snapshot.ts';
import type { Secure } from '../upstream/secure.ts';
import { endBlock } from './block.ts';
import type { Client } from './client.ts';
import { Gate } from './gate.ts';
import { learnCommands } from './learn-commands.ts';
import { bindingOf, Moving } from './moving.ts';
import { Rules } from './rules.ts';
import { ScanOrder } from './scan-order.ts';
import { ScriptCache } from './script-cache.ts';
import { Shard, type ShardSettings, type ShardTiming } from './shard.ts';
import { ShardSieve } from './shard-sieve.ts';
import { stateOf } from './shard-state.ts';
import { Slowlog } from './slowlog.ts';
import { SubscriptionHub } from './subscriptions.ts';
import { teachScripts } from './teach-scripts.ts';

/**
 * What all clients of one proxy share: the ring and its shards, the table of commands, memory, counters.
 *
 * It changes only by a topology (`follow`) or new settings (`reconfigure`); commands are carried out by `dispatch.ts`
 * and the files beside it.
 */
export class Proxy {
  config: Config;
  /** `config.proxy.limits`: the same object for ever, since decoders hold on to it; what is in it may change. */
  readonly limits: Config['proxy']['limits'];
  readonly log: Log;
  readonly table = CommandTable.fromSnapshot();
  /** Of the COMMAND reply in use; empty: the table is the shipped one. */
  commandsDigest = '';
  /** The version of Redis that the nodes run; until one has told, the one whose behaviour this program follows. */
  nodeVersion = '7.0.15';
  /** The incarnation whose table was asked for last, by shard. */
  readonly #learnedFrom = new Map<string, string>();
  readonly pool: BufferPool;
  readonly metrics: ProxyMetrics;
  readonly clients = new Map<number, Client>();
  readonly scripts = new ScriptCache();
  readonly slowlog: Slowlog;
  readonly subscriptions: SubscriptionHub;
  readonly startedWallMs = Date.now();
  /** What clients were promised for their keys. */
  rules: Rules;
  ring: Ring;
  /** How SCAN walks the shards. */
  scanOrder: ScanOrder;
  shards: Shard[] = [];
  /** Those of them that may hold keys: who is about to be added, or not set up yet, is asked nothing. */
  holders: readonly Shard[] = [];
  /** The shard for what has no key: it owns some now, and goes on owning some when a move is over. */
  home: Shard;
  /** Another number whenever some keys have another owner. */
  ownersVersion = 1;
  /** No longer part of the cluster; what was sent to them is not answered yet. */
  readonly #retired = new Set<Shard>();
  /** The portion of keys that is on the move; null: none is. */
  moving: Moving | null = null;
  /** Where everything waits that needs keys on the move. */
  readonly gate: Gate;
  topology: Topology;
  /** CLIENT PAUSE: until when, and whether reads go on; 0 when nobody paused. */
  pausedUntilMs = 0;
  pausedWritesOnly = false;
  readonly #paused = new Set<Client>();
  #pauseTimer: NodeJS.Timeout | null = null;
  #lastClientId = 0;
  readonly #random = new Random((Math.random() * 2 ** 32) >>> 0);
  readonly #secure: Secure | null;

  constructor(config: Config, topology: Topology, secure: Secure | null, metrics: ProxyMetrics, log: Log) {
    this.log = log;
    this.metrics = metrics;
    this.#secure = secure;
    this.pool = new BufferPool(config.proxy.limits.heldBytes);
    this.slowlog = new Slowlog(config.proxy.slowlog);
    this.topology = topology;
    this.ring = ringInForce(topology);
    this.scanOrder = new ScanOrder(topology);
    this.limits = { ...config.proxy.limits };
    this.config = this.#withLimits(config);
    this.rules = new Rules(config);
    this.subscriptions = new SubscriptionHub(this);
    this.shards = topology.shards.map((shard, index) => this.#createShard(shard, index, topology));
    this.home = this.shards[0] as Shard;
    this.gate = new Gate(this);
    this.moving = this.#movingOf(topology);
    this.moving?.start();
    this.#takeHolders(topology);
    metrics.topology.version = topology.version;
    this.#takeLimits();
  }

  /** Milliseconds of the monotonic clock, as of the read at hand. */
  get nowMs(): number {
    return coarse.nowMs;
  }

  /** A number for the next client, as CLIENT ID tells it. */
  nextClientId(): number {
    this.#lastClientId += 1;
    return this.#lastClientId;
  }

  /** A number in [0, 1), for choices that need no secret. */
  random(): number {
    return this.#random.next();
  }

  /** Shards whose primary is not logged in to, with the reason. */
  waitingFor(): string[] {
    return this.holders.filter(shard => !shard.up).map(shard => `${shard.name}: ${shard.problem}`);
  }

  /** Takes a newer topology for the truth. */
  follow(topology: Topology): void {
    const before = this.topology;
    this.topology = topology;
    this.metrics.topology.version = topology.version;
    const isSameRing = describeRing(before) === describeRing(topology);
    const retired = isSameRing ? [] : this.#takeShards(topology);
    if (!isSameRing) {
      this.ring = ringInForce(topology);
      this.scanOrder = new ScanOrder(topology);
      this.ownersVersion += 1;
      this.#settleClients();
    }
    const wasMoving = this.moving;
    this.moving = this.#movingOf(topology);
    if (wasMoving !== this.moving) wasMoving?.end('the portion goes on under another topology');
    this.#takeHolders(topology);
    topology.shards.forEach((shard, index) => {
      (this.shards[index] as Shard).follow(stateOf(shard, topology));
    });
    // What was taken from other lanes before keeps its place in front of what is taken now.
    this.moving?.start();
    if (wasMoving !== this.moving) this.gate.follow();
    if (isSameRing) return;
    for (const shard of this.shards) shard.sieve();
    for (const shard of retired) shard.retire();
    this.subscriptions.follow();
  }

  /** A client is gone: nothing here knows it any more. */
  forget(client: Client): void {
    this.clients.delete(client.id);
    this.#paused.delete(client);
    endBlock(client, this.pool);
    this.subscriptions.forget(client);
    this.gate.forget(client);
  }

  /** Takes settings that may change while running. */
  reconfigure(config: Config): void {
    this.config = this.#withLimits(config);
    this.rules = new Rules(config);
    for (const shard of this.shards) shard.reconfigure(this.#timing());
    this.pool.boundBytes = config.proxy.limits.heldBytes;
    this.slowlog.settings = config.proxy.slowlog;
    this.#takeLimits();
  }

  /** CLIENT PAUSE: commands (or only writes) wait until then, on the clock of `nowMs`. */
  pause(untilMs: number, writesOnly: boolean): void {
    this.pausedUntilMs = untilMs;
    this.pausedWritesOnly = writesOnly;
    if (this.#pauseTimer !== null) clearTimeout(this.#pauseTimer);
    this.#pauseTimer = setTimeout(() => this.unpause(), Math.min(untilMs - performance.now(), MOST_TIMER_MS));
  }

  /** CLIENT UNPAUSE, or the end of the time. */
  unpause(): void {
    this.pausedUntilMs = 0;
    if (this.#pauseTimer !== null) clearTimeout(this.#pauseTimer);
    this.#pauseTimer = null;
    const held = [...this.#paused];
    this.#paused.clear();
    for (const client of held) client.release();
  }

  /** The client's next command waits for the end of the pause. */
  holdPaused(client: Client): void {
    client.held = true;
    this.#paused.add(client);
  }

  /** Some times a second: bounds in time, gauges. */
  sweep(): void {
    const nowMs = tick();
    let queued = 0;
    for (const shard of this.shards) {
      shard.sweep(nowMs);
      queued += shard.cells.queued;
    }
    for (const shard of this.#retired) {
      shard.sweep(nowMs);
      if (shard.idle) this.#closeRetired(shard);
    }
    this.subscriptions.sweep(nowMs);
    this.moving?.sweep(nowMs);
    this.gate.sweep(nowMs);
    this.metrics.held.commands = queued;
    this.metrics.held.bytes = this.pool.heldBytes;
    this.metrics.clients.unreadBytes = this.pool.unreadBytes;
  }

  close(): void {
    this.unpause();
    this.subscriptions.close();
    this.moving?.end('the proxy is closing');
    for (const shard of [...this.shards, ...this.#retired]) shard.close();
  }

  /** The one at hand goes on as long as nothing has changed that the steps of a pull are bound to. */
  #movingOf(topology: Topology): Moving | null {
    const route = currentRoute(topology.move);
    if (route === null) return null;
    if (this.moving?.binding === bindingOf(topology)) return this.moving;
    const shardOf = (name: string): Shard => this.shards.find(shard => shard.name === name) as Shard;
    return new Moving(this, topology, shardOf(route.giver), shardOf(route.taker), this.moving);
  }

  /** Nothing that a client sends from now on may overtake what it has on its way to whoever owned its keys until now. */
  #settleClients(): void {
    for (const client of this.clients.values()) {
      if (client.inFlight === 0) continue;
      client.settling = true;
      client.plain = false;
    }
  }

  /** Makes the shards those of the topology; which of the old ones are not part of it any more. */
  #takeShards(topology: Topology): Shard[] {
    const old = new Map(this.shards.map(shard => [shard.name, shard]));
    this.shards = topology.shards.map((shard, index) => {
      const kept = old.get(shard.name);
      if (kept === undefined) return this.#createShard(shard, index, topology);
      old.delete(shard.name);
      kept.index = index;
      return kept;
    });
    for (const shard of old.values()) {
      shard.index = NOWHERE;
      this.#retired.add(shard);
    }
    for (const client of this.clients.values()) client.publishedTo = NOWHERE;
    return [...old.values()];
  }

  #takeHolders({ shards, move }: Topology): void {
    const isHolder = (shard: TopologyShard): boolean => mayHoldKeys(shard, move);
    this.holders = this.shards.filter((_, index) => isHolder(shards[index] as TopologyShard));
    const stays = ({ name, weight }: TopologyShard): boolean =>
      weight > 0 && (move === null || (move.weights[name] ?? 0) > 0);
    const index = Math.max(shards.findIndex(stays), 0);
    this.home = shards.some(stays) ? (this.shards[index] as Shard) : (this.holders[0] as Shard);
  }

  /** Nobody waits for anything of it any more. */
  #closeRetired(shard: Shard): void {
    this.#retired.delete(shard);
    shard.close();
    // It may have come back under its name meanwhile, and counts on in the same cells.
    if (!this.shards.some(({ name }) => name === shard.name)) this.metrics.dropShard(shard.name);
  }

  #withLimits(config: Config): Config {
    Object.assign(this.limits, config.proxy.limits);
    return { ...config, proxy: { ...config.proxy, limits: this.limits } };
  }

  #timing(): ShardTiming {
    const { connectMs, holdMs, timeoutMs, limits } = this.config.proxy;
    const writeMs = this.config.writes.timeoutMs;
    return { connectMs, holdMs, timeoutMs, writeMs, queueBound: limits.laneQueue, exclusiveBound: limits.exclusive };
  }

  #takeLimits(): void {
    const { limits } = this.config.proxy;
    Object.assign(this.metrics.limits, {
      clients: limits.clients,
      heldBytes: limits.heldBytes,
      unreadBytes: limits.unreadBytes,
      laneQueue: limits.laneQueue,
      exclusive: limits.exclusive,
    });
  }

  #createShard(shard: TopologyShard, index: number, topology: Topology): Shard {
    const settings: ShardSettings = {
      pool: this.pool,
      secure: this.#secure,
      secret: this.config.secret,
      ...this.#timing(),
      random: this.#random,
      sieveOf: one => new ShardSieve(this, one),
      onState: one => this.#onShardState(one),
      onLeaving: one => this.#letGo(one),
      onMoved: one => this.subscriptions.onMoved(one),
    };
    return new Shard(shard.name, index, stateOf(shard, topology), settings, this.metrics.shard(shard.name));
  }

  /** Who waits on connections of this shard that are about to be left begins anew on others. */
  #letGo(shard: Shard): void {
    for (const { borrowed } of this.clients.values()) {
      if (borrowed !== null && borrowed.shard === shard.index) borrowed.leave?.();
    }
  }

  /** A primary was logged in to: what it runs, and which commands it knows, is what clients are told. */
  #onLogin(shard: Shard): void {
    const { version, runId } = shard.lane(0, 2);
    this.nodeVersion = version;
    if (this.#learnedFrom.get(shard.name) === runId) return;
    this.#learnedFrom.set(shard.name, runId);
    learnCommands(this, shard);
    // It is about to be given keys, on which scripts may run in the midst of what they depend on.
    if (!this.holders.includes(shard)) teachScripts(this, shard);
  }

  #onShardState(shard: Shard): void {
    if (shard.retired) return;
    const { host, port, nodeId } = shard.address;
    if (shard.up) {
      this.#onLogin(shard);
      this.log.info(
        { shard: shard.name, node: nodeId },
        `shard ${shard.name}: logged in to ${nodeId} at ${host}:${port}`,
      );
    } else {
      this.log.warn(
        { shard: shard.name, node: nodeId },
        `shard ${shard.name}: ${nodeId} at ${host}:${port} cannot be used: ${shard.problem}`,
      );
    }
  }
}

/** The index of a shard that is no longer part of the cluster. */
const NOWHERE = -1;

/** The longest that a timer can be set. */
const MOST_TIMER_MS = 2 ** 31 - 1;

/** All that decides which shard owns a key. */
function describeRing({ ring, shards, move }: Topology): string {
  // Neither how fast it goes, nor whether it stands still.
  const owners = move === null ? null : { ...move, paused: null, keysPerSecond: null, allowStalls: false };
  return JSON.stringify([ring, shards.map(shard => [shard.name, shard.weight]), owners]);
}
