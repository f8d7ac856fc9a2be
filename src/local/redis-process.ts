import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { makeDirectorySync } from '../base/directory.ts';
import { EnvironmentError } from '../base/environment-error.ts';
import type { NodeAccess, NodeConfig } from '../config/config.ts';
import { endOf, identityOf, lastLine } from './child.ts';
import { isAlive, type ProcessIdentity, signalProcess } from './process-identity.ts';
import { writeWhole } from './written-file.ts';

/**
 * One node of the local cluster: a stock `redis-server` in a directory of its own.
 *
 * It runs in a session of its own, so that Ctrl-C in the terminal reaches `up` alone, which ends things in their order;
 * and it outlives an `up` that crashes, to be taken over by the next.
 */
export class RedisProcess {
  readonly node: NodeConfig;
  /** Holds redis.conf, redis.log and dump.rdb. */
  readonly directory: string;
  readonly #access: NodeAccess;
  readonly #onEnd: (how: string) => void;
  #identity: ProcessIdentity | null = null;
  #watch: NodeJS.Timeout | null = null;
  /** The present process was ended by force. */
  #killed = false;
  /** Bytes of the log that earlier processes have written. */
  #logStart = 0;

  /** `onEnd` hears once of every end of the process, with the reason in words. */
  constructor(node: NodeConfig, directory: string, access: NodeAccess, onEnd: (how: string) => void) {
    this.node = node;
    this.directory = directory;
    this.#access = access;
    this.#onEnd = onEnd;
  }

  /** The living process; null: none. */
  get identity(): ProcessIdentity | null {
    return this.#identity;
  }

  get #logFile(): string {
    return path.join(this.directory, 'redis.log');
  }

  get dumpFile(): string {
    return path.join(this.directory, 'dump.rdb');
  }

  /** Takes over a process of an earlier run. It is nobody's child, so that its end is found by looking. */
  adopt(identity: ProcessIdentity): void {
    this.#identity = identity;
    this.#watch = setInterval(() => {
      if (!isAlive(identity)) this.#ended('not a child of this run: cause unknown');
    }, 50);
  }

  /** Starts the process, which loads dump.rdb if there is one. */
  start(): void {
    makeDirectorySync(this.directory);
    const file = path.join(this.directory, 'redis.conf');
    this.#logStart = statSync(this.#logFile, { throwIfNoEntry: false })?.size ?? 0;
    writeWhole(file, redisConf(this.node, this.directory, this.#access));
    const child = spawn('redis-server', [file], { cwd: this.directory, detached: true, stdio: 'ignore' });
    child.once('error', error => this.#ended(error.message));
    child.once('exit', (status, signal) => this.#ended(endOf(status, signal)));
    this.#identity = identityOf(child);
    this.#killed = false;
  }

  /** Throws away what the node has kept, as a container that is started anew would. */
  forgetData(): void {
    rmSync(this.dumpFile, { force: true });
  }

  /**
   * Resolves once this very process serves, its data loaded. Throws when it ends before that.
   *
   * Its log is read, and it is not asked: who may log in to a node is the supervisor's business, which may be ahead of
   * us; and another process may answer on its port.
   */
  async ready(): Promise<void> {
    for (;;) {
      if (this.#identity === null)
        throw new EnvironmentError(`node ${this.node.id} ended at start: ${this.lastLogLine()}`);
      if (this.#watch !== null || readFrom(this.#logFile, this.#logStart).includes(READY_LINE)) return;
      await new Promise(resolve => setTimeout(resolve, 10));
    }
  }

  /**
   * Ends the process with its data saved. True when it did end in order.
   *
   * A stopped process is woken first. One that has not ended when the time is over, and is not writing its dump either,
   * is killed.
   */
  async stop(limitMs: number): Promise<boolean> {
    const identity = this.#identity;
    if (identity === null) return false;
    signalProcess(identity, 'SIGCONT');
    signalProcess(identity, 'SIGTERM');
    const endMs = performance.now() + limitMs;
    while (isAlive(identity)) {
      const saving = existsSync(path.join(this.directory, `temp-${identity.pid}.rdb`));
      if (performance.now() > endMs && !saving) {
        this.kill();
        return false;
      }
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    return !this.#killed && existsSync(this.dumpFile);
  }

  kill(): void {
    this.#killed = true;
    if (this.#identity !== null) signalProcess(this.#identity, 'SIGKILL');
  }

  /** The newest line of its log, for messages. */
  lastLogLine(): string {
    return lastLine(this.#logFile);
  }

  #ended(how: string): void {
    if (this.#watch !== null) clearInterval(this.#watch);
    this.#watch = null;
    this.#identity = null;
    this.#onEnd(how);
  }
}

/** What redis-server logs when it has its port and its data. */
const READY_LINE = 'Ready to accept connections';

/** A file's text from a byte on; empty where there is no such file. */
function readFrom(file: string, start: number): string {
  try {
    return readFileSync(file).subarray(start).toString('latin1');
  } catch {
    return '';
  }
}

/**
 * The node's settings. Saved at the end of the process and at no other time; a copy may be made at once and after long
 * interruptions still in part; no limit cuts a copy off (redis.conf of 7.0 explains each). The supervisor sees to the
 * same on every node, and to the users; here they hold from the first moment.
 */
function redisConf(node: NodeConfig, directory: string, access: NodeAccess): string {
  const lines = [
    '# Written at every start of this node: changes here are lost.',
    `bind ${node.host === 'localhost' ? '127.0.0.1' : node.host}`,
    `port ${node.port}`,
    'daemonize no',
    `dir ${quote(directory)}`,
    `logfile ${quote(path.join(directory, 'redis.log'))}`,
    'dbfilename dump.rdb',
    'save ""',
    'appendonly no',
    'shutdown-on-sigterm save',
    'shutdown-on-sigint save',
    'shutdown-timeout 5',
    'repl-diskless-sync yes',
    'repl-diskless-sync-delay 0',
    'repl-backlog-size 256mb',
    'client-output-buffer-limit replica 0 0 0',
  ];
  if (access.password !== '') {
    const isDefault = access.username === 'default';
    if (isDefault) lines.push(`requirepass ${quote(access.password)}`);
    // Copying is for users that the supervisor makes, one for each copy.
    else lines.push(`user ${access.username} on ${quote(`>${access.password}`)} ~* &* +@all -psync -sync`);
  }
  return `${lines.join('\n')}\n`;
}

/** In the quotes of redis.conf, where a backslash escapes. */
function quote(text: string): string {
  return `"${text.replaceAll(/["\\]/g, character => `\\${character}`)}"`;
}
