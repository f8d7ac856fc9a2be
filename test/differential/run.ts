/**
 * Runs sequences of random steps, each from its own seed and on empty servers, until the asked number of commands.
 *
 * Every sequence can be played again alone by its seed; a failing one is cut down to few steps first.
 */
import { allowedNames } from './allowed.ts';
import { compareData } from './dataset.ts';
import { Generator, type Step } from './generator.ts';
import { type Difference, describe } from './judge.ts';
import { Session } from './session.ts';
import type { Endpoint } from './wire.ts';

export interface RunOptions {
  readonly subject: Endpoint;
  readonly reference: Endpoint;
  readonly proxy: boolean;
  readonly shardOf: ((key: Buffer) => number) | null;
  readonly seed: number;
  /** Commands to send to the subject, at least. */
  readonly commands: number;
  /** Different differences to collect before giving up. */
  readonly most: number;
  /** Time for cutting a failing sequence down, in milliseconds; 0: not at all. */
  readonly shrinkMs: number;
}

export interface RunReport {
  readonly commands: number;
  readonly keys: number;
  readonly needed: ReadonlyMap<string, number>;
  /** A text per different difference, ready to print. */
  readonly failures: readonly string[];
}

const CLIENTS = 4;
const SEQUENCE_COMMANDS = 3000;
/** Of a failing sequence that time did not suffice to cut down. */
const SHOWN_LINES = 30;

interface Failure {
  readonly differences: readonly Difference[];
  /** The step that showed it, or the number of steps when only the data at the end did. */
  readonly at: number;
  readonly history: readonly string[];
}

export async function run(options: RunOptions): Promise<RunReport> {
  const needed = new Map<string, number>();
  const failures = new Map<string, string>();
  let commands = 0;
  let keys = 0;
  for (let seed = options.seed; commands < options.commands && failures.size < options.most; seed += 1) {
    const steps: Step[] = [];
    const generator = new Generator({ seed, clients: CLIENTS, refused: options.proxy });
    const played = await playSequence(options, needed, () => {
      const step = generator.step();
      steps.push(step);
      return step;
    });
    commands += played.commands;
    keys += played.keys;
    if (played.failure === null) continue;
    // The first only: what the same step shows behind it may come of it.
    const [first] = played.failure.differences;
    if (first === undefined || failures.has(first.signature)) continue;
    failures.set(first.signature, text(first, played.failure, seed));
    if (options.shrinkMs > 0) {
      const small = await shrink(options, steps, first.signature);
      const lines = small.map(stepText).join('\n').split('\n');
      const shown = lines.length > SHOWN_LINES ? ['    …', ...lines.slice(-SHOWN_LINES)] : lines;
      failures.set(first.signature, [failures.get(first.signature), '  cut down to:', ...shown].join('\n'));
    }
  }
  return { commands, keys, needed, failures: [...failures.values()] };
}

interface Played {
  readonly commands: number;
  readonly keys: number;
  readonly failure: Failure | null;
}

/** Plays one sequence on empty servers; ends at the first difference, since what follows could come of it. */
async function playSequence(
  options: RunOptions,
  needed: Map<string, number>,
  next: () => Step | null,
): Promise<Played> {
  const session = new Session({ ...options, clients: CLIENTS, needed });
  let at = 0;
  try {
    await session.open();
    while (session.commands < SEQUENCE_COMMANDS) {
      const step = next();
      if (step === null) break;
      const differences = await session.play(step);
      if (differences.length > 0) {
        const client = 'client' in step ? step.client : 0;
        return {
          commands: session.commands,
          keys: 0,
          failure: { differences, at, history: session.history[client] ?? [] },
        };
      }
      at += 1;
    }
  } finally {
    session.close();
  }
  const data = await compareData(options.subject, options.reference);
  const differences = data.differences.map(what => ({
    what,
    subject: '',
    reference: '',
    signature: `data ${what.split(':')[1]}`,
  }));
  const failure = differences.length === 0 ? null : { differences, at, history: [] };
  return { commands: session.commands, keys: data.keys, failure };
}

/** Leaves steps and commands out as long as the same difference stays, and the time lasts. */
async function shrink(options: RunOptions, steps: readonly Step[], signature: string): Promise<readonly Step[]> {
  const deadline = Date.now() + options.shrinkMs;
  const fails = async (list: readonly Step[]): Promise<boolean> => {
    let at = 0;
    const played = await playSequence(options, new Map(), () => list[at++] ?? null).catch(() => null);
    return played?.failure?.differences.some(one => one.signature === signature) ?? false;
  };
  let small = steps;
  for (let size = Math.ceil(small.length / 2); size >= 1 && Date.now() < deadline; ) {
    let cut = false;
    for (let from = 0; from < small.length && Date.now() < deadline; ) {
      const without = [...small.slice(0, from), ...small.slice(from + size)];
      if (without.length > 0 && (await fails(without))) {
        small = without;
        cut = true;
      } else {
        from += size;
      }
    }
    if (size === 1 && !cut) break;
    size = size === 1 ? 1 : Math.ceil(size / 2);
  }
  return shrinkCommands(small, fails, deadline);
}

async function shrinkCommands(
  steps: readonly Step[],
  fails: (list: readonly Step[]) => Promise<boolean>,
  deadline: number,
): Promise<readonly Step[]> {
  let small = steps;
  for (let i = 0; i < small.length; i += 1) {
    for (let j = 0; Date.now() < deadline; ) {
      const step = small[i] as Step;
      if (step.kind !== 'pipeline' || j >= step.commands.length || step.commands.length === 1) break;
      const shorter: Step = { ...step, commands: step.commands.filter((_, index) => index !== j) };
      const without = small.map((one, index) => (index === i ? shorter : one));
      if (await fails(without)) small = without;
      else j += 1;
    }
  }
  return small;
}

function text(one: Difference, failure: Failure, seed: number): string {
  const lines = [
    `${one.what}`,
    `  subject:   ${one.subject}`,
    `  reference: ${one.reference}`,
    `  again: RINGSIDE_SEED=${seed} RINGSIDE_DIFF_COMMANDS=1 npx vitest run --config vitest.system.config.ts differential`,
  ];
  const before = failure.history.slice(-12).map(line => `    ${line}`);
  return before.length > 0
    ? [...lines, `  at step ${failure.at}, that client's last commands:`, ...before].join('\n')
    : lines.join('\n');
}

function stepText(step: Step): string {
  switch (step.kind) {
    case 'pipeline':
      return step.commands.map(command => `    client ${step.client}: ${describe(command)}`).join('\n');
    case 'blocking':
      return [
        ...step.waiters.map(waiter => `    client ${waiter.client} waits: ${describe(waiter.command)}`),
        ...step.pushes.map(push => `    client ${step.client}: ${describe(push)}`),
      ].join('\n');
    case 'pubsub':
      return `    pub/sub: ${[...step.subscribe, ...step.publish, ...step.within].map(describe).join('; ')}`;
    default:
      return `    ${step.kind}`;
  }
}

/** How often each allowed difference was needed; those never needed are named too. */
export function usageText(report: RunReport, proxy: boolean): string {
  const names = allowedNames(proxy);
  const used = names.map(name => `${name} ${report.needed.get(name) ?? 0}`);
  return `${report.commands} commands, ${report.keys} keys compared at the ends; allowed differences needed: ${used.join(', ')}`;
}
