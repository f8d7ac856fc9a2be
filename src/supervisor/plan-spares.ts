import type { Topology, TopologyNode } from '../topology/snapshot.ts';
import type { Shortage } from './core/engine.ts';
import { leastUsedZone } from './core/placement.ts';
import type { Proposal } from './proposal.ts';

/**
 * Spares that a shard waits for, or is about to be given, and that a new shard would take: shards that there are come first.
 */
export type Shortages = ReadonlyMap<string, Shortage>;

/** What a shard that lacks copies would still get. */
export interface Claim {
  readonly shard: string;
  /** As the leader tells it. */
  readonly why: string;
  /** So many spares it needs. */
  readonly needed: number;
  /** Those that are kept for it, at most as many. */
  readonly kept: readonly string[];
  /** Whether a node could have been one of them. */
  readonly isFit: (id: string) => boolean;
}

/**
 * Gives each shard that lacks copies the spares that the leader would give it, as far as they go.
 *
 * `known`: the topology in force, whose nodes the leader has judged; `next`: with the nodes and further copies of
 * `proposal`; `free`: of those the ones that nobody has been promised; `unfit`: why nodes can be of no new shard.
 */
export function claimSpares(
  known: Topology,
  next: Topology,
  proposal: Proposal,
  free: readonly TopologyNode[],
  shortages: Shortages,
  unfit: ReadonlyMap<string, string>,
): Claim[] {
  const judged = new Set(known.nodes.map(({ id }) => id));
  const zones = new Map(next.nodes.map(({ id, zone }) => [id, zone]));
  const left = new Set(free.map(({ id }) => id));
  return next.shards.flatMap(({ name, nodes }) => {
    const shortage = shortages.get(name);
    if (shortage === undefined) return [];
    const before = known.shards.find(shard => shard.name === name)?.nodes ?? nodes;
    const further = nodes.filter(id => !before.includes(id));
    const copies = proposal.shards.find(shard => shard.name === name)?.copies ?? shortage.wanted;
    const raised = further.length === 0 ? 0 : Math.max(0, copies - shortage.wanted);
    const needed = shortage.spares + raised - further.length;
    if (needed <= 0) return [];
    const isFit = (id: string): boolean => (judged.has(id) ? shortage.fit.includes(id) : !unfit.has(id));
    const kept: string[] = [];
    while (kept.length < needed) {
      const others = [...shortage.stay, ...further, ...kept];
      const next = leastUsedZone([...left].filter(isFit), others, id => zones.get(id) ?? '');
      if (next === null) break;
      left.delete(next);
      kept.push(next);
    }
    return [{ shard: name, why: shortage.why, needed, kept, isFit }];
  });
}

/** What is taken from shards that lack copies, in words; `goesTo`: the shard to which a spare goes, by id. */
export function takenText(
  { shard, why, needed, kept, isFit }: Claim,
  goesTo: ReadonlyMap<string, string>,
): string | null {
  const taken = [...goesTo].filter(([id, to]) => to !== shard && isFit(id));
  if (taken.length === 0) return null;
  const places = [...new Set(taken.map(([, to]) => to))].map(to => {
    const ids = taken.flatMap(([id, other]) => (other === to ? [id] : []));
    return `${ids.join(', ')} ${ids.length === 1 ? 'goes' : 'go'} to ${to}`;
  });
  const all = needed === 1 ? 'one' : `${needed}`;
  const [is, names] = [kept.length === 1 ? 'is' : 'are', kept.join(', ')];
  const rest =
    kept.length === 0
      ? `none is left for it, and it needs ${all}`
      : kept.length < needed
        ? `only ${names} ${is} left for it, and it needs ${all}`
        : `${names} ${is} left for it`;
  return `shard ${shard} waits for a spare: ${why}; of those that it could be given ${places.join(', ')}, and ${rest}`;
}
