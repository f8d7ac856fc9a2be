import type { TopologyShard } from '../../topology/snapshot.ts';
import { beginDraining, isBeingMet, sparesOf, type Wish, whyNoSpare, whyUnfit } from './placement.ts';
import { type Procedure, publishChange } from './procedure.ts';
import type { Scheduler } from './scheduler.ts';
import type { DrainStatus, NodeOrder, OrderAnswer } from './setup.ts';
import type { ShardKeeper } from './shard-keeper.ts';
import { membersOf, nodeOf, stayingOf, type World, wantedCopies } from './world.ts';

/**
 * Keeps the nodes that a person wants free: takes the orders, publishes them, and says how far each has come.
 *
 * The work itself is each shard's own: a node that is drained is one that its shard has too many (`placement`, `release`).
 * All of it is seen in the topology, so the next leader goes on with it; only where to the copy should go, should the
 * node that was chosen for it be lost meanwhile, is known to nobody but the leader that was asked.
 */
export interface DrainHost {
  readonly scheduler: Scheduler;
  shard(name: string): ShardKeeper;
}

const ANYWHERE: Wish = { to: null, zone: null };

export class DrainKeeper {
  readonly #world: World;
  readonly #host: DrainHost;
  /** Accepted, and not published yet; true: that is under way. */
  readonly #ordered = new Map<string, boolean>();
  readonly #wishes = new Map<string, Wish>();

  constructor(world: World, host: DrainHost) {
    this.#world = world;
    this.#host = host;
  }

  wishOf(nodeId: string): Wish | null {
    return this.#wishes.get(nodeId) ?? null;
  }

  order(order: NodeOrder): OrderAnswer {
    const { node } = order;
    const ids = this.#world.topology.nodes.map(({ id }) => id);
    if (!ids.includes(node)) return refused(`no node ${node}; there are ${ids.join(', ')}`);
    return order.kind === 'drain' ? this.#drain(node, order) : this.#undrain(node);
  }

  tick(): void {
    for (const [id, isUnderWay] of this.#ordered) {
      if (isUnderWay) continue;
      const shard = this.#shardOf(id);
      const onPublished = (): void => void this.#ordered.delete(id);
      if (shard === null) this.#publish(id, true, `${id} is to be free, as ordered`, onPublished);
      else if (!this.#host.shard(shard.name).beginDraining(id, onPublished)) continue;
      if (this.#ordered.has(id)) this.#ordered.set(id, true);
    }
  }

  /** Null: nobody wants it free. */
  status(id: string): DrainStatus | null {
    const isOrdered = this.#ordered.has(id);
    if (!isOrdered && !nodeOf(this.#world, id).draining) return null;
    const shard = this.#shardOf(id);
    if (shard === null && isOrdered) return { step: 'waits', why: 'it is about to begin', needs: null };
    if (shard === null) return { step: 'free', why: 'it holds nothing that counts: it may be stopped', needs: null };
    const { state, why } = this.#host.shard(shard.name).status();
    if (!isServing(state)) return { step: 'waits', why: `${shard.name} is ${state}: ${why}`, needs: null };
    if (isOrdered) return { step: 'waits', why: 'it is about to begin', needs: null };
    return this.#statusOfMember(shard, id);
  }

  #statusOfMember(shard: TopologyShard, id: string): DrainStatus {
    const world = this.#world;
    const copies = membersOf(shard);
    const wanted = wantedCopies(world, shard);
    const isSpared = !copies.includes(id) && copies.length === wanted && shard.nodes.length > wanted;
    if (copies.length > wanted || isSpared) {
      const isPrimary = shard.primary === id;
      const failed = this.#host.shard(shard.name).whyGivenUp(isPrimary ? 'switchover' : 'release');
      const tried = failed === null ? '' : `; the last try was given up: ${failed}`;
      return isPrimary
        ? { step: 'switches over', why: `it is still the primary of ${shard.name}${tried}`, needs: null }
        : { step: 'leaves', why: `${shard.name} has all its copies without it${tried}`, needs: null };
    }
    if (shard.nodes.length > wanted) {
      const coming = stayingOf(world, shard.nodes).filter(other => !copies.includes(other));
      const missing = this.#host.shard(shard.name).missing();
      const why = [`${coming.join(', ')} becomes a copy of ${shard.name}`, ...missing].join('; ');
      return { step: 'copies', why, needs: null };
    }
    const none = whyNoSpare(world, shard, id);
    const isOpen = [shard.primary, ...sparesOf(world)].some(other => isBeingMet(world, other));
    if (none === null || isOpen)
      return { step: 'waits', why: `a spare is being chosen for ${shard.name}`, needs: null };
    const drained = sparesOf(world).filter(spare => nodeOf(world, spare).draining);
    const free = drained.length === 0 ? '' : `, or let ${drained[0]} take it (ringside node undrain ${drained[0]})`;
    const needs = `add a node to take its copy of ${shard.name}${free}, or keep it: ringside node undrain ${id}`;
    return { step: 'waits', why: none, needs };
  }

  #drain(node: string, wish: Wish): OrderAnswer {
    const shard = this.#shardOf(node);
    const isNamed = wish.to !== null || wish.zone !== null;
    if (this.#ordered.has(node) || nodeOf(this.#world, node).draining) {
      if (isNamed) return refused(`${node} is being drained already: ringside node undrain ${node} before`);
      return { accepted: true, text: `${node} is being drained already` };
    }
    if (shard === null) {
      if (isNamed) return refused(`${node} is a spare: it has no copy that could go elsewhere`);
      this.#ordered.set(node, false);
      return { accepted: true, text: `${node} is a spare: it is given no copy from now on, and may be stopped` };
    }
    const keeper = this.#host.shard(shard.name);
    const { state, why } = keeper.status();
    // One whose primary is merely slow to answer is waited for.
    if (keeper.isWithoutPrimary)
      return refused(`${shard.name} is ${state} (${why}): drain ${node} when it serves again`);
    const misfit = this.#whyNotThere(shard, node, wish);
    if (misfit !== null) return refused(misfit);
    this.#ordered.set(node, false);
    this.#wishes.set(node, isNamed ? wish : ANYWHERE);
    const begun = beginDraining(this.#world, shard, node, id => this.wishOf(id));
    if (begun.nodes.length > shard.nodes.length) return { accepted: true, text: begun.why };
    const none = whyNoSpare(this.#world, shard, node);
    return { accepted: true, text: none === null ? begun.why : `${begun.why}; it waits, since ${none}` };
  }

  /** Why a copy of this shard cannot go where a person wishes it; null: it can. */
  #whyNotThere(shard: TopologyShard, node: string, { to, zone }: Wish): string | null {
    const world = this.#world;
    if (to !== null) {
      const other = [...this.#ordered.keys()].find(id => this.#wishes.get(id)?.to === to);
      if (other !== undefined) return `${to} is to take the place of ${other}`;
      const known = world.topology.nodes.find(({ id }) => id === to);
      if (known === undefined) return `no node ${to}; there are ${world.topology.nodes.map(({ id }) => id).join(', ')}`;
      if (zone !== null && known.zone !== zone) return `${to} is in zone ${known.zone}, not in ${zone}`;
      const misfit = whyUnfit(world, shard, to);
      return misfit === null ? null : `${to} cannot take the place of ${node}: it ${misfit}`;
    }
    if (zone === null) return null;
    const spares = sparesOf(world);
    const there = spares.filter(id => nodeOf(world, id).zone === zone);
    if (there.some(id => whyUnfit(world, shard, id) === null)) return null;
    if (there.length > 0) {
      const why = there.map(id => `${id} ${whyUnfit(world, shard, id)}`).join(', ');
      return `no spare in zone ${zone} can be used: ${why}`;
    }
    const elsewhere = spares.map(id => `${id} (zone ${nodeOf(world, id).zone})`).join(', ');
    return `there is no spare in zone ${zone}${spares.length === 0 ? '' : `; there are ${elsewhere}`}`;
  }

  #undrain(node: string): OrderAnswer {
    const isUnderWay = this.#ordered.get(node);
    if (isUnderWay === true) return refused(`the draining of ${node} is just being published: try again in a moment`);
    this.#ordered.delete(node);
    this.#wishes.delete(node);
    const isDraining = nodeOf(this.#world, node).draining;
    if (isUnderWay === undefined && !isDraining) return refused(`${node} is not being drained`);
    if (isDraining) this.#publish(node, false, `${node} is to be kept, as ordered`, () => undefined);
    const shard = this.#shardOf(node);
    const text = shard === null ? 'it may be given a copy again' : `it stays a member of ${shard.name}`;
    return { accepted: true, text: `${node} is drained no more: ${text}` };
  }

  #publish(node: string, isDraining: boolean, why: string, onPublished: () => void): void {
    const procedure = (function* (): Procedure<void> {
      yield* publishChange({ shards: [], runIds: {}, draining: { [node]: isDraining } }, why);
    })();
    this.#host.scheduler.start(procedure, this.#world.nowMs, onPublished);
  }

  #shardOf(node: string): TopologyShard | null {
    return this.#world.topology.shards.find(({ nodes }) => nodes.includes(node)) ?? null;
  }
}

function isServing(state: string): boolean {
  return state === 'healthy' || state === 'degraded' || state === 'switching over';
}

function refused(text: string): OrderAnswer {
  return { accepted: false, text };
}
