import { hostname } from 'node:os';
import { systemClock } from '../base/clock.ts';
import { EnvironmentError } from '../base/environment-error.ts';
import type { Logger } from '../base/log.ts';
import type { Config } from '../config/config.ts';
import { ConfigWatch } from '../config/watch.ts';
import { feedToken } from '../topology/credentials.ts';
import { openStore } from '../topology/open-store.ts';
import { pause } from '../topology/pause.ts';
import { initialTopology, type Topology } from '../topology/snapshot.ts';
import { type Leadership, StoreError, type TopologyStore } from '../topology/store.ts';
import { EventLog } from './events.ts';
import { SupervisorHttp } from './http.ts';
import { engineSettings, Leading } from './leading.ts';
import { Counts, exposition } from './metrics.ts';
import { reconcile } from './reconcile.ts';
import { type ClusterStatus, clusterStatus } from './status.ts';

/** After a leadership that has ended, or a store that failed for good. */
const PAUSE_MS = 1000;

/** A supervisor that runs. */
export interface RunningSupervisor {
  close(): Promise<void>;
}

/**
 * Runs the supervisor of a settings file: it waits until it leads, leads, and tells proxies the topology all the while.
 *
 * `advertise`: the URL at which others reach it; null: made of `supervisor.listen`. Throws `EnvironmentError` when its
 * port or its store cannot be had, or the store is another cluster's; an etcd that is away is waited for.
 */
export async function runSupervisor(
  config: Config,
  log: Logger,
  advertise: string | null = null,
): Promise<RunningSupervisor> {
  const supervisor = new Supervisor(config, log, advertise ?? ownUrl(config));
  try {
    await supervisor.start();
    return supervisor;
  } catch (error) {
    await supervisor.close();
    throw error;
  }
}

class Supervisor implements RunningSupervisor {
  #config: Config;
  readonly #log: Logger;
  readonly #self: string;
  readonly #events: EventLog;
  readonly #counts = new Counts();
  readonly #http: SupervisorHttp;
  readonly #closing = new AbortController();
  #store: TopologyStore | null = null;
  /** What the store says of itself; null: it works. */
  #storeProblem: string | null = null;
  /** With what the last attempt to lead ended; null: it did not. */
  #failure: string | null = null;
  #settings: ConfigWatch | null = null;
  #topology: Topology | null = null;
  #leading: Leading | null = null;
  /** What the settings propose and the topology in force does not follow. */
  #refused: readonly string[] = [];
  /** Why the version that is being written is. */
  #writing: { readonly version: number; readonly why: string } | null = null;
  /** The highest term that was met on a node. */
  #aboveTerm = 0;
  #campaigns: Promise<void> = Promise.resolve();

  constructor(config: Config, log: Logger, self: string) {
    this.#config = config;
    this.#log = log;
    this.#self = self;
    this.#events = new EventLog(log, () => systemClock.wallMs());
    const that = this;
    this.#http = new SupervisorHttp(
      {
        topology: () => this.#topology,
        status: leader => this.#status(leader),
        events: afterId => this.#events.after(afterId),
        metrics: async () => exposition(this.#status(await this.#leader(), false), this.#counts),
        get isLeading() {
          return that.#leading !== null;
        },
        get storeProblem() {
          return that.#storeProblem ?? that.#failure;
        },
        leader: () => this.#leader(),
        order: order => this.#leading?.order(order) ?? null,
      },
      {
        token: feedToken(config.secret, config.cluster),
        openToRead: config.supervisor.auth.dashboard === 'open',
        self,
      },
    );
  }

  async start(): Promise<void> {
    const { file, cluster, supervisor } = this.#config;
    const { host, port } = supervisor.listen;
    const store = await openStore(supervisor.store, cluster, problem => this.#onStoreProblem(problem));
    this.#store = store;
    // What lies on this machine can be judged now, while somebody looks on; etcd may be away.
    if (supervisor.store.kind === 'file') await this.#readKept(store);
    await this.#http.listen(host, port).catch((error: NodeJS.ErrnoException) => {
      throw new EnvironmentError(listenTrouble(error, `${host}:${port}`));
    });
    store.watch(topology => this.#take(topology));
    this.#settings = new ConfigWatch(file, {
      onReload: ({ config, needsRestart }) => this.#onSettings(config, needsRestart),
      onMistakes: error => this.#log.error({ mistakes: error.mistakes }, 'settings not read again'),
    });
    this.#log.info({ listen: `${host}:${port}`, self: this.#self, store: supervisor.store.kind }, 'supervisor runs');
    this.#campaigns = this.#campaignAndLead(store);
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new Error('this supervisor ends'));
    this.#settings?.close();
    this.#leading?.end('this supervisor ends');
    await this.#campaigns;
    await this.#http.close();
    await this.#store?.close();
    this.#log.info('ended');
  }

  /** Until `close`: campaign, lead, rest, and again. Never rejects but for mistakes of this program. */
  async #campaignAndLead(store: TopologyStore): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        const leadership = await store.campaign(this.#self, signal, this.#aboveTerm);
        await this.#lead(store, leadership);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof StoreError)) throw error;
        if (error.message !== this.#failure) this.#tellStore(error.message);
        this.#failure = error.message;
      }
      await pause(PAUSE_MS, signal).catch(() => undefined);
    }
  }

  /** From the beginning of a leadership to its end. Throws `StoreError` when not even the topology can be had. */
  async #lead(store: TopologyStore, leadership: Leadership): Promise<void> {
    let leading: Leading | null = null;
    try {
      const topology = await this.#startingTopology(store, leadership);
      this.#take(topology);
      leading = new Leading({
        ...{ config: this.#config, leadership, topology, clock: systemClock, events: this.#events },
        onPublishing: (version, why) => {
          this.#writing = { version, why };
        },
        onPublished: next => this.#take(next),
      });
      const text = `leading, term ${leadership.term}, from topology ${topology.version}`;
      this.#events.add({ level: 'info', event: 'leading', shard: null, node: null, text });
      this.#leading = leading;
      if (this.#failure !== null) this.#tellStore(null);
      this.#failure = null;
      if (this.#closing.signal.aborted) leading.end('this supervisor ends');
      else leading.start();
      const reason = await leading.ended;
      this.#aboveTerm = Math.max(this.#aboveTerm, leading.metTerm);
      const end = `no longer leading, term ${leadership.term}: ${reason}`;
      const level = this.#closing.signal.aborted ? 'info' : 'warn';
      this.#events.add({ level, event: 'not-leading', shard: null, node: null, text: end });
    } finally {
      this.#leading = null;
      this.#writing = null;
      await leading?.close();
      await leadership.resign();
    }
  }

  /** What is kept decides; without it, what the settings propose. Either is in the store when this resolves. */
  async #startingTopology(store: TopologyStore, leadership: Leadership): Promise<Topology> {
    const { term } = leadership;
    const proposed = initialTopology(this.#config);
    const kept = await store.read();
    const { topology, refused } = kept === null ? { topology: proposed, refused: [] } : reconcile(kept, proposed);
    this.#tellRefused(refused);
    if (topology === kept) return kept;
    const next = { ...topology, term };
    this.#writing = { version: next.version, why: kept === null ? 'proposed by the settings' : 'the settings changed' };
    await leadership.write(next, kept?.version ?? 0);
    return next;
  }

  /** Throws `EnvironmentError` when what is kept cannot be gone on with. */
  async #readKept(store: TopologyStore): Promise<void> {
    try {
      const kept = await store.read();
      if (kept !== null) this.#tellRefused(reconcile(kept, initialTopology(this.#config)).refused);
    } catch (error) {
      if (error instanceof StoreError) throw new EnvironmentError(error.message);
      throw error;
    }
  }

  #tellRefused(refused: readonly string[]): void {
    if (refused.join() === this.#refused.join()) return;
    this.#refused = refused;
    if (refused.length === 0) return;
    const text = `the settings differ from the topology in force, which stays, as keys do not move: ${refused.join(', ')}`;
    this.#events.add({ level: 'warn', event: 'settings', shard: null, node: null, text });
  }

  /** A version that the store has, from whomever. */
  #take(topology: Topology): void {
    const before = this.#topology;
    if (before !== null && topology.version <= before.version) return;
    this.#topology = topology;
    const isOwn = this.#writing?.version === topology.version;
    if (isOwn && before !== null && this.#leading !== null) this.#counts.published(before, topology);
    this.#events.published(before, topology, isOwn ? (this.#writing?.why ?? null) : null);
    this.#http.publish(topology);
    if (this.#leading === null && !isOwn) {
      this.#tellRefused(reconcile(topology, initialTopology(this.#config)).refused);
    }
  }

  async #leader(): Promise<string | null> {
    return this.#leading !== null ? this.#self : ((await this.#store?.leader()) ?? null);
  }

  /** `isForLeader`: it was the leader who was asked, and this is told in its place. */
  #status(leader: string | null, isForLeader = true): ClusterStatus {
    const problems = [...new Set([this.#storeProblem, this.#failure])].filter(problem => problem !== null);
    if (this.#topology === null) problems.push('no topology is known yet: the store has not answered');
    if (leader === null) problems.push('nobody leads: no lost primary is replaced until somebody does');
    else if (this.#leading === null && isForLeader)
      problems.push(`the leader ${leader} did not answer; this is what a follower knows`);
    if (this.#refused.length > 0)
      problems.push(`the settings here differ from what is in force: ${this.#refused.join(', ')}`);
    return clusterStatus(this.#config.cluster, this.#topology, {
      ...{ leader, knownBy: this.#self, problems },
      leading: this.#leading?.knowledge() ?? null,
    });
  }

  #onStoreProblem(problem: string | null): void {
    if (problem !== this.#storeProblem) this.#tellStore(problem);
    this.#storeProblem = problem;
  }

  #tellStore(problem: string | null): void {
    const text = problem ?? 'the store works again';
    const level = problem === null ? 'info' : 'error';
    this.#events.add({ level, event: 'store', shard: null, node: null, text });
  }

  /** What the deciding half goes by, and may change while it runs, begins a new term; the rest waits for a restart. */
  #onSettings(config: Config, needsRestart: readonly string[]): void {
    const own = needsRestart.filter(path => !path.startsWith('proxy.'));
    if (own.length > 0) this.#log.warn({ needsRestart: own }, 'settings have changed; these wait for a restart');
    const { reads, rules } = config;
    const next = { ...this.#config, reads, rules };
    const isOther = engineSettings(next).replicaReads !== engineSettings(this.#config).replicaReads;
    this.#config = next;
    if (isOther) this.#leading?.end('the settings let replicas answer reads, or no longer: beginning anew with them');
  }
}

/** Where others are likely to reach this process; who listens on every address is named by its host. */
function ownUrl({ supervisor: { listen } }: Config): string {
  const host = listen.host === '0.0.0.0' || listen.host === '::' ? hostname() : listen.host;
  return `http://${host.includes(':') ? `[${host}]` : host}:${listen.port}`;
}

function listenTrouble(error: NodeJS.ErrnoException, address: string): string {
  if (error.code === 'EADDRINUSE')
    return `${address} is taken by another process: end it, or set another supervisor.listen`;
  return `cannot listen on ${address} (${error.code ?? error.message}): correct supervisor.listen`;
}
