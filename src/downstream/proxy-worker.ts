import type { Log } from '../base/line-log.ts';
import { Random } from '../base/random.ts';
import type { Config } from '../config/config.ts';
import { Proxy } from '../proxy/proxy.ts';
import { ProxyMetrics } from '../telemetry/proxy-cells.ts';
import { feedToken } from '../topology/credentials.ts';
import { type FeedEvent, TopologyFeed } from '../topology/feed.ts';
import { LastKnownTopology } from '../topology/last-known.ts';
import { initialTopology, type Topology } from '../topology/snapshot.ts';
import { type Secure, secureLinks } from '../upstream/secure.ts';
import { Listener } from './listener.ts';

/**
 * One worker of a proxy: the data path with its source of topology, between starting and draining.
 *
 * It serves with what it knows: the supervisors' word when one answers, else the last word it was told (kept on disk),
 * else what the settings propose. No supervisor is needed to start or to go on.
 */
export interface ProxyWorker {
  /** Begins to accept clients; rejects with the system's error when an address cannot be had. */
  listen(): Promise<void>;
  /** What `/status` shows of this worker. */
  status(): object;
  /** Whether every shard has a primary that is logged in to; else what is missing. */
  ready(): { ok: boolean; waitingFor: string[] };
  metrics(): ProxyMetrics;
  /** Stops accepting, finishes what is in flight, closes; resolves when nothing is left. */
  drain(graceMs: number): Promise<void>;
  /** Takes settings that may change while running. */
  reload(config: Config): void;
}

export async function runProxyWorker(config: Config, log: Log): Promise<ProxyWorker> {
  const memory = new LastKnownTopology(config.proxy.stateDir, config.cluster);
  const { topology: remembered, problem } = await memory.load();
  if (problem !== null) log.warn(`the last known topology is not used: ${problem}`);
  const secure = await secureLinks(config.nodeAccess.tls);
  return new Worker(config, log, memory, remembered, secure);
}

class Worker implements ProxyWorker {
  readonly #log: Log;
  readonly #memory: LastKnownTopology;
  readonly #proxy: Proxy;
  readonly #listener: Listener;
  readonly #feed: TopologyFeed;
  readonly #metrics = new ProxyMetrics();
  readonly #sweeper: NodeJS.Timeout;

  constructor(config: Config, log: Log, memory: LastKnownTopology, remembered: Topology | null, secure: Secure | null) {
    this.#log = log;
    this.#memory = memory;
    this.#proxy = new Proxy(config, remembered ?? initialTopology(config), secure, this.#metrics, log);
    this.#listener = new Listener(this.#proxy);
    this.#feed = new TopologyFeed({
      peers: config.supervisor.peers,
      token: feedToken(config.secret, config.cluster),
      cluster: config.cluster,
      knownVersion: remembered?.version ?? 0,
      random: new Random((Math.random() * 2 ** 32) >>> 0),
      onTopology: (next, peer) => this.#onTopology(next, peer),
      onEvent: event => this.#onFeedEvent(event),
    });
    this.#feed.start();
    this.#sweeper = setInterval(() => {
      this.#proxy.sweep();
      this.#listener.sweep(this.#proxy.nowMs);
    }, SWEEP_MS);
  }

  listen(): Promise<void> {
    return this.#listener.listen();
  }

  ready(): { ok: boolean; waitingFor: string[] } {
    const waitingFor = this.#proxy.waitingFor();
    return { ok: waitingFor.length === 0, waitingFor };
  }

  metrics(): ProxyMetrics {
    return this.#metrics;
  }

  status(): object {
    const proxy = this.#proxy;
    return {
      cluster: proxy.topology.cluster,
      topologyVersion: proxy.topology.version,
      supervisor: this.#feed.connectedPeers[0] ?? null,
      clients: this.#listener.sessions.size,
      heldBytes: proxy.pool.heldBytes,
      shards: proxy.shards.map(shard => ({
        name: shard.name,
        primary: shard.address.nodeId,
        address: `${shard.address.host}:${shard.address.port}`,
        epoch: shard.state.epoch,
        required: shard.state.inSync.length,
        joining: shard.state.joining,
        paused: shard.state.paused,
        unconfirmed: shard.cells.kept,
        up: shard.up,
        problem: shard.problem,
        inFlight: shard.cells.inFlight,
        queued: shard.cells.queued,
        lanes: shard.cells.lanes,
        exclusive: shard.cells.exclusive,
      })),
    };
  }

  async drain(graceMs: number): Promise<void> {
    this.#feed.close();
    await this.#listener.drain(graceMs);
    clearInterval(this.#sweeper);
    this.#proxy.close();
  }

  reload(config: Config): void {
    this.#proxy.reconfigure(config);
  }

  #onTopology(topology: Topology, peer: string): void {
    this.#log.info({ version: topology.version }, `topology ${topology.version} came from ${peer}`);
    this.#proxy.follow(topology);
    void this.#memory.save(topology).then(problem => {
      if (problem !== null) this.#log.warn(`the topology is not kept on disk: ${problem}`);
    });
  }

  #onFeedEvent(event: FeedEvent): void {
    this.#metrics.topology.feedConnected = this.#feed.isConnected ? 1 : 0;
    if (event.kind === 'connected') {
      this.#log.info(`the supervisor at ${event.peer} feeds the topology`);
      return;
    }
    const others = this.#feed.isConnected ? 'another does' : 'serving with what is known';
    const reason = `${event.kind}: ${event.reason}`;
    this.#log.warn(`the supervisor at ${event.peer} does not feed the topology (${reason}); ${others}`);
  }
}

const SWEEP_MS = 100;
