import { proxyUser, REPLICA_PREFIX, replicaUser } from '../../src/topology/credentials.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { KeyLedger } from './key-ledger.ts';
import { Ledger } from './ledger.ts';
import { Network } from './network.ts';
import { firstTopology, type Plan } from './plan.ts';
import { ProxyShard } from './proxy.ts';
import { SimNode } from './redis/node.ts';
import type { ProxyHabits } from './request.ts';
import { Router, type RouterHabits } from './router.ts';
import { SimStore } from './store.ts';
import { SimSupervisor, type Spoil } from './supervisor.ts';
import { Actor, type World } from './world.ts';
import { type Watcher, Writer } from './writer.ts';

/**
 * What is taken out of the protocol, to see that the checks notice: nothing of it is ever set in an ordinary run.
 */
export interface Omissions {
  readonly habits: ProxyHabits;
  readonly spoil: Spoil;
  /** A restarted process is taken for the one that was. */
  readonly runIdKept: boolean;
  /** Whoever believes to lead may write. */
  readonly withoutProof: boolean;
  /** Of proxies that serve keys which are moved. */
  readonly routing: RouterHabits;
}

export const NOTHING_OMITTED: Omissions = {
  habits: { withoutHold: false, withoutWord: false, judgesByPresent: false, sendsAgain: false },
  spoil: { skips: null, delays: null },
  runIdKept: false,
  withoutProof: false,
  routing: { withoutSieve: false, dropsUnbound: false, ignoresPreparing: false },
};

/** A proxy with its host, its process and its part of every shard. */
export interface SimProxy {
  readonly name: string;
  readonly host: string;
  readonly actor: Actor;
  readonly shards: ReadonlyMap<string, ProxyShard>;
  /** Sends keys where they are; null: each writer has its shard. */
  readonly router: Router | null;
  readonly writers: readonly Writer[];
  /** What it follows, and keeps on its disk; null: it was told of nothing yet. */
  topology: Topology | null;
}

/** A whole cluster in one world: nodes, store, supervisors, proxies and their clients. */
export class SimCluster {
  readonly world: World;
  readonly network: Network;
  readonly plan: Plan;
  readonly nodes: readonly SimNode[];
  readonly store: SimStore;
  readonly supervisors: readonly SimSupervisor[];
  readonly proxies: SimProxy[];
  readonly ledger: Ledger;
  /** Of keys that are moved. */
  readonly keys: KeyLedger;
  readonly #omissions: Omissions;

  constructor(world: World, plan: Plan, omissions: Omissions) {
    this.world = world;
    this.plan = plan;
    this.network = new Network(world);
    this.network.takesBackAtReset = plan.takesBackAtReset;
    const topology = firstTopology(plan);
    const nature = { loadFailure: plan.loadFailure, backlogBytes: plan.backlogBytes, runIdKept: omissions.runIdKept };
    this.nodes = topology.nodes.map(({ id, zone }) => new SimNode(this.network, id, zone, nature));
    this.ledger = new Ledger(world, this.nodes, topology);
    this.keys = new KeyLedger(world, this.nodes, topology);
    for (const node of this.nodes) this.startNode(node, false);
    this.store = new SimStore(this.network, topology, !omissions.withoutProof);
    this.store.onWritten = written => {
      this.ledger.onWritten(written);
      this.keys.isSpoiled ||= this.ledger.counts.disasters > 0;
      this.keys.onWritten(written);
    };
    this.#omissions = omissions;
    this.proxies = Array.from({ length: plan.proxies }, (_, index) => this.#proxy(`p${index + 1}`, '', null));
    this.supervisors = Array.from({ length: plan.supervisors }, (_, index) => {
      return new SimSupervisor(this.network, this.store, `v${index + 1}`, {
        settings: plan.settings,
        addressOf: this.#addressOf,
        tellProxies: (supervisor, seen) => this.#tellProxies(supervisor, seen),
        isStubborn: plan.isStubborn,
        spoil: omissions.spoil,
      });
    });
  }

  /** Clients send no more. */
  rest(): void {
    for (const { writers } of this.proxies) for (const writer of writers) writer.stop();
  }

  startNode(node: SimNode, withFile: boolean): void {
    if (node.living !== null) return;
    node.start(withFile);
    this.ledger.watch(node);
  }

  /** In the place of a proxy that has ended, with other clients; it begins with what the last one kept on its disk. */
  startProxy(ended: SimProxy): void {
    const at = this.proxies.indexOf(ended);
    if (at < 0 || !ended.actor.hasEnded) return;
    this.world.tell(`${ended.name} starts with version ${ended.topology?.version ?? 'none'}`);
    this.proxies[at] = this.#proxy(ended.name, `@${this.world.nowMs.toFixed(0)}`, ended.topology);
  }

  get hosts(): string[] {
    return [...this.nodes, ...this.supervisors, ...this.proxies, this.store].map(({ host }) => host);
  }

  /** Why the cluster is not whole; null: every shard has all its copies, and they are what was published. */
  whyNotWhole(): string | null {
    const { topology } = this.store;
    for (const shard of topology.shards) {
      const where = `${shard.name} (epoch ${shard.epoch})`;
      if (shard.paused) return `${where} is paused`;
      if (shard.joining !== null) return `${where} has ${shard.joining} joining`;
      if (shard.inSync.length !== this.plan.copies - 1) return `${where} has ${shard.inSync.length + 1} copies in sync`;
      const living = this.ledger.livingMembers(shard.name);
      if (living.length !== this.plan.copies) return `${where} lives only on ${living.join(' ')}`;
      const primary = this.nodes.find(({ id }) => id === shard.primary)?.living;
      if (primary?.isPrimary !== true) return `${where}: ${shard.primary} is no primary`;
      for (const id of shard.inSync) {
        const copy = this.nodes.find(node => node.id === id)?.living;
        if (copy?.following?.isUp !== true || copy.history.id !== primary.history.id)
          return `${where}: ${id} is not attached`;
      }
    }
    return null;
  }

  /** Which node lets in somebody whom nothing calls for, or not whom it should; null: none. */
  whyNotSound(): string | null {
    for (const { id, living } of this.nodes) {
      if (living === null) continue;
      // Whoever was copied from a node that is no primary may keep its user there: that is nothing until a promotion.
      const isPrimary = this.store.topology.shards.some(({ primary }) => primary === id);
      const kinds = isPrimary ? /^ringside-(proxy|replica)-/ : /^ringside-proxy-/;
      const names = living.users.names().filter(name => kinds.test(name));
      const called = this.#usersCalledFor(id);
      if (names.join(' ') !== called.join(' ')) return `${id} has [${names.join(' ')}], not [${called.join(' ')}]`;
      const open = names.find(name => name.startsWith(REPLICA_PREFIX) && living.users.may(name, 'PSYNC', ''));
      if (open !== undefined) return `the door of ${open} on ${id} is open`;
    }
    return null;
  }

  #usersCalledFor(id: string): string[] {
    for (const { primary, inSync, epoch } of this.store.topology.shards) {
      if (primary === id) return [proxyUser(epoch), ...inSync.map(replicaUser).sort()];
      if (inSync.includes(id)) return this.plan.settings.replicaReads ? [proxyUser(epoch)] : [];
    }
    return [];
  }

  readonly #addressOf = (nodeId: string): string => `${nodeId}.sim:6379`;

  /** `life`: so that its clients' writes have other names than those of the one before it. */
  #proxy(name: string, life: string, topology: Topology | null): SimProxy {
    const host = `${name}.sim`;
    const actor = new Actor(this.world, name);
    const shards = new Map(
      this.store.topology.shards.map(shard => {
        return [
          shard.name,
          new ProxyShard(this.network, host, actor, shard.name, this.#addressOf, this.#omissions.habits),
        ] as const;
      }),
    );
    if (this.plan.move !== null) return this.#routingProxy(name, life, host, actor, shards, topology);
    const writers = [...shards].flatMap(([shard, part]) => {
      return Array.from({ length: this.plan.writersPerShard }, (_, index) => {
        const writer = `${name}${life}.${shard}.w${index + 1}`;
        const manner = { prefix: `${shard}:k`, keys: 4, reads: 0.06, restMs: this.plan.writerRestMs };
        return new Writer(this.world, actor, writer, manner, part, this.#watcherOf(shard));
      });
    });
    if (topology !== null) for (const part of shards.values()) part.follow(topology);
    return { name, host, actor, shards, router: null, writers, topology };
  }

  #routingProxy(
    name: string,
    life: string,
    host: string,
    actor: Actor,
    shards: ReadonlyMap<string, ProxyShard>,
    topology: Topology | null,
  ): SimProxy {
    const router = new Router(this.network, host, actor, shards, this.#omissions.routing);
    const writers = Array.from({ length: this.plan.writersPerShard * 2 }, (_, index) => {
      const writer = `${name}${life}.w${index + 1}`;
      const manner = { prefix: 'key', keys: MOVING_KEYS, reads: 0.15, restMs: this.plan.writerRestMs };
      return new Writer(this.world, actor, writer, manner, router, this.keys);
    });
    if (topology !== null) router.follow(topology);
    return { name, host, actor, shards, router, writers, topology };
  }

  #watcherOf(shard: string): Watcher {
    const { ledger } = this;
    return {
      acknowledgedOf: key => ledger.acknowledgedOf(shard, key),
      onWrite: (key, write, answer) => ledger.onAnswer(shard, key, write, answer),
      onRead: (key, before, answer) => ledger.onStrictRead(shard, key, before, answer),
    };
  }

  #tellProxies(supervisor: SimSupervisor, topology: Topology): void {
    for (const proxy of this.proxies) {
      this.world.after(this.network.delayMs(supervisor.host, proxy.host), () => {
        if (this.network.isCut(supervisor.host, proxy.host)) return;
        proxy.actor.live(() => {
          if (topology.version <= (proxy.topology?.version ?? 0)) return;
          proxy.topology = topology;
          if (proxy.router !== null) proxy.router.follow(topology);
          else for (const part of proxy.shards.values()) part.follow(topology);
        });
      });
    }
  }
}

/** Few enough that all of them are met while they are moved. */
const MOVING_KEYS = 12;
