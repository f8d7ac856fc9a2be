import { expect, test } from 'vitest';
import { type MoveOutcome, playMove } from './moves.ts';
import { ONE_SEED, portionsOfSeeds } from './seeds.ts';

/**
 * Keys that are moved in worlds full of trouble: none is lost, doubled or stale, and in the end each is in its place.
 *
 *   RINGSIDE_SEED=123 npx vitest run test/sim/moves.test.ts          plays one seed and prints its story
 *   RINGSIDE_SIM_SEEDS=5000 npx vitest run test/sim/moves.test.ts    plays so many
 */
const portions = portionsOfSeeds(40);

/** In all seeds; of a single portion there may be none. */
let aborted = 0;

test.for(portions)('seeds %i to %i lose no key', { timeout: 240_000 }, ([, , portion]) => {
  const failed: string[] = [];
  const sums = { acknowledged: 0, moved: 0, spoiled: 0 };
  for (const seed of portion) {
    const outcome = playMove(seed, { storyLines: ONE_SEED === null ? 150 : 100_000 });
    sums.acknowledged += outcome.counts['acknowledged'] ?? 0;
    sums.moved += outcome.moved;
    aborted += outcome.isAborted ? 1 : 0;
    sums.spoiled += outcome.isSpoiled ? 1 : 0;
    if (ONE_SEED !== null) process.stdout.write(`${outcome.story.join('\n')}\n`);
    if (outcome.violations.length > 0) failed.push(report(outcome));
  }
  expect(failed.join('\n\n')).toBe('');
  if (ONE_SEED !== null) return;
  // A world in which nobody is served, or nothing moves, breaks no promise either.
  expect(sums.acknowledged).toBeGreaterThan(portion.length * 50);
  expect(sums.moved).toBeGreaterThan(portion.length / 2);
  expect(sums.spoiled).toBeLessThan(portion.length / 4);
});

test.skipIf(ONE_SEED !== null)('some of them were turned round', () => {
  expect(aborted).toBeGreaterThan(0);
});

function report({ seed, violations, story, plan }: MoveOutcome): string {
  return [
    `seed ${seed} (${JSON.stringify(plan.move)}): ${violations.slice(0, 3).join('; ')}`,
    `play it again: RINGSIDE_SEED=${seed} npx vitest run test/sim/moves.test.ts`,
    ...story.slice(-12).map(line => `    ${line.slice(0, 200)}`),
  ].join('\n');
}
