import type { Note } from './effect.ts';
import { emptyNode } from './empty-node.ts';
import { type Found, type Holdings, keysOf } from './holdings.ts';
import type { NodeReport } from './node-report.ts';
import type { Scheduler } from './scheduler.ts';
import type { EmptyingStatus, EmptyOrder, OrderAnswer } from './setup.ts';
import type { ShardKeeper } from './shard-keeper.ts';
import { membersOf, type NodeView, type World } from './world.ts';

/**
 * Takes orders to discard what a spare holds, judges them, has them carried out (`emptyNode`), and says how far each is.
 *
 * Nothing of this is published: an order that its leader did not carry through is over, and a person gives it again.
 */
export interface EmptyHost {
  readonly scheduler: Scheduler;
  note(note: Note): void;
  shard(name: string): ShardKeeper;
  /** The node is taken over even if its data was never of this cluster. */
  giveUpData(nodeId: string, runId: string): void;
}

export class EmptyKeeper {
  readonly #world: World;
  readonly #host: EmptyHost;
  readonly #statuses = new Map<string, EmptyingStatus>();

  constructor(world: World, host: EmptyHost) {
    this.#world = world;
    this.#host = host;
  }

  isEmptying(id: string): boolean {
    return this.#statuses.get(id)?.step === 'empties';
  }

  /** Null: nobody has ordered it of this leader. */
  status(id: string): EmptyingStatus | null {
    return this.#statuses.get(id) ?? null;
  }

  order(order: EmptyOrder): OrderAnswer {
    const { node, holds, confirmed } = order;
    const ids = this.#world.topology.nodes.map(({ id }) => id);
    if (!ids.includes(node)) return refused(`no node ${node}; there are ${ids.join(', ')}`);
    if (this.isEmptying(node)) return refused(`${node} is being emptied already`);
    const why = this.#whyNoSpare(node) ?? this.#whyNot(node) ?? (holds === null ? null : this.#whyKept(order, holds));
    if (why !== null) return refused(why);
    if (holds === null) return { accepted: true, text: `${node} is a spare` };
    const keys = countText(keysOf(holds));
    if (confirmed === null) return { accepted: true, text: `${node} is a spare with ${keys}` };
    this.#begin(order, holds);
    return { accepted: true, text: `${node} is emptied of ${keys}` };
  }

  #begin(order: EmptyOrder, holds: Holdings): void {
    const { node } = order;
    const why = `${countText(keysOf(holds))} ${ofWhom(holds)} are discarded, as ordered`;
    this.#statuses.set(node, { step: 'empties', why });
    this.#note('warn', node, `${node} is emptied: ${why}`);
    this.#host.giveUpData(node, holds.runId);
    const leave = {
      target: { nodeId: node, runId: holds.runId },
      objection: (found: Found) => this.#objection(order, found),
    };
    this.#host.scheduler.start(emptyNode(this.#world, leave), this.#world.nowMs, (emptied, error) => {
      const failure = emptied === null ? (error?.message ?? 'it broke off') : emptied.why;
      if (emptied === null || failure !== null) {
        this.#statuses.set(node, { step: 'kept', why: failure ?? '' });
        this.#note('warn', node, `${node} was not emptied: ${failure}`);
        return;
      }
      const disk = emptied.disk === null ? '' : `; but not its disk (${emptied.disk}): started again, it may come back`;
      const text = `${countText(emptied.keys)} are gone${disk}`;
      this.#statuses.set(node, { step: 'empty', why: text });
      this.#note(emptied.disk === null ? 'info' : 'warn', node, `${node} is empty: ${text}`);
    });
  }

  /** At the moment in which it is to be done. */
  #objection(order: EmptyOrder, { holdings, report }: Found): string | null {
    if (report.loading) return 'it is loading its data';
    if (report.replicaLinks > 0) return `it is followed by ${linksText(report)}`;
    return this.#whyNoSpare(order.node) ?? this.#whyKept(order, holdings);
  }

  /** Why this node's data is somebody's, whatever they are; null: it is a spare, and will be. */
  #whyNoSpare(node: string): string | null {
    const { topology } = this.#world;
    const owner = topology.shards.find(shard => [...shard.nodes, ...membersOf(shard), shard.joining].includes(node));
    if (owner !== undefined)
      return `${node} is a member of ${owner.name}: only a spare can be emptied (ringside node drain ${node} makes it one)`;
    if (this.#host.scheduler.isPublishingMember(node)) return `${node} is just being made a member of a shard`;
    // Two names for one process: the data may be that of a shard.
    const runIds = runIdsOf(this.#world.node(node));
    const twin = topology.nodes.find(({ id, runId }) => {
      return (
        id !== node && [runId, ...runIdsOf(this.#world.node(id))].some(one => one !== null && runIds.includes(one))
      );
    });
    return twin === undefined ? null : `${node} is the same process as ${twin.id}: correct the address of one of them`;
  }

  /** Why nothing can be done on it now. */
  #whyNot(node: string): string | null {
    const { health, ready, report, needs, isForeign } = this.#world.node(node);
    if (health !== 'up' || report === null) return `${node} cannot be reached: it is ${health}`;
    if (report.loading) return `${node} is loading its data: try again when it has`;
    if (report.replicaLinks > 0)
      return `${node} is followed by ${linksText(report)}, which would lose the same: end that first`;
    if (ready === null && !isForeign)
      return `${node} is not taken over${needs === null ? ': try again in a moment' : `: ${needs}`}`;
    return null;
  }

  /** Why what it holds may not be discarded: it is other than a person has seen, or may be all that is left (R10). */
  #whyKept({ node, confirmed, acceptLoss }: EmptyOrder, holds: Holdings): string | null {
    const { ready, report } = this.#world.node(node);
    if ((ready?.runId ?? report?.runId) !== holds.runId) return `${node} was just restarted: try again in a moment`;
    if (confirmed !== null && confirmed.runId !== holds.runId)
      return `${node} was restarted since its data was shown: look again`;
    const keys = keysOf(holds);
    if (confirmed !== null && keys > confirmed.keys)
      return `${node} holds ${countText(keys)} now, and ${countText(confirmed.keys)} were shown: look again`;
    if (acceptLoss || keys === 0) return null;
    return this.#whyNeeded(node, holds);
  }

  #whyNeeded(node: string, holds: Holdings): string | null {
    const { mark } = holds;
    const giveUp = 'give that up with --accept-loss';
    // What carries no mark may be of any shard.
    const shards = this.#world.topology.shards.filter(({ name }) => mark === null || mark.shard === name);
    for (const { name, epoch } of shards) {
      const { state, why } = this.#host.shard(name).status();
      if (!SERVING.includes(state))
        return `${name} is ${state} (${why}), and ${countText(keysOf(holds))} ${ofWhom(holds)} on ${node} may be all that is left of it: have it serve again first, or ${giveUp}`;
      if (mark !== null && mark.epoch > epoch)
        return `${node} holds data ${ofWhom(holds)} of epoch ${mark.epoch}, and that shard is only at ${epoch}: what ${node} has is newer; find out why, or ${giveUp}`;
    }
    return null;
  }

  #note(level: Note['level'], nodeId: string, text: string): void {
    this.#host.note({ kind: 'note', level, shard: null, nodeId, event: 'empty', text });
  }
}

const SERVING: readonly string[] = ['healthy', 'degraded', 'switching over'];

function runIdsOf({ ready, report }: NodeView): string[] {
  return [ready?.runId, report?.runId].filter(runId => runId !== undefined);
}

function ofWhom({ mark }: Holdings): string {
  return mark === null ? 'that carry no mark' : `of a copy of ${mark.shard}`;
}

function linksText({ replicaLinks }: NodeReport): string {
  return replicaLinks === 1 ? '1 replica' : `${replicaLinks} replicas`;
}

function countText(keys: number): string {
  return keys === 1 ? '1 key' : `${keys} keys`;
}

function refused(text: string): OrderAnswer {
  return { accepted: false, text };
}
