import type { Topology } from '../../topology/snapshot.ts';
import type { Change } from './effect.ts';

/** The next version of the topology: what changes, and the incarnations that are recorded with it. */
export function applyPublish(topology: Topology, change: Change, term: number): Topology {
  const { shards, runIds, draining = {} } = change;
  const changed = new Map(shards.map(shard => [shard.name, shard]));
  return {
    ...topology,
    version: topology.version + 1,
    term,
    ring: change.ring ?? topology.ring,
    shards: topology.shards.map(shard => changed.get(shard.name) ?? shard),
    nodes: topology.nodes.map(node => {
      const runId = Object.hasOwn(runIds, node.id) ? (runIds[node.id] ?? null) : node.runId;
      const isDraining = draining[node.id] ?? node.draining;
      return runId === node.runId && isDraining === node.draining ? node : { ...node, runId, draining: isDraining };
    }),
    move: change.move === undefined ? topology.move : change.move,
  };
}
