import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Model, type ModelFiles, type Outcome } from './explore.ts';

/**
 * What the tests of all models share: runs that must find nothing, and runs that must find something.
 *
 *   RINGSIDE_MODEL=full    also the large sizes: minutes, up to 4 GB
 *   RINGSIDE_MODEL=story   prints for each safeguard the shortest way in which its absence shows (pick one by -t NAME)
 */
const MODE = process.env['RINGSIDE_MODEL'] ?? 'short';
const MINUTES = 60_000;

export interface Row<Sizes> {
  readonly name: string;
  /** What is left out, or reached. */
  readonly what: string;
  readonly sizes: Sizes;
  /** With every safeguard these sizes take too long for the short form. */
  readonly isLarge?: true;
}

function text(sizes: object): string {
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
async function expectSafe<Sizes extends object>(
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
async function expectFound<Sizes extends object>(
  model: Model<Sizes>,
  { name, what, sizes }: Row<Sizes>,
): Promise<Outcome> {
  const outcome = await model.explore(name, sizes, { shortest: MODE === 'story' });
  if (MODE === 'story') process.stdout.write(`\n${name} (${what}) [${text(sizes)}]\n  ${outcome.story.join('\n  ')}\n`);
  expect(outcome.violation, `nothing happens without ${name} in ${text(sizes)}`).not.toBeNull();
  return outcome;
}

/** What is asked of one model. */
export interface Questions<Sizes> {
  readonly files: ModelFiles<Sizes>;
  readonly safeguards: readonly Row<Sizes>[];
  /** Nobody should prove something in which nothing happens: what runs must reach. */
  readonly goals: readonly Row<Sizes>[];
  /** Further sizes in which every state is visited. */
  readonly whole: readonly Sizes[];
  /** The same, which takes minutes. */
  readonly large: readonly Sizes[];
  /** Too many states to remember each: three bits a state. A violation is one, its absence proves less. */
  readonly largest: readonly Sizes[];
}

/** Registers the tests of one model. */
export function exploreAll<Sizes extends object>({
  files,
  safeguards,
  goals,
  whole,
  large,
  largest,
}: Questions<Sizes>): void {
  let model: Model<Sizes>;
  beforeAll(async () => {
    model = await Model.build(files);
  }, 10 * MINUTES);
  afterAll(() => model.dispose());

  describe.skipIf(MODE === 'story')('with every safeguard', { concurrent: true }, () => {
    const small = safeguards.filter(row => !row.isLarge).map(row => row.sizes);
    const sizes = new Map([...small, ...whole].map(each => [text(each), each]));
    test.each([...sizes])('nothing is lost: %s', async (_, each) => expectSafe(model, each), 10 * MINUTES);
  });

  describe('without', { concurrent: true }, () => {
    test.each(safeguards)(
      '$name ($what) something is lost',
      async row => {
        const { violation } = await expectFound(model, row);
        expect(violation).toMatch(/^assertion violated/);
      },
      10 * MINUTES,
    );

    test('every safeguard has its row, every goal too', () => {
      expect(new Set([...safeguards, ...goals].map(row => row.name))).toEqual(new Set(model.names));
    });
  });

  describe('the model reaches', { concurrent: true }, () => {
    test.each(goals)(
      '$name: $what',
      async row => {
        const { violation } = await expectFound(model, row);
        // The goal's own assertion, not one of the invariants: those name no safeguard in spin's words.
        expect(violation).toContain('without==');
      },
      10 * MINUTES,
    );
  });

  // Registered only when asked for: a size that is too large for every run is not one that could not run.
  if (MODE !== 'full') return;
  describe('in large sizes', () => {
    test.each(large.map(sizes => [text(sizes), sizes] as const))(
      'nothing is lost: %s',
      async (_, sizes) => expectSafe(model, sizes),
      60 * MINUTES,
    );

    test.each(largest.map(sizes => [text(sizes), sizes] as const))(
      'no loss is found: %s',
      async (_, sizes) => {
        const bitstate = await Model.build(files, { bitstate: true });
        try {
          await expectSafe(bitstate, sizes, { isWhole: false });
        } finally {
          bitstate.dispose();
        }
      },
      60 * MINUTES,
    );
  });
}
