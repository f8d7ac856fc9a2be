import type { Config } from '../config/config.ts';
import type { RingConfig } from '../ring/ring.ts';
import type { TopologyMove } from './move.ts';

/**
 * Who owns what: one immutable, versioned document that supervisors publish and proxies obey.
 *
 * A higher version replaces a lower one whole; nothing is patched. A shard's `epoch` grows whenever an older proxy's
 * idea of "acknowledged" would no longer be enough: a new primary, a replica about to be counted.
 */
export interface Topology {
  readonly cluster: string;
  /** Grows by one with every change; 1 is the first. */
  readonly version: number;
  /** The highest term of leadership that has published; 0: none yet. */
  readonly term: number;
  readonly ring: RingConfig;
  readonly shards: readonly TopologyShard[];
  /** All nodes of the cluster, the spares included. */
  readonly nodes: readonly TopologyNode[];
  /** Keys go to other shards; null: they do not. */
  readonly move: TopologyMove | null;
}

export interface TopologyShard {
  readonly name: string;
  /** Its part of `ring`, in relation to the others; 0: it owns no keys, since they are yet to be moved to it. */
  readonly weight: number;
  readonly epoch: number;
  /** Node id. */
  readonly primary: string;
  /** Node ids of the in-sync replicas, without the primary. */
  readonly inSync: readonly string[];
  /** The one node that is being brought in sync; while there is one, acknowledgements are held. Null: none. */
  readonly joining: string | null;
  /** A planned change of primary is on: proxies finish what is in flight, hold the rest and leave. */
  readonly paused: boolean;
  /** Ids of all member nodes, in the order of the settings. */
  readonly nodes: readonly string[];
  /** So many copies it keeps while it has, or may get, more members than that, since one of them is drained. */
  readonly copies?: number;
}

export interface TopologyNode {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly zone: string;
  /**
   * The recorded incarnation (`run_id` of INFO). For a primary and its in-sync replicas it is the one that holds every
   * acknowledged write, and passwords on that node are derived from it; for others the one that was last seen. Null:
   * none yet; a primary without one has never served, and no proxy can log in to it.
   */
  readonly runId: string | null;
  /** A person wants it free: it is given no copy, and what it has goes elsewhere. */
  readonly draining: boolean;
}

/**
 * What the settings propose, as the first version: each shard's first node is its primary.
 *
 * No replica counts as in sync: that is for somebody to see, and settings see nothing.
 */
export function initialTopology(config: Config): Topology {
  return {
    cluster: config.cluster,
    version: 1,
    term: 0,
    ring: config.ring,
    shards: config.shards.map(({ name, weight, nodes }) => ({
      name,
      weight,
      epoch: 1,
      primary: nodes[0] as string,
      inSync: [],
      joining: null,
      paused: false,
      nodes,
    })),
    nodes: config.nodes.map(({ id, host, port, zone }) => ({ id, host, port, zone, runId: null, draining: false })),
    move: null,
  };
}

/** Whether two versions say the same; version and term do not count, nor does the order of `inSync`. */
export function topologyEquals(a: Topology, b: Topology): boolean {
  return JSON.stringify(comparable(a)) === JSON.stringify(comparable(b));
}

/** What is different between two versions, by name. */
export interface TopologyDiff {
  /** The ring's settings, or names, weights or order of the shards: owners of keys may have changed. */
  readonly ring: boolean;
  readonly shardsAdded: readonly string[];
  readonly shardsRemoved: readonly string[];
  /** In both versions, but not the same. */
  readonly shardsChanged: readonly ShardChange[];
  readonly nodesAdded: readonly string[];
  readonly nodesRemoved: readonly string[];
  /** Ids of nodes with another address. */
  readonly nodesMoved: readonly string[];
  /** Ids of nodes where another incarnation was seen. */
  readonly nodesReborn: readonly string[];
  /** Ids of nodes that a person wants free from now on. */
  readonly nodesDraining: readonly string[];
  /** Ids of nodes that a person no longer wants free. */
  readonly nodesKept: readonly string[];
  /** A move has begun, gone on or ended: some keys may have another owner. */
  readonly move: boolean;
}

export interface ShardChange {
  readonly name: string;
  readonly epoch: boolean;
  readonly primary: boolean;
  readonly inSync: boolean;
  readonly joining: boolean;
  readonly paused: boolean;
  readonly nodes: boolean;
}

export function diffTopologies(before: Topology, after: Topology): TopologyDiff {
  const oldShards = byName(before.shards);
  const newShards = byName(after.shards);
  const oldNodes = new Map(before.nodes.map(node => [node.id, node]));
  const newNodes = new Map(after.nodes.map(node => [node.id, node]));
  const kept = after.nodes.flatMap(node => {
    const old = oldNodes.get(node.id);
    return old ? [{ old, node }] : [];
  });
  return {
    ring: ringKey(before) !== ringKey(after),
    shardsAdded: missingFrom(oldShards, newShards),
    shardsRemoved: missingFrom(newShards, oldShards),
    shardsChanged: after.shards.flatMap(shard => changeOf(oldShards.get(shard.name), shard)),
    nodesAdded: missingFrom(oldNodes, newNodes),
    nodesRemoved: missingFrom(newNodes, oldNodes),
    nodesMoved: kept.filter(({ old, node }) => addressOf(old) !== addressOf(node)).map(({ node }) => node.id),
    nodesReborn: kept.filter(({ old, node }) => old.runId !== node.runId).map(({ node }) => node.id),
    nodesDraining: kept.filter(({ old, node }) => !old.draining && node.draining).map(({ node }) => node.id),
    nodesKept: kept.filter(({ old, node }) => old.draining && !node.draining).map(({ node }) => node.id),
    move: JSON.stringify(before.move) !== JSON.stringify(after.move),
  };
}

function comparable({ cluster, ring, shards, nodes, move }: Topology): unknown {
  return [
    cluster,
    ringValues(ring),
    shards.map(shard => [
      shard.name,
      shard.weight,
      shard.epoch,
      shard.primary,
      [...shard.inSync].sort(),
      shard.joining,
      shard.paused,
      shard.nodes,
      shard.copies ?? null,
    ]),
    nodes.map(({ id, host, port, zone, runId, draining }) => [id, host, port, zone, runId, draining]),
    move,
  ];
}

function ringKey({ ring, shards }: Topology): string {
  return JSON.stringify([ringValues(ring), shards.map(({ name, weight }) => [name, weight])]);
}

/** The ring's settings in one order, whatever the order in which an object got them. */
function ringValues(ring: RingConfig): unknown[] {
  return [ring.kind, ring.hash, ring.hashTag, ring.kind === 'murmur3' ? ring.vnodes : ring.distribution];
}

function changeOf(old: TopologyShard | undefined, shard: TopologyShard): ShardChange[] {
  if (!old) return [];
  const change = {
    name: shard.name,
    epoch: old.epoch !== shard.epoch,
    primary: old.primary !== shard.primary,
    inSync: [...old.inSync].sort().join(' ') !== [...shard.inSync].sort().join(' '),
    joining: old.joining !== shard.joining,
    paused: old.paused !== shard.paused,
    nodes: old.nodes.join(' ') !== shard.nodes.join(' '),
  };
  const isSame = !(change.epoch || change.primary || change.inSync || change.joining || change.paused || change.nodes);
  return isSame ? [] : [change];
}

function byName(shards: readonly TopologyShard[]): Map<string, TopologyShard> {
  return new Map(shards.map(shard => [shard.name, shard]));
}

/** The keys of `there` that are not in `here`. */
function missingFrom(here: ReadonlyMap<string, unknown>, there: ReadonlyMap<string, unknown>): string[] {
  return [...there.keys()].filter(key => !here.has(key));
}

function addressOf({ host, port }: TopologyNode): string {
  return `${host}:${port}`;
}
