/**
 * A process that a test has started and that it ends: by its id, never by its name.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { Host } from './host.ts';

/** What of a log is kept: enough to say why a test failed. */
const KEPT_LOG = 200_000;

/** A test run that is broken off leaves nothing behind. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class TestProcess {
  readonly name: string;
  /** Standard output and standard error so far, the newest part of it. */
  log = '';
  readonly #child: ChildProcess;

  constructor(
    name: string,
    host: Host,
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ) {
    this.name = name;
    const [command, words] = host.command(program, args);
    this.#child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    const keep = (text: string): void => {
      this.log = (this.log + text).slice(-KEPT_LOG);
    };
    this.#child.stdout?.setEncoding('utf8').on('data', keep);
    this.#child.stderr?.setEncoding('utf8').on('data', keep);
    this.#child.once('error', error => keep(`could not be started: ${error.message}\n`));
    running.add(this.#child);
    this.#child.once('exit', () => running.delete(this.#child));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get ended(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Null while it runs, and when a signal ended it. */
  get exitStatus(): number | null {
    return this.#child.exitCode;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** SIGKILL, to its children as well; it is gone when this returns. */
  async kill(): Promise<void> {
    const pids = descendantsOf(this.pid);
    if (!this.ended) {
      const exit = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await exit;
    }
    for (const pid of pids) killQuietly(pid);
  }

  /** SIGTERM, and SIGKILL when that takes longer than a test should wait. */
  async end(limitMs = 5_000): Promise<void> {
    if (this.ended) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGCONT');
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => void this.kill(), limitMs);
    await exit;
    clearTimeout(timer);
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended with its parent.
  }
}

/** Ids of the processes that a process has started, and those that these have. */
function descendantsOf(root: number): number[] {
  if (root === 0) return [];
  const parents = new Map<number, number>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'latin1');
      parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // It ended while we looked.
    }
  }
  const found = [root];
  for (let index = 0; index < found.length; index += 1) {
    for (const [pid, parent] of parents) if (parent === found[index]) found.push(pid);
  }
  return found.slice(1);
}
