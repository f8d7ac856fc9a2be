import type { Clock } from '../base/clock.ts';
import type { Config } from '../config/config.ts';
import type { Topology } from '../topology/snapshot.ts';
import type { Leadership } from '../topology/store.ts';
import { NodeCalls } from './act.ts';
import type { Effect, Observation, Outcome, Publish } from './core/effect.ts';
import { applyPublish, Engine, type EngineSettings, type Order, type OrderAnswer } from './core/engine.ts';
import type { EventLog } from './events.ts';
import { SupervisorIdentity } from './identity.ts';
import { OffsetTrail } from './offset-trail.ts';
import { NodeProbe } from './probe.ts';
import { withoutEmptyShards } from './reconcile.ts';
import type { LeaderKnowledge } from './status.ts';

/**
 * One term of leading: the deciding half with everything that it sees and does things with.
 *
 *   probes ──observe──▶ engine ──effects──▶ calls to nodes, publications to the store, notes to the log
 *                         ▲───────complete──────┘
 *
 * It is made when a leadership begins and thrown away whole when that ends, for whatever reason: what an earlier leader
 * knew, and its connections, are nothing to go on with.
 */
export interface LeadingParts {
  readonly config: Config;
  readonly leadership: Leadership;
  /** As the store has it. */
  readonly topology: Topology;
  readonly clock: Clock;
  readonly events: EventLog;
  /** Told before a version is written, so that whoever sees it first knows why it is. */
  readonly onPublishing: (version: number, why: string) => void;
  /** A version that the store has. */
  readonly onPublished: (topology: Topology) => void;
}

/** The engine's own time passes at least so finely. */
const TICK_MS = 20;
/** How far back a lag is told in seconds. */
const TRAIL_MS = 60_000;
/** Proxies that still have something in flight to a shard without keys are done with it by then. */
const EMPTY_SHARD_MS = 1000;

/** Why nothing was done: there may be another leader, or will be soon. */
export const LEADS_NO_MORE = 'this leadership is over: try again';

/** With what a leadership has ended. */
export interface Ending {
  readonly reason: string;
  /** On purpose: there is another topology, or there are other settings, to be led by; the next one begins at once. */
  readonly isToBeginAnew: boolean;
}

/** What takes part in a plan besides the engine: who is asked, and who asks. */
export interface Sight {
  readonly topology: Topology;
  readonly knowledge: LeaderKnowledge;
  readonly identity: SupervisorIdentity;
}

export class Leading {
  readonly #parts: LeadingParts;
  readonly #engine: Engine;
  readonly #calls: NodeCalls;
  readonly #probes: NodeProbe[];
  readonly #seen = new Map<string, Observation>();
  /** What was told of each node last. */
  readonly #told = new Map<string, Observation>();
  readonly #trails = new Map<string, OffsetTrail>();
  /** From the engine's time to that of people; taken once, so that what has happened keeps its time. */
  readonly #wallOffsetMs: number;
  readonly #identity: SupervisorIdentity;
  #ticker: NodeJS.Timeout | null = null;
  #due: NodeJS.Timeout | null = null;
  /** Drops what owns no key once a move is over. */
  #dropping: NodeJS.Timeout | null = null;
  /** As the store has it. */
  #topology: Topology;
  /** The publication that is under way; null: none is. */
  #publishing: Promise<unknown> | null = null;
  /** Nothing is observed or carried out any more. */
  #isStopped = false;
  #isOver = false;
  #end: (ending: Ending) => void = () => undefined;
  /** Resolves once this leadership is over; then `close` it. */
  readonly ended: Promise<Ending>;

  constructor(parts: LeadingParts) {
    this.#parts = parts;
    this.#wallOffsetMs = parts.clock.wallMs() - parts.clock.nowMs();
    const { config, leadership, topology, clock } = parts;
    const { nodeAccess } = config;
    const identity = new SupervisorIdentity(config.secret, config.cluster, nodeAccess, leadership.term);
    this.#identity = identity;
    this.#topology = topology;
    this.#engine = new Engine({
      term: leadership.term,
      topology,
      settings: engineSettings(config),
      credentials: identity,
      nowMs: clock.nowMs(),
    });
    const nodes = new Map(topology.nodes.map(node => [node.id, node]));
    this.#calls = new NodeCalls(identity, nodeAccess.tls, id => nodes.get(id) ?? null);
    this.#probes = topology.nodes.map(node => {
      const options = {
        ...{ node, tls: nodeAccess.tls, everyMs: config.supervisor.detect.everyMs, clock },
        logins: (runId: string | null) => identity.logins(runId),
        onObservation: (observation: Observation, askedMs: number) => this.#observe(node.id, observation, askedMs),
      };
      return new NodeProbe(options, node.runId);
    });
    this.ended = new Promise(resolve => {
      this.#end = resolve;
    });
  }

  start(): void {
    const { lost } = this.#parts.leadership;
    const onLost = (): void => this.#over(lost.reason instanceof Error ? lost.reason.message : String(lost.reason));
    if (lost.aborted) {
      onLost();
      return;
    }
    lost.addEventListener('abort', onLost, { once: true });
    for (const probe of this.#probes) probe.start();
    this.#ticker = setInterval(() => this.#drive(), TICK_MS);
    this.#dropEmptyShards();
  }

  get term(): number {
    return this.#parts.leadership.term;
  }

  /** The highest term that was met on a node; 0: none above our own. */
  get metTerm(): number {
    return this.#engine.metTerm;
  }

  /** Null: nothing is carried out here any more. */
  order(order: Order): OrderAnswer | null {
    if (this.#isStopped) return null;
    const answer = this.#engine.order(order, this.#nowMs());
    this.#drive();
    return answer;
  }

  knowledge(): LeaderKnowledge {
    const nowMs = this.#nowMs();
    return {
      engine: this.#engine.status(nowMs),
      seen: this.#seen,
      lagMs: (shard, offset) => this.#trails.get(shard)?.lagMs(offset, nowMs) ?? 0,
      wallMs: engineMs => Math.round(this.#wallOffsetMs + engineMs),
    };
  }

  /** What is known just now. */
  sight(): Sight {
    return { topology: this.#topology, knowledge: this.knowledge(), identity: this.#identity };
  }

  /** What is asked of the nodes is answered no more. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Ends it from outside, as when other settings are to be led by. */
  end(reason: string, isToBeginAnew = false): void {
    this.#over(reason, isToBeginAnew);
  }

  /**
   * Writes a topology with other shards or nodes, and ends this leadership, since both are what the deciding half was made
   * of; the next one begins with them. `make` is given what the store has, between two publications, and may refuse (a
   * text): then everything goes on as before. Resolves to why it was not done; null: it was.
   */
  async restructure(make: (topology: Topology) => Topology | string, why: string): Promise<string | null> {
    while (this.#publishing !== null) await this.#publishing;
    if (this.#isStopped) return LEADS_NO_MORE;
    const before = this.#topology;
    const next = make(before);
    if (typeof next === 'string') return next;
    if (next === before) return null;
    // A leader may stop at any step: whatever is half done is seen in the topology and on the nodes by the next.
    this.#stop();
    const { leadership, onPublishing, onPublished } = this.#parts;
    const written = { ...next, version: before.version + 1, term: leadership.term };
    onPublishing(written.version, why);
    try {
      await leadership.write(written, before.version);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#over(text);
      return text;
    }
    onPublished(written);
    this.#over(`beginning anew with other shards or nodes: ${why}`, true);
    return null;
  }

  /** Breaks off everything that was under way, and gives the leadership back. */
  async close(): Promise<void> {
    this.#over('closed');
    await this.#parts.leadership.resign();
  }

  #over(reason: string, isToBeginAnew = false): void {
    this.#stop();
    if (this.#isOver) return;
    this.#isOver = true;
    this.#end({ reason, isToBeginAnew });
  }

  #stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    if (this.#ticker !== null) clearInterval(this.#ticker);
    for (const timer of [this.#due, this.#dropping]) if (timer !== null) clearTimeout(timer);
    for (const probe of this.#probes) probe.stop();
    this.#calls.close();
  }

  /** A move is over: shards that are left without keys go, and their nodes become spares. */
  #dropEmptyShards(): void {
    if (this.#dropping !== null || this.#isStopped || withoutEmptyShards(this.#topology) === this.#topology) return;
    this.#dropping = setTimeout(() => {
      this.#dropping = null;
      const empty = this.#topology.shards.filter(({ weight }) => weight === 0).map(({ name }) => name);
      void this.restructure(withoutEmptyShards, `shard ${empty.join(', ')} owns no key any more`);
    }, EMPTY_SHARD_MS);
  }

  #nowMs(): number {
    return this.#parts.clock.nowMs();
  }

  #observe(nodeId: string, observation: Observation, askedMs: number): void {
    if (this.#isStopped) return;
    this.#tellChange(nodeId, observation);
    this.#seen.set(nodeId, observation);
    this.#trace(nodeId, observation);
    this.#engine.observe(nodeId, observation, this.#nowMs(), askedMs);
    this.#drive();
  }

  /**
   * One line when a node goes or comes back; what is made of it, the engine tells. Silence is no news by itself: of a
   * node that is a little slow there would be several lines a second.
   */
  #tellChange(node: string, now: Observation): void {
    if (now.kind === 'silent') return;
    const before = this.#told.get(node);
    this.#told.set(node, now);
    if (before?.kind === now.kind && !isReborn(before, now)) return;
    const { events } = this.#parts;
    if (now.kind === 'report') {
      const { role, runId } = now.report;
      const text = `node ${node} is up, as a ${role}, incarnation ${runId}`;
      events.add({ level: 'info', event: 'node-up', shard: null, node, text });
    } else {
      const text = `node ${node} does not answer (${now.kind}): ${now.text}`;
      events.add({ level: 'warn', event: 'node-down', shard: null, node, text });
    }
  }

  #trace(nodeId: string, observation: Observation): void {
    if (observation.kind !== 'report') return;
    const shard = this.#engine.topology.shards.find(one => one.primary === nodeId);
    if (shard === undefined) return;
    const trail = this.#trails.get(shard.name) ?? new OffsetTrail(TRAIL_MS);
    this.#trails.set(shard.name, trail);
    trail.note(observation.report.offset, this.#nowMs());
  }

  #drive(): void {
    if (this.#isStopped) return;
    this.#engine.tick(this.#nowMs());
    for (const { id, effect } of this.#engine.takeEffects()) this.#perform(id, effect);
    if (this.#engine.lost === null) this.#tickWhenDue();
    else this.#over(this.#engine.lost);
  }

  /** What rests for less than the pace of the ticker goes on when its rest is over. */
  #tickWhenDue(): void {
    if (this.#due !== null) clearTimeout(this.#due);
    this.#due = null;
    const { nextDueMs } = this.#engine;
    const restMs = nextDueMs === null ? TICK_MS : nextDueMs - this.#nowMs();
    if (restMs < TICK_MS) this.#due = setTimeout(() => this.#drive(), Math.max(1, Math.ceil(restMs)));
  }

  #perform(id: number, effect: Effect): void {
    if (effect.kind === 'note') {
      const { level, event, shard, nodeId, text } = effect;
      this.#parts.events.add({ level, event, shard, node: nodeId, text });
      return;
    }
    const work: Promise<Outcome> = effect.kind === 'call' ? this.#calls.perform(effect) : this.#publish(effect);
    if (effect.kind === 'publish') this.#publishing = work;
    void work.then(outcome => {
      if (this.#isStopped) return;
      this.#engine.complete(id, outcome, this.#nowMs());
      this.#drive();
    });
  }

  /** Never rejects. Proxies hear of a version only once the store has it. */
  async #publish(publish: Publish): Promise<Outcome> {
    const { leadership, onPublishing, onPublished, events } = this.#parts;
    const { topology } = this.#engine;
    const next = applyPublish(topology, publish, leadership.term);
    onPublishing(next.version, publish.why);
    try {
      await leadership.write(next, topology.version);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#publishing = null;
      events.add({
        ...{
          level: 'error',
          event: 'not-published',
          shard: publish.shards.length === 1 ? (publish.shards[0]?.name ?? null) : null,
          node: null,
        },
        text: `version ${next.version} was not published: ${text}`,
      });
      return { ok: false, text };
    }
    this.#publishing = null;
    this.#topology = next;
    onPublished(next);
    this.#dropEmptyShards();
    return { ok: true };
  }
}

/** What of the settings the deciding half goes by. */
export function engineSettings(config: Config): EngineSettings {
  const { supervisor, nodeAccess, nodeSettings, reads, rules, shards } = config;
  return {
    detect: supervisor.detect,
    rebuild: supervisor.rebuild,
    move: supervisor.move,
    nodeSettings,
    keepDefaultUser: nodeAccess.keepDefaultUser,
    inspectUser: !nodeAccess.keepDefaultUser,
    replicaReads: [reads, ...rules.map(rule => rule.reads)].some(({ from }) => from !== 'primary'),
    copies: Object.fromEntries(shards.map(({ name, nodes }) => [name, nodes.length])),
  };
}

function isReborn(before: Observation, now: Observation): boolean {
  return before.kind === 'report' && now.kind === 'report' && before.report.runId !== now.report.runId;
}
