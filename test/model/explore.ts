import { execFile, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Has spin walk through every state of the protocol's model (shard.pml), in sizes that are given, with one safeguard
 * taken out or with none.
 *
 * The model is built once; sizes and the safeguard reach it by the environment.
 */

/** The sizes of a run, by the names that shard.pml reads; what is not named is nought, or the least that there can be. */
export interface Sizes {
  /** Nodes; `MEMBERS` of them are in sync replicas at the start. */
  readonly NODES?: number;
  readonly MEMBERS?: number;
  readonly WRITES?: number;
  readonly LEADERS?: number;
  readonly PROXIES?: number;
  /** So many of the proxies read instead of writing. */
  readonly STRICT_READS?: number;
  /** 1: the first leader begins with taking over. */
  readonly FRESH?: number;
  /** 1: only the first leader fails over, only later ones shrink and grow. */
  readonly ROLES?: number;
  /** 1: a primary held for lost may be a candidate itself. */
  readonly PRIMARY_STANDS?: number;
  /** 1: a leader that gave up a fail-over sees links anew, but does not clean nodes anew. */
  readonly LAX?: number;
  /** 1: proxies hear of old versions too. */
  readonly LATE?: number;
  /** 1: proxies resolve writes that a fail-over left undecided. */
  readonly UNDECIDED?: number;
  /** How often each may happen. */
  readonly DEATHS?: number;
  readonly RESTARTS?: number;
  readonly BREAKS?: number;
  readonly EMPTIED?: number;
  readonly SHRINKS?: number;
  readonly GROWS?: number;
  readonly FAIL_OVERS?: number;
  readonly SWITCH_OVERS?: number;
}

const LEAST: Required<Sizes> = {
  NODES: 3,
  MEMBERS: 2,
  WRITES: 1,
  LEADERS: 1,
  PROXIES: 1,
  STRICT_READS: 0,
  FRESH: 0,
  ROLES: 0,
  PRIMARY_STANDS: 0,
  LAX: 0,
  LATE: 0,
  UNDECIDED: 0,
  DEATHS: 0,
  RESTARTS: 0,
  BREAKS: 0,
  EMPTIED: 0,
  SHRINKS: 0,
  GROWS: 0,
  FAIL_OVERS: 0,
  SWITCH_OVERS: 0,
};

/** What a run found. */
export interface Outcome {
  /** The assertion that failed, or what else was wrong; null: nothing. */
  readonly violation: string | null;
  /** Every reachable state was visited: with bitstate hashing, and after a violation, never. */
  readonly complete: boolean;
  readonly states: number;
  /** Steps of the longest way. */
  readonly depth: number;
  readonly seconds: number;
  readonly memoryMb: number;
  /** How the violation came about, step by step. */
  readonly story: readonly string[];
}

/** No run takes more: beyond it the search ends, and says that it is not complete. */
const MEMORY_MB = 4000;
const LONGEST_WAY = 1_000_000;
/** With bitstate hashing: 2^33 bits, and so many minutes. */
const BITSTATE = ['-w33', '-Q20'];

const run = promisify(execFile);

/** Runs at a time, over all models: each wants a processor of its own. */
let free = Math.min(2, availableParallelism());
const waiting: (() => void)[] = [];

export class Model {
  readonly #directory: string;
  readonly #numbers: ReadonlyMap<string, string>;
  readonly #limits: readonly string[];

  private constructor(directory: string, numbers: ReadonlyMap<string, string>, limits: readonly string[]) {
    this.#directory = directory;
    this.#numbers = numbers;
    this.#limits = limits;
  }

  /**
   * Builds the checker. With `bitstate` it remembers a state by three bits: for what memory cannot hold; it may then
   * miss states, and so proves less.
   */
  static async build({ bitstate = false } = {}): Promise<Model> {
    const directory = mkdtempSync(join(tmpdir(), 'ringside-model-'));
    for (const file of readdirSync(import.meta.dirname)) {
      if (file.endsWith('.pml')) copyFileSync(join(import.meta.dirname, file), join(directory, file));
    }
    const { stdout } = await run('spin', ['-a', '-o3', 'shard.pml'], { cwd: directory });
    if (/error/i.test(stdout)) throw new Error(`spin cannot read test/model/shard.pml:\n${stdout}`);
    const memory = bitstate ? ['-DBITSTATE'] : ['-DCOLLAPSE', `-DMEMLIM=${MEMORY_MB}`];
    await run('gcc', ['-O2', '-w', '-DSAFETY', ...memory, '-o', 'pan', 'pan.c'], { cwd: directory });
    const names = readFileSync(join(directory, 'safeguards.pml'), 'utf8').matchAll(/^#define (\w+) (\d+)/gm);
    return new Model(
      directory,
      new Map([...names].map(([, name, number]) => [name ?? '', number ?? ''])),
      bitstate ? BITSTATE : [],
    );
  }

  /** The names of all safeguards, and of all goals (`GOAL_…`). */
  get names(): readonly string[] {
    return [...this.#numbers.keys()];
  }

  /**
   * Walks through all states. `without`: the safeguard to take out, or the goal to look for. `shortest`: searches on
   * for the shortest story, which takes as long as if there were none.
   */
  async explore(without: string | null, sizes: Sizes, { shortest = false } = {}): Promise<Outcome> {
    const number = without === null ? '0' : this.#numbers.get(without);
    if (number === undefined) throw new Error(`safeguards.pml knows no ${without}`);
    const environment = Object.entries({ ...LEAST, ...sizes }).map(([name, size]) => [name, String(size)]);
    const env = { ...process.env, ...Object.fromEntries(environment), WITHOUT: number };
    if (free === 0) await new Promise<void>(resolve => waiting.push(resolve));
    else free -= 1;
    const cwd = mkdtempSync(join(this.#directory, 'run-'));
    try {
      const pan = join(this.#directory, 'pan');
      const text = await output(pan, [`-m${LONGEST_WAY}`, ...this.#limits, ...(shortest ? ['-i'] : [])], { cwd, env });
      const violation = /^pan:1: (.*) \(at depth/m.exec(text)?.[1] ?? null;
      const story = violation === null ? [] : await this.#story(join(cwd, 'shard.pml.trail'), { cwd, env });
      return { ...figures(text), violation, story };
    } finally {
      rmSync(cwd, { recursive: true, force: true });
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    }
  }

  async #story(trail: string, options: { cwd: string; env: NodeJS.ProcessEnv }): Promise<string[]> {
    const text = await output(join(this.#directory, 'pan'), ['-r', '-n', trail], options);
    return text.split('\n').filter(line => /^(leader|node|proxy|the link)/.test(line));
  }

  /** Removes what was built. */
  dispose(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** The figures of a run, from what spin's checker prints. */
function figures(text: string): Omit<Outcome, 'violation' | 'story'> {
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? Number.NaN);
  const cutShort = /Search not completed|max search depth too small|reached -DMEMLIM|out of memory|Bit statespace/;
  return {
    complete: !cutShort.test(text) && /errors: 0$/m.test(text),
    states: number(/(\d+(?:\.\d+)?(?:e\+\d+)?) states, stored/),
    depth: number(/depth reached (\d+)/),
    seconds: number(/elapsed time ([\d.e+-]+) seconds/),
    memoryMb: number(/([\d.]+)\ttotal actual memory usage/),
  };
}

/** Everything that a process prints; its exit status tells nothing that the text does not. */
function output(command: string, args: string[], options: { cwd: string; env: NodeJS.ProcessEnv }): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.on('error', reject);
    child.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
  });
}
