import { expect } from 'vitest';
import type { Model, Outcome } from './explore.ts';

/**
 * What the tests of all models share: runs that must find nothing, and runs that must find something.
 *
 *   RINGSIDE_MODEL=full    also the large sizes: minutes, up to 4 GB
 *   RINGSIDE_MODEL=story   prints for each safeguard the shortest way in which its absence shows (pick one by -t NAME)
 */
export const MODE = process.env['RINGSIDE_MODEL'] ?? 'short';
export const MINUTES = 60_000;

export interface Row<Sizes> {
  readonly name: string;
  /** What is left out, or reached. */
  readonly what: string;
  readonly sizes: Sizes;
  /** With every safeguard these sizes take too long for the short form. */
  readonly isLarge?: true;
}

export function text(sizes: object): string {
  return Object.entries(sizes)
    .map(([name, size]) => `${name}=${size}`)
    .join(' ');
}

/** One line about a run, in the test's output. */
function tell(title: string, { states, depth, seconds, memoryMb, complete }: Outcome): void {
  const reach = complete ? 'all states' : 'not all states';
  process.stdout.write(
    `  model ${title}: ${states} states (${reach}), depth ${depth}, ${seconds} s, ${Math.round(memoryMb)} MB\n`,
  );
}

/** With nothing taken out no state is bad; `isWhole`: and every state was visited. */
export async function expectSafe<Sizes extends object>(
  model: Model<Sizes>,
  sizes: Sizes,
  { isWhole = true } = {},
): Promise<void> {
  const outcome = await model.explore(null, sizes);
  tell(text(sizes), outcome);
  expect({ violation: outcome.violation, story: outcome.story }).toEqual({ violation: null, story: [] });
  if (isWhole) expect(outcome.complete).toBe(true);
}

/** With `name` taken out, or as a goal: a way is found. */
export async function expectFound<Sizes extends object>(
  model: Model<Sizes>,
  { name, what, sizes }: Row<Sizes>,
): Promise<Outcome> {
  const outcome = await model.explore(name, sizes, { shortest: MODE === 'story' });
  if (MODE === 'story') process.stdout.write(`\n${name} (${what}) [${text(sizes)}]\n  ${outcome.story.join('\n  ')}\n`);
  expect(outcome.violation, `nothing happens without ${name} in ${text(sizes)}`).not.toBeNull();
  return outcome;
}
