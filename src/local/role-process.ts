import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Backoff } from '../base/backoff.ts';
import { Random } from '../base/random.ts';
import { endOf, identityOf, lastLine } from './child.ts';
import { endProcessGroup, killProcessGroup, type ProcessIdentity } from './process-identity.ts';

/** Having run so long, a process has shown that it can start. */
const SETTLED_MS = 10_000;

const program = fileURLToPath(new URL('../main.js', import.meta.url));

/**
 * The proxy's or the supervisor's process of the local cluster: started, and started again whenever it ends.
 *
 * It has an IPC channel to `up` for one purpose: when `up` is killed the channel breaks, and the process ends itself.
 */
export class RoleProcess {
  readonly role: 'proxy' | 'supervisor';
  readonly logFile: string;
  readonly #args: readonly string[];
  readonly #onChange: (said: string | null) => void;
  readonly #backoff = new Backoff(200, 5000, new Random(Date.now()));
  #identity: ProcessIdentity | null = null;
  #restart: NodeJS.Timeout | null = null;
  #stopping = false;
  #hasWorked = false;
  readonly #onFailure: (problem: string) => void;

  /**
   * `onChange` hears of every new state; `said`: what the person at the terminal should read. `onFailure` hears of an
   * end before the process ever worked: that is a mistake of settings or machine, to be told, not repeated.
   */
  constructor(
    role: 'proxy' | 'supervisor',
    config: string,
    logFile: string,
    onChange: (said: string | null) => void,
    onFailure: (problem: string) => void,
  ) {
    this.role = role;
    this.logFile = logFile;
    this.#args = [program, role, '--config', config];
    this.#onChange = onChange;
    this.#onFailure = onFailure;
  }

  /** The living process; null: none. */
  get identity(): ProcessIdentity | null {
    return this.#identity;
  }

  start(): void {
    this.#spawn();
  }

  /** The process works: from now on it is started again when it ends. */
  settled(): void {
    this.#hasWorked = true;
  }

  /** Ends the process in order; one that has not ended when the time is over is killed. */
  async stop(limitMs: number): Promise<void> {
    this.#stopping = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
    const identity = this.#identity;
    if (identity !== null) await endProcessGroup(identity, limitMs);
  }

  kill(): void {
    this.#stopping = true;
    if (this.#identity !== null) killProcessGroup(this.#identity);
  }

  #spawn(): void {
    const startedMs = performance.now();
    const log = openSync(this.logFile, 'a', 0o600);
    const child = spawn(process.execPath, this.#args, { detached: true, stdio: ['ignore', log, log, 'ipc'] });
    closeSync(log);
    const ended = (how: string): void => {
      if (performance.now() - startedMs > SETTLED_MS) this.#backoff.reset();
      this.#ended(how);
    };
    child.once('error', error => ended(error.message));
    child.once('exit', (status, signal) => ended(endOf(status, signal)));
    this.#identity = identityOf(child);
    this.#onChange(null);
  }

  #ended(how: string): void {
    this.#identity = null;
    if (this.#stopping || !this.#hasWorked) {
      this.#onChange(null);
      if (!this.#stopping)
        this.#onFailure(
          `the ${this.role} ended at start (${how}; all of it in ${this.logFile}): ${lastLine(this.logFile)}`,
        );
      return;
    }
    this.#onChange(`the ${this.role} ended (${how}), it is started again; its log: ${this.logFile}`);
    this.#restart = setTimeout(() => this.#spawn(), this.#backoff.nextMs());
  }
}
