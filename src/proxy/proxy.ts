import type { ConnectionOptions } from 'node:tls';
import { BufferPool } from '../base/buffer-pool.ts';
import { coarse, tick } from '../base/coarse-clock.ts';
import type { Logger } from '../base/log.ts';
import { Random } from '../base/random.ts';
import { CommandTable } from '../commands/table.ts';
import type { Config } from '../config/config.ts';
import { createRing, type Ring } from '../ring/ring.ts';
import type { ProxyMetrics } from '../telemetry/proxy-cells.ts';
import type { Topology, TopologyNode, TopologyShard } from '../topology/snapshot.ts';
import type { Client } from './client.ts';
import { ScriptCache } from './script-cache.ts';
import { type PrimaryAddress, Shard, type ShardSettings } from './shard.ts';
import { Slowlog } from './slowlog.ts';
import { SubscriptionHub } from './subscriptions.ts';

/**
 * What all clients of one proxy share: the ring and its shards, the table of commands, memory, counters.
 *
 * It changes only by a topology (`follow`) or new settings (`reconfigure`); commands are carried out by `dispatch.ts`
 * and the files beside it.
 */
export class Proxy {
  config: Config;
  readonly log: Logger;
  readonly table = CommandTable.fromSnapshot();
  readonly pool: BufferPool;
  readonly metrics: ProxyMetrics;
  readonly clients = new Map<number, Client>();
  readonly scripts = new ScriptCache();
  readonly slowlog: Slowlog;
  readonly subscriptions: SubscriptionHub;
  readonly startedWallMs = Date.now();
  ring: Ring;
  shards: Shard[] = [];
  topology: Topology;
  /** CLIENT PAUSE: until when, and whether reads go on; 0 when nobody paused. */
  pausedUntilMs = 0;
  pausedWritesOnly = false;
  readonly #paused = new Set<Client>();
  #pauseTimer: NodeJS.Timeout | null = null;
  #lastClientId = 0;
  readonly #random = new Random((Math.random() * 2 ** 32) >>> 0);
  readonly #secure: ConnectionOptions | null;

  constructor(
    config: Config,
    topology: Topology,
    secure: ConnectionOptions | null,
    metrics: ProxyMetrics,
    log: Logger,
  ) {
    this.config = config;
    this.log = log;
    this.metrics = metrics;
    this.#secure = secure;
    this.pool = new BufferPool(config.proxy.limits.heldBytes);
    this.slowlog = new Slowlog(config.proxy.slowlog);
    this.topology = topology;
    this.ring = createRing(topology.ring, topology.shards);
    this.subscriptions = new SubscriptionHub(this);
    this.shards = topology.shards.map((shard, index) => this.#createShard(shard, index, topology));
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
    return this.shards.filter(shard => !shard.up).map(shard => `${shard.name}: ${shard.problem}`);
  }

  /** Takes a newer topology for the truth. */
  follow(topology: Topology): void {
    const before = this.topology;
    this.topology = topology;
    this.metrics.topology.version = topology.version;
    if (sameRing(before, topology)) {
      topology.shards.forEach((shard, index) => {
        (this.shards[index] as Shard).follow(primaryAddress(shard, topology.nodes));
      });
      return;
    }
    const old = new Map(this.shards.map(shard => [shard.name, shard]));
    this.shards = topology.shards.map((shard, index) => this.#createShard(shard, index, topology));
    this.ring = createRing(topology.ring, topology.shards);
    for (const shard of old.values()) {
      shard.close();
      if (!topology.shards.some(one => one.name === shard.name)) this.metrics.dropShard(shard.name);
    }
    this.subscriptions.follow();
  }

  /** Takes settings that may change while running. */
  reconfigure(config: Config): void {
    this.config = config;
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
    this.metrics.held.commands = queued;
    this.metrics.held.bytes = this.pool.heldBytes;
    this.metrics.clients.unreadBytes = this.pool.unreadBytes;
  }

  close(): void {
    this.unpause();
    this.subscriptions.close();
    for (const shard of this.shards) shard.close();
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
    const { nodeAccess, proxy } = this.config;
    const settings: ShardSettings = {
      pool: this.pool,
      secure: this.#secure,
      username: nodeAccess.username,
      password: nodeAccess.password,
      connectMs: proxy.connectMs,
      holdMs: proxy.holdMs,
      timeoutMs: proxy.timeoutMs,
      queueBound: proxy.limits.laneQueue,
      exclusiveBound: proxy.limits.exclusive,
      random: this.#random,
      onState: one => this.#onShardState(one),
      onMoved: one => this.subscriptions.onMoved(one),
    };
    return new Shard(
      shard.name,
      index,
      primaryAddress(shard, topology.nodes),
      settings,
      this.metrics.shard(shard.name),
    );
  }

  #onShardState(shard: Shard): void {
    const { host, port, nodeId } = shard.address;
    if (shard.up) {
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

/** The longest that a timer can be set. */
const MOST_TIMER_MS = 2 ** 31 - 1;

function primaryAddress(shard: TopologyShard, nodes: readonly TopologyNode[]): PrimaryAddress {
  const node = nodes.find(one => one.id === shard.primary) as TopologyNode;
  return { nodeId: node.id, host: node.host, port: node.port, runId: node.runId };
}

function sameRing(a: Topology, b: Topology): boolean {
  const describe = (topology: Topology): string =>
    JSON.stringify([topology.ring, topology.shards.map(shard => [shard.name, shard.weight])]);
  return describe(a) === describe(b);
}
