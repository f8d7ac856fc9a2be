import type { Topology, TopologyNode, TopologyShard } from '../topology/snapshot.ts';
import { goalOf, isSameRing, type Proposal, type ProposedNode } from './proposal.ts';

/**
 * What becomes of a topology that was kept when the settings propose another one.
 *
 * What is kept decides: it knows where the keys are. From the settings come only zones, further spares, further copies of
 * shards on nodes that are free, and addresses of nodes that hold nothing that counts. What would move keys waits for a person (`ringside apply`), and is compared with
 * where keys are already on their way to. A supervisor may lead with an old settings file: it must do no harm.
 */
export interface Reconciled {
  /** The one that was kept, or its successor. */
  readonly topology: Topology;
  /** What the settings propose and is not taken up, in words. */
  readonly refused: readonly string[];
  /** What `ringside apply` would do, in words; empty: nothing. */
  readonly pending: readonly string[];
}

export function reconcile(kept: Topology, proposed: Proposal): Reconciled {
  const known = new Map(kept.nodes.map(node => [node.id, node]));
  const wanted = new Map(proposed.nodes.map(node => [node.id, node]));
  const needed = new Set(kept.shards.flatMap(shard => shard.nodes));
  const holders = new Set(kept.shards.flatMap(holdersOf));
  const stay = kept.nodes.filter(node => wanted.has(node.id) || needed.has(node.id));
  const moved = stay.map(node => merged(node, wanted.get(node.id), holders.has(node.id)));
  // Whose move is refused keeps an address that another may have been given; then nobody moves.
  const nodes = new Set(moved.map(addressOf)).size < moved.length ? stay : moved;
  const taken = new Map(nodes.map(node => [addressOf(node), node.id]));
  const strangers = proposed.nodes.filter(node => !known.has(node.id));
  const spares = strangers.filter(node => !taken.has(addressOf(node))).map(stranger);
  const renamed = strangers.flatMap(node => {
    const other = taken.get(addressOf(node));
    return other === undefined ? [] : [`node ${node.id} at ${addressOf(node)}, where ${other} is`];
  });
  const still = moved.filter((node, index) => nodes === stay && addressOf(node) !== addressOf(stay[index] ?? node));
  const unmoved = still.map(node => `${addressOf(node)} as the address of ${node.id}, as another node keeps it`);
  const next = withNamedCopies({ ...kept, nodes: [...nodes, ...spares] }, proposed);
  const same = JSON.stringify([next.nodes, next.shards]) === JSON.stringify([kept.nodes, kept.shards]);
  return {
    topology: same ? kept : { ...next, version: kept.version + 1 },
    refused: [...refusals(kept, proposed, wanted), ...renamed, ...unmoved],
    pending: pendingOf(kept, proposed),
  };
}

/**
 * Without the shards that own no key any more, or do not yet, and that no move is to bring any; their nodes are spares
 * then. The same object where there are none.
 */
export function withoutEmptyShards(topology: Topology): Topology {
  const { move, shards, version } = topology;
  if (move !== null || shards.every(({ weight }) => weight > 0)) return topology;
  return { ...topology, version: version + 1, shards: shards.filter(({ weight }) => weight > 0) };
}

/**
 * Shards that are to have more copies than they have members get those that are named and free. (A spare that took the
 * place of a named node is a member like any other: who is there decides, the settings only fill up.)
 */
function withNamedCopies(topology: Topology, proposed: Proposal): Topology {
  const wanted = new Map(proposed.shards.map(shard => [shard.name, shard]));
  const taken = new Set(topology.shards.flatMap(shard => shard.nodes));
  const free = new Set(topology.nodes.filter(({ id, draining }) => !taken.has(id) && !draining).map(({ id }) => id));
  const shards = topology.shards.map(shard => {
    const { nodes = null, copies = 0 } = wanted.get(shard.name) ?? {};
    const further = (nodes ?? []).filter(id => free.delete(id)).slice(0, Math.max(0, copies - shard.nodes.length));
    return further.length === 0 ? shard : { ...shard, nodes: [...shard.nodes, ...further] };
  });
  return { ...topology, shards };
}

function addressOf({ host, port }: ProposedNode): string {
  return `${host}:${port}`;
}

/** Who holds acknowledged writes, or is about to: their recorded incarnations are what the shard rests on. */
function holdersOf({ primary, inSync, joining }: TopologyShard): string[] {
  return joining === null ? [primary, ...inSync] : [primary, ...inSync, joining];
}

function stranger({ id, host, port, zone }: ProposedNode): TopologyNode {
  return { id, host, port, zone, runId: null, draining: false };
}

/** Another address may be another process: which incarnation answers there has to be seen anew. */
function merged(kept: TopologyNode, wanted: ProposedNode | undefined, isHolder: boolean): TopologyNode {
  if (wanted === undefined) return kept;
  const { host, port, zone } = wanted;
  // One that was never formed may still be anywhere.
  if (!isMoved(kept, wanted) || (isHolder && kept.runId !== null)) return { ...kept, zone };
  return { ...kept, host, port, zone, runId: null };
}

function isMoved(kept: TopologyNode, wanted: ProposedNode): boolean {
  return wanted.host !== kept.host || wanted.port !== kept.port;
}

/** What would move keys, against where they are, or are on their way to. */
function pendingOf(kept: Topology, proposed: Proposal): string[] {
  const { ring, weights } = goalOf(kept);
  const pending: string[] = [];
  if (!isSameRing(ring, proposed.ring)) pending.push('another ring');
  const wanted = new Map(proposed.shards.map(shard => [shard.name, shard.weight]));
  for (const [name, weight] of weights) {
    if (weight === 0) continue;
    const other = wanted.get(name);
    if (other === undefined) pending.push(`no shard ${name}`);
    else if (other !== weight) pending.push(`weight ${other} of shard ${name}, which is ${weight}`);
  }
  for (const name of wanted.keys()) if ((weights.get(name) ?? 0) === 0) pending.push(`a new shard ${name}`);
  return pending;
}

function refusals(kept: Topology, proposed: Proposal, wanted: ReadonlyMap<string, ProposedNode>): string[] {
  const refused: string[] = [];
  const { weights } = goalOf(kept);
  const stays = new Set(proposed.shards.map(({ name }) => name));
  for (const { name, nodes } of kept.shards) {
    // Those of a shard that is to go are needed until it has gone.
    if (!stays.has(name) || weights.get(name) === 0) continue;
    for (const id of nodes) if (!wanted.has(id)) refused.push(`no node ${id}, a member of shard ${name}`);
  }
  // Which copies a shard has changes as copies are made anew; only what another shard holds is no copy to be had.
  for (const { name, nodes } of proposed.shards) {
    const owner = (id: string) => kept.shards.find(shard => shard.name !== name && shard.nodes.includes(id));
    for (const id of nodes ?? []) {
      const other = owner(id);
      if (other !== undefined) refused.push(`node ${id} in shard ${name}: it is a member of shard ${other.name}`);
    }
  }
  for (const node of kept.nodes) {
    const other = wanted.get(node.id);
    const isRefused = other !== undefined && isMoved(node, other) && holds(kept, node);
    if (isRefused) refused.push(`${other.host}:${other.port} as the address of ${node.id}, which holds data elsewhere`);
  }
  return refused;
}

function holds(kept: Topology, node: TopologyNode): boolean {
  return node.runId !== null && kept.shards.some(shard => holdersOf(shard).includes(node.id));
}
