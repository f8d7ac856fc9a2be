import { describe, expect, test } from 'vitest';
import { LargeKeys } from '../../../src/supervisor/core/large-keys.ts';
import { MovePace } from '../../../src/supervisor/core/move-pace.ts';
import type { World } from '../../../src/supervisor/core/world.ts';

/**
 * How fast keys are moved, in a world of nothing but a clock: a giver that answers in as many milliseconds as is said.
 */
class Bench {
  nowMs = 0;
  plainMs = 1;
  workPercent = 100;
  readonly pace = new MovePace();
  readonly #world: World;

  constructor(keysPerSecond: number) {
    const bench = this;
    const parts = {
      get settings() {
        return { move: { keysPerSecond, addedLatencyMs: 5, workPercent: bench.workPercent } };
      },
      topology: { move: null },
      get nowMs() {
        return bench.nowMs;
      },
    };
    this.#world = parts as unknown as World;
  }

  /** So many batches, each of which the giver answers after so long; returns keys per second. */
  run(batches: number, readMs: (keys: number) => number): number {
    const beganMs = this.nowMs;
    let moved = 0;
    for (let i = 0; i < batches; i++) {
      this.#rest();
      const startMs = this.nowMs;
      const keys = this.pace.batchKeys(this.#world);
      this.nowMs += readMs(keys);
      this.pace.noteMoved(this.#world, keys, startMs);
      this.pace.noteGiver(this.#world, this.nowMs - startMs);
      moved += keys;
    }
    this.#rest();
    return (moved * 1000) / (this.nowMs - beganMs);
  }

  get batch(): number {
    return this.pace.batchKeys(this.#world);
  }

  get told(): number {
    return this.pace.keysPerSecond(this.#world);
  }

  #rest(): void {
    const procedure = this.pace.next(this.#world, { nodeId: 'n1', runId: 'life' });
    for (let step = procedure.next({ kind: 'done' }); step.done !== true; ) {
      if (step.value.kind === 'rest') this.nowMs += step.value.ms;
      else this.nowMs += this.plainMs;
      step = procedure.next({ kind: 'outcome', outcome: { ok: true, replies: ['PONG'] } });
    }
  }
}

describe('the pace of a move', () => {
  test.each([10, 500, 20_000])('is at most %d keys a second, however quick the giver is', bound => {
    const bench = new Bench(bound);
    const pace = bench.run(300, () => 0.5);
    expect(pace).toBeLessThanOrEqual(bound);
    expect(pace).toBeGreaterThan(bound * 0.8);
    expect(bench.told).toBeLessThanOrEqual(bound * 1.2);
  });

  test.each([100, 25, 1])('leaves nodes to clients but for %d percent of the time', workPercent => {
    const bench = new Bench(1_000_000);
    bench.workPercent = workPercent;
    bench.plainMs = 4;
    // Four milliseconds a batch, whatever its size: the bound on added latency has no part in it.
    const beganMs = bench.nowMs;
    bench.run(200, () => 4);
    const busyPercent = (200 * 4 * 100) / (bench.nowMs - beganMs);
    expect(busyPercent).toBeLessThanOrEqual(workPercent);
    // Questions that cost the giver nothing are asked meanwhile.
    expect(busyPercent).toBeGreaterThan(workPercent * 0.7);
  });

  test('gives way where the giver answers later than it may, and comes back', () => {
    const bench = new Bench(1_000_000);
    // 20 µs a key: a full batch takes longer than the bound.
    bench.run(100, keys => 1 + keys * 0.02);
    expect(bench.pace.addedLatencyMs).toBeLessThanOrEqual(6);
    expect(bench.batch).toBeLessThan(400);
    const calm = bench.batch;
    bench.run(50, keys => 1 + keys * 0.2);
    expect(bench.batch).toBeLessThan(calm / 4);
    expect(bench.pace.addedLatencyMs).toBeGreaterThan(5);
    bench.run(100, keys => 1 + keys * 0.001);
    expect(bench.batch).toBe(512);
  });

  test('never comes to nothing, and is not misled by single late answers', () => {
    const bench = new Bench(20_000);
    expect(bench.run(200, () => 30)).toBeGreaterThan(300);
    expect(bench.batch).toBe(32);
    const other = new Bench(20_000);
    let count = 0;
    other.run(200, () => (count++ % 4 === 0 ? 200 : 2));
    expect(other.batch).toBeGreaterThan(400);
  });

  test('says nothing of what it added before both were measured', () => {
    expect(new MovePace().addedLatencyMs).toBe(null);
    const bench = new Bench(1000);
    bench.run(1, () => 3);
    expect(bench.pace.addedLatencyMs).toBe(2);
    bench.pace.begin();
    expect(bench.pace.addedLatencyMs).toBe(null);
  });
});

test('how long a large key takes is learned from those that went before', () => {
  const large = new LargeKeys();
  const key = { database: 0, key: 'k\xff', bytes: 50_000_000 };
  expect(large.stallMs(key.bytes)).toBe(500);
  large.note('s1', key);
  expect(large.found).toEqual([{ shard: 's1', database: 0, key: 'k\\xff', bytes: 50_000_000, stallMs: 500 }]);
  const notes = [large.moved('s1', key, 200).next({ kind: 'done' }).value];
  expect(notes).toMatchObject([
    { kind: 'note', note: { text: expect.stringContaining('47.7 MB) was moved in 200 ms') } },
  ]);
  expect(large.found[0]?.stallMs).toBe(200);
  expect(large.stallMs(key.bytes)).toBeLessThan(500);
});
