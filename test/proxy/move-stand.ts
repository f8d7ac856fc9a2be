/**
 * Two shards of real redis-servers between which a portion of the keys is moved, with the supervisor's part done by the
 * test, step by step; and proxies, each with cables of its own to the nodes.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createLog } from '../../src/base/log.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Listener } from '../../src/downstream/listener.ts';
import { Proxy } from '../../src/proxy/proxy.ts';
import { ProxyMetrics } from '../../src/telemetry/proxy-cells.ts';
import { pulledSetName } from '../../src/topology/credentials.ts';
import { type CurrentPortion, PortionKeys, type TopologyMove } from '../../src/topology/move.ts';
import { PULLED_SHUT } from '../../src/topology/pull.ts';
import { initialTopology, type Topology, type TopologyShard } from '../../src/topology/snapshot.ts';
import { Wire } from '../differential/wire.ts';
import { fenceNode, formTopology } from '../support/formed-node.ts';
import { freePorts } from '../support/ports.ts';
import { Relay } from '../support/relay.ts';
import { CopyNode } from './copies.ts';
import { until } from './stand.ts';

const SECRET = '0123456789abcdef';

export interface MoveStandOptions {
  /** Replicas of each shard; default 0. */
  readonly copies?: number;
  /** Default 1. */
  readonly proxies?: number;
  /** Further lines of the `proxy` part of the settings. */
  readonly proxyPart?: string;
  /** Further parts of the settings file. */
  readonly settings?: string;
}

/** One proxy, and the cables by which it reaches each node. */
export interface StandingProxy {
  readonly proxy: Proxy;
  readonly port: number;
  readonly cables: ReadonlyMap<string, Relay>;
}

type ShardChange = Partial<Pick<TopologyShard, 'epoch' | 'primary' | 'inSync' | 'joining' | 'paused' | 'weight'>>;

export class MoveStand {
  /** As the nodes know it: proxies find them behind their cables. */
  topology: Topology;
  readonly nodes: ReadonlyMap<string, CopyNode>;
  readonly proxies: StandingProxy[] = [];
  readonly #directory: string;
  readonly #config: Config;
  readonly #closings: (() => unknown)[] = [];
  #sets = 100;

  private constructor(directory: string, config: Config, nodes: ReadonlyMap<string, CopyNode>, topology: Topology) {
    this.#directory = directory;
    this.#config = config;
    this.nodes = nodes;
    this.topology = topology;
  }

  /** Shard s1 owns all keys, s2 none: about half of them go there when they are moved. */
  static async start(options: MoveStandOptions = {}): Promise<MoveStand> {
    const { copies = 0, proxies = 1, proxyPart = '', settings = '' } = options;
    const directory = mkdtempSync(join(tmpdir(), 'ringside-move-'));
    const members = (shard: number): string[] => ['', ...'abcdef'.slice(0, copies)].map(letter => `n${shard}${letter}`);
    const ids = [...members(1), ...members(2)];
    const first = await freePorts(ids.length);
    const nodes = new Map(ids.map((id, i) => [id, new CopyNode(id, first + i, directory)]));
    const file = join(directory, 'ringside.yaml');
    const nodeLines = [...nodes.values()].map(({ id, port }) => `  - { id: ${id}, address: "127.0.0.1:${port}" }`);
    const shardLines = [1, 2].map(i => `  - { name: s${i}, nodes: [${members(i).join(', ')}] }`);
    const text = [
      `cluster: stand\nsecret: "${SECRET}"\nnodes:`,
      ...nodeLines,
      'shards:',
      ...shardLines,
      'proxy:\n  listen: ["127.0.0.1:1"]',
      proxyPart,
      settings,
    ];
    writeFileSync(file, text.join('\n'));
    process.env['RINGSIDE_LOG'] ??= 'silent';
    const config = loadConfig(file);
    for (const node of nodes.values()) await until(async () => (await node.info('role')) === 'master');
    const proposed = initialTopology(config);
    for (const shard of proposed.shards) {
      const [primary, ...replicas] = shard.nodes.map(id => nodes.get(id) as CopyNode) as [CopyNode, ...CopyNode[]];
      for (const replica of replicas) await replica.followNode(primary, SECRET);
    }
    const shards = proposed.shards.map(shard => ({
      ...shard,
      weight: shard.name === 's1' ? 1 : 0,
      inSync: shard.nodes.slice(1),
    }));
    const topology = await formTopology({ ...proposed, shards }, config);
    const stand = new MoveStand(directory, config, nodes, topology);
    for (let i = 0; i < proxies; i += 1) await stand.#addProxy();
    return stand;
  }

  get proxy(): Proxy {
    return (this.proxies[0] as StandingProxy).proxy;
  }

  node(id: string): CopyNode {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node;
  }

  primary(shard: string): CopyNode {
    return this.node(this.#shard(shard).primary);
  }

  async connect(index = 0): Promise<Wire> {
    const wire = await Wire.open({ host: '127.0.0.1', port: (this.proxies[index] as StandingProxy).port });
    this.#closings.push(() => wire.close());
    return wire;
  }

  /** A client library's connection to a proxy. */
  client(index = 0, db = 0): Redis {
    const { port } = this.proxies[index] as StandingProxy;
    const redis = new Redis({ port, host: '127.0.0.1', db, enableReadyCheck: false, retryStrategy: () => null });
    redis.on('error', () => undefined);
    this.#closings.push(() => redis.disconnect());
    return redis;
  }

  /** So many names of keys of the portion (or, `inside` false, of those that stay), each of another hash. */
  keys(count: number, inside = true, prefix = 'k'): string[] {
    const move = this.#move(null);
    const portion = new PortionKeys({ ...this.topology, shards: this.#weighed() }, move, PORTION);
    const found: string[] = [];
    for (let i = 0; found.length < count; i += 1) {
      const key = `${prefix}${i}`;
      if (portion.has(Buffer.from(key)) === inside) found.push(key);
    }
    return found;
  }

  /** The pulled set of the portion under way, as a key in database 0 of its taker. */
  setName(): string {
    return pulledSetName(SECRET, 'stand', this.topology.move?.current?.set ?? 0);
  }

  /** Of a way `return`: the set of the way there, in database 0 of the giver. */
  thereSetName(): string {
    return pulledSetName(SECRET, 'stand', this.topology.move?.current?.thereSet ?? 0);
  }

  /** M1 without its fence: the set, the users of the next epochs, and *preparing* told to these proxies. */
  async prepare(way: CurrentPortion['way'] = 'there', tell = this.proxies): Promise<void> {
    this.#sets += 1;
    const there = this.topology.move?.current?.set ?? null;
    const current: CurrentPortion = {
      index: 0,
      phase: 'preparing',
      way,
      set: this.#sets,
      thereSet: way === 'return' ? there : null,
    };
    const taker = this.primary(way === 'there' ? 's2' : 's1');
    await taker.redis.sadd(pulledSetName(SECRET, 'stand', current.set), '');
    const moved = way === 'back' ? 0 : (this.topology.move?.moved ?? 0);
    await this.publish({ ...this.#move(current), moved }, this.#raised(), tell);
  }

  /**
   * Deletes the users of earlier epochs on all primaries and copies: as soon as nobody is logged in as them, or when the
   * grace is over.
   */
  async fence(graceMs = 200): Promise<void> {
    const deadline = performance.now() + graceMs;
    for (const { epoch, primary, inSync } of this.topology.shards) {
      for (const id of [primary, ...inSync]) {
        while (performance.now() < deadline && (await this.#hasOlder(id, epoch))) {
          await new Promise(resolve => setTimeout(resolve, 2));
        }
        await fenceNode({ host: '127.0.0.1', port: this.node(id).port }, epoch);
      }
    }
  }

  async #hasOlder(id: string, epoch: number): Promise<boolean> {
    const clients = String(await this.node(id).redis.call('CLIENT', 'LIST'));
    return [...clients.matchAll(/ user=ringside-proxy-(\d+) /g)].some(([, of]) => Number(of) < epoch);
  }

  /** Prepares and fences, and opens the portion for pulling. */
  async open(way: CurrentPortion['way'] = 'there', tell = this.proxies, graceMs?: number): Promise<void> {
    await this.prepare(way, tell);
    await this.fence(graceMs);
    await this.startMoving(tell);
  }

  async startMoving(tell = this.proxies): Promise<void> {
    const { move } = this.topology;
    if (move?.current == null) throw new Error('no portion is prepared');
    // Pulls of the way there that come late put nothing there any more.
    if (move.current.way === 'return') await this.primary('s2').redis.sadd(this.thereSetName(), PULLED_SHUT);
    await this.publish({ ...move, current: { ...move.current, phase: 'moving' } }, this.topology.shards, tell);
  }

  /** The first half of M5: the set is deleted. */
  async closeSet(): Promise<void> {
    const { move } = this.topology;
    const way = move?.current?.way ?? 'there';
    await this.primary(way === 'there' ? 's2' : 's1').redis.del(this.setName());
    const { thereSet } = move?.current ?? { thereSet: null };
    if (thereSet !== null) await this.primary('s2').redis.del(pulledSetName(SECRET, 'stand', thereSet));
  }

  /** The second half of M5: the taker is published as the owner, and both are fenced. */
  async publishClosed(tell = this.proxies, isFenced = true): Promise<void> {
    const { move } = this.topology;
    const isThere = move?.current?.way === 'there';
    await this.publish({ ...this.#move(null), moved: isThere ? 1 : 0 }, this.#raised(), tell);
    if (isFenced) await this.fence();
  }

  /** M4 in one step, for these databases: whatever the giver still has of the portion must have been pulled before. */
  async leftOnGiver(): Promise<string[]> {
    const giver = this.primary(this.topology.move?.current?.way === 'there' ? 's1' : 's2');
    const portion = new PortionKeys({ ...this.topology, shards: this.#weighed() }, this.#move(null), PORTION);
    return (await giver.redis.keys('*')).filter(key => portion.has(Buffer.from(key)) && !key.startsWith('ringside:'));
  }

  /** Publishes with new epochs where `shards` has them: their users are made first. */
  async publish(move: TopologyMove | null, shards: readonly TopologyShard[], tell = this.proxies): Promise<void> {
    const next: Topology = { ...this.topology, version: this.topology.version + 1, move, shards };
    this.topology = await formTopology(next, { secret: SECRET });
    this.tell(tell);
  }

  /** Changes one shard of what is published. */
  async change(name: string, change: ShardChange, tell = this.proxies): Promise<void> {
    const shards = this.topology.shards.map(shard => (shard.name === name ? { ...shard, ...change } : shard));
    await this.publish(this.topology.move, shards, tell);
  }

  /** Tells these proxies of the topology of now. */
  tell(proxies: readonly StandingProxy[]): void {
    for (const { proxy, cables } of proxies) proxy.follow(this.#behind(cables));
  }

  /** Kills a shard's primary and promotes its replica, with the next epoch. */
  async failOver(name: string, tell = this.proxies): Promise<void> {
    const shard = this.#shard(name);
    const [next] = shard.inSync;
    if (next === undefined) throw new Error(`${name} has no copy`);
    await this.primary(name).kill();
    await this.node(next).redis.call('REPLICAOF', 'NO', 'ONE');
    await this.change(name, { primary: next, inSync: [], epoch: shard.epoch + 1 }, tell);
  }

  async stop(): Promise<void> {
    for (const close of this.#closings) close();
    for (const { proxy, cables } of this.proxies) {
      proxy.close();
      for (const cable of cables.values()) await cable.close();
    }
    for (const node of this.nodes.values()) node.thaw();
    await Promise.all([...this.nodes.values()].map(node => node.kill()));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #addProxy(): Promise<void> {
    const port = await freePorts(1);
    const cables = new Map<string, Relay>();
    for (const node of this.nodes.values()) cables.set(node.id, await Relay.to(node.port));
    const { listen } = this.#config.proxy;
    const address = { ...(listen[0] as (typeof listen)[number]), port };
    const config = { ...this.#config, proxy: { ...this.#config.proxy, listen: [address] } } as Config;
    const proxy = new Proxy(config, this.#behind(cables), null, new ProxyMetrics(), createLog('proxy'));
    const listener = new Listener(proxy);
    await listener.listen();
    const sweeper = setInterval(() => proxy.sweep(), 20);
    this.#closings.push(
      () => clearInterval(sweeper),
      () => listener.drain(100),
    );
    this.proxies.push({ proxy, port, cables });
    await until(() => proxy.waitingFor().length === 0 && proxy.commandsDigest !== '');
  }

  #behind(cables: ReadonlyMap<string, Relay>): Topology {
    const nodes = this.topology.nodes.map(node => ({ ...node, port: cables.get(node.id)?.port ?? node.port }));
    return { ...this.topology, nodes };
  }

  #shard(name: string): TopologyShard {
    return this.topology.shards.find(shard => shard.name === name) as TopologyShard;
  }

  #raised(): TopologyShard[] {
    return this.topology.shards.map(shard => ({ ...shard, epoch: shard.epoch + 1 }));
  }

  #weighed(): TopologyShard[] {
    return this.topology.shards.map(shard => ({ ...shard, weight: shard.name === 's1' ? 1 : 0 }));
  }

  #move(current: CurrentPortion | null): TopologyMove {
    return {
      id: 7,
      ring: this.topology.ring,
      weights: { s1: 1, s2: 1 },
      portions: [PORTION],
      moved: 0,
      current,
      aborting: current !== null && current.way !== 'there',
      paused: null,
      keysPerSecond: null,
      allowStalls: false,
    };
  }
}

const PORTION = { source: 's1', target: 's2', part: 0, parts: 1, keys: 100 };
