import { execFile, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Has spin walk through every state of a model of the protocol, in sizes that are given, with one safeguard taken out or
 * with none.
 *
 * A model is built once; sizes and the safeguard reach it by the environment.
 */

/** Of one model. */
export interface ModelFiles<Sizes> {
  /** What spin reads; it includes the others. */
  readonly main: string;
  /** Where the safeguards and goals have their numbers. */
  readonly safeguards: string;
  /** What a size is when a run does not name it: nought, or the least that there can be. */
  readonly least: Required<Sizes>;
  /** The lines that tell what happens, among those that a trail is replayed with. */
  readonly story: RegExp;
}

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

export class Model<Sizes extends object> {
  readonly #files: ModelFiles<Sizes>;
  readonly #directory: string;
  readonly #numbers: ReadonlyMap<string, string>;
  readonly #limits: readonly string[];

  private constructor(
    files: ModelFiles<Sizes>,
    directory: string,
    numbers: ReadonlyMap<string, string>,
    limits: readonly string[],
  ) {
    this.#files = files;
    this.#directory = directory;
    this.#numbers = numbers;
    this.#limits = limits;
  }

  /**
   * Builds the checker. With `bitstate` it remembers a state by three bits: for what memory cannot hold; it may then
   * miss states, and so proves less.
   */
  static async build<Sizes extends object>(files: ModelFiles<Sizes>, { bitstate = false } = {}): Promise<Model<Sizes>> {
    const directory = mkdtempSync(join(tmpdir(), 'ringside-model-'));
    for (const file of readdirSync(import.meta.dirname)) {
      if (file.endsWith('.pml')) copyFileSync(join(import.meta.dirname, file), join(directory, file));
    }
    const { stdout } = await run('spin', ['-a', '-o3', files.main], { cwd: directory });
    if (/error/i.test(stdout)) throw new Error(`spin cannot read test/model/${files.main}:\n${stdout}`);
    const memory = bitstate ? ['-DBITSTATE'] : ['-DCOLLAPSE', `-DMEMLIM=${MEMORY_MB}`];
    await run('gcc', ['-O2', '-w', '-DSAFETY', ...memory, '-o', 'pan', 'pan.c'], { cwd: directory });
    const names = readFileSync(join(directory, files.safeguards), 'utf8').matchAll(/^#define (\w+) (\d+)/gm);
    return new Model(
      files,
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
    if (number === undefined) throw new Error(`${this.#files.safeguards} knows no ${without}`);
    const environment = Object.entries({ ...this.#files.least, ...sizes }).map(([name, size]) => [name, String(size)]);
    const env = { ...process.env, ...Object.fromEntries(environment), WITHOUT: number };
    if (free === 0) await new Promise<void>(resolve => waiting.push(resolve));
    else free -= 1;
    const cwd = mkdtempSync(join(this.#directory, 'run-'));
    try {
      const pan = join(this.#directory, 'pan');
      const text = await output(pan, [`-m${LONGEST_WAY}`, ...this.#limits, ...(shortest ? ['-i'] : [])], { cwd, env });
      const violation = /^pan:1: (.*) \(at depth/m.exec(text)?.[1] ?? null;
      const story = violation === null ? [] : await this.#story(join(cwd, `${this.#files.main}.trail`), { cwd, env });
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
    return text.split('\n').filter(line => this.#files.story.test(line));
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
