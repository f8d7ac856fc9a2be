import { expect, test } from 'vitest';
import { type Outcome, play } from './run.ts';

/**
 * Nodes are drained, and kept after all, and whatever is a spare is emptied, in worlds full of trouble: no promise is
 * broken, and once the trouble is over and nobody is drained any more, every shard has its copies, and none too many.
 *
 *   RINGSIDE_SEED=123 npx vitest run test/sim/drains.test.ts          plays one seed and prints its story
 *   RINGSIDE_SIM_SEEDS=1000 npx vitest run test/sim/drains.test.ts    plays so many
 */
const one = process.env['RINGSIDE_SEED'];
const many = Number(process.env['RINGSIDE_SIM_SEEDS'] ?? 30);
const first = one === undefined ? 1 : Number(one);
const seeds = Array.from({ length: one === undefined ? many : 1 }, (_, index) => first + index);

test(`seeds ${first} to ${seeds.at(-1)} keep every promise`, { timeout: 60_000 + seeds.length * 4000 }, () => {
  const failed: string[] = [];
  let freed = 0;
  let emptied = 0;
  for (const seed of seeds) {
    const outcome = play(seed, { leaning: { drains: true, spares: 1 + (seed % 2) }, storyLines: 100_000 });
    if (one !== undefined) process.stdout.write(`${outcome.story.join('\n')}\n`);
    if (outcome.violations.length > 0) failed.push(report(outcome));
    freed += outcome.story.filter(line => line.includes('is free: it may be stopped')).length;
    emptied += outcome.story.filter(line => / is empty: [1-9]\d* keys? (is|are) gone/.test(line)).length;
  }
  expect(failed.join('\n\n')).toBe('');
  // Else nothing was shown.
  if (one === undefined) expect(freed).toBeGreaterThan(seeds.length / 3);
  if (one === undefined) expect(emptied).toBeGreaterThan(seeds.length / 10);
});

function report({ seed, violations, story, plan }: Outcome): string {
  return [
    `seed ${seed} (${plan.mood}): ${violations.slice(0, 3).join('; ')}`,
    `play it again: RINGSIDE_SEED=${seed} npx vitest run test/sim/drains.test.ts`,
    ...story.slice(-12).map(line => `    ${line.slice(0, 200)}`),
  ].join('\n');
}
