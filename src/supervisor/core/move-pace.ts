import { MOST_KEYS_PER_SCRIPT } from '../../topology/pull.ts';
import { call, type Procedure, rest, type Target } from './procedure.ts';
import type { World } from './world.ts';

/**
 * How fast keys are moved: at most so many a second, for no more than a part of the time, and in batches that hold the
 * giver up for no longer than it may.
 *
 * What its answers take longer is measured against questions that cost it nothing, asked now and then in between; batches
 * become smaller, and rests longer, while that is too much. They never become nothing: a move goes on. What is compared
 * are medians, since on a busy machine single answers are late for reasons of their own.
 */
const FEWEST_KEYS = 32;
/** A batch is no more than this part of what may be moved in a second, so that a small bound is kept evenly. */
const BATCHES_A_SECOND = 10;
const MEASURE_EVERY_MS = 500;
/** Slower than this it does not become, whatever is measured: a part of the bound, and so many keys a second. */
const LEAST_SHARE = 0.05;
const LEAST_KEYS_PER_SECOND = 500;
/** What is told of the pace is over so long. */
const TOLD_MS = 5000;
const LIMIT_MS = 1000;

export class MovePace {
  #batch = 64;
  /** Milliseconds of undisturbed answers, and of those for which keys are read. */
  readonly #plain = new Recent();
  readonly #loaded = new Recent();
  #measuredAtMs = Number.NEGATIVE_INFINITY;
  #nextAtMs = 0;
  #restMs = 0;
  #moved: { readonly atMs: number; readonly keys: number }[] = [];

  /** Keys in the next batch. */
  batchKeys(world: World): number {
    return Math.max(1, Math.min(this.#batch, Math.ceil(mostKeysPerSecond(world) / BATCHES_A_SECOND)));
  }

  /** What the giver's answers take longer, milliseconds; null: not measured yet. */
  get addedLatencyMs(): number | null {
    const [plainMs, loadedMs] = [this.#plain.median, this.#loaded.median];
    return plainMs === null || loadedMs === null ? null : Math.max(0, loadedMs - plainMs);
  }

  /** Another giver: what was measured says nothing of it. */
  begin(): void {
    this.#plain.clear();
    this.#loaded.clear();
    this.#measuredAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Rests until the next batch may go, and measures where it is time to. */
  *next(world: World, giver: Target): Procedure<void> {
    const waitMs = Math.max(this.#restMs, this.#nextAtMs - world.nowMs);
    if (waitMs > 0) yield* rest(waitMs);
    if (world.nowMs - this.#measuredAtMs < MEASURE_EVERY_MS) return;
    const tries = this.#plain.median === null ? 3 : 1;
    for (let tried = 0; tried < tries; tried++) {
      const beganMs = world.nowMs;
      const outcome = yield* call(giver, [['PING']], LIMIT_MS);
      if (outcome.ok) this.#plain.add(world.nowMs - beganMs);
    }
    this.#measuredAtMs = world.nowMs;
  }

  /** Nodes were busy with the move since `beganMs`: they are left to clients for as long as is due. */
  noteWork(world: World, beganMs: number): void {
    const tookMs = world.nowMs - beganMs;
    const restMs = tookMs * (100 / world.settings.move.workPercent - 1);
    this.#nextAtMs = Math.max(this.#nextAtMs, world.nowMs + restMs);
  }

  /** So many keys were moved since `beganMs`. */
  noteMoved(world: World, keys: number, beganMs: number): void {
    const { nowMs } = world;
    this.#nextAtMs = Math.max(this.#nextAtMs, beganMs) + (keys * 1000) / mostKeysPerSecond(world);
    this.noteWork(world, beganMs);
    if (keys > 0) this.#moved.push({ atMs: nowMs, keys });
    while ((this.#moved[0]?.atMs ?? nowMs) < nowMs - TOLD_MS) this.#moved.shift();
  }

  /** The giver took so long to answer. */
  noteGiver(world: World, tookMs: number): void {
    this.#loaded.add(tookMs);
    const added = this.addedLatencyMs;
    const most = world.settings.move.addedLatencyMs;
    if (added === null) return;
    if (added > most) {
      this.#batch = Math.max(FEWEST_KEYS, Math.floor(this.#batch * 0.8));
      this.#restMs = Math.min(this.#longestRestMs(world), Math.max(1, this.#restMs * 1.5, added - most));
    } else if (added < most / 2) {
      this.#batch = Math.min(MOST_KEYS_PER_SCRIPT, Math.ceil(this.#batch * 1.2));
      this.#restMs = this.#restMs < 1 ? 0 : this.#restMs / 2;
    }
  }

  #longestRestMs(world: World): number {
    const bound = mostKeysPerSecond(world);
    const least = Math.min(bound, Math.max(LEAST_KEYS_PER_SECOND, bound * LEAST_SHARE));
    return (this.batchKeys(world) * 1000) / least;
  }

  /** Over the last seconds. */
  keysPerSecond(world: World): number {
    const { nowMs } = world;
    const recent = this.#moved.filter(({ atMs }) => atMs >= nowMs - TOLD_MS);
    const sum = recent.reduce((total, { keys }) => total + keys, 0);
    const sinceMs = nowMs - (recent[0]?.atMs ?? nowMs);
    return sum === 0 ? 0 : (sum * 1000) / Math.max(1000, sinceMs);
  }
}

/** The last few of many measurements. */
class Recent {
  static readonly #KEPT = 15;
  readonly #values: number[] = [];

  /** Null: there are none. */
  get median(): number | null {
    const sorted = [...this.#values].sort((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) / 2)] ?? null;
  }

  add(value: number): void {
    this.#values.push(value);
    if (this.#values.length > Recent.#KEPT) this.#values.shift();
  }

  clear(): void {
    this.#values.length = 0;
  }
}

/** The bound in force: a person's, or that of the settings. */
export function mostKeysPerSecond(world: World): number {
  return world.topology.move?.keysPerSecond ?? world.settings.move.keysPerSecond;
}
