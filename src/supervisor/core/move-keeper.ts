import { currentRoute, type Portion, routeOf, type TopologyMove } from '../../topology/move.ts';
import type { Note } from './effect.ts';
import { LargeKeys } from './large-keys.ts';
import { AS_ORDERED, decideMove, type MoveDecision, type MoveMemory, type MovePlan } from './move-machine.ts';
import { MovePace, mostKeysPerSecond } from './move-pace.ts';
import type { Ending } from './procedure.ts';
import type { Scheduler, Task } from './scheduler.ts';
import type { MoveStatus, Order, OrderAnswer } from './setup.ts';
import type { Occupant } from './shard-keeper.ts';
import { shardOf, type World, wantedCopies } from './world.ts';

/**
 * Keeps the move of keys that is on, beside those who keep the shards: runs what the machine decides, one procedure at a
 * time.
 *
 * A procedure that publishes for shards occupies them, so that nothing else is begun there, and gives way to whatever is
 * more urgent: what it left is seen in the topology, and taken up again.
 */
export interface MoveHost {
  readonly scheduler: Scheduler;
  note(note: Note): void;
  shard(name: string): OccupiedShard;
}

/** What of a shard's keeper concerns a move. */
export interface OccupiedShard {
  readonly isIdle: boolean;
  /** A copy is being rebuilt, or is about to join. */
  readonly isGrowing: boolean;
  occupy(occupant: Occupant): void;
  release(): void;
}

interface Running {
  readonly plan: MovePlan;
  readonly task: Task;
}

/** A procedure that failed is tried again after so long, twice as long each time. */
const RETRY_MS = 20;
const RETRY_AT_MOST_MS = 1000;
/** A taker with fewer copies than it should have is waited for as long as something is done about that, and so long besides. */
const UNSETTLED_MS = 3000;
/** Without being told again. */
const REPEATED = 5;

export class MoveKeeper {
  readonly #world: World;
  readonly #host: MoveHost;
  #memory: MoveMemory = freshMemory();
  /** The move that the memory is of. */
  #id: number | null = null;
  #decision: MoveDecision | null = null;
  #running: Running | null = null;
  #failures = 0;
  #retryAtMs = 0;
  /** Since when nothing is done about the taker's missing copies, by name. */
  readonly #degradedSinceMs = new Map<string, number>();

  constructor(world: World, host: MoveHost) {
    this.#world = world;
    this.#host = host;
  }

  tick(): void {
    const { move } = this.#world.topology;
    if (move === null) {
      // Its last publication may still be under way: the task ends by itself.
      this.#decision = null;
      return;
    }
    this.#meet(move.id);
    this.#stopForOrder();
    this.#decision = decideMove(this.#world, this.#memory, { whyUnsettled: name => this.#whyUnsettled(name) });
    const { plan } = this.#decision;
    if (plan === null || this.#running !== null || this.#world.nowMs < this.#retryAtMs) return;
    // Of one that was dropped: only with its outcome is it known what to go on from.
    if (this.#host.scheduler.isPublishingMove) return;
    const shards = plan.occupies.map(name => this.#host.shard(name));
    if (shards.every(shard => shard.isIdle)) this.#run(plan, shards);
  }

  /** What is remembered is of one move. */
  #meet(id: number): void {
    if (id === this.#id) return;
    this.#id = id;
    this.#memory = freshMemory();
    this.#failures = 0;
    this.#retryAtMs = 0;
  }

  /** What publishes nothing may be dropped at any step; the rest takes no time. */
  #stopForOrder(): void {
    const running = this.#running;
    if (this.#memory.wishes.length === 0 || running === null || running.plan.occupies.length > 0) return;
    if (running.plan.name === 'order' || running.plan.name === 'end') return;
    running.task.drop();
    this.#running = null;
    this.#retryAtMs = 0;
  }

  #run(plan: MovePlan, shards: readonly OccupiedShard[]): void {
    const { nowMs } = this.#world;
    const release = (): void => {
      for (const shard of shards) shard.release();
    };
    for (const shard of shards) {
      shard.occupy({
        name: 'move',
        giveWay: why => {
          this.#running?.task.drop();
          this.#running = null;
          release();
          this.#note('warn', `${plan.why}: dropped, since ${why}`);
        },
      });
    }
    if (this.#failures === 0 && plan.name !== 'walk') this.#note('info', plan.why);
    let isOver = false;
    const task = this.#host.scheduler.start(plan.begin(), nowMs, (ending, error) => {
      isOver = true;
      this.#running = null;
      release();
      this.#onEnd(plan, ending ?? { done: false, why: error?.message ?? 'it broke off' });
    });
    if (!isOver) this.#running = { plan, task };
  }

  #onEnd({ why }: MovePlan, ending: Ending): void {
    if (ending.done) {
      this.#failures = 0;
      this.#retryAtMs = 0;
      return;
    }
    this.#failures++;
    this.#retryAtMs = this.#world.nowMs + Math.min(RETRY_AT_MOST_MS, RETRY_MS * 2 ** Math.min(10, this.#failures - 1));
    if (this.#failures % REPEATED === 1) this.#note('warn', `${why}: given up (${this.#failures}): ${ending.why}`);
  }

  /** A shard that is still getting its copies would hold what it takes on fewer than it was on. */
  #whyUnsettled(name: string): string | null {
    const shard = shardOf(this.#world, name);
    if (shard.inSync.length + 1 >= wantedCopies(this.#world, shard)) {
      this.#degradedSinceMs.delete(name);
      return null;
    }
    const { nowMs } = this.#world;
    if (this.#host.shard(name).isGrowing) this.#degradedSinceMs.set(name, nowMs);
    const sinceMs = this.#degradedSinceMs.get(name) ?? nowMs;
    this.#degradedSinceMs.set(name, sinceMs);
    return nowMs - sinceMs < UNSETTLED_MS ? `${name} is getting its copies` : null;
  }

  order({ what, keysPerSecond, allowStalls }: Order & { kind: 'move' }): OrderAnswer {
    const { move } = this.#world.topology;
    if (move === null) return { accepted: false, text: 'no keys are being moved' };
    this.#meet(move.id);
    const { wishes } = this.#memory;
    // As it will be once what was ordered before is published.
    const { paused, aborting } = Object.assign({}, move, ...wishes.map(({ change }) => change)) as TopologyMove;
    if (what === 'pause') {
      if (paused !== null) return { accepted: false, text: `the move stands still already: ${paused}` };
      wishes.push({ change: { paused: AS_ORDERED }, why: 'the move is paused, as ordered' });
      return { accepted: true, text: 'the move is paused: keys go over only when they are used' };
    }
    if (what === 'resume') {
      if (paused === null) return { accepted: false, text: 'the move is not paused' };
      const change = allowStalls === true ? { paused: null, allowStalls } : { paused: null };
      this.#memory.inspections.clear();
      this.#memory.accepted = this.#memory.gone;
      wishes.push({ change, why: 'the move goes on, as ordered' });
      return { accepted: true, text: 'the move goes on' };
    }
    if (what === 'throttle') {
      const bound = keysPerSecond ?? this.#world.settings.move.keysPerSecond;
      wishes.push({ change: { keysPerSecond }, why: `at most ${bound} keys a second are moved, as ordered` });
      return { accepted: true, text: `at most ${bound} keys a second are moved from now on` };
    }
    if (aborting) return { accepted: false, text: 'what was moved is going back already' };
    wishes.push({ change: { aborting: true, paused: null }, why: 'what was moved goes back, as ordered' });
    return { accepted: true, text: 'what was moved goes back' };
  }

  status(): MoveStatus | null {
    const { move } = this.#world.topology;
    if (move === null) return null;
    const { moved, pace, large, evicted, inspections } = this.#memory;
    const { portions, current, aborting, paused } = move;
    const keys = portions.map(({ source, keys: estimated }, index) => {
      const looked = inspections.get(source);
      return looked === undefined ? estimated : (looked.portions.get(index)?.keys ?? 0);
    });
    const sum = (some: readonly number[]): number => some.reduce((total, one) => total + one, 0);
    const arrived = sum(keys.slice(0, move.moved));
    const ofCurrent = current === null ? 0 : Math.min(moved.keysOfPortion, keys[current.index] ?? 0);
    const keysMoved = Math.max(0, arrived + (current?.way === 'there' ? ofCurrent : -ofCurrent));
    const keysPerSecond = Math.round(pace.keysPerSecond(this.#world));
    const left = aborting ? keysMoved : Math.max(0, sum(keys) - keysMoved);
    const nextIndex = current?.index ?? (aborting ? move.moved - 1 : move.moved);
    const next = portions[nextIndex];
    const way = current?.way ?? (next === undefined ? null : aborting ? 'back' : 'there');
    const route =
      currentRoute(move) ?? (next === undefined ? null : routeOf(next as Portion, aborting ? 'back' : 'there'));
    const added = pace.addedLatencyMs;
    return {
      phase: this.#decision?.phase ?? 'waits',
      why: this.#why(),
      portion: Math.min(portions.length, Math.max(0, nextIndex) + 1),
      portions: portions.length,
      giver: route?.giver ?? null,
      taker: route?.taker ?? null,
      way,
      keysMoved,
      keysInAll: sum(keys),
      bytesMoved: moved.bytes,
      keysPerSecond,
      mostKeysPerSecond: mostKeysPerSecond(this.#world),
      addedLatencyMs: added === null ? null : Math.round(added * 10) / 10,
      mostAddedLatencyMs: this.#world.settings.move.addedLatencyMs,
      leftMs: paused !== null || keysPerSecond === 0 ? null : Math.round((left * 1000) / keysPerSecond),
      paused,
      aborting,
      needs: this.#decision?.needs ?? null,
      largeKeys: large.found,
      evicted,
    };
  }

  #why(): string {
    const why = this.#decision?.why ?? 'nothing was decided yet';
    const { trouble } = this.#memory.moved;
    return trouble === null || this.#running?.plan.name !== 'walk' ? why : `${why}; waits: ${trouble}`;
  }

  #note(level: Note['level'], text: string): void {
    this.#host.note({ kind: 'note', level, event: 'move', text, shard: null, nodeId: null });
  }
}

function freshMemory(): MoveMemory {
  return {
    wishes: [],
    pace: new MovePace(),
    large: new LargeKeys(),
    moved: { keys: 0, bytes: 0, keysOfPortion: 0, trouble: null },
    inspections: new Map(),
    shared: null,
    empty: null,
    gone: null,
    accepted: null,
    evicted: 0,
    sets: 0,
  };
}
