/** One shard of real redis-servers: a primary with replicas attached as their own users, and a proxy in front of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createLog } from '../../src/base/log.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Listener } from '../../src/downstream/listener.ts';
import { Proxy } from '../../src/proxy/proxy.ts';
import type { Shard } from '../../src/proxy/shard.ts';
import { ProxyMetrics } from '../../src/telemetry/proxy-cells.ts';
import { passwordHash, replicaUser, userPassword } from '../../src/topology/credentials.ts';
import { initialTopology, type Topology, type TopologyShard } from '../../src/topology/snapshot.ts';
import { Wire } from '../differential/wire.ts';
import { formTopology } from '../support/formed-node.ts';
import { freePorts } from '../support/ports.ts';
import { pipeline, until } from './stand.ts';

/** One redis-server that can be frozen and killed, with a way past the proxy. */
export class CopyNode {
  readonly id: string;
  readonly port: number;
  readonly redis: Redis;
  readonly #child: ChildProcess;

  constructor(id: string, port: number, directory: string) {
    this.id = id;
    this.port = port;
    const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory];
    // A replica that was synced without disk is fed only once its first acknowledgement has come, up to a second later.
    const replication = ['--repl-diskless-sync', 'no', '--repl-ping-replica-period', '1'];
    this.#child = spawn('redis-server', [...options, ...replication], { stdio: 'ignore' });
    this.redis = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 20, maxRetriesPerRequest: null });
    this.redis.on('error', () => {});
  }

  /** SIGSTOP: it holds its connections and does nothing. */
  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    this.redis.disconnect();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  /** One field of INFO. */
  async info(field: string): Promise<string> {
    return new RegExp(`^${field}:(.*)\r$`, 'm').exec(await this.redis.info())?.[1] ?? '';
  }

  /** Makes this node a replica of the other, as a user of its own there. */
  async followNode(primary: CopyNode, secret: string): Promise<void> {
    const user = replicaUser(this.id);
    const password = userPassword(secret, user, await primary.info('run_id'));
    const rights = ['+psync', '+replconf', '+ping'];
    await primary.redis.call('ACL', 'SETUSER', user, 'reset', 'on', passwordHash(password), ...rights);
    await this.redis.call('CONFIG', 'SET', 'masteruser', user, 'masterauth', password);
    await this.redis.call('REPLICAOF', '127.0.0.1', String(primary.port));
    await until(async () => (await this.info('master_link_status')) === 'up');
  }
}

/** What a test changes of the shard in the topology. */
export type ShardChange = Partial<Pick<TopologyShard, 'epoch' | 'primary' | 'inSync' | 'joining' | 'paused'>>;

export class CopiesStand {
  readonly nodes: readonly CopyNode[];
  readonly proxy: Proxy;
  readonly #listener: Listener;
  readonly #port: number;
  readonly #directory: string;
  readonly #sweeper: NodeJS.Timeout;
  readonly #wires: Wire[] = [];

  private constructor(nodes: readonly CopyNode[], proxy: Proxy, listener: Listener, port: number, directory: string) {
    this.nodes = nodes;
    this.proxy = proxy;
    this.#listener = listener;
    this.#port = port;
    this.#directory = directory;
    this.#sweeper = setInterval(() => proxy.sweep(), 20);
  }

  /** The first of three nodes is the primary, the others are in sync. `settings`: further parts of the settings file. */
  static async start(settings = ''): Promise<CopiesStand> {
    const directory = mkdtempSync(join(tmpdir(), 'ringside-copies-'));
    const first = await freePorts(4);
    const nodes = [1, 2, 3].map(i => new CopyNode(`n${i}`, first + i, directory));
    const [primary, ...replicas] = nodes as [CopyNode, CopyNode, CopyNode];
    const file = join(directory, 'ringside.yaml');
    const lines = nodes.map(({ id, port }) => `  - { id: ${id}, address: "127.0.0.1:${port}", zone: z${id} }`);
    const secret = '0123456789abcdef';
    writeFileSync(
      file,
      `cluster: stand\nsecret: "${secret}"\nnodes:\n${lines.join('\n')}\nshards:\n  - { name: s1, nodes: [n1, n2, n3] }\n` +
        `proxy:\n  listen: ["127.0.0.1:${first}"]\n  hold: 2s\n${settings}`,
    );
    await until(async () => (await primary.info('role')) === 'master');
    for (const replica of replicas) await replica.followNode(primary, secret);
    process.env['RINGSIDE_LOG'] ??= 'silent';
    const config = loadConfig(file);
    const proposed = initialTopology(config);
    const [shard] = proposed.shards as [TopologyShard];
    const topology = { ...proposed, shards: [{ ...shard, inSync: ['n2', 'n3'] }] };
    const formed = await formTopology(topology, config);
    const proxy = new Proxy(config, formed, null, new ProxyMetrics(), createLog('proxy'));
    const listener = new Listener(proxy);
    await listener.listen();
    await until(() => proxy.waitingFor().length === 0 && proxy.commandsDigest !== '');
    return new CopiesStand(nodes, proxy, listener, first, directory);
  }

  get shard(): Shard {
    return this.proxy.shards[0] as Shard;
  }

  /** Tells the proxy of a newer topology; users of the epoch that it names are there, unless `unformed`. */
  async publish(change: ShardChange, unformed = false): Promise<void> {
    const before = this.proxy.topology;
    const [shard] = before.shards as [TopologyShard];
    const next: Topology = { ...before, version: before.version + 1, shards: [{ ...shard, ...change }] };
    this.proxy.follow(unformed ? next : await formTopology(next, { secret: this.proxy.config.secret }));
  }

  /** Tells it at once, without a look at the nodes. */
  tell(change: ShardChange): void {
    const before = this.proxy.topology;
    const [shard] = before.shards as [TopologyShard];
    this.proxy.follow({ ...before, version: before.version + 1, shards: [{ ...shard, ...change }] });
  }

  async connect(): Promise<Wire> {
    const wire = await Wire.open({ host: '127.0.0.1', port: this.#port });
    this.#wires.push(wire);
    return wire;
  }

  async stop(): Promise<void> {
    for (const wire of this.#wires) wire.close();
    clearInterval(this.#sweeper);
    await this.#listener.drain(100);
    this.proxy.close();
    for (const node of this.nodes) node.thaw();
    await Promise.all(this.nodes.map(node => node.kill()));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Sends a command and tells what came back so far. */
export function ask(wire: Wire, words: string): { reply: string | null; readonly done: Promise<string> } {
  const asked: { reply: string | null; done: Promise<string> } = {
    reply: null,
    done: pipeline(wire, words).then(([reply]) => {
      asked.reply = reply as string;
      return asked.reply;
    }),
  };
  return asked;
}
