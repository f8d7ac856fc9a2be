/**
 * A real redis-server of a test: it may be killed, frozen, and started again, empty or with what it has saved.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { until } from '../faults/stand.ts';
import { type Host, loopback } from './host.ts';
import { TestProcess } from './process.ts';
import { ErrorReply, RespConnection } from './resp.ts';

export interface RedisNodeOptions {
  readonly host?: Host;
  readonly port: number;
  /** Further arguments of redis-server; a configuration file is the first of them. */
  readonly args?: readonly string[];
}

export class RedisNode {
  readonly host: Host;
  readonly port: number;
  readonly dir = mkdtempSync(path.join(tmpdir(), 'ringside-safety-node-'));
  readonly #args: readonly string[];
  #process: TestProcess | null = null;
  readonly #connections: RespConnection[] = [];

  constructor({ host = loopback, port, args = [] }: RedisNodeOptions) {
    this.host = host;
    this.port = port;
    this.#args = args;
  }

  static async start(options: RedisNodeOptions): Promise<RedisNode> {
    const node = new RedisNode(options);
    try {
      await node.start();
      return node;
    } catch (error) {
      await node.close();
      throw error;
    }
  }

  /** Starts the process; what it has in its directory is loaded. Resolves when it accepts connections. */
  async start(): Promise<void> {
    const own = ['--port', `${this.port}`, '--bind', this.host.address, '--protected-mode', 'no', '--save', ''];
    // A configuration file comes first, or redis-server takes it for an option's value.
    const args = [...this.#args, ...own, '--dir', this.dir, '--tcp-backlog', '128'];
    const started = new TestProcess(`redis-${this.port}`, this.host, 'redis-server', args);
    this.#process = started;
    await until(
      () => `redis-server on ${this.host.address}:${this.port} accepts; it said: ${started.log}`,
      () => {
        if (started.ended) throw new Error(`redis-server on ${this.port} ended: ${started.log}`);
        return /Ready to accept connections/.test(started.log);
      },
    );
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get running(): boolean {
    return this.#process !== null && !this.#process.ended;
  }

  get log(): string {
    return this.#process?.log ?? '';
  }

  /** The process holds its connections and answers nothing. */
  freeze(): void {
    this.#process?.signal('SIGSTOP');
  }

  thaw(): void {
    this.#process?.signal('SIGCONT');
  }

  /** SIGKILL without waiting for the end of it, so that several nodes die in the same instant. */
  killNow(): void {
    this.#process?.signal('SIGKILL');
  }

  /** SIGKILL; it is gone when this returns. */
  async kill(): Promise<void> {
    await this.#process?.kill();
    this.#process = null;
  }

  /** A process of its own again, with nothing of what the one before had; a full sync leaves a file behind. */
  async restartEmpty(): Promise<void> {
    await this.kill();
    for (const name of readdirSync(this.dir)) rmSync(path.join(this.dir, name), { recursive: true, force: true });
    await this.start();
  }

  /** A connection, logged in when a user is named. Closed by `close`. */
  async connect(user?: string, password = ''): Promise<RespConnection> {
    const connection = await RespConnection.open(this.host.address, this.port);
    this.#connections.push(connection);
    if (user === undefined) return connection;
    const answer = await connection.call('AUTH', user, password);
    if (answer instanceof ErrorReply) {
      connection.close();
      throw new Error(`${user} on ${this.host.address}:${this.port}: ${answer.text}`);
    }
    return connection;
  }

  /** Ends it for good and removes its directory. */
  async close(): Promise<void> {
    for (const connection of this.#connections) connection.close();
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** One field of a section of INFO. */
export async function infoField(connection: RespConnection, section: string, field: string): Promise<string> {
  const text = String(await connection.must('INFO', section));
  const value = new RegExp(`^${field}:(.*)\r$`, 'm').exec(text)?.[1];
  if (value === undefined) throw new Error(`INFO ${section} without ${field}`);
  return value;
}
