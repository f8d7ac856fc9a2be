import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { HANG_MS } from '../support/patience.ts';

/**
 * A stock `redis-server` for the tests of the acting half: nothing is prepared on it, and each start is empty.
 */
export class BareNode {
  readonly id: string;
  readonly host = '127.0.0.1';
  readonly port: number;
  readonly zone: string;
  readonly #directory: string;
  #process: ChildProcess | null = null;

  constructor(id: string, port: number, zone = 'z1') {
    this.id = id;
    this.port = port;
    this.zone = zone;
    this.#directory = mkdtempSync(join(tmpdir(), `ringside-node-${id}-`));
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error(`node ${this.id} does not run`);
    return pid;
  }

  /** Resolves to the run_id once it answers; empty when a supervisor was quicker and has closed the default user. */
  async start(...more: string[]): Promise<string> {
    // An empty directory: nothing of an earlier life comes back.
    rmSync(this.#directory, { recursive: true, force: true });
    mkdirSync(this.#directory);
    const place = ['--port', String(this.port), '--bind', this.host, '--dir', this.#directory];
    const quiet = ['--save', '', '--logfile', 'redis.log', '--repl-diskless-sync-delay', '0'];
    const begin = () => spawn('redis-server', [...place, ...quiet, ...more], { stdio: 'ignore' });
    this.#process = begin();
    for (const endMs = performance.now() + HANG_MS; performance.now() < endMs; ) {
      // Somebody who looks for a free port holds it for an instant.
      if (this.#process.exitCode !== null) this.#process = begin();
      const info = await this.command('INFO', 'server').catch((error: Error) => error.message);
      if (/^(NOAUTH|WRONGPASS|NOPERM)/.test(String(info))) return '';
      const runId = /run_id:(\w+)/.exec(String(info))?.[1];
      if (runId !== undefined) return runId;
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    throw new Error(`node ${this.id} does not start on port ${this.port}`);
  }

  /** One command as the default user, on a connection of its own. */
  async command(name: string, ...args: string[]): Promise<unknown> {
    const redis = this.client();
    try {
      await redis.connect();
      return await redis.call(name, ...args);
    } finally {
      redis.disconnect();
    }
  }

  /** Not yet connected, and without any zeal of its own. */
  client(login: { username?: string; password?: string } = {}): Redis {
    const { host, port } = this;
    const plain = { lazyConnect: true, enableReadyCheck: false, disableClientInfo: true, protocol: 2 as const };
    const redis = new Redis({ host, port, ...plain, ...login, retryStrategy: () => null, commandTimeout: 2000 });
    redis.on('error', () => undefined);
    return redis;
  }

  async kill(): Promise<void> {
    const ended = this.#process;
    this.#process = null;
    if (ended === null || ended.exitCode !== null || ended.signalCode !== null) return;
    const exit = once(ended, 'exit');
    ended.kill('SIGKILL');
    await exit;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
