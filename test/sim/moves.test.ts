import { expect, test } from 'vitest';
import { type MoveOutcome, playMove } from './moves.ts';

/**
 * Keys that are moved in worlds full of trouble: none is lost, doubled or stale, and in the end each is in its place.
 *
 *   RINGSIDE_SEED=123 npx vitest run test/sim/moves.test.ts          plays one seed and prints its story
 *   RINGSIDE_SIM_SEEDS=5000 npx vitest run test/sim/moves.test.ts    plays so many
 */
const one = process.env['RINGSIDE_SEED'];
const many = Number(process.env['RINGSIDE_SIM_SEEDS'] ?? 40);
const first = one === undefined ? 1 : Number(one);
const seeds = Array.from({ length: one === undefined ? many : 1 }, (_, index) => first + index);
const PORTION = 20;
const portions = Array.from({ length: Math.ceil(seeds.length / PORTION) }, (_, index) => {
  return seeds.slice(index * PORTION, (index + 1) * PORTION);
});

test.for(portions.map(portion => [portion[0], portion.at(-1), portion] as const))(
  'seeds %i to %i lose no key',
  { timeout: 240_000 },
  ([, , portion]) => {
    const failed: string[] = [];
    const sums = { acknowledged: 0, moved: 0, aborted: 0, spoiled: 0 };
    for (const seed of portion) {
      const outcome = playMove(seed, { storyLines: one === undefined ? 150 : 100_000 });
      sums.acknowledged += outcome.counts['acknowledged'] ?? 0;
      sums.moved += outcome.moved;
      sums.aborted += outcome.isAborted ? 1 : 0;
      sums.spoiled += outcome.isSpoiled ? 1 : 0;
      if (one !== undefined) process.stdout.write(`${outcome.story.join('\n')}\n`);
      if (outcome.violations.length > 0) failed.push(report(outcome));
    }
    expect(failed.join('\n\n')).toBe('');
    if (one !== undefined) return;
    // A world in which nobody is served, or nothing moves, breaks no promise either.
    expect(sums.acknowledged).toBeGreaterThan(portion.length * 50);
    expect(sums.moved).toBeGreaterThan(portion.length / 2);
    expect(sums.aborted).toBeGreaterThan(0);
    expect(sums.spoiled).toBeLessThan(portion.length / 4);
  },
);

function report({ seed, violations, story, plan }: MoveOutcome): string {
  return [
    `seed ${seed} (${JSON.stringify(plan.move)}): ${violations.slice(0, 3).join('; ')}`,
    `play it again: RINGSIDE_SEED=${seed} npx vitest run test/sim/moves.test.ts`,
    ...story.slice(-12).map(line => `    ${line.slice(0, 200)}`),
  ].join('\n');
}
