import type { TopologyShard } from '../../topology/snapshot.ts';
import type { Note } from './effect.ts';
import { markPublished } from './node-care.ts';
import {
  beginDraining,
  isWithoutSpare,
  type Placement,
  placeMembers,
  placement,
  shortageOf,
  type Wishes,
} from './placement.ts';
import type { Ending } from './procedure.ts';
import { type Progress, type Rebuilt, rebuild, unfit } from './rebuild.ts';
import type { Scheduler, Task } from './scheduler.ts';
import type { OrderAnswer, PrimaryChange, ShardOrder, ShardStatus } from './setup.ts';
import { canTell, type Decision, decide, type Plan, type PlanName, type ShardMemory } from './shard-machine.ts';
import { membersOf, nodeOf, shardOf, standingOf, stayingOf, type World, wantedCopies } from './world.ts';

/**
 * Keeps one shard: runs what the machine decides, one procedure at a time, and beside it at most one rebuild.
 *
 * Only the procedure publishes; a rebuild touches neither the primary's links nor the topology. A lost primary does not
 * wait for a procedure that only improves things: that one is dropped, and what it left is cleaned up like anything that
 * a dead leader leaves.
 */
export interface KeeperHost {
  readonly scheduler: Scheduler;
  note(note: Note): void;
  /** Everything about these nodes must be taken over anew (R7: a fail-over was begun and given up). */
  forget(nodeIds: readonly string[]): void;
  /** How many full copies are under way, over all shards. */
  copying(): number;
  /** Whether some shard is just changing its members. */
  isPlacing(): boolean;
  readonly wishOf: Wishes;
}

/** Who publishes for a shard besides its keeper, which begins nothing meanwhile. */
export interface Occupant {
  readonly name: string;
  /** Something that cannot wait: it is dropped, and must release the shard at once. */
  giveWay(why: string): void;
}

interface Running {
  readonly plan: Plan;
  readonly task: Task;
  readonly sinceMs: number;
}

interface Rebuilding {
  readonly nodeId: string;
  readonly task: Task;
  readonly sinceMs: number;
  readonly progress: Progress;
}

interface Failed {
  readonly count: number;
  readonly untilMs: number;
  readonly why: string;
  /** The incarnation that was to be rebuilt; undefined: none was. */
  readonly runId?: string | undefined;
}

const KEPT_CHANGES = 10;
/** A procedure that failed is tried again after so long, twice as long each time. */
const RETRY_MS = 50;
const RETRY_AT_MOST_MS = 2000;
/** The same of a planned change of primary, which holds writes up each time, and can wait: at first, and at most. */
const PLANNED_RETRY_MS = [1000, 60_000] as const;
/** A fail-over that has failed so often may need a person. */
const HOPELESS = 3;

export class ShardKeeper {
  readonly name: string;
  readonly #world: World;
  readonly #host: KeeperHost;
  readonly #memory: ShardMemory = {
    settledAtMs: -1,
    lostSinceMs: null,
    suspectSinceMs: null,
    switchTo: null,
    acceptLoss: false,
    rebuilt: null,
    stuck: null,
    behind: new Map(),
  };
  /** As it was published when it was last looked at. */
  #published: TopologyShard;
  #decision: Decision = { state: 'waiting', why: 'nothing was heard yet', needs: null, plan: null };
  #running: Running | null = null;
  #occupant: Occupant | null = null;
  #rebuilding: Rebuilding | null = null;
  #isPlacing = false;
  #changes: PrimaryChange[] = [];
  readonly #failures = new Map<string, Failed>();
  /** The node that waits for leave to copy in full. */
  #wantsCopy: string | null = null;

  constructor(name: string, world: World, host: KeeperHost) {
    this.name = name;
    this.#world = world;
    this.#host = host;
    this.#published = shardOf(world, name);
  }

  get isCopying(): boolean {
    return this.#rebuilding !== null && this.#rebuilding.progress.from !== null;
  }

  get isPlacing(): boolean {
    return this.#isPlacing;
  }

  /** Nothing is being changed: a time for small things. */
  get isIdle(): boolean {
    const isFree = this.#running === null && this.#occupant === null && !this.#isPlacing;
    return isFree && !this.#host.scheduler.isPublishing(this.name);
  }

  /** A copy is being rebuilt, or is about to join. */
  get isGrowing(): boolean {
    return this.#rebuilding !== null || this.#memory.rebuilt !== null || this.#running?.plan.name === 'grow';
  }

  /** Only while it is idle. */
  occupy(occupant: Occupant): void {
    this.#occupant = occupant;
  }

  release(): void {
    this.#occupant = null;
  }

  tick(): void {
    this.#noteChange();
    this.#forgetRebuilt();
    const hadAccepted = this.#memory.acceptLoss;
    this.#decision = decide(this.#world, this.name, this.#memory);
    const isForgiven = hadAccepted && !this.#memory.acceptLoss && this.#running === null;
    if (isForgiven)
      this.#note('info', 'recover', `nothing needs to be given up any more: ${this.#shard().primary} is there again`);
    this.#giveWay();
    if (this.isIdle && this.#decision.plan !== null) this.#run(this.#decision.plan);
    if (this.isIdle) this.#place();
    this.#careForRebuild();
  }

  /**
   * What was reported before the shard was published as it is now says nothing about it. And the mark is raised at once,
   * so that after a cold start whatever is older is known to be; while writes are held, that may wait.
   */
  #noteChange(): void {
    const [before, shard] = [this.#published, this.#shard()];
    if (before === shard) return;
    this.#published = shard;
    this.#memory.settledAtMs = this.#world.nowMs;
    const isOpen = shard.joining === null && !shard.paused;
    const isNew = before.epoch !== shard.epoch || before.joining !== null || before.paused;
    if (!isOpen || !isNew) return;
    this.#host.scheduler.start(markPublished(this.#world, this.name), this.#world.nowMs, () => undefined);
  }

  /** A procedure that only improves things is dropped for a lost primary, and a joining for a lost copy. */
  #giveWay(): void {
    const urgent = this.#decision.plan?.name;
    const isUrgent = urgent === 'failover' || urgent === 'start' || urgent === 'shrink';
    if (isUrgent && !this.#host.scheduler.isPublishing(this.name)) this.#occupant?.giveWay(this.#decision.why);
    const running = this.#running?.plan.name;
    const isForPrimary = urgent === 'failover' && running !== 'failover' && running !== 'start' && running !== 'form';
    const isForCopy = urgent === 'shrink' && running === 'grow';
    if (this.#running === null || !(isForPrimary || isForCopy)) return;
    // What is being published may already be in force: only with its outcome is it known what to decide from.
    if (this.#host.scheduler.isPublishing(this.name)) return;
    // It makes a replica of the primary itself.
    if (running === 'switchover' && standingOf(this.#world, this.#shard().primary) === 'there') return;
    this.#running.task.drop();
    this.#note('warn', urgent ?? '', `${running} is dropped: ${this.#decision.why}`);
    // It may have pointed nodes elsewhere, as a fail-over does.
    if (running === 'switchover') this.#host.forget(this.#shard().nodes);
    this.#settle();
  }

  #run(plan: Plan): void {
    const { nowMs } = this.#world;
    if ((this.#failures.get(plan.name)?.untilMs ?? 0) > nowMs) return;
    const from = this.#shard().primary;
    // A rebuild opens doors on in-sync replicas, one of which may be about to become the primary.
    if (plan.name !== 'shrink' && plan.name !== 'give up' && plan.name !== 'release') this.#dropRebuild();
    if (plan.name === 'grow') this.#memory.rebuilt = null;
    if (plan.name === 'switchover') this.#memory.switchTo = null;
    this.#note('info', plan.name, `begun: ${plan.why}`);
    let isOver = false;
    const task = this.#host.scheduler.start(plan.begin(), nowMs, (ending, error) => {
      isOver = true;
      this.#running = null;
      this.#onEnd(plan, ending ?? { done: false, why: error?.message ?? 'it broke off' }, from, nowMs);
    });
    if (!isOver) this.#running = { plan, task, sinceMs: nowMs };
  }

  #onEnd(plan: Plan, ending: Ending, from: string, beganMs: number): void {
    this.#settle();
    const isStart = plan.name === 'form' || plan.name === 'start';
    const { nowMs } = this.#world;
    if (ending.done) {
      this.#failures.delete(plan.name);
      if (isStart || plan.name === 'failover') {
        this.#memory.acceptLoss = false;
        // It was to replace another primary.
        this.#memory.switchTo = null;
      }
      this.#memory.stuck = null;
      this.#note('info', plan.name, `done in ${Math.round(nowMs - beganMs)} ms: ${plan.why}`);
      this.#remember(plan, from, beganMs);
      return;
    }
    const count = (this.#failures.get(plan.name)?.count ?? 0) + 1;
    const [first, most] = plan.name === 'switchover' ? PLANNED_RETRY_MS : [RETRY_MS, RETRY_AT_MOST_MS];
    const untilMs = nowMs + Math.min(most, first * 2 ** Math.min(10, count - 1));
    this.#failures.set(plan.name, { count, untilMs, why: ending.why });
    if (isStart || (plan.name === 'failover' && count >= HOPELESS)) this.#memory.stuck = ending.why;
    this.#note('warn', plan.name, `given up (${count}): ${ending.why}`);
    if (plan.name === 'failover' || plan.name === 'switchover') this.#host.forget(this.#shard().nodes);
  }

  #remember(plan: Plan, from: string, beganMs: number): void {
    const { nowMs } = this.#world;
    const to = this.#shard().primary;
    const kind = plan.name === 'form' ? 'start' : plan.name;
    if (kind !== 'failover' && kind !== 'switchover' && kind !== 'start') return;
    if (kind === 'failover' && from === to && !this.#decision.why.includes(from)) return;
    const change: PrimaryChange = { kind, cause: plan.why, atMs: nowMs, durationMs: nowMs - beganMs, from, to };
    this.#changes = [...this.#changes, change].slice(-KEPT_CHANGES);
  }

  #settle(): void {
    this.#running = null;
    this.#memory.settledAtMs = this.#world.nowMs;
  }

  #place(): void {
    if (!this.#mayPlace()) return;
    const found = placement(this.#world, this.#shard(), this.#host.wishOf);
    if (found !== null) this.#publishPlacement(found, {}, () => undefined);
  }

  /** Publishes that a member is drained, and who takes its place; false: not now. */
  beginDraining(nodeId: string, onPublished: () => void): boolean {
    if (!this.isIdle || !this.#mayPlace()) return false;
    const begun = beginDraining(this.#world, this.#shard(), nodeId, this.#host.wishOf);
    this.#publishPlacement(begun, { [nodeId]: true }, onPublished);
    return true;
  }

  #mayPlace(): boolean {
    return this.#isServing() && !this.#host.isPlacing();
  }

  #publishPlacement(found: Placement, draining: Readonly<Record<string, boolean>>, onPublished: () => void): void {
    this.#note('info', found.event, found.why);
    this.#isPlacing = true;
    this.#host.scheduler.start(placeMembers(this.#world, this.name, found, draining), this.#world.nowMs, () => {
      this.#isPlacing = false;
      onPublished();
    });
  }

  #isServing(): boolean {
    return this.#decision.state === 'healthy' || this.#decision.state === 'degraded';
  }

  /** Fewer copies are in sync than are wanted, not counting those that are to leave. */
  #isShort(): boolean {
    const shard = this.#shard();
    return stayingOf(this.#world, membersOf(shard)).length < wantedCopies(this.#world, shard);
  }

  /** A copy that was ready to join is none any more: it was lost, or its node was taken out of the shard meanwhile. */
  #forgetRebuilt(): void {
    const { rebuilt } = this.#memory;
    if (rebuilt !== null && standingToJoin(this.#world, this.#shard(), rebuilt) !== null) this.#memory.rebuilt = null;
  }

  #careForRebuild(): void {
    const rebuilding = this.#rebuilding;
    if (rebuilding !== null) {
      if (this.#isPointless(rebuilding)) this.#dropRebuild();
      return;
    }
    const isCalm = this.#running === null || this.#running.plan.name === 'shrink';
    if (this.#memory.rebuilt !== null || !this.#isServing() || !isCalm) return;
    this.#startRebuild();
  }

  #dropRebuild(): void {
    this.#rebuilding?.task.drop();
    this.#rebuilding = null;
  }

  /** It copies from a node that no longer counts, or its node was lost or has become a member meanwhile. */
  #isPointless({ nodeId, progress }: Rebuilding): boolean {
    const shard = this.#shard();
    if (standingToJoin(this.#world, shard, nodeId) !== null) return true;
    if (progress.from === null) return false;
    return !membersOf(shard).includes(progress.from) || standingOf(this.#world, progress.from) !== 'there';
  }

  #startRebuild(): void {
    const { nowMs } = this.#world;
    const nodeId = this.#nextToRebuild();
    if (nodeId === null || !this.#isShort()) return;
    const mayCopy = (): boolean => this.#host.copying() < this.#world.settings.rebuild.parallel;
    if (this.#wantsCopy === nodeId && !mayCopy()) return;
    const progress: Progress = { from: null, leftBytes: 0, lagBytes: null };
    let isOver = false;
    const procedure = rebuild(this.#world, this.name, nodeId, mayCopy, progress);
    const task = this.#host.scheduler.start(procedure, nowMs, (result, error) => {
      isOver = true;
      this.#rebuilding = null;
      this.#onRebuilt(nodeId, result ?? { kind: 'gave up', why: error?.message ?? 'it broke off' });
    });
    if (!isOver) this.#rebuilding = { nodeId, task, sinceMs: nowMs, progress };
  }

  /** Of those that can, one that has part of the history already comes first: it is back within milliseconds. */
  #nextToRebuild(): string | null {
    const shard = this.#shard();
    const { nowMs } = this.#world;
    const able = shard.nodes.filter(id => {
      // One that has just fallen silent is not tried: it would fail, and wait the longer once it is back.
      const isWell = this.#world.node(id).unwellSinceMs === null;
      return (
        isWell && standingToJoin(this.#world, shard, id) === null && (this.#failedRebuild(id)?.untilMs ?? 0) <= nowMs
      );
    });
    const primary = this.#world.node(shard.primary).report;
    const histories = [primary?.replicationId, primary?.previousReplicationId];
    const near = able.filter(id => histories.includes(this.#world.node(id).report?.replicationId));
    const [staying, stayingNear] = [stayingOf(this.#world, able), stayingOf(this.#world, near)];
    // One that is drained counts again where a copy is missing, and that costs little, or nobody else is there.
    const isMissing = membersOf(shard).length < wantedCopies(this.#world, shard);
    const cheap = isMissing ? near.find(id => id !== this.#wantsCopy) : undefined;
    return stayingNear[0] ?? cheap ?? staying[0] ?? (isMissing ? able[0] : undefined) ?? null;
  }

  #onRebuilt(nodeId: string, result: Rebuilt): void {
    const key = `rebuild ${nodeId}`;
    this.#wantsCopy = result.kind === 'needs copy' ? nodeId : null;
    if (result.kind === 'ready') this.#memory.rebuilt = nodeId;
    if (result.kind === 'ready') this.#failures.delete(key);
    if (result.kind !== 'gave up') return;
    const count = (this.#failedRebuild(nodeId)?.count ?? 0) + 1;
    this.#failures.set(key, {
      count,
      why: result.why,
      runId: this.#world.node(nodeId).report?.runId,
      untilMs: this.#world.nowMs + Math.min(RETRY_AT_MOST_MS, RETRY_MS * 2 ** Math.min(10, count)),
    });
    this.#note('warn', 'rebuild', `${nodeId} was not rebuilt (${count}): ${result.why}`, nodeId);
  }

  /** How the last rebuild of a node failed; one of an earlier life of it says nothing of this one. */
  #failedRebuild(id: string): Failed | undefined {
    const failed = this.#failures.get(`rebuild ${id}`);
    return failed?.runId === this.#world.node(id).report?.runId ? failed : undefined;
  }

  order(order: ShardOrder): OrderAnswer {
    if (order.kind === 'recover') {
      const { state, why } = this.#decision;
      if (!this.isWithoutPrimary) {
        return { accepted: false, text: `${this.name} is ${state} (${why}): there is nothing to recover` };
      }
      const isAnyThere = this.#shard().nodes.some(id => canTell(this.#world, id));
      // Else whichever is started first would be gone on with, though the others may be about to come.
      if (!isAnyThere)
        return { accepted: false, text: `no node of ${this.name} answers: start those that are to be gone on with` };
      this.#memory.acceptLoss = true;
      this.#failures.clear();
      return { accepted: true, text: `${this.name} goes on with what is left` };
    }
    const shard = this.#shard();
    const able = stayingOf(this.#world, shard.inSync).filter(
      id => standingOf(this.#world, id) === 'there' && this.#world.node(id).health === 'up',
    );
    const best = [...able].sort((a, b) => this.#offsetOf(b) - this.#offsetOf(a))[0];
    const to = order.to ?? best;
    if (this.#decision.state !== 'healthy' && this.#decision.state !== 'degraded') {
      return { accepted: false, text: `${this.name} is ${this.#decision.state}: ${this.#decision.why}` };
    }
    if (standingOf(this.#world, shard.primary) !== 'there') {
      return { accepted: false, text: `the primary ${shard.primary} is not taken over: try again in a moment` };
    }
    if (to === shard.primary) return { accepted: false, text: `${to} is the primary of ${this.name} already` };
    if (to !== undefined && shard.inSync.includes(to) && nodeOf(this.#world, to).draining) {
      return { accepted: false, text: `${to} is being drained: ringside node undrain ${to} before` };
    }
    if (to === undefined || !able.includes(to)) {
      const others = able.length === 0 ? 'as no copy is' : `as are: ${able.join(', ')}`;
      const none = `no copy of ${this.name} is in sync and well now`;
      return {
        accepted: false,
        text: to === undefined ? none : `${to} is no copy of ${this.name} that is in sync and well, ${others}`,
      };
    }
    this.#memory.switchTo = to;
    this.#failures.delete('switchover');
    return { accepted: true, text: `${this.name} switches over from ${shard.primary} to ${to}` };
  }

  /** It was never formed, or its primary is lost: not, when that one is merely slow to answer. */
  get isWithoutPrimary(): boolean {
    return this.#decision.state === 'unformed' || this.#memory.lostSinceMs !== null;
  }

  status(): ShardStatus {
    const { state, why, needs } = this.#decision;
    const rebuilding = this.#rebuilding;
    const isSwitching = this.#running?.plan.name === 'switchover';
    return {
      name: this.name,
      state: isSwitching ? 'switching over' : state,
      why: this.#isServing() && this.#isShort() ? [why, ...this.missing()].join('; ') : why,
      running: this.#running?.plan.name ?? this.#occupant?.name ?? null,
      rebuild:
        rebuilding === null ? null : { nodeId: rebuilding.nodeId, sinceMs: rebuilding.sinceMs, ...rebuilding.progress },
      shortage: shortageOf(this.#world, this.#shard()),
      needs,
      changes: this.#changes,
    };
  }

  /** Why a procedure was given up the last time; null: it was not, or has been carried through since. */
  whyGivenUp(name: PlanName): string | null {
    return this.#failures.get(name)?.why ?? null;
  }

  /** Why each member that is no copy is none. */
  missing(): string[] {
    const shard = this.#shard();
    const others = shard.nodes.filter(id => !membersOf(shard).includes(id) && id !== shard.joining);
    return others.flatMap(id => {
      if (this.#rebuilding?.nodeId === id) return [];
      const why = standingToJoin(this.#world, shard, id) ?? this.#failedRebuild(id)?.why;
      const spare = isWithoutSpare(this.#world, shard, id) ? ', and there is no spare to take its place' : '';
      return why === undefined ? [] : [`${id}: ${why}${spare}`];
    });
  }

  #offsetOf(id: string): number {
    return this.#world.node(id).report?.offset ?? 0;
  }

  #shard() {
    return shardOf(this.#world, this.name);
  }

  #note(level: Note['level'], event: string, text: string, nodeId: string | null = null): void {
    this.#host.note({ kind: 'note', level, event, text, shard: this.name, nodeId });
  }
}

/** Why a node cannot become a copy of this shard now; null: it can. */
function standingToJoin(world: World, shard: ReturnType<typeof shardOf>, id: string): string | null {
  const { health, ready, report, needs } = world.node(id);
  if (membersOf(shard).includes(id)) return 'it is a copy';
  if (!shard.nodes.includes(id)) return 'it is no member';
  if (health !== 'up' && health !== 'suspect') return `it is ${health}`;
  if (ready === null || report === null || report.runId !== ready.runId) return needs ?? 'it is not taken over';
  return unfit(world, shard.primary, id);
}
