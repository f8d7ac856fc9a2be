import type { Topology, TopologyNode } from '../topology/snapshot.ts';

/**
 * What becomes of a topology that was kept when the settings propose another one.
 *
 * What is kept decides: it knows where the keys are. From the settings come only addresses, zones and further spares,
 * which move no key.
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
  const nodes = kept.nodes
    .filter(node => wanted.has(node.id) || needed.has(node.id))
    .map(node => merged(node, wanted.get(node.id)));
  const spares = proposed.nodes.filter(node => !known.has(node.id));
  const next: Topology = { ...kept, nodes: [...nodes, ...spares] };
  const same = JSON.stringify(next.nodes) === JSON.stringify(kept.nodes);
  return { topology: same ? kept : { ...next, version: kept.version + 1 }, refused: refusals(kept, proposed, wanted) };
}

/** Another address may be another process: which incarnation answers there has to be seen anew. */
function merged(kept: TopologyNode, wanted: TopologyNode | undefined): TopologyNode {
  if (wanted === undefined) return kept;
  const moved = wanted.host !== kept.host || wanted.port !== kept.port;
  return { ...wanted, runId: moved ? null : kept.runId };
}

function refusals(kept: Topology, proposed: Topology, wanted: ReadonlyMap<string, TopologyNode>): string[] {
  const refused: string[] = [];
  if (JSON.stringify(kept.ring) !== JSON.stringify(proposed.ring)) refused.push('another ring');
  const shards = new Map(proposed.shards.map(shard => [shard.name, shard]));
  for (const shard of kept.shards) {
    const other = shards.get(shard.name);
    if (other === undefined) refused.push(`no shard ${shard.name}`);
    else if (other.weight !== shard.weight) refused.push(`another weight of shard ${shard.name}`);
    else if (other.nodes.join() !== shard.nodes.join()) refused.push(`other nodes in shard ${shard.name}`);
    shards.delete(shard.name);
    for (const id of shard.nodes) if (!wanted.has(id)) refused.push(`no node ${id}, a member of shard ${shard.name}`);
  }
  for (const name of shards.keys()) refused.push(`a new shard ${name}`);
  return refused;
}
