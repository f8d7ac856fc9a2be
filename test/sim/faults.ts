import type { Effect } from '../../src/supervisor/core/effect.ts';
import type { EmptyOrder, NodeOrder } from '../../src/supervisor/core/engine.ts';
import { MARK_LIBRARY, parseMark } from '../../src/supervisor/core/mark.ts';
import type { SimCluster } from './cluster.ts';
import type { SimNode } from './redis/node.ts';
import type { SimSupervisor } from './supervisor.ts';
import type { World } from './world.ts';

/**
 * Makes trouble, until it is told to stop; then it puts everything back so that the cluster could be whole again.
 */
export class Faults {
  readonly #cluster: SimCluster;
  readonly #world: World;
  readonly #doings: readonly Doing[];
  #isOn = true;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    const { only, drains } = cluster.plan;
    const doings = this.#allDoings().filter(([, , name]) => only?.includes(name) ?? true);
    this.#doings = drains
      ? [
          ...doings,
          [6, () => this.#drain(), 'drain'],
          [1, () => this.#undrain(), 'undrain'],
          [6, () => this.#empty(), 'empty'],
        ]
      : doings;
    this.#next();
    for (const supervisor of cluster.supervisors) {
      supervisor.beforeEffect = effect => this.#atEffect(supervisor, effect);
    }
  }

  /** No more trouble: what is cut is healed, what is halted goes on, what is dead is started. */
  stop(): void {
    this.#isOn = false;
    this.#world.tell('no more faults');
    const { network, nodes, supervisors, proxies, store } = this.#cluster;
    network.healAll();
    store.goOn();
    store.isPrompt = true;
    for (const node of nodes) {
      node.living?.actor.goOn();
      if (node.living !== null) node.living.busy = null;
      this.#cluster.startNode(node, this.#world.chance(0.5));
    }
    for (const supervisor of supervisors) {
      supervisor.actor.goOn();
      supervisor.start();
    }
    for (const proxy of [...proxies]) {
      proxy.actor.goOn();
      this.#cluster.startProxy(proxy);
    }
    if (this.#cluster.plan.drains) this.#undrainAll();
  }

  #next(): void {
    const { plan } = this.#cluster;
    this.#world.after(this.#world.between(0.2, 1.8) * plan.faultEveryMs, () => {
      if (!this.#isOn) return;
      this.#pick()();
      this.#next();
    });
  }

  #pick(): () => void {
    const total = this.#doings.reduce((sum, [weight]) => sum + weight, 0);
    let left = this.#world.random.next() * total;
    for (const [weight, doing] of this.#doings) {
      left -= weight;
      if (left < 0) return doing;
    }
    return () => {};
  }

  #allDoings(): readonly Doing[] {
    const { mood, supervisors } = this.#cluster.plan;
    return [
      [4, () => this.#killNode(this.#anyNode()), 'kill a node'],
      [4, () => this.#killNode(this.#aPrimary()), 'kill a primary'],
      [2, () => this.#haltNode(this.#anyNode()), 'halt a node'],
      [2, () => this.#haltNode(this.#aPrimary()), 'halt a primary'],
      [3, () => this.#breakLink(), 'break a link'],
      [3, () => this.#cutOff(), 'cut off'],
      [4, () => this.#cutPair(), 'cut'],
      [2, () => this.#slowPair(), 'slow'],
      [1, () => this.#slowLink(), 'slow a link'],
      [1, () => this.#blind(this.#anyNode()), 'blind'],
      [1, () => this.#blind(this.#aPrimary()), 'blind a primary'],
      [1, () => this.#slowAnswers(), 'slow answers'],
      [2, () => this.#dropConnection(), 'drop a connection'],
      [2, () => this.#saveAll(), 'save'],
      [3, () => this.#switchOver(), 'switch over'],
      [2, () => this.#haltSupervisor(this.#world.random.pick(this.#cluster.supervisors)), 'halt a supervisor'],
      [
        supervisors > 1 ? 2 : 1,
        () => this.#killSupervisor(this.#world.random.pick(this.#cluster.supervisors)),
        'kill a supervisor',
      ],
      [1, () => this.#jumpClock(), 'jump'],
      [1, () => this.#haltStore(), 'halt the store'],
      [1, () => this.#haltProxy(), 'halt a proxy'],
      [1, () => this.#restartProxy(), 'restart a proxy'],
      [1, () => this.#makeBusy(), 'busy'],
      [mood === 'cold' ? 1 : 0, () => this.#restartShard(), 'restart a shard'],
    ];
  }

  #anyNode(): SimNode {
    return this.#world.random.pick(this.#cluster.nodes);
  }

  #aPrimary(): SimNode {
    const { primary } = this.#world.random.pick(this.#cluster.store.topology.shards);
    return this.#cluster.nodes.find(({ id }) => id === primary) as SimNode;
  }

  /** Whether it may die: in careful times one living copy of each shard is left. */
  #mayDie(node: SimNode): boolean {
    const { plan, store, ledger } = this.#cluster;
    if (plan.mood === 'harsh') return true;
    return store.topology.shards.every(({ name }) => {
      const living = ledger.livingMembers(name);
      return !living.includes(node.id) || living.length > 1;
    });
  }

  #killNode(node: SimNode): void {
    if (node.living === null || !this.#mayDie(node)) return;
    node.kill();
    this.#later(this.#world.pick([20, 500, 3000]), () => this.#cluster.startNode(node, this.#world.chance(0.5)));
  }

  /** Everything of a shard ends at once and comes back with what it had saved. */
  #restartShard(): void {
    const shard = this.#world.random.pick(this.#cluster.store.topology.shards);
    const nodes = this.#cluster.nodes.filter(
      ({ id }) => shard.nodes.includes(id) || shard.primary === id || shard.inSync.includes(id),
    );
    const savesFirst = this.#world.chance(0.7);
    this.#world.tell(`all of ${shard.name} restarts`);
    for (const node of nodes) {
      if (savesFirst) node.save();
      node.kill();
      this.#later(this.#world.between(10, 1500), () => this.#cluster.startNode(node, true));
    }
  }

  #haltNode(node: SimNode): void {
    const process = node.living;
    if (process === null || process.actor.isHalted) return;
    process.tell('is halted');
    process.actor.halt();
    this.#later(this.#world.pick([100, 900, 3000]), () => process.actor.goOn());
  }

  /** A replica's link breaks; its primary does not notice for a while. */
  #breakLink(): void {
    const node = this.#anyNode();
    node.living?.tell('loses its link');
    node.living?.following?.break(this.#world.pick([1, 300, 5000]));
  }

  #dropConnection(): void {
    const connections = [...(this.#anyNode().living?.connections ?? [])];
    if (connections.length === 0) return;
    const connection = this.#world.random.pick(connections);
    this.#world.tell(`a connection of ${connection.user} breaks`);
    connection.end.close();
  }

  #cutPair(): void {
    const [a, b] = this.#pair();
    const { network } = this.#cluster;
    const bothWays = this.#world.chance(0.5);
    this.#world.tell(`cut ${a} ${bothWays ? '<>' : '>'} ${b}`);
    network.cut(a, b);
    if (bothWays) network.cut(b, a);
    this.#later(this.#world.pick([150, 1000, 3000]), () => {
      network.heal(a, b);
      if (bothWays) network.heal(b, a);
    });
  }

  /** One host, or a node with one proxy, is cut off from all others. */
  #cutOff(): void {
    const { network, hosts, proxies } = this.#cluster;
    const host = this.#world.random.pick(hosts);
    const companion = this.#world.chance(0.4) ? this.#world.random.pick(proxies).host : host;
    const others = hosts.filter(other => other !== host && other !== companion);
    const bothWays = this.#world.chance(0.7);
    this.#world.tell(`cut off ${host}${companion === host ? '' : ` with ${companion}`}${bothWays ? '' : ', one way'}`);
    const inside = [host, companion];
    for (const one of inside) {
      for (const other of others) {
        network.cut(one, other);
        if (bothWays) network.cut(other, one);
      }
    }
    this.#later(this.#world.pick([150, 1200, 4000]), () => {
      for (const one of inside) {
        for (const other of others) {
          network.heal(one, other);
          network.heal(other, one);
        }
      }
    });
  }

  #slowPair(): void {
    const [a, b] = this.#pair();
    const { network } = this.#cluster;
    const delayMs = this.#world.pick([5, 80, 400]);
    this.#world.tell(`slow ${a} > ${b} by ${delayMs.toFixed(0)}`);
    network.slow(a, b, delayMs);
    this.#later(this.#world.between(200, 3000), () => network.slow(a, b, 0));
  }

  /** What goes from one node to another is late for a while. */
  #slowLink(): void {
    const { network, nodes } = this.#cluster;
    const to = this.#world.random.pick(nodes);
    const from = this.#aPrimary();
    const delayMs = this.#world.pick([80, 400]);
    this.#world.tell(`slow ${from.id} > ${to.id} by ${delayMs.toFixed(0)}`);
    network.slow(from.host, to.host, delayMs);
    this.#later(this.#world.between(500, 3000), () => network.slow(from.host, to.host, 0));
  }

  /** What a primary says to a proxy is late for a while. */
  #slowAnswers(): void {
    const { network, proxies } = this.#cluster;
    const proxy = this.#world.random.pick(proxies);
    const from = this.#aPrimary();
    const delayMs = this.#world.pick([20, 150]);
    this.#world.tell(`slow answers from ${from.id} to ${proxy.name} by ${delayMs.toFixed(0)}`);
    network.slow(from.host, proxy.host, delayMs);
    this.#later(this.#world.between(500, 3000), () => network.slow(from.host, proxy.host, 0));
  }

  /** No supervisor sees a node that everybody else sees. */
  #blind(node: SimNode): void {
    const { network, supervisors } = this.#cluster;
    this.#world.tell(`nobody sees ${node.id}`);
    for (const { host } of supervisors) network.cut(host, node.host);
    this.#later(this.#world.between(900, 3000), () => {
      for (const { host } of supervisors) network.heal(host, node.host);
    });
  }

  #saveAll(): void {
    for (const node of this.#cluster.nodes) if (this.#world.chance(0.7)) node.save();
  }

  #switchOver(): void {
    const shard = this.#world.random.pick(this.#cluster.store.topology.shards);
    const to = this.#world.chance(0.5) ? null : this.#world.random.pick(shard.nodes);
    const order = { kind: 'switchover', shard: shard.name, to } as const;
    for (const supervisor of this.#cluster.supervisors) {
      const answer = supervisor.order(order);
      if (answer !== null)
        this.#world.tell(`${supervisor.name} is to switch ${shard.name} over to ${to}: ${answer.text}`);
    }
  }

  #drain(): void {
    const { store, nodes } = this.#cluster;
    const { id } = this.#world.random.pick(nodes);
    const isNamed = this.#world.chance(0.3);
    const spare = store.topology.nodes.find(
      node => !store.topology.shards.some(shard => shard.nodes.includes(node.id)),
    );
    this.#order({ kind: 'drain', node: id, to: isNamed ? (spare?.id ?? null) : null, zone: null });
  }

  #undrain(): void {
    const draining = this.#cluster.store.topology.nodes.filter(node => node.draining);
    if (draining.length > 0) this.#order({ kind: 'undrain', node: this.#world.random.pick(draining).id });
  }

  /** Until nobody is drained any more, so that every shard can have its copies, and none too many. */
  #undrainAll(): void {
    const draining = this.#cluster.store.topology.nodes.filter(node => node.draining);
    for (const { id } of draining) this.#order({ kind: 'undrain', node: id });
    this.#world.after(300, () => this.#undrainAll());
  }

  /** Any node, since a person may not know what it is by now: what is no spare is to be refused. */
  #empty(): void {
    const { nodes, store } = this.#cluster;
    const members = new Set(store.topology.shards.flatMap(shard => shard.nodes));
    const spare = nodes.find(({ id }) => !members.has(id));
    const node = spare !== undefined && this.#world.chance(0.5) ? spare : this.#world.random.pick(nodes);
    const seen = node.living;
    if (seen === null) return;
    const { runId, data } = seen;
    const code = data.libraries.get(MARK_LIBRARY);
    const mark = code === undefined ? null : parseMark(['library_code', code]);
    const holds = { runId, databases: [{ database: 0, keys: data.keys }], libraries: [], mark };
    const acceptLoss = this.#world.chance(0.5);
    // Until the person has decided, the node may have become another.
    this.#world.after(this.#world.pick([0, 50, 500]), () =>
      this.#order({ kind: 'empty', node: node.id, holds, confirmed: { runId, keys: data.keys }, acceptLoss }),
    );
  }

  #order(order: NodeOrder | EmptyOrder): void {
    for (const supervisor of this.#cluster.supervisors) {
      const answer = supervisor.order(order);
      if (answer !== null) this.#world.tell(`${supervisor.name} is to ${order.kind} ${order.node}: ${answer.text}`);
    }
  }

  #haltSupervisor(supervisor: SimSupervisor): void {
    if (supervisor.actor.hasEnded || supervisor.actor.isHalted) return;
    const { actor } = supervisor;
    this.#world.tell(`${supervisor.name} is halted`);
    actor.halt();
    this.#later(this.#world.pick([30, 600, 2500]), () => {
      this.#world.tell(`${supervisor.name} goes on`);
      actor.goOn();
    });
  }

  #killSupervisor(supervisor: SimSupervisor): void {
    if (supervisor.actor.hasEnded) return;
    supervisor.kill();
    this.#later(this.#world.between(50, 1500), () => supervisor.start());
  }

  #jumpClock(): void {
    const supervisor = this.#world.random.pick(this.#cluster.supervisors);
    const byMs = this.#world.pick([150, 1000, 8000]);
    this.#world.tell(`the clock of ${supervisor.name} jumps by ${byMs.toFixed(0)}`);
    supervisor.jumpClock(byMs);
  }

  #haltStore(): void {
    const { store } = this.#cluster;
    this.#world.tell('the store is halted');
    store.actor.halt();
    this.#later(this.#world.pick([200, 1500, 5000]), () => store.goOn());
  }

  #haltProxy(): void {
    const { actor, name } = this.#world.random.pick(this.#cluster.proxies);
    this.#world.tell(`${name} is halted`);
    actor.halt();
    this.#later(this.#world.between(50, 2500), () => actor.goOn());
  }

  #restartProxy(): void {
    const proxy = this.#world.random.pick(this.#cluster.proxies);
    if (proxy.actor.hasEnded) return;
    this.#world.tell(`${proxy.name} is killed`);
    proxy.actor.end();
    this.#later(this.#world.pick([5, 300, 3000]), () => this.#cluster.startProxy(proxy));
  }

  #makeBusy(): void {
    const process = this.#anyNode().living;
    if (process === null) return;
    process.tell('runs a script that does not end');
    process.busy = process.isPrimary && this.#world.chance(0.3) ? 'write' : 'read';
    this.#later(this.#world.between(100, 4000), () => {
      process.busy = null;
    });
  }

  /** In the moment in which a leader acts, it, or the node that it acts on, may end or halt. */
  #atEffect(supervisor: SimSupervisor, effect: Effect): void {
    if (!this.#isOn || effect.kind === 'note' || !this.#world.chance(this.#cluster.plan.atEffect)) return;
    const isBefore = this.#world.chance(0.5);
    const delayMs = this.#world.between(0.01, 2);
    const what = this.#world.random.below(5);
    const node = effect.kind === 'call' ? this.#cluster.nodes.find(({ id }) => id === effect.nodeId) : this.#aPrimary();
    const doing = (): void => {
      if (what === 0) this.#killSupervisor(supervisor);
      else if (what <= 2) this.#haltSupervisor(supervisor);
      else if (what === 3 && node !== undefined) this.#killNode(node);
      else if (node !== undefined) this.#haltNode(node);
    };
    if (isBefore) doing();
    else this.#world.after(delayMs, doing);
  }

  #pair(): [string, string] {
    const { hosts } = this.#cluster;
    const a = this.#world.random.pick(hosts);
    const b = this.#world.random.pick(hosts.filter(host => host !== a));
    return [a, b];
  }

  #later(delayMs: number, act: () => void): void {
    this.#world.after(delayMs, () => {
      if (this.#isOn) act();
    });
  }
}

/** How often, in relation to the others; what; and its name. */
type Doing = readonly [number, () => void, string];
