import { expect, test } from 'vitest';
import { type Outcome, play } from './run.ts';
import { ONE_SEED, portionsOfSeeds } from './seeds.ts';

/**
 * The real decisions of supervisors and proxies, in worlds full of trouble: no promise is broken, and once the trouble is
 * over every shard is whole again.
 *
 *   RINGSIDE_SEED=123 npx vitest run test/sim/sim.test.ts          plays one seed and prints its story
 *   RINGSIDE_SIM_SEEDS=5000 npx vitest run test/sim/sim.test.ts    plays so many
 */
const portions = portionsOfSeeds(60);

test.for(portions)('seeds %i to %i keep every promise', { timeout: 240_000 }, ([, , portion]) => {
  const failed: string[] = [];
  let acknowledged = 0;
  for (const seed of portion) {
    const outcome = play(seed, { storyLines: ONE_SEED === null ? 150 : 100_000 });
    acknowledged += outcome.counts['acknowledged'] ?? 0;
    if (ONE_SEED !== null) process.stdout.write(`${outcome.story.join('\n')}\n`);
    if (outcome.violations.length > 0) failed.push(report(outcome));
  }
  expect(failed.join('\n\n')).toBe('');
  // A world in which nobody is served breaks no promise either.
  expect(acknowledged).toBeGreaterThan(portion.length * 50);
});

test('the same seed is the same story', () => {
  const first = ONE_SEED ?? 1;
  const [a, b, other] = [play(first), play(first), play(first + 1)];
  expect({ hash: b.hash, events: b.events }).toEqual({ hash: a.hash, events: a.events });
  expect(other.hash).not.toBe(a.hash);
});

function report({ seed, violations, story, plan }: Outcome): string {
  return [
    `seed ${seed} (${plan.mood}): ${violations.slice(0, 3).join('; ')}`,
    `play it again: RINGSIDE_SEED=${seed} npx vitest run test/sim/sim.test.ts`,
    ...story.slice(-12).map(line => `    ${line.slice(0, 200)}`),
  ].join('\n');
}
