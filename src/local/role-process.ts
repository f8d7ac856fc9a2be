import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { Backoff } from '../base/backoff.ts';
import { Random } from '../base/random.ts';
import { endOf, identityOf, lastLine } from './child.ts';
import { endProcessGroup, killProcessGroup, type ProcessIdentity } from './process-identity.ts';

/** Having run so long, a process has shown that it can start. */
const SETTLED_MS = 10_000;

/**
 * What one process of the local cluster besides the nodes is, and how it is started.
 */
export interface RolePlan {
  /** As the run's record and the messages name it: `proxy`, `supervisor 2`, `etcd e1`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly logFile: string;
  /** It has a channel to this process, and ends itself when that breaks. */
  readonly endsWithUp: boolean;
}

/**
 * A proxy, a supervisor or a member of etcd in the local cluster: started, and started again whenever it ends.
 *
 * The proxy and the supervisors have an IPC channel to `up` for one purpose: when `up` is killed the channel breaks, and
 * the process ends itself. etcd knows no such thing: the next `up` ends what an earlier one has left.
 */
export class RoleProcess {
  readonly name: string;
  readonly #plan: RolePlan;
  readonly #onChange: (said: string | null) => void;
  readonly #onFailure: (problem: string) => void;
  readonly #backoff = new Backoff(200, 5000, new Random(Date.now()));
  #identity: ProcessIdentity | null = null;
  #restart: NodeJS.Timeout | null = null;
  #stopping = false;
  #hasWorked = false;

  /**
   * `onChange` hears of every new state; `said`: what the person at the terminal should read. `onFailure` hears of an
   * end before the process ever worked: that is a mistake of settings or machine, to be told, not repeated.
   */
  constructor(plan: RolePlan, onChange: (said: string | null) => void, onFailure: (problem: string) => void) {
    this.name = plan.name;
    this.#plan = plan;
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
    const { command, args, logFile, endsWithUp } = this.#plan;
    const startedMs = performance.now();
    const log = openSync(logFile, 'a', 0o600);
    const child = spawn(command, args, {
      detached: true,
      stdio: endsWithUp ? ['ignore', log, log, 'ipc'] : ['ignore', log, log],
    });
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
    const { name, logFile } = this.#plan;
    this.#identity = null;
    if (this.#stopping || !this.#hasWorked) {
      this.#onChange(null);
      if (!this.#stopping)
        this.#onFailure(`the ${name} ended at start (${how}; all of it in ${logFile}): ${lastLine(logFile)}`);
      return;
    }
    this.#onChange(`the ${name} ended (${how}), it is started again; its log: ${logFile}`);
    this.#restart = setTimeout(() => this.#spawn(), this.#backoff.nextMs());
  }
}
