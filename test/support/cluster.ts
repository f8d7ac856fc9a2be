import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { parse } from 'yaml';
import type { ClusterFile } from '../../src/local/cluster-file.ts';
import { ADMIN_USER, userPassword } from '../../src/topology/credentials.ts';
import { memoryDirectory } from './memory-directory.ts';
import { freePorts } from './ports.ts';

/** The built program. */
export const program = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export interface ClusterOptions {
  /** Default 3. */
  readonly shards?: number;
  /** Default 1. */
  readonly copies?: number;
  /** Default 0. */
  readonly spares?: number;
  /** Default 1; 3 or 5 run with as many members of etcd. */
  readonly supervisors?: number;
  /** Further arguments of `up`. */
  readonly args?: readonly string[];
  /** Further environment variables. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * A cluster that `ringside up` runs for a test, on free ports and in a directory of its own.
 */
export interface TestCluster {
  readonly port: number;
  readonly adminPort: number;
  readonly nodePort: number;
  readonly dir: string;
  readonly supervisorUrl: string;
  /** The running `up`. */
  readonly up: UpRun;
  /** cluster.json as it is now. */
  clusterJson(): ClusterFile;
  /** A connection to a node with the rights of a supervisor that takes over. Whoever opens one closes it. */
  admin(nodeId: string): Promise<Redis>;
  /** Signals a node's process: its id as in cluster.json, such as `n1`. */
  kill(nodeId: string, signal: NodeJS.Signals): void;
  /** Starts `up` on the same directory and ports once more, when the one before has ended; further arguments. */
  upAgain(...args: string[]): Promise<UpRun>;
  /** Ends everything, removes the directory. May be called more than once. */
  stop(): Promise<void>;
}

/** Starts a cluster and waits for its `ready:` line. Whoever starts one stops it, best in `afterAll`. */
export async function startCluster(options: ClusterOptions = {}): Promise<TestCluster> {
  const { shards = 3, copies = 1, spares = 0, supervisors = 1, args = [], env = {} } = options;
  const nodes = shards * copies + spares;
  const first = await freePorts(2 + nodes + 3 * supervisors);
  const [port, adminPort, nodePort] = [first, first + 1, first + 2];
  const supervisorPort = nodePort + nodes;
  const etcdPort = supervisorPort + supervisors;
  const dir = supervisors > 1 ? memoryDirectory('ringside-test-') : mkdtempSync(path.join(tmpdir(), 'ringside-test-'));
  const ports = [
    '--port',
    port,
    '--admin-port',
    adminPort,
    '--supervisor-port',
    supervisorPort,
    '--node-port',
    nodePort,
  ];
  const several = supervisors === 1 ? [] : ['--supervisors', supervisors, '--etcd-port', etcdPort];
  const shape = ['--shards', shards, '--copies', copies, '--spares', spares, ...several];
  const words = ['--dir', dir, ...ports, ...shape].map(String);
  const cluster = new Started(dir, words, env, { port, adminPort, supervisorPort, nodePort });
  await cluster.upAgain(...args);
  return cluster;
}

class Started implements TestCluster {
  readonly dir: string;
  readonly port: number;
  readonly adminPort: number;
  readonly nodePort: number;
  readonly supervisorUrl: string;
  readonly #words: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  #up: UpRun | null = null;

  constructor(
    dir: string,
    words: readonly string[],
    env: Readonly<Record<string, string>>,
    ports: { port: number; adminPort: number; supervisorPort: number; nodePort: number },
  ) {
    this.dir = dir;
    this.#words = words;
    this.#env = env;
    this.port = ports.port;
    this.adminPort = ports.adminPort;
    this.nodePort = ports.nodePort;
    this.supervisorUrl = `http://127.0.0.1:${ports.supervisorPort}`;
  }

  get up(): UpRun {
    if (this.#up === null) throw new Error('the cluster was not started');
    return this.#up;
  }

  clusterJson(): ClusterFile {
    return JSON.parse(readFileSync(path.join(this.dir, 'cluster.json'), 'utf8')) as ClusterFile;
  }

  kill(nodeId: string, signal: NodeJS.Signals): void {
    const pid = this.clusterJson().nodes.find(node => node.id === nodeId)?.pid ?? null;
    if (pid === null) throw new Error(`node ${nodeId} does not run`);
    process.kill(pid, signal);
  }

  async admin(nodeId: string): Promise<Redis> {
    const node = this.clusterJson().nodes.find(node => node.id === nodeId);
    if (node === undefined) throw new Error(`there is no node ${nodeId}`);
    const settings = parse(readFileSync(path.join(this.dir, 'ringside.yaml'), 'utf8')) as Record<string, string>;
    const { secret = '', cluster = '' } = settings;
    const client = new Redis({
      host: node.host,
      port: node.port,
      username: ADMIN_USER,
      password: userPassword(secret, ADMIN_USER, cluster),
      lazyConnect: true,
      retryStrategy: () => null,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  async upAgain(...args: string[]): Promise<UpRun> {
    const run = startUp([...this.#words, ...args], this.#env);
    this.#up = run;
    try {
      await run.ready;
      return run;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    const left = this.#pids();
    await this.#up?.end();
    for (const pid of left) killQuietly(pid);
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }

  /** Of the processes that `up` has started: what is left when `up` itself was killed. */
  #pids(): number[] {
    if (this.#up?.status === undefined || this.#up.signal === null) return [];
    try {
      const { proxy, supervisors, etcd, nodes } = this.clusterJson();
      return [proxy, ...supervisors, ...etcd, ...nodes].map(({ pid }) => pid).filter(pid => pid !== null);
    } catch {
      return [];
    }
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

/** One run of `ringside up`. */
export interface UpRun {
  readonly child: ChildProcess;
  /** Resolves at the `ready:` line; rejects with what it said when it ends before. */
  readonly ready: Promise<void>;
  /** Resolves with exit status when the process has ended; null when a signal ended it. */
  readonly ended: Promise<number | null>;
  /** Once it has ended. */
  readonly status: number | null | undefined;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** SIGTERM, and SIGKILL when that takes longer than a test should wait. Resolves when it has ended. */
  end(): Promise<number | null>;
}

/** Starts `ringside up` with these arguments. */
export function startUp(args: readonly string[], env: Readonly<Record<string, string>> = {}, uid?: number): UpRun {
  const child = spawn(process.execPath, [program, 'up', ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid }),
  });
  return new Run(child);
}

class Run implements UpRun {
  readonly child: ChildProcess;
  readonly ready: Promise<void>;
  readonly ended: Promise<number | null>;
  status: number | null | undefined;
  signal: NodeJS.Signals | null = null;
  stdout = '';
  stderr = '';

  constructor(child: ChildProcess) {
    this.child = child;
    // A test run that is broken off leaves nothing behind.
    const endWithTest = (): void => void child.kill('SIGTERM');
    process.once('exit', endWithTest);
    child.once('exit', () => process.off('exit', endWithTest));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise(resolve => {
      child.once('close', (status, signal) => {
        this.status = status;
        this.signal = signal;
        resolve(status);
      });
    });
    this.ready = new Promise((resolve, reject) => {
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        this.stdout += text;
        if (/^ready: /m.test(this.stdout)) resolve();
      });
      void this.ended.then(status => reject(new Error(`up ended before it was ready (${status}): ${this.stderr}`)));
    });
    // A test that expects no ready line does not wait for it.
    this.ready.catch(() => undefined);
  }

  async end(): Promise<number | null> {
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 40_000);
    const status = await this.ended;
    clearTimeout(timer);
    return status;
  }
}
