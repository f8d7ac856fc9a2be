/**
 * A proxy with a configuration of the test's own over real nodes, each of which the test can kill, freeze or start
 * again: what `up` would undo or smooth over.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { stringify } from 'yaml';
import { loadConfig } from '../../../src/config/load.ts';
import { initialTopology } from '../../../src/topology/snapshot.ts';
import { program } from '../../support/cluster.ts';
import type { NodeLogin } from '../../support/formed-node.ts';
import { FormingSupervisor } from '../../support/forming-supervisor.ts';
import { HANG_MS } from '../../support/patience.ts';
import { freePorts } from '../../support/ports.ts';

export const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** Waits until the condition holds; fails with `what` when it never does. */
export async function until(
  what: string | (() => string),
  condition: () => Promise<boolean> | boolean,
  limitMs = HANG_MS,
): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${limitMs} ms: ${typeof what === 'string' ? what : what()}`);
    await sleep(20);
  }
}

/** What a node asks of those who connect to it. */
export interface NodeAccess {
  password?: string;
  /** Paths of PEM files; the node then speaks TLS only. */
  tls?: { cert: string; key: string };
}

/** One real redis-server, empty at every start. */
export class Node {
  readonly port: number;
  readonly #access: NodeAccess;
  readonly #dir = mkdtempSync(join(tmpdir(), 'ringside-node-'));
  #child: ChildProcess | null = null;

  private constructor(port: number, access: NodeAccess) {
    this.port = port;
    this.#access = access;
  }

  static async start(access: NodeAccess = {}): Promise<Node> {
    const node = new Node(await freePorts(1), access);
    await node.start();
    return node;
  }

  #args(): string[] {
    const { password, tls } = this.#access;
    const port = String(this.port);
    const args = ['--bind', '127.0.0.1', '--save', '', '--dir', this.#dir];
    if (password !== undefined) args.push('--requirepass', password);
    if (tls === undefined) return [...args, '--port', port];
    const files = ['--tls-cert-file', tls.cert, '--tls-key-file', tls.key, '--tls-auth-clients', 'no'];
    return [...args, ...files, '--port', '0', '--tls-port', port];
  }

  async start(): Promise<void> {
    const child = spawn('redis-server', this.#args(), { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    let log = '';
    child.stdout.on('data', (piece: Buffer) => {
      log += piece.toString();
    });
    await until(
      () => `redis-server on ${this.port} accepts; it said: ${log}`,
      () => /Ready to accept connections/.test(log),
    );
  }

  /** SIGSTOP: the process holds its connections and answers nothing. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** SIGKILL, and gone when this returns. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** How one gets in. */
  get login(): NodeLogin {
    const { password, tls } = this.#access;
    return {
      ...(password === undefined ? {} : { password }),
      ...(tls === undefined ? {} : { tls: { ca: readFileSync(tls.cert) } }),
    };
  }

  /** Waits until so many clients wait for data in this node. */
  async hasWaiters(count: number): Promise<void> {
    const words = `blocked_clients:${count}\r\n`;
    await until(`${count} clients wait in the node at ${this.port}`, () =>
      this.ask(async one => (await one.info('clients')).includes(words)),
    );
  }

  /** What the node itself says, past the proxy. */
  async ask<T>(work: (node: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis({ port: this.port, ...this.login });
    try {
      return await work(redis);
    } finally {
      redis.disconnect();
    }
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** Of the test nodes that ask for one. */
export const PASSWORD = 'swordfish';

export interface StandOptions {
  /** The `proxy` part of the configuration, as a person writes it; listen and admin are added. */
  proxy?: Record<string, unknown>;
  /** Called with the first node's port; the port at which the proxy is to look for it instead, such as a relay's. */
  firstNodeBy?: (port: number) => Promise<number>;
  /** How many shards of one node each; default 3. */
  shards?: number;
  /** What every node asks for, and the `nodeAccess` part of the configuration that meets it. */
  nodes?: NodeAccess;
  nodeAccess?: Record<string, unknown>;
  /** The proxy is not expected to become ready, and not waited for. */
  neverReady?: true;
}

/** The running arrangement: shard i is held by `nodes[i]`. */
export class Stand {
  readonly nodes: Node[] = [];
  readonly dir = mkdtempSync(join(tmpdir(), 'ringside-stand-'));
  readonly file = join(this.dir, 'ringside.yaml');
  port = 0;
  adminPort = 0;
  /** The proxy's standard error so far: its log. */
  log = '';
  #proxy: ChildProcess | null = null;
  #supervisor: FormingSupervisor | null = null;
  readonly #clients: Redis[] = [];
  readonly #steadies: Steady[] = [];
  #settings: Record<string, unknown> = {};

  static async start(options: StandOptions = {}): Promise<Stand> {
    const stand = new Stand();
    try {
      for (let i = 0; i < (options.shards ?? 3); i += 1) stand.nodes.push(await Node.start(options.nodes));
      await stand.#startProxy(options);
    } catch (error) {
      await stand.stop();
      throw error;
    }
    return stand;
  }

  /** Writes the configuration again with another `proxy` part; listening stays where it is. */
  configure(proxy: Record<string, unknown>): void {
    this.#settings = {
      ...this.#settings,
      proxy: { listen: [`127.0.0.1:${this.port}`], admin: `127.0.0.1:${this.adminPort}`, hold: '1s', ...proxy },
    };
    writeFileSync(this.file, stringify(this.#settings));
  }

  async #startProxy(options: StandOptions): Promise<void> {
    this.port = await freePorts(3);
    this.adminPort = this.port + 1;
    const supervisorPort = this.port + 2;
    const ports = this.nodes.map(node => node.port);
    if (options.firstNodeBy !== undefined) ports[0] = await options.firstNodeBy(ports[0] as number);
    const addresses = ports.map(port => `127.0.0.1:${port}`);
    this.#settings = {
      cluster: 'stand',
      secret: 'a secret of the tests, long enough for them',
      nodes: addresses.map((address, i) => ({ id: `n${i + 1}`, address })),
      shards: addresses.map((_, i) => ({ name: `s${i + 1}`, nodes: [`n${i + 1}`] })),
      ...(options.nodeAccess === undefined ? {} : { nodeAccess: options.nodeAccess }),
      supervisor: { listen: `127.0.0.1:${supervisorPort}` },
    };
    this.configure(options.proxy ?? {});
    const [node] = this.nodes;
    const config = loadConfig(this.file);
    this.#supervisor = await FormingSupervisor.start(initialTopology(config), {
      secret: config.secret,
      port: supervisorPort,
      access: node?.login ?? {},
      nodePorts: new Map(this.nodes.map((one, i) => [`n${i + 1}`, one.port])),
    });
    this.launch();
    if (options.neverReady === true) return;
    await until(
      () => `the proxy is ready; it said: ${this.log}`,
      () => this.ready(),
    );
  }

  /** Starts the proxy process; its end is told by `ended`. */
  launch(): void {
    const child = spawn(process.execPath, [program, 'proxy', '--config', this.file], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    child.stderr.on('data', (piece: Buffer) => {
      this.log += piece.toString();
    });
    this.#proxy = child;
  }

  get proxyPid(): number {
    return this.#proxy?.pid ?? 0;
  }

  signal(name: NodeJS.Signals): void {
    this.#proxy?.kill(name);
  }

  /** The exit status of the proxy once it has ended. */
  async ended(): Promise<number | null> {
    const child = this.#proxy;
    if (child === null) return null;
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    return child.exitCode;
  }

  async ready(): Promise<boolean> {
    if (this.#proxy?.exitCode !== null) throw new Error(`the proxy ended: ${this.log}`);
    try {
      return (await fetch(`http://127.0.0.1:${this.adminPort}/readyz`)).status === 200;
    } catch {
      return false;
    }
  }

  /** The value of one metric line, such as `ringside_clients_closed_total{reason="slow_reader"}`. */
  async metric(line: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.adminPort}/metrics`)).text();
    const found = text.split('\n').find(row => row.startsWith(`${line} `));
    if (found === undefined) throw new Error(`no metric ${line} in:\n${text}`);
    return Number(found.slice(line.length + 1));
  }

  /** Counts commands of a class from now on: what it gives waits until so many more have been sent to their nodes. */
  async sending(kind: 'read' | 'write'): Promise<(count: number) => Promise<void>> {
    const line = `ringside_commands_total{class="${kind}"}`;
    const before = await this.metric(line);
    return count => until(`${count} more are sent`, async () => (await this.metric(line)) >= before + count);
  }

  /** A client that tries nothing twice, so that every error is seen. */
  client(options: object = {}): Redis {
    const redis = new Redis({
      port: this.port,
      host: '127.0.0.1',
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      retryStrategy: () => null,
      ...options,
    });
    redis.on('error', () => {});
    this.#clients.push(redis);
    return redis;
  }

  /** A client that has finished its greeting, for tests that measure from a moment on. */
  async connected(options: object = {}): Promise<Redis> {
    const redis = this.client(options);
    await redis.ping();
    return redis;
  }

  /** Asks for these keys in turn from now on, on a connection of its own; see `Steady`. */
  async steady(keys: readonly string[]): Promise<Steady> {
    const steady = new Steady(await this.connected(), keys);
    this.#steadies.push(steady);
    return steady;
  }

  /** Ends what a failed test has left running. */
  async rest(): Promise<void> {
    for (const steady of this.#steadies.splice(0)) await steady.stop();
  }

  /** For each shard a key that it holds, found by looking where the proxy puts keys. */
  async keyPerShard(): Promise<string[]> {
    const redis = this.client();
    const keys = Array.from({ length: 64 }, (_, i) => `probe:${i}`);
    await redis.mset(new Map(keys.map(key => [key, 'x'])));
    const found: string[] = [];
    for (const node of this.nodes) {
      const [key] = await node.ask(one => one.keys('probe:*'));
      if (key === undefined) throw new Error(`none of ${keys.length} keys is on the node at ${node.port}`);
      found.push(key);
    }
    await redis.del(...keys);
    redis.disconnect();
    return found;
  }

  /** Pids of the proxy's processes: the parent and its workers. */
  pids(): number[] {
    const children = readFileSync(`/proc/${this.proxyPid}/task/${this.proxyPid}/children`, 'latin1');
    return [this.proxyPid, ...children.trim().split(/\s+/).filter(Boolean).map(Number)];
  }

  /** Peak of the resident memory of all proxy processes since the last `resetPeak`, in bytes. */
  peakBytes(): number {
    return this.pids().reduce((sum, pid) => sum + statusField(pid, 'VmHWM'), 0);
  }

  residentBytes(): number {
    return this.pids().reduce((sum, pid) => sum + statusField(pid, 'VmRSS'), 0);
  }

  /** Begins a new measurement of the peak (proc(5), clear_refs 5). */
  resetPeak(): void {
    for (const pid of this.pids()) writeFileSync(`/proc/${pid}/clear_refs`, '5');
  }

  async stop(): Promise<void> {
    for (const redis of this.#clients) redis.disconnect();
    for (const node of this.nodes) node.thaw();
    const proxy = this.#proxy;
    if (proxy !== null && proxy.exitCode === null && proxy.signalCode === null) {
      proxy.kill('SIGTERM');
      const limit = setTimeout(() => proxy.kill('SIGKILL'), 15_000);
      await once(proxy, 'exit');
      clearTimeout(limit);
    }
    await this.#supervisor?.close();
    for (const node of this.nodes) await node.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function statusField(pid: number, field: string): number {
  const line = readFileSync(`/proc/${pid}/status`, 'latin1')
    .split('\n')
    .find(row => row.startsWith(`${field}:`));
  return Number(/\d+/.exec(line ?? '')?.[0] ?? 0) * 1024;
}

/**
 * Asks again and again, one at a time, until stopped. Whoever had to wait for something else meanwhile was answered a few
 * times only, on the slowest machine as well.
 */
export class Steady {
  readonly errors: string[] = [];
  #count = 0;
  #running = true;
  readonly #done: Promise<void>;

  constructor(redis: Redis, keys: readonly string[]) {
    this.#done = this.#ask(redis, keys);
  }

  async #ask(redis: Redis, keys: readonly string[]): Promise<void> {
    for (let i = 0; this.#running; i += 1) {
      const key = keys[i % keys.length] as string;
      try {
        await redis.set(key, String(i));
        const read = await redis.get(key);
        if (read !== String(i)) this.errors.push(`${key} answered ${read} after ${i} was written`);
      } catch (error) {
        this.errors.push(String(error));
      }
      this.#count += 1;
      await sleep(2);
    }
  }

  /** How many times a write and a read were answered so far, or failed. */
  get count(): number {
    return this.#count;
  }

  /** Ends it; how many times a write and a read were answered, and what was not as it should be. */
  async stop(): Promise<{ count: number; errors: string[] }> {
    this.#running = false;
    await this.#done;
    return { count: this.#count, errors: this.errors };
  }
}
