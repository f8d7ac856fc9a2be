import type { Topology, TopologyShard } from '../../src/topology/snapshot.ts';
import type { SimNode } from './redis/node.ts';
import type { RedisProcess } from './redis/process.ts';
import type { Answer } from './request.ts';
import type { World } from './world.ts';

/**
 * Watches for broken promises: knows every write, what its client was told, and what every node holds.
 *
 * - I1: at every acknowledgement, at every publication and whenever a node is emptied, each acknowledged write is held by
 *   every living member of the published set.
 * - I2: of two reigns of primaries, the one's acknowledgements all precede the other's.
 * - I3: only when every member of a published set has died may acknowledged writes be gone.
 * - A write is applied once at most, a refused one never; a strict read sees all that was acknowledged before it.
 */
export class Ledger {
  readonly violations: string[] = [];
  readonly counts = { acknowledged: 0, uncertain: 0, refused: 0, reads: 0, lost: 0, publications: 0, disasters: 0 };
  readonly #world: World;
  readonly #nodes: ReadonlyMap<string, SimNode>;
  readonly #shards = new Map<string, ShardLedger>();
  /** By shard, as of the present version. */
  readonly #recordedOf = new Map<string, readonly Recorded[]>();
  #topology: Topology;

  constructor(world: World, nodes: readonly SimNode[], topology: Topology) {
    this.#world = world;
    this.#nodes = new Map(nodes.map(node => [node.id, node]));
    this.#topology = topology;
    for (const { name } of topology.shards) this.#shards.set(name, new ShardLedger());
  }

  /** Watches one incarnation from its first moment. */
  watch(node: SimNode): void {
    const process = node.process;
    if (process === null) return;
    process.onEmptied = () => this.#onEmptied(node, process);
    process.actor.onEnd(() => this.#onDeath(node, process));
  }

  onWritten(topology: Topology): void {
    this.#topology = topology;
    this.#recordedOf.clear();
    this.counts.publications += 1;
    for (const shard of topology.shards) {
      const ledger = this.#ledger(shard.name);
      const members = this.#members(shard);
      if (ledger.isDisaster) this.#afterDisaster(shard, ledger, members);
      // Whom a fail-over kept may have died after it was last seen.
      const isServing = this.#recorded(shard).some(({ runId }) => runId !== null);
      if (members.length === 0 && isServing) this.#beginDisaster(shard.name);
      for (const write of ledger.acknowledged) this.#check(shard, members, write, 'when this was published');
      for (const process of members) this.#checkOnce(process);
    }
  }

  /** What is acknowledged now of a key, for a strict read that begins. */
  acknowledgedOf(shard: string, key: string): string[] {
    return [...(this.#ledger(shard).byKey.get(key) ?? [])];
  }

  onAnswer(shard: string, key: string, write: string, answer: Answer): void {
    if (answer.kind !== 'acknowledged') {
      this.counts[answer.kind] += 1;
      if (answer.kind === 'refused') this.#ledger(shard).refused.add(write);
      return;
    }
    this.counts.acknowledged += 1;
    this.#onProof(shard, answer);
    this.#hold(shard, key, write, answer.saidMs);
  }

  onStrictRead(shard: string, key: string, before: readonly string[], answer: Answer): void {
    if (answer.kind !== 'acknowledged') return;
    this.counts.reads += 1;
    this.#onProof(shard, answer);
    const seen = new Set(Array.isArray(answer.reply) ? answer.reply.map(String) : []);
    const { acknowledged } = this.#ledger(shard);
    const missing = before.filter(write => acknowledged.has(write) && !seen.has(write));
    if (missing.length > 0) this.#violate(`a strict read of ${key} does not see ${missing.join(' ')}`);
    for (const write of seen) this.#hold(shard, key, write, answer.saidMs);
  }

  /** What must be so once everything has been whole for a while. */
  checkEnd(): void {
    for (const shard of this.#topology.shards) {
      const ledger = this.#ledger(shard.name);
      const members = this.#members(shard);
      if (!areAlike(members)) this.#violate(`the copies of ${shard.name} differ: ${this.#differences(members)}`);
      for (const write of ledger.acknowledged) this.#check(shard, members, write, 'at the end');
      for (const process of members) {
        this.#checkOnce(process);
        if (ledger.disasterMs >= 0) continue;
        for (const write of ledger.refused) {
          if (process.data.writes.has(write)) this.#violate(`${write} was refused, and ${process.actor.name} has it`);
        }
      }
    }
  }

  /** Whether the members of each shard hold the same at this moment. */
  get areCopiesAlike(): boolean {
    return this.#topology.shards.every(shard => areAlike(this.#members(shard)));
  }

  /** Ids of the members of the published set that live. */
  livingMembers(name: string): string[] {
    const shard = this.#topology.shards.find(one => one.name === name);
    const living = new Set(shard === undefined ? [] : this.#members(shard));
    return [...this.#nodes.values()]
      .filter(({ process }) => process !== null && living.has(process))
      .map(({ id }) => id);
  }

  hadDisaster(shard: string): boolean {
    return this.#ledger(shard).disasterMs >= 0;
  }

  #hold(name: string, key: string, write: string, saidMs: number): void {
    const ledger = this.#ledger(name);
    // What was said before all members died may be gone with them.
    if (ledger.isDisaster || saidMs <= ledger.disasterMs || ledger.acknowledged.has(write)) return;
    ledger.acknowledged.add(write);
    const list = ledger.byKey.get(key) ?? [];
    list.push(write);
    ledger.byKey.set(key, list);
    const shard = this.#topology.shards.find(one => one.name === name);
    if (shard !== undefined) this.#check(shard, this.#members(shard), write, 'when it was acknowledged');
  }

  #check(shard: TopologyShard, members: readonly RedisProcess[], write: string, when: string): void {
    for (const process of members) {
      if (process.data.writes.has(write)) continue;
      this.#violate(`I1: ${process.actor.name}, in sync for ${shard.name}, does not hold ${write} ${when}`);
      return;
    }
  }

  #onProof(name: string, { reign, saidMs }: { readonly reign: string; readonly saidMs: number }): void {
    const { proofs } = this.#ledger(name);
    const mine = proofs.get(reign) ?? { firstMs: saidMs, lastMs: saidMs };
    mine.firstMs = Math.min(mine.firstMs, saidMs);
    mine.lastMs = Math.max(mine.lastMs, saidMs);
    proofs.set(reign, mine);
    for (const [other, { firstMs, lastMs }] of proofs) {
      if (other === reign || mine.lastMs < firstMs || lastMs < mine.firstMs) continue;
      this.#violate(`I2: ${reign} and ${other} (incarnation/history) of ${name} acknowledge in turn`);
    }
  }

  #onEmptied(node: SimNode, process: RedisProcess): void {
    for (const shard of this.#topology.shards) {
      if (!this.#members(shard).includes(process) || this.#ledger(shard.name).acknowledged.size === 0) continue;
      this.#violate(`R9: ${node.id} is emptied while it is in sync for ${shard.name}`);
    }
  }

  #onDeath(node: SimNode, process: RedisProcess): void {
    for (const shard of this.#topology.shards) {
      const isMember = this.#recorded(shard).some(({ id, runId }) => id === node.id && runId === process.runId);
      if (!isMember || this.#members(shard).length > 0) continue;
      this.#beginDisaster(shard.name);
    }
  }

  #beginDisaster(name: string): void {
    const ledger = this.#ledger(name);
    if (ledger.isDisaster) return;
    this.#world.tell(`the last copy of ${name} is gone`);
    this.counts.disasters += 1;
    ledger.isDisaster = true;
    ledger.disasterMs = this.#world.nowMs;
  }

  /** From here on what the new primary has is what was kept. */
  #afterDisaster(shard: TopologyShard, ledger: ShardLedger, members: readonly RedisProcess[]): void {
    const [primary] = members;
    if (primary === undefined) return;
    ledger.isDisaster = false;
    // A primary that had been deposed may have been what was left, and goes on with its old history.
    ledger.proofs.clear();
    for (const write of ledger.acknowledged) {
      if (primary.data.writes.has(write)) continue;
      ledger.acknowledged.delete(write);
      this.counts.lost += 1;
    }
    this.#world.tell(`${shard.name} goes on after its last copy was gone, with ${ledger.acknowledged.size} writes`);
  }

  #checkOnce(process: RedisProcess): void {
    const [write] = process.data.twice;
    if (write !== undefined) this.#violate(`${write} was applied twice on ${process.actor.name}`);
  }

  /** Living processes of the recorded incarnations of the published set, the primary first. */
  #members(shard: TopologyShard): RedisProcess[] {
    return this.#recorded(shard).flatMap(({ id, runId }) => {
      const process = this.#nodes.get(id)?.living ?? null;
      return process !== null && process.runId === runId ? [process] : [];
    });
  }

  #recorded(shard: TopologyShard): readonly Recorded[] {
    const known = this.#recordedOf.get(shard.name);
    if (known !== undefined) return known;
    const runIds = new Map(this.#topology.nodes.map(({ id, runId }) => [id, runId]));
    const recorded = [shard.primary, ...shard.inSync].map(id => ({ id, runId: runIds.get(id) ?? null }));
    this.#recordedOf.set(shard.name, recorded);
    return recorded;
  }

  #differences(members: readonly RedisProcess[]): string {
    const [first] = members;
    const texts = members.map(
      ({ actor, data, history }) => `${actor.name} has ${data.writes.size} writes at ${history.offset}`,
    );
    const odd = members.flatMap(({ data }) =>
      [...data.writes].filter(write => first?.data.writes.has(write) === false),
    );
    return `${texts.join(', ')}${odd.length > 0 ? `; besides the primary's: ${odd.slice(0, 5).join(' ')}` : ''}`;
  }

  #ledger(name: string): ShardLedger {
    return this.#shards.get(name) as ShardLedger;
  }

  #violate(text: string): void {
    if (this.violations.length === 0) this.#world.tell(`VIOLATION ${text}`);
    if (this.violations.length < 20) this.violations.push(`at ${this.#world.nowMs.toFixed(1)} ms: ${text}`);
  }
}

/** A member as it was published. */
interface Recorded {
  readonly id: string;
  readonly runId: string | null;
}

function areAlike(processes: readonly RedisProcess[]): boolean {
  return new Set(processes.map(({ data }) => data.digest())).size <= 1;
}

class ShardLedger {
  readonly acknowledged = new Set<string>();
  readonly byKey = new Map<string, string[]>();
  readonly refused = new Set<string>();
  /** When each reign of a primary said what acknowledgements stand on. */
  readonly proofs = new Map<string, { firstMs: number; lastMs: number }>();
  /** Every recorded member is dead, and nothing has been published since. */
  isDisaster = false;
  disasterMs = -1;
}
