import type { Topology, TopologyNode, TopologyShard } from '../topology/snapshot.ts';

/**
 * What a topology says of one shard, as far as a proxy acts on it.
 */
export interface ShardState {
  readonly epoch: number;
  readonly primary: PrimaryAddress;
  /** The replicas that hold every acknowledged write. */
  readonly inSync: readonly PrimaryAddress[];
  /** Node id of the replica that is being brought in sync: until it is, acknowledgements are held. */
  readonly joining: string | null;
  /** A planned change of primary is on. */
  readonly paused: boolean;
}

/** Where a node is, and which process life of it is meant. */
export interface PrimaryAddress {
  readonly nodeId: string;
  readonly host: string;
  readonly port: number;
  readonly zone: string;
  /** Null: the node was never set up by a supervisor. */
  readonly runId: string | null;
}

export function stateOf(shard: TopologyShard, { nodes }: Pick<Topology, 'nodes'>): ShardState {
  return {
    epoch: shard.epoch,
    primary: addressOf(shard.primary, nodes),
    inSync: shard.inSync.map(id => addressOf(id, nodes)),
    joining: shard.joining,
    paused: shard.paused,
  };
}

/** A validated topology names no node that it does not describe. */
function addressOf(id: string, nodes: readonly TopologyNode[]): PrimaryAddress {
  const { host, port, zone, runId } = nodes.find(node => node.id === id) as TopologyNode;
  return { nodeId: id, host, port, zone, runId };
}
