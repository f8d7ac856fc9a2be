import type { Topology, TopologyNode, TopologyShard } from '../../topology/snapshot.ts';
import type { NodeReport } from './node-report.ts';
import type { Target } from './procedure.ts';
import type { Credentials, EngineSettings, HealthWord } from './setup.ts';

/**
 * What a procedure sees of the world: always the present state, never a copy from when it began.
 */
export interface World {
  readonly term: number;
  readonly settings: EngineSettings;
  readonly credentials: Credentials;
  readonly topology: Topology;
  readonly nowMs: number;
  /** Since when this leader has been awake, and has heard of somebody: what it has not seen before proves nothing. */
  readonly trustedSinceMs: number;
  node(id: string): NodeView;
  /** What it holds is just being discarded by order: meanwhile it is made a member of nothing. */
  isEmptying(id: string): boolean;
  /** The command that raises a shard's mark on its primary; each call raises it further. */
  raiseMark(shard: string, epoch: number): string[];
}

export interface NodeView {
  readonly id: string;
  readonly health: HealthWord;
  /** When it began to be unwell, in the eyes of this leader; null: it is well. */
  readonly unwellSinceMs: number | null;
  readonly report: NodeReport | null;
  readonly reportedAtMs: number;
  /** Taken over and set up by this term, on the incarnation that was last seen; null: not (yet). */
  readonly ready: Ready | null;
  /** When that was; -1: never. */
  readonly readySinceMs: number;
  readonly needs: string | null;
  /** It was not taken over for the one reason that it holds data which was never of this cluster. */
  readonly isForeign: boolean;
}

/** A node that this term has taken over (R7) and found fit (R0). */
export interface Ready {
  readonly runId: string;
  /** Of Redis, or of the Redis that a Valkey calls itself. */
  readonly version: string;
  /** A Valkey's own version; null: it is none. */
  readonly valkey: string | null;
  readonly databases: string;
  /** Names, sorted. */
  readonly modules: readonly string[];
  readonly commands: ReadonlySet<string>;
  /** Users of ours that it was left with. */
  readonly users: readonly string[];
}

/** A shard as it was last published. */
export function shardOf(world: World, name: string): TopologyShard {
  const shard = world.topology.shards.find(one => one.name === name);
  if (shard === undefined) throw new Error(`no shard ${name} in the topology`);
  return shard;
}

export function nodeOf(world: World, id: string): TopologyNode {
  const node = world.topology.nodes.find(one => one.id === id);
  if (node === undefined) throw new Error(`no node ${id} in the topology`);
  return node;
}

/** The primary and its in-sync replicas: all that hold every acknowledged write. */
export function membersOf(shard: TopologyShard): string[] {
  return [shard.primary, ...shard.inSync];
}

/**
 * How a recorded incarnation stands: `there` (taken over by this term), `unready` (it answers, but is not taken over),
 * `dead` (it does not answer, for long enough), `gone` (another incarnation answers at its address: it cannot return).
 */
export type Standing = 'there' | 'unready' | 'dead' | 'gone';

export function standingOf(world: World, id: string): Standing {
  const { report, health, ready } = world.node(id);
  const recorded = nodeOf(world, id).runId;
  if (report !== null && recorded !== null && report.runId !== recorded) return 'gone';
  if (health === 'crashed' || health === 'hung') return 'dead';
  return ready !== null && ready.runId === recorded ? 'there' : 'unready';
}

/** The incarnation of a node that this term has taken over. */
export function targetOf(world: World, id: string): Target {
  return { nodeId: id, runId: world.node(id).ready?.runId ?? nodeOf(world, id).runId ?? '' };
}

/** How many copies a shard is to have, the primary included; a copy that is to leave is not among them. */
export function wantedCopies(world: World, shard: TopologyShard): number {
  const { name, nodes, copies = 0 } = shard;
  return Math.max(world.settings.copies[name] ?? 0, copies) || nodes.length;
}

/** Nodes of a list that a person has not asked to be freed. */
export function stayingOf(world: World, ids: readonly string[]): string[] {
  return ids.filter(id => !nodeOf(world, id).draining);
}
