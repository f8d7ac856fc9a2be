import type { Topology, TopologyNode, TopologyShard } from '../topology/snapshot.ts';
import type { Observation } from './probe.ts';

/**
 * The state of a cluster as people and scripts read it: what the topology says, beside what was seen.
 *
 * Scripts depend on this form: fields are added, none is renamed or taken away.
 */
export interface ClusterStatus {
  readonly cluster: string;
  /** Version of the topology. */
  readonly version: number;
  /** False: this supervisor watches and promotes nobody. */
  readonly changesRoles: boolean;
  readonly shards: readonly ShardStatus[];
  /** Nodes in no shard. */
  readonly spares: readonly NodeStatus[];
}

export interface ShardStatus {
  readonly name: string;
  readonly epoch: number;
  /** Node id. */
  readonly primary: string;
  /** Node ids of the copies that are attached to the primary as far as was seen: link up, same history, no sync. */
  readonly inSync: readonly string[];
  readonly joining: string | null;
  readonly nodes: readonly NodeStatus[];
}

export interface NodeStatus {
  readonly id: string;
  /** What the node says of itself while it is up; what the topology says while it is not. */
  readonly role: 'primary' | 'replica' | 'spare';
  readonly up: boolean;
  /** Bytes of the primary's history that a replica has not applied; null: not known. */
  readonly lagBytes: number | null;
  readonly address: string;
  readonly runId: string | null;
  /** A replica's link to what it follows is up; null on others. */
  readonly linkUp: boolean | null;
  readonly usedMemoryBytes: number | null;
  /** Why the node did not answer; null while it does. */
  readonly error: string | null;
}

/** Puts topology and observations side by side; a node without an observation counts as down. */
export function clusterStatus(topology: Topology, seen: ReadonlyMap<string, Observation>): ClusterStatus {
  const nodes = new Map(topology.nodes.map(node => [node.id, node]));
  const members = new Set(topology.shards.flatMap(shard => shard.nodes));
  return {
    cluster: topology.cluster,
    version: topology.version,
    changesRoles: false,
    shards: topology.shards.map(shard => shardStatus(shard, nodes, seen)),
    spares: topology.nodes
      .filter(node => !members.has(node.id))
      .map(node => nodeStatus(node, 'spare', seen.get(node.id), null)),
  };
}

function shardStatus(
  shard: TopologyShard,
  nodes: ReadonlyMap<string, TopologyNode>,
  seen: ReadonlyMap<string, Observation>,
): ShardStatus {
  const primary = seen.get(shard.primary);
  const replicas = shard.nodes.filter(id => id !== shard.primary);
  return {
    name: shard.name,
    epoch: shard.epoch,
    primary: shard.primary,
    inSync: replicas.filter(id => isAttached(seen.get(id), primary)),
    joining: shard.joining,
    nodes: shard.nodes.map(id => {
      const node = nodes.get(id) as TopologyNode;
      const expected = id === shard.primary ? 'primary' : 'replica';
      return nodeStatus(node, expected, seen.get(id), primary);
    }),
  };
}

/** Asks both ends: a replica whose link is up may follow somebody else. */
function isAttached(replica: Observation | undefined, primary: Observation | undefined): boolean {
  if (replica === undefined || primary === undefined || !replica.up || !primary.up) return false;
  const following = replica.report?.following;
  if (following === undefined || following === null || primary.report === null) return false;
  const sameHistory = replica.report?.replicationId === primary.report.replicationId;
  return following.linkUp && !following.syncing && sameHistory && replica.report?.loading === false;
}

function nodeStatus(
  node: TopologyNode,
  expected: NodeStatus['role'],
  seen: Observation | undefined,
  primary: Observation | null | undefined,
): NodeStatus {
  const report = seen?.up === true ? seen.report : null;
  return {
    id: node.id,
    role: expected === 'spare' || report === null ? expected : report.role,
    up: report !== null,
    lagBytes: lagBytes(seen, primary, expected),
    address: `${node.host}:${node.port}`,
    runId: report?.runId ?? node.runId,
    linkUp: report?.following?.linkUp ?? null,
    usedMemoryBytes: report?.usedMemoryBytes ?? null,
    error: seen === undefined ? 'not asked yet' : seen.error,
  };
}

/** The two offsets were read at slightly different moments, so that a difference below zero means none. */
function lagBytes(
  seen: Observation | undefined,
  primary: Observation | null | undefined,
  expected: NodeStatus['role'],
): number | null {
  if (seen?.up !== true || seen.report === null || expected === 'spare') return null;
  if (expected === 'primary') return 0;
  if (!isAttached(seen, primary ?? undefined)) return null;
  return Math.max(0, (primary?.report?.offset ?? 0) - seen.report.offset);
}
