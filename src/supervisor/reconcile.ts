import type { Topology, TopologyNode, TopologyShard } from '../topology/snapshot.ts';

/**
 * What becomes of a topology that was kept when the settings propose another one.
 *
 * What is kept decides: it knows where the keys are. From the settings come only zones, further spares, and addresses
 * of nodes that hold nothing that counts. A supervisor may lead with an old settings file: it must do no harm.
 */
export interface Reconciled {
  /** The one that was kept, or its successor. */
  readonly topology: Topology;
  /** What the settings propose and is not taken up, in words. */
  readonly refused: readonly string[];
}

export function reconcile(kept: Topology, proposed: Topology): Reconciled {
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
  const spares = strangers.filter(node => !taken.has(addressOf(node)));
  const renamed = strangers.flatMap(node => {
    const other = taken.get(addressOf(node));
    return other === undefined ? [] : [`node ${node.id} at ${addressOf(node)}, where ${other} is`];
  });
  const still = moved.filter((node, index) => nodes === stay && addressOf(node) !== addressOf(stay[index] ?? node));
  const unmoved = still.map(node => `${addressOf(node)} as the address of ${node.id}, as another node keeps it`);
  const next: Topology = { ...kept, nodes: [...nodes, ...spares] };
  const same = JSON.stringify(next.nodes) === JSON.stringify(kept.nodes);
  return {
    topology: same ? kept : { ...next, version: kept.version + 1 },
    refused: [...refusals(kept, proposed, wanted), ...renamed, ...unmoved],
  };
}

function addressOf({ host, port }: TopologyNode): string {
  return `${host}:${port}`;
}

/** Who holds acknowledged writes, or is about to: their recorded incarnations are what the shard rests on. */
function holdersOf({ primary, inSync, joining }: TopologyShard): string[] {
  return joining === null ? [primary, ...inSync] : [primary, ...inSync, joining];
}

/** Another address may be another process: which incarnation answers there has to be seen anew. */
function merged(kept: TopologyNode, wanted: TopologyNode | undefined, isHolder: boolean): TopologyNode {
  if (wanted === undefined) return kept;
  if (!isMoved(kept, wanted)) return { ...wanted, runId: kept.runId };
  // One that was never formed may still be anywhere.
  if (isHolder && kept.runId !== null) return { ...kept, zone: wanted.zone };
  return { ...wanted, runId: null };
}

function isMoved(kept: TopologyNode, wanted: TopologyNode): boolean {
  return wanted.host !== kept.host || wanted.port !== kept.port;
}

function refusals(kept: Topology, proposed: Topology, wanted: ReadonlyMap<string, TopologyNode>): string[] {
  const refused: string[] = [];
  if (JSON.stringify(kept.ring) !== JSON.stringify(proposed.ring)) refused.push('another ring');
  const shards = new Map(proposed.shards.map(shard => [shard.name, shard]));
  for (const shard of kept.shards) {
    const other = shards.get(shard.name);
    if (other === undefined) refused.push(`no shard ${shard.name}`);
    else if (other.weight !== shard.weight) refused.push(`another weight of shard ${shard.name}`);
    shards.delete(shard.name);
    for (const id of shard.nodes) if (!wanted.has(id)) refused.push(`no node ${id}, a member of shard ${shard.name}`);
  }
  for (const name of shards.keys()) refused.push(`a new shard ${name}`);
  // Which copies a shard has changes as copies are made anew; only what another shard holds is no copy to be had.
  for (const { name, nodes } of proposed.shards) {
    const owner = (id: string) => kept.shards.find(shard => shard.name !== name && shard.nodes.includes(id));
    for (const id of nodes) {
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
