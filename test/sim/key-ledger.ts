import { ON_THE_MOVE } from '../../src/ring/ring.ts';
import { currentRoute, ringInForce } from '../../src/topology/move.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import type { SimNode } from './redis/node.ts';
import type { RedisProcess } from './redis/process.ts';
import type { Answer } from './request.ts';
import type { World } from './world.ts';

/**
 * Watches keys that move between shards: every acknowledged write of a key is on every living copy of its owner, or,
 * while its portion is on the move, of the one side or the other; a read sees all that was acknowledged before it. In the
 * end each key is with its owner, alike on all copies, and nowhere else.
 */
export class KeyLedger {
  readonly violations: string[] = [];
  readonly counts = { acknowledged: 0, uncertain: 0, refused: 0, reads: 0 };
  /** Every copy of some shard has died: what follows proves nothing. */
  isSpoiled = false;
  readonly #world: World;
  readonly #nodes: ReadonlyMap<string, SimNode>;
  readonly #acknowledged = new Map<string, Set<string>>();
  readonly #refused = new Map<string, Set<string>>();
  #topology: Topology;

  constructor(world: World, nodes: readonly SimNode[], topology: Topology) {
    this.#world = world;
    this.#nodes = new Map(nodes.map(node => [node.id, node]));
    this.#topology = topology;
  }

  onWritten(topology: Topology): void {
    this.#topology = topology;
    for (const [key, writes] of this.#acknowledged) this.#check(key, [...writes], 'when this was published');
  }

  acknowledgedOf(key: string): string[] {
    return [...(this.#acknowledged.get(key) ?? [])];
  }

  onWrite(key: string, write: string, answer: Answer): void {
    this.counts[answer.kind] += 1;
    if (answer.kind === 'refused') membersOf(this.#refused, key).add(write);
    if (answer.kind !== 'acknowledged') return;
    membersOf(this.#acknowledged, key).add(write);
    this.#check(key, [write], 'when it was acknowledged');
  }

  onRead(key: string, before: readonly string[], answer: Answer): void {
    if (answer.kind !== 'acknowledged' || this.isSpoiled) return;
    this.counts.reads += 1;
    const seen = Array.isArray(answer.reply) ? answer.reply.map(String) : [];
    const seenOnce = new Set(seen);
    const missing = before.filter(write => !seenOnce.has(write));
    if (missing.length > 0) this.#violate(`a read of ${key} does not see ${missing.join(' ')}`);
    if (seenOnce.size < seen.length) this.#violate(`a read of ${key} sees a write twice`);
    const acknowledged = membersOf(this.#acknowledged, key);
    for (const write of seen) acknowledged.add(write);
    this.#check(key, seen, 'when it was read');
  }

  /** What must be so when a move is over and all is in peace. */
  checkEnd(): void {
    const { shards } = this.#topology;
    const ring = ringInForce(this.#topology);
    for (const shard of shards) {
      for (const process of this.#members(shard.name)) {
        const strange = process.data.names().filter(name => !name.startsWith('key'));
        if (strange.length > 0) this.#violate(`${process.actor.name} of ${shard.name} has ${strange.join(' ')} left`);
        if (process.data.twice.length > 0) this.#violate(`${process.data.twice[0]} is twice on ${process.actor.name}`);
        for (const key of process.data.lists.keys()) {
          const bytes = Buffer.from(key);
          const owner = shards[ring.ownerOf(bytes, 0, bytes.length)]?.name;
          if (owner !== shard.name)
            this.#violate(`${process.actor.name} of ${shard.name} has ${key}, which is ${owner}'s`);
        }
      }
    }
    for (const [key, writes] of this.#acknowledged) this.#check(key, [...writes], 'at the end');
    for (const [key, writes] of this.#refused) {
      for (const { data, actor } of this.#owners(key).flat()) {
        const found = data.lists.get(key)?.find(write => writes.has(write));
        if (found !== undefined) this.#violate(`${found} was refused, and ${actor.name} has it`);
      }
    }
  }

  #check(key: string, writes: readonly string[], when: string): void {
    if (this.isSpoiled) return;
    const sides = this.#owners(key);
    const missing = sides.map(side => {
      for (const { data, actor } of side) {
        const list = data.lists.get(key) ?? [];
        // A single write is most often the last one.
        const held = writes.length > 1 ? new Set(list) : null;
        const write = writes.find(one => !(held?.has(one) ?? list.lastIndexOf(one) >= 0));
        if (write !== undefined) return `${actor.name} does not hold ${write}`;
      }
      return side.length === 0 ? 'nobody lives' : null;
    });
    if (!missing.includes(null)) this.#violate(`I1: ${key} ${when}: ${missing.join(', and ')}`);
  }

  /** The copies of its owner; of giver and taker while it is on the move. */
  #owners(key: string): RedisProcess[][] {
    const { shards, move } = this.#topology;
    const bytes = Buffer.from(key);
    const owner = ringInForce(this.#topology).ownerOf(bytes, 0, bytes.length);
    const route = currentRoute(move);
    if (owner < ON_THE_MOVE || route === null) return [this.#members(shards[owner]?.name ?? '')];
    return [this.#members(route.giver), this.#members(route.taker)];
  }

  /** Living processes of the recorded incarnations, the primary first. */
  #members(name: string): RedisProcess[] {
    const shard = this.#topology.shards.find(one => one.name === name);
    if (shard === undefined) return [];
    return [shard.primary, ...shard.inSync].flatMap(id => {
      const runId = this.#topology.nodes.find(node => node.id === id)?.runId;
      const process = this.#nodes.get(id)?.living ?? null;
      return process !== null && process.runId === runId ? [process] : [];
    });
  }

  #violate(text: string): void {
    if (this.violations.length === 0) this.#world.tell(`VIOLATION ${text}`);
    if (this.violations.length < 20) this.violations.push(`at ${this.#world.nowMs.toFixed(1)} ms: ${text}`);
  }
}

function membersOf(map: Map<string, Set<string>>, key: string): Set<string> {
  const found = map.get(key) ?? new Set();
  map.set(key, found);
  return found;
}
