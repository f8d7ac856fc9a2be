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
import type { OrderAnswer } from './core/engine.ts';
import { type EmptyAnswer, emptySpare } from './emptying.ts';
import { EventLog } from './events.ts';
import { SupervisorHttp } from './http.ts';
import { engineSettings, Leading } from './leading.ts';
import { Counts, exposition } from './metrics.ts';
import type { EmptyWish } from './orders.ts';
import { type MovePlan, summaryOf } from './plan.ts';
import { draft } from './plan-draft.ts';
import { applyPlan, CHANGED, type Leave, planMove } from './planner.ts';
import { type Proposal, proposalOf } from './proposal.ts';
import { reconcile, withoutEmptyShards } from './reconcile.ts';
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
  /** What the settings propose and `ringside apply` would do, in one line; null: nothing. */
  #pending: string | null = null;
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
        empty: (node, wish) => this.#empty(node, wish),
        plan: proposal => this.#plan(proposal),
        apply: (proposal, leave) => this.#apply(proposal, leave),
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
        if (await this.#lead(store, leadership)) continue;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof StoreError)) throw error;
        if (error.message !== this.#failure) this.#tellStore(error.message);
        this.#failure = error.message;
      }
      await pause(PAUSE_MS, signal).catch(() => undefined);
    }
  }

  /**
   * From the beginning of a leadership to its end; whether it ended so as to begin anew at once. Throws `StoreError` when
   * not even the topology can be had.
   */
  async #lead(store: TopologyStore, leadership: Leadership): Promise<boolean> {
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
      const { reason, isToBeginAnew } = await leading.ended;
      this.#aboveTerm = Math.max(this.#aboveTerm, leading.metTerm);
      const end = `no longer leading, term ${leadership.term}: ${reason}`;
      const level = this.#closing.signal.aborted || isToBeginAnew ? 'info' : 'warn';
      this.#events.add({ level, event: 'not-leading', shard: null, node: null, text: end });
      return isToBeginAnew;
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
    const kept = await store.read();
    const topology = kept === null ? initialTopology(this.#config) : this.#successor(kept);
    this.#compare(topology);
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
      if (kept !== null) this.#compare(kept);
    } catch (error) {
      if (error instanceof StoreError) throw new EnvironmentError(error.message);
      throw error;
    }
  }

  /** What the settings change of a topology without moving a key; the same object where that is nothing. */
  #successor(kept: Topology): Topology {
    const base = withoutEmptyShards(kept);
    const { topology } = reconcile(base, proposalOf(this.#config));
    return topology === kept ? kept : { ...topology, version: kept.version + 1 };
  }

  /** Tells, once, where the settings differ from what is in force. */
  #compare(topology: Topology): void {
    const proposal = proposalOf(this.#config);
    const { refused, pending } = reconcile(withoutEmptyShards(topology), proposal);
    if (refused.join() !== this.#refused.join()) {
      this.#refused = refused;
      const text = `the settings differ from the topology in force, which stays: ${refused.join(', ')}`;
      if (refused.length > 0) this.#tellSettings(text);
    }
    const summary = pending.length === 0 ? null : pendingSummary(topology, proposal, pending);
    if (summary === this.#pending) return;
    this.#pending = summary;
    if (summary !== null) this.#tellSettings(`the settings want something else than what is in force: ${summary}`);
  }

  #tellSettings(text: string): void {
    this.#events.add({ level: 'warn', event: 'settings', shard: null, node: null, text });
  }

  async #empty(node: string, wish: EmptyWish): Promise<EmptyAnswer | null> {
    const leading = this.#leading;
    return leading === null ? null : emptySpare({ leading, config: this.#config, clock: systemClock }, node, wish);
  }

  async #plan(proposal: Proposal): Promise<MovePlan | null> {
    const leading = this.#leading;
    return leading === null ? null : planMove({ leading, config: this.#config, clock: systemClock }, proposal);
  }

  async #apply(proposal: Proposal, leave: Leave): Promise<OrderAnswer | null> {
    const leading = this.#leading;
    return leading === null ? null : applyPlan({ leading, config: this.#config, clock: systemClock }, proposal, leave);
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
    if (before === null || mayDiffer(before, topology)) this.#compare(topology);
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
    if (this.#pending !== null)
      problems.push(`the settings here want something else than what is in force: ${this.#pending}`);
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

  /**
   * What the deciding half goes by, or what of the nodes changes without moving a key, begins a new term; other shards
   * wait for a person; the rest waits for a restart.
   */
  #onSettings(config: Config, needsRestart: readonly string[]): void {
    const own = needsRestart.filter(path => !path.startsWith('proxy.'));
    if (own.length > 0) this.#log.warn({ needsRestart: own }, 'settings have changed; these wait for a restart');
    const before = this.#config;
    const { reads, rules, nodes, shards, areShardsPlaced, ring } = config;
    const supervisor = { ...before.supervisor, move: config.supervisor.move };
    const nodeAccess = { ...before.nodeAccess, keepDefaultUser: config.nodeAccess.keepDefaultUser };
    this.#config = { ...before, reads, rules, nodes, nodeAccess, shards, areShardsPlaced, ring, supervisor };
    if (this.#topology !== null) this.#compare(this.#topology);
    const isOther = JSON.stringify(shardsOf(before)) !== JSON.stringify(shardsOf(this.#config));
    void this.#takeUp(before).then(() => (isOther ? this.#moveByItself() : undefined));
  }

  /** As the leader: takes up what may be taken up at once. */
  async #takeUp(before: Config): Promise<void> {
    const leading = this.#leading;
    if (leading === null) return;
    const why = 'the settings have changed';
    const failure = await leading.restructure(topology => this.#successor(topology), why);
    if (failure !== null) return;
    const names = new Set(this.#topology?.shards.map(({ name }) => name));
    if (engineKey(before, names) !== engineKey(this.#config, names))
      leading.end(`${why}: beginning anew with them`, true);
  }

  /**
   * `supervisor.move.auto`: the file was changed while this supervisor ran, and that is all the person has to do. Whoever
   * leads, soon after the change, begins; then it is pending nowhere any more.
   */
  async #moveByItself(): Promise<void> {
    const proposal = proposalOf(this.#config);
    const endMs = systemClock.nowMs() + AUTO_MS;
    const isWanted = (): boolean => {
      const { move } = this.#config.supervisor;
      const isSame = JSON.stringify(proposalOf(this.#config)) === JSON.stringify(proposal);
      return move.auto && isSame && this.#pending !== null && systemClock.nowMs() < endMs;
    };
    while (isWanted() && !this.#closing.signal.aborted) {
      const plan = await this.#plan(proposal);
      const answer = plan === null ? null : await this.#apply(proposal, { basis: plan.basis, allowStalls: false });
      // Null: between two terms, or a follower; changed: who gets which nodes, since a copy was lost or made meanwhile.
      const isToBeTriedAgain = answer === null || answer.text === CHANGED;
      if (!isToBeTriedAgain && !answer.accepted)
        this.#tellSettings(`the change of shards in the settings was not begun: ${answer.text}`);
      // Nobody has looked at the plan.
      if (answer?.accepted === true) for (const warning of plan?.warnings ?? []) this.#tellSettings(warning);
      if (!isToBeTriedAgain) return;
      await pause(AUTO_AGAIN_MS, this.#closing.signal).catch(() => undefined);
    }
  }
}

/** The supervisors' files are changed within this time, one after another, and one of them leads. */
const AUTO_MS = 60_000;
const AUTO_AGAIN_MS = 100;

/** What the deciding half goes by, as far as it is about shards that there are. */
function engineKey(config: Config, names: ReadonlySet<string>): string {
  const { copies, ...others } = engineSettings(config);
  return JSON.stringify([others, Object.entries(copies).filter(([name]) => names.has(name))]);
}

/** What moves keys when it changes. */
function shardsOf({ ring, shards }: Config): unknown {
  return [ring, shards.map(({ name, weight }) => [name, weight])];
}

/** Whether the comparison with the settings may come out otherwise; most versions change roles only. */
function mayDiffer(before: Topology, after: Topology): boolean {
  const key = ({ ring, shards, nodes, move }: Topology): string =>
    JSON.stringify([
      ring,
      shards.map(({ name, weight, nodes: members }) => [name, weight, members]),
      nodes.map(({ id, host, port }) => [id, host, port]),
      move === null ? null : [move.id, move.aborting],
    ]);
  return key(before) !== key(after);
}

/** The change in one line, with what to do about it. */
function pendingSummary(topology: Topology, proposal: Proposal, pending: readonly string[]): string {
  if (topology.move !== null) return `${pending.join(', ')}; a move is on, this can be planned after it`;
  const drafted = draft(topology, proposal, new Map());
  const { ring, added: shardsAdded, removed: shardsRemoved, weights, exchange } = drafted;
  const share = exchange.flows.reduce((sum, flow) => sum + flow.share, 0);
  const summary = summaryOf({ ring, shardsAdded, shardsRemoved, weights, nodeChanges: [], share, keys: 0 });
  if (drafted.refused.length > 0) return `${summary}; it cannot be done as it stands, \`ringside plan\` says why`;
  return `${summary}; \`ringside plan\` shows it, \`ringside apply\` does it`;
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
