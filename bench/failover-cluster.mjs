/**
 * The cluster of the failover benchmark: one shard of three nodes, a supervisor and a proxy, each a process that can be
 * killed, frozen and started again, empty. Nothing restarts by itself.
 */
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort, processTree, UsageError } from './harness.mjs';

export const sleep = (/** @type {number} */ ms) => new Promise(resolve => setTimeout(resolve, ms));

const cluster = 'bench';
const secret = 'a-secret-that-only-this-benchmark-run-knows';

/** Every third of a run that is broken off is ended as well. @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/**
 * @typedef {import('./hosts.mjs').Host} Host
 * @typedef {{ id: string, host: Host, port: number, dir: string, child: import('node:child_process').ChildProcess | null }} Node
 * @typedef {{ dist: string, hosts?: readonly Host[], settings?: Record<string, unknown>, nodeArgs?: string[] }} Options
 * @typedef {{ name: string, epoch: number, primary: string, inSync: string[], joining: string | null }} Shard
 */

/** @type {Host} */
const loopback = { name: 'loopback', address: '127.0.0.1', command: (program, args) => [program, args] };

export class Cluster {
  directory = mkdtempSync(join(tmpdir(), 'ringside-failover-'));
  /** @type {Node[]} */
  nodes = [];
  /** @type {Options} */
  #options;
  port = 0;
  #supervisorPort = 0;
  #adminPort = 0;
  /** @type {import('node:child_process').ChildProcess[]} */
  #roles = [];

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
  }

  /** @param {Options} options */
  static async start(options) {
    if (!existsSync(join(options.dist, 'main.js'))) throw new UsageError(`${options.dist} holds no build of Ringside`);
    const made = new Cluster(options);
    try {
      await made.#start();
      return made;
    } catch (error) {
      await made.end();
      throw error;
    }
  }

  async #start() {
    const hosts = this.#options.hosts ?? [loopback];
    for (let i = 0; i < 3; i += 1) {
      const dir = join(this.directory, `n${i + 1}`);
      mkdirSync(dir);
      const host = /** @type {Host} */ (hosts[i % hosts.length]);
      this.nodes.push({ id: `n${i + 1}`, host, port: await freePort(), dir, child: null });
    }
    await Promise.all(this.nodes.map(node => this.startNode(node)));
    [this.port, this.#supervisorPort, this.#adminPort] = [await freePort(), await freePort(), await freePort()];
    const { proxy = {}, ...settings } = /** @type {any} */ (this.#options.settings ?? {});
    const document = {
      cluster,
      secret,
      nodes: this.nodes.map(({ id, host, port }) => ({ id, address: `${host.address}:${port}`, zone: id })),
      shards: [{ name: 's1', nodes: this.nodes.map(({ id }) => id) }],
      proxy: { listen: [`127.0.0.1:${this.port}`], admin: `127.0.0.1:${this.#adminPort}`, hold: '10s', ...proxy },
      supervisor: { listen: `127.0.0.1:${this.#supervisorPort}`, store: { file: './store' } },
      ...settings,
    };
    const file = join(this.directory, 'ringside.yaml');
    // JSON is YAML.
    writeFileSync(file, JSON.stringify(document));
    const main = join(this.#options.dist, 'main.js');
    for (const role of ['supervisor', 'proxy'])
      this.#roles.push(this.#spawn(role, loopback, process.execPath, [main, role, '--config', file]));
    await this.whole(30_000);
    await eventually('the proxy is ready', 15_000, async () => (await this.#get(this.#adminPort, '/readyz')) !== null);
  }

  /** @param {Node} node  started with what is in its directory */
  async startNode(node) {
    const args = ['--port', `${node.port}`, '--bind', node.host.address, '--protected-mode', 'no', '--save', ''];
    args.push('--dir', node.dir, ...(this.#options.nodeArgs ?? []));
    node.child = this.#spawn(`redis-${node.id}`, node.host, 'redis-server', args);
    await eventually(`${node.id} answers`, 15_000, async () => {
      const redis = this.#connect(node.host.address, node.port);
      try {
        return /PONG|NOAUTH/.test(await redis.ping().catch(error => String(error)));
      } finally {
        redis.disconnect();
      }
    });
  }

  /** @param {Node} node */
  async restartEmpty(node) {
    await ended(node.child);
    rmSync(node.dir, { recursive: true, force: true });
    mkdirSync(node.dir);
    await this.startNode(node);
  }

  /** A node by its id. @param {string} id  @returns {Node} */
  node(id) {
    const found = this.nodes.find(node => node.id === id);
    if (found === undefined) throw new Error(`there is no node ${id}`);
    return found;
  }

  /** @returns {Promise<Shard>} */
  async shard() {
    const topology = await this.#get(this.#supervisorPort, '/v1/topology');
    if (topology === null) throw new Error('the supervisor does not answer');
    return JSON.parse(topology).shards[0];
  }

  /** Waits until the shard has all copies in sync; milliseconds that it took. @param {number} limitMs */
  async whole(limitMs = 60_000) {
    const beganAt = performance.now();
    await eventually('all copies are in sync', limitMs, async () => {
      const shard = await this.shard().catch(() => null);
      if (shard === null || shard.inSync.length !== this.nodes.length - 1 || shard.joining !== null) return false;
      const ids = await Promise.all([shard.primary, ...shard.inSync].map(id => this.#isMember(id).catch(() => false)));
      return ids.every(Boolean);
    });
    return performance.now() - beganAt;
  }

  /** Whether the process that runs there is the one that the topology means. @param {string} id */
  async #isMember(id) {
    const topology = JSON.parse((await this.#get(this.#supervisorPort, '/v1/topology')) ?? '{}');
    const wanted = topology.nodes?.find((/** @type {{ id: string }} */ node) => node.id === id)?.runId;
    const redis = this.admin(id);
    try {
      const info = await redis.info('server');
      return /^run_id:(\w+)/m.exec(info)?.[1] === wanted;
    } finally {
      redis.disconnect();
    }
  }

  /** A connection with an admin's rights. @param {string} id */
  admin(id) {
    const { host, port } = this.node(id);
    const password = createHmac('sha256', secret)
      .update(`ringside node-user 1\0ringside-admin\0${cluster}`)
      .digest('hex');
    return this.#connect(host.address, port, { username: 'ringside-admin', password });
  }

  /** A client of the proxy that tries nothing twice. @param {object} options */
  client(options = {}) {
    return this.#connect('127.0.0.1', this.port, { retryStrategy: () => 5, ...options });
  }

  /** @param {string | undefined} to */
  async switchOver(to = undefined) {
    const token = createHmac('sha256', secret).update(`ringside supervisor-http 1\0${cluster}`).digest('hex');
    const response = await fetch(`http://127.0.0.1:${this.#supervisorPort}/v1/shards/s1/switchover`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(to === undefined ? {} : { to }),
    });
    if (!response.ok) throw new Error(`the switch-over was answered ${response.status}: ${await response.text()}`);
  }

  /** The last lines of a process's log. @param {string} name */
  log(name, lines = 20) {
    return readFileSync(join(this.directory, `${name}.log`), 'utf8')
      .trim()
      .split('\n')
      .slice(-lines)
      .join('\n');
  }

  async end() {
    for (const child of this.#roles) {
      child.kill('SIGTERM');
      const timer = setTimeout(() => {
        for (const pid of processTree(child.pid ?? 0)) killQuietly(pid);
      }, 4_000);
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      clearTimeout(timer);
    }
    await Promise.all(this.nodes.map(node => ended(node.child)));
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** @param {string} host  @param {number} port  @param {object} options */
  #connect(host, port, options = {}) {
    const redis = new Redis({
      host,
      port,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      retryStrategy: () => null,
      ...options,
    });
    redis.on('error', () => undefined);
    return redis;
  }

  /** @param {string} name  @param {Host} host  @param {string} program  @param {string[]} args */
  #spawn(name, host, program, args) {
    const output = openSync(join(this.directory, `${name}.log`), 'a');
    const child = spawn(...host.command(program, args), { cwd: this.directory, stdio: ['ignore', output, output] });
    closeSync(output);
    children.add(child);
    child.once('exit', () => children.delete(child));
    return child;
  }

  /** @param {number} port  @param {string} path  @returns {Promise<string | null>} null: no success */
  async #get(port, path) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(1_000) }).catch(
      () => null,
    );
    return response?.ok ? response.text() : null;
  }
}

/** @param {number} pid */
function killQuietly(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself in between.
  }
}

/** Kills a process if it still runs, and waits for its end. @param {import('node:child_process').ChildProcess | null} child */
async function ended(child) {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

/** @param {string} what  @param {number} limitMs  @param {() => Promise<boolean>} condition */
export async function eventually(what, limitMs, condition) {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}`);
    await sleep(10);
  }
}
