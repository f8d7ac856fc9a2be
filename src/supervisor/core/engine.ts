import type { Topology } from '../../topology/snapshot.ts';
import { applyPublish } from './apply-publish.ts';
import { OwnSight } from './detector.ts';
import { DrainKeeper } from './drain-keeper.ts';
import type { Effect, Note, Observation, Outcome, PublishOutcome } from './effect.ts';
import { EmptyKeeper } from './empty-keeper.ts';
import { loadMark } from './mark.ts';
import { MoveKeeper } from './move-keeper.ts';
import { NodeKeeper } from './node-keeper.ts';
import { Scheduler } from './scheduler.ts';
import type { EngineSetup, EngineStatus, NodeStatus, Order, OrderAnswer } from './setup.ts';
import { ShardKeeper } from './shard-keeper.ts';
import { type NodeView, nodeOf, type World } from './world.ts';

export { applyPublish } from './apply-publish.ts';
export type * from './holdings.ts';
export type * from './setup.ts';

/**
 * The whole deciding half of a leader, for one term: observations, outcomes and the time go in, effects come out.
 *
 *   observe ─► what was seen ─┐
 *   tick    ─► the time ──────┼─► per node: take over, set up ─┐
 *   complete ─► what became ──┘   per shard: decide, procede ──┴─► takeEffects
 *
 * It touches no socket and no clock, so the same code runs in a supervisor and in the simulator. Whoever drives it calls
 * `tick` every 20 to 50 ms (and at `nextDueMs`, where that is sooner) and after every `observe` and `complete`, and then
 * carries out what `takeEffects` gives. To each node at most one call is under way at a time; a publication is as well
 * alone. Once `lost` says something, the engine is to be thrown away, and what is under way with it.
 */
export interface NumberedEffect {
  readonly id: number;
  readonly effect: Effect;
}

/** A copy that was dropped less than this before is told from one that was not by nothing but its amount of data (R10). */
const MARK_EVERY_MS = 2000;

export class Engine {
  readonly #setup: EngineSetup;
  readonly #nodes: ReadonlyMap<string, NodeKeeper>;
  readonly #shards: ReadonlyMap<string, ShardKeeper>;
  readonly #drains: DrainKeeper;
  readonly #empties: EmptyKeeper;
  readonly #move: MoveKeeper;
  readonly #scheduler: Scheduler;
  readonly #sight: OwnSight;
  readonly #world: World;
  readonly #marked = new Map<string, number>();
  #topology: Topology;
  #effects: NumberedEffect[] = [];
  #nextId = 1;
  #nowMs: number;
  #marks = 0;
  #lost: string | null = null;
  #metTerm = 0;

  constructor(setup: EngineSetup) {
    this.#setup = setup;
    this.#topology = setup.topology;
    this.#nowMs = setup.nowMs;
    const { detect } = setup.settings;
    // A shorter pause of our own cannot make a verdict by itself; a longer one can.
    this.#sight = new OwnSight(Math.max(100, detect.crashedMs), setup.nowMs);
    const outbox = { send: (effect: Effect): number => this.#send(effect) };
    this.#scheduler = new Scheduler(
      setup.term,
      outbox,
      (effect, outcome) => this.#onPublished(effect, outcome),
      // Taking the node over anew tells whether a later leader has.
      nodeId => this.#nodes.get(nodeId)?.forget(),
    );
    this.#world = this.#makeWorld();
    const host = {
      scheduler: this.#scheduler,
      note: (note: Note): void => void this.#send(note),
      superseded: (term: number, why: string): void => {
        this.#metTerm = Math.max(this.#metTerm, term);
        this.#end(why);
      },
      forget: (ids: readonly string[]): void => {
        for (const id of ids) this.#nodes.get(id)?.forget();
      },
      copying: (): number => [...this.#shards.values()].filter(shard => shard.isCopying).length,
      isPlacing: (): boolean => [...this.#shards.values()].some(shard => shard.isPlacing),
      wishOf: (id: string) => this.#drains.wishOf(id),
      shard: (name: string): ShardKeeper => this.#shardNamed(name),
      giveUpData: (id: string, runId: string): void => this.#nodes.get(id)?.giveUpData(runId),
    };
    this.#nodes = new Map(setup.topology.nodes.map(({ id }) => [id, new NodeKeeper(id, this.#world, host)]));
    this.#shards = new Map(setup.topology.shards.map(({ name }) => [name, new ShardKeeper(name, this.#world, host)]));
    this.#drains = new DrainKeeper(this.#world, host);
    this.#empties = new EmptyKeeper(this.#world, host);
    this.#move = new MoveKeeper(this.#world, host);
    if (setup.topology.term > setup.term) {
      host.superseded(setup.topology.term, `the topology was published in term ${setup.topology.term}`);
    }
  }

  /** After the last successful publication. */
  get topology(): Topology {
    return this.#topology;
  }

  /** Why this leadership is over; null: it is not. */
  get lost(): string | null {
    return this.#lost;
  }

  /** The highest term above its own that this leader has met on a node, or in the topology; 0: none. */
  get metTerm(): number {
    return this.#metTerm;
  }

  /** When a `tick` is due by time alone; null: none before the next regular one. */
  get nextDueMs(): number | null {
    return this.#scheduler.nextDueMs;
  }

  /**
   * Tells what a probe saw; nodes that the topology does not name are nobody. `askedMs`: when the node was asked, since
   * what it said may be from then, and so from before a change that was made meanwhile.
   */
  observe(nodeId: string, observation: Observation, nowMs: number, askedMs: number = nowMs): void {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    this.#nodes.get(nodeId)?.observe(observation, askedMs);
  }

  order(order: Order, nowMs: number): OrderAnswer {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    if (order.kind === 'move') return this.#move.order(order);
    if (order.kind === 'drain' || order.kind === 'undrain') return this.#drains.order(order);
    if (order.kind === 'empty') return this.#empties.order(order);
    const shard = this.#shards.get(order.shard);
    if (shard !== undefined) return shard.order(order);
    return { accepted: false, text: `no shard ${order.shard}; there are ${[...this.#shards.keys()].join(', ')}` };
  }

  tick(nowMs: number): void {
    if (this.#lost !== null) return;
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    const nodes = [...this.#nodes.values()];
    const pausedMs = this.#sight.tick(
      this.#nowMs,
      nodes.every(node => node.watch.isFailing),
    );
    if (pausedMs !== null)
      this.#noteSelf(
        `this supervisor stood still for ${Math.round(pausedMs)} ms: what it has not heard since then proves nothing`,
      );
    for (const node of nodes) node.judge(this.#sight.trustedSinceMs, nodes);
    this.#scheduler.advance(this.#nowMs);
    for (const node of nodes) node.tick(nodes);
    this.#drains.tick();
    for (const shard of this.#shards.values()) shard.tick();
    this.#move.tick();
    this.#careForShards();
  }

  /** What is to be carried out now. Notes need no `complete`; calls and publications need exactly one. */
  takeEffects(): readonly NumberedEffect[] {
    const taken = this.#effects;
    this.#effects = [];
    return this.#lost === null ? taken : taken.filter(({ effect }) => effect.kind === 'note');
  }

  complete(id: number, outcome: Outcome, nowMs: number): void {
    if (this.#lost !== null) return;
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    if ('replies' in outcome || 'why' in outcome) this.#scheduler.completeCall(id, outcome, this.#nowMs);
    else this.#scheduler.completePublish(id, outcome, this.#nowMs);
  }

  status(nowMs: number): EngineStatus {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    return {
      term: this.#setup.term,
      shards: [...this.#shards.values()].map(shard => shard.status()),
      nodes: [...this.#nodes.values()].map(node => this.#nodeStatus(node)),
      move: this.#move.status(),
    };
  }

  #nodeStatus(node: NodeKeeper): NodeStatus {
    const { id, health, ready, report, reportedAtMs, needs } = node.view;
    const shard = this.#topology.shards.find(one => one.nodes.includes(id));
    const primary =
      shard === undefined || shard.primary === id ? null : (this.#nodes.get(shard.primary)?.view.report ?? null);
    const isOfOne = primary !== null && report !== null && primary.replicationId === report.replicationId;
    return {
      id,
      health,
      ready: ready !== null,
      report,
      reportedAtMs: report === null ? null : reportedAtMs,
      lagBytes: isOfOne ? Math.max(0, primary.offset - report.offset) : null,
      needs,
      drain: this.#drains.status(id),
      emptying: this.#empties.status(id),
    };
  }

  #shardNamed(name: string): ShardKeeper {
    const shard = this.#shards.get(name);
    if (shard === undefined) throw new Error(`no shard ${name} in the topology`);
    return shard;
  }

  /** Raises marks, and lets reading proxies in, where nothing else is going on. */
  #careForShards(): void {
    for (const shard of this.#topology.shards) {
      if (this.#shards.get(shard.name)?.isIdle !== true) continue;
      const primary = this.#nodes.get(shard.primary);
      const isDue = this.#nowMs - (this.#marked.get(shard.name) ?? Number.NEGATIVE_INFINITY) >= MARK_EVERY_MS;
      if (isDue && primary?.isServing(nodeOf(this.#world, shard.primary).runId) === true) {
        this.#marked.set(shard.name, this.#nowMs);
        primary.raiseMark(shard.name, shard.epoch);
      }
    }
    for (const node of this.#nodes.values()) node.careForReaders(name => this.#shards.get(name)?.isIdle === true);
  }

  #send(effect: Effect): number {
    const id = this.#nextId++;
    this.#effects.push({ id, effect });
    return id;
  }

  #onPublished(effect: Effect & { kind: 'publish' }, outcome: PublishOutcome): void {
    if (outcome.ok) this.#topology = applyPublish(this.#topology, effect, this.#setup.term);
    else this.#end(`the topology could not be published: ${outcome.text}`);
  }

  #end(why: string): void {
    if (this.#lost !== null) return;
    this.#lost = why;
    this.#send({
      kind: 'note',
      level: 'warn',
      shard: null,
      nodeId: null,
      event: 'leadership',
      text: `this leadership is over: ${why}`,
    });
  }

  #noteSelf(text: string): void {
    this.#send({ kind: 'note', level: 'warn', shard: null, nodeId: null, event: 'self', text });
  }

  /** Procedures see through this what is, not what was when they began. */
  #makeWorld(): World {
    const engine = this;
    const { term, settings, credentials } = this.#setup;
    return {
      term,
      settings,
      credentials,
      get topology() {
        return engine.#topology;
      },
      get nowMs() {
        return engine.#nowMs;
      },
      get trustedSinceMs() {
        return engine.#sight.trustedSinceMs;
      },
      node(id: string): NodeView {
        const node = engine.#nodes.get(id);
        if (node === undefined) throw new Error(`no node ${id} in the topology`);
        return node.view;
      },
      isEmptying: id => engine.#empties.isEmptying(id),
      raiseMark(shard: string, epoch: number): string[] {
        // The term in front: a leader that knows nothing of the last one's count goes on above it.
        engine.#marks++;
        return loadMark({
          cluster: engine.#topology.cluster,
          shard,
          epoch,
          counter: term * 1_000_000_000 + engine.#marks,
        });
      },
    };
  }
}
