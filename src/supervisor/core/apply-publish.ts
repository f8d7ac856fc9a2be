import type { Topology } from '../../topology/snapshot.ts';
import type { Publish } from './effect.ts';

/** The next version of the topology: one shard's new state, and the incarnations that are recorded with it. */
export function applyPublish(topology: Topology, { shard, runIds }: Publish, term: number): Topology {
  return {
    ...topology,
    version: topology.version + 1,
    term,
    shards: topology.shards.map(one => (one.name === shard.name ? shard : one)),
    nodes: topology.nodes.map(node => {
      const runId = Object.hasOwn(runIds, node.id) ? (runIds[node.id] ?? null) : node.runId;
      return runId === node.runId ? node : { ...node, runId };
    }),
  };
}
