/**
 * The cluster of the failover and resharding benchmarks: shards of some nodes each, a supervisor and a proxy, each a
 * process that can be killed, frozen and started again, empty. Nothing restarts by itself.
 */
import { execFile, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
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
 * @typedef {{ dist: string, hosts?: readonly Host[], settings?: Record<string, unknown>, nodeArgs?: string[],
 *   shards?: number, copies?: number, spares?: number }} Options   one shard of three copies by default, no spare
 * @typedef {{ name: string, weight: number, epoch: number, primary: string, inSync: string[], joining: string | null }} Shard
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
    const { hosts = [loopback], shards = 1, spares = 0 } = this.#options;
    const copies = this.copies;
    for (let i = 0; i < shards * copies + spares; i += 1) {
      const dir = join(this.directory, `n${i + 1}`);
      mkdirSync(dir);
      const host = /** @type {Host} */ (hosts[i % hosts.length]);
      this.nodes.push({ id: `n${i + 1}`, host, port: await freePort(), dir, child: null });
    }
    await Promise.all(this.nodes.map(node => this.startNode(node)));
    [this.port, this.#supervisorPort, this.#adminPort] = [await freePort(), await freePort(), await freePort()];
    const { proxy = {}, supervisor = {}, ...settings } = /** @type {any} */ (this.#options.settings ?? {});
    const document = {
      cluster,
      secret,
      nodes: this.nodes.map(({ id, host, port }) => ({ id, address: `${host.address}:${port}`, zone: id })),
      shards: Array.from({ length: shards }, (_, i) => ({
        name: `s${i + 1}`,
        nodes: this.nodes.slice(i * copies, (i + 1) * copies).map(({ id }) => id),
      })),
      proxy: { listen: [`127.0.0.1:${this.port}`], admin: `127.0.0.1:${this.#adminPort}`, hold: '10s', ...proxy },
      supervisor: { listen: `127.0.0.1:${this.#supervisorPort}`, store: { file: './store' }, ...supervisor },
      ...settings,
    };
    // JSON is YAML.
    writeFileSync(this.#file, JSON.stringify(document));
    for (const role of ['supervisor', 'proxy'])
      this.#roles.push(this.#spawn(role, loopback, process.execPath, [this.#main, role, '--config', this.#file]));
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

  /** Nodes of a shard, the primary included. */
  get copies() {
    return this.#options.copies ?? 3;
  }

  get #file() {
    return join(this.directory, 'ringside.yaml');
  }

  get #main() {
    return join(this.#options.dist, 'main.js');
  }

  /** @returns {Promise<{ ring: any, move: unknown, shards: Shard[] }>} */
  async topology() {
    return this.#ask('/v1/topology');
  }

  /** What the supervisor tells of everything. @returns {Promise<any>} */
  async status() {
    return this.#ask('/v1/status');
  }

  /** Of the first shard. @returns {Promise<Shard>} */
  async shard() {
    const [first] = (await this.topology()).shards;
    return /** @type {Shard} */ (first);
  }

  /** Waits until every shard has all copies in sync; milliseconds that it took. @param {number} limitMs */
  async whole(limitMs = 60_000) {
    const beganAt = performance.now();
    await eventually('all copies are in sync', limitMs, async () => {
      const shards = (await this.topology().catch(() => null))?.shards ?? [];
      const lacking = shards.some(({ inSync, joining }) => inSync.length !== this.copies - 1 || joining !== null);
      if (shards.length === 0 || lacking) return false;
      const members = shards.flatMap(({ primary, inSync }) => [primary, ...inSync]);
      const ids = await Promise.all(members.map(id => this.#isMember(id).catch(() => false)));
      return ids.every(Boolean);
    });
    return performance.now() - beganAt;
  }

  /** A command of the program with this cluster's settings; what it prints. @param {string[]} words */
  async command(...words) {
    const args = [this.#main, ...words, '--config', this.#file];
    return (await promisify(execFile)(process.execPath, args, { timeout: 120_000 })).stdout;
  }

  /** @param {string} path */
  async #ask(path) {
    const text = await this.#get(this.#supervisorPort, path);
    if (text === null) throw new Error('the supervisor does not answer');
    return JSON.parse(text);
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
