import type { Registry } from 'prom-client';
import { referenceOf } from '../base/metric-reference.ts';
import type { Topology } from '../topology/snapshot.ts';
import type { ClusterStatus, MoveStatus, NodeStatus } from './status.ts';

/**
 * The supervisor's numbers for Prometheus, made of its status at a scrape. prom-client is loaded at the first one.
 */
type Sample = { readonly value: number; readonly labels: Readonly<Record<string, string>> };

interface Row {
  readonly name: string;
  readonly help: string;
  readonly type: 'gauge' | 'counter';
  /** Names of the labels of every sample. */
  readonly labels: readonly string[];
  readonly samples: (status: ClusterStatus, counts: Counts) => Sample[];
}

/** What this supervisor has done as the leader, by shard, over the process's life. */
export class Counts {
  readonly failovers = new Map<string, number>();
  readonly switchovers = new Map<string, number>();
  /** Copies that were brought in sync. */
  readonly rebuilds = new Map<string, number>();

  /** A version that this supervisor has published itself. */
  published(before: Topology, after: Topology): void {
    for (const shard of after.shards) {
      const old = before.shards.find(one => one.name === shard.name);
      if (old === undefined) continue;
      const isPlanned = old.paused;
      if (old.primary !== shard.primary) bump(isPlanned ? this.switchovers : this.failovers, shard.name);
      else if (old.joining !== null && shard.inSync.includes(old.joining)) bump(this.rebuilds, shard.name);
    }
  }
}

function bump(counts: Map<string, number>, shard: string): void {
  counts.set(shard, (counts.get(shard) ?? 0) + 1);
}

const ROWS: readonly Row[] = [
  gauge('leading', [], 'Whether this supervisor leads (1) or follows (0).', status => [
    one(status.changesRoles ? 1 : 0),
  ]),
  gauge('term', [], 'Term of the leadership that published last.', status => [one(status.term)]),
  gauge('topology_version', [], 'Version of the topology in force.', status => [one(status.version)]),
  gauge('problems', [], 'What is wrong with this supervisor or its store; its status says it in words.', status => [
    one(status.problems.length),
  ]),
  gauge('shard_epoch', ['shard'], 'Epoch of a shard; rises with its primary.', status =>
    status.shards.map(shard => ({ value: shard.epoch, labels: { shard: shard.name } })),
  ),
  gauge('shard_copies_in_sync', ['shard'], 'Copies that hold every acknowledged write, the primary included.', status =>
    status.shards.map(shard => ({ value: shard.inSync.length + 1, labels: { shard: shard.name } })),
  ),
  gauge('shard_copies_missing', ['shard'], 'Copies that a shard is to have and that are not in sync.', status =>
    status.shards.map(shard => {
      return { value: Math.max(0, shard.copies - shard.inSync.length - 1), labels: { shard: shard.name } };
    }),
  ),
  gauge('shard_state', ['shard', 'state'], 'The state a shard is in, as a label; always 1.', status =>
    status.shards.map(shard => ({ value: 1, labels: { shard: shard.name, state: shard.state } })),
  ),
  gauge('shard_needs_person', ['shard'], 'Whether a shard waits for a person (1); its status says for what.', status =>
    status.shards.map(shard => ({ value: shard.needs === null ? 0 : 1, labels: { shard: shard.name } })),
  ),
  gauge('node_up', ['shard', 'node'], 'Whether a node answered the last question. Told by the leader.', status =>
    status.changesRoles ? ofNodes(status, node => (node.up ? 1 : 0)) : [],
  ),
  gauge(
    'node_drained',
    ['shard', 'node'],
    'A node that a person wants free: whether it may be stopped (1) or not yet (0).',
    status => ofNodes(status, ({ drain }) => (drain === null ? null : drain.step === 'free' ? 1 : 0)),
  ),
  gauge(
    'replica_lag_bytes',
    ['shard', 'node'],
    "Bytes of its primary's stream that a replica has not applied.",
    status => ofNodes(status, node => (node.role === 'replica' ? node.lagBytes : null)),
  ),
  gauge('replica_lag_seconds', ['shard', 'node'], 'For how long a primary has been ahead of its replica.', status =>
    ofNodes(status, node => (node.role === 'replica' ? node.lagSeconds : null)),
  ),
  gauge('move', [], 'Whether keys are being moved between shards (1).', status => [one(status.move === null ? 0 : 1)]),
  gauge('move_paused', [], 'Whether the move stands still (1); its status says why.', status =>
    ofMove(status, move => (move.paused === null ? 0 : 1)),
  ),
  gauge('move_aborting', [], 'Whether what was moved goes back (1).', status =>
    ofMove(status, move => (move.aborting ? 1 : 0)),
  ),
  gauge('move_needs_person', [], 'Whether the move waits for a person (1); its status says for what.', status =>
    ofMove(status, move => (move.needs === null ? 0 : 1)),
  ),
  gauge('move_portion', [], 'Portion that is under way, from 1.', status => ofMove(status, move => move.portion)),
  gauge('move_portions', [], 'Portions of the move.', status => ofMove(status, move => move.portions)),
  gauge('move_keys_moved', [], 'Keys of the move that were moved so far.', status =>
    ofMove(status, move => move.keysMoved),
  ),
  gauge('move_keys', [], 'Keys of the whole move, estimated.', status => ofMove(status, move => move.keysInAll)),
  gauge('move_keys_per_second', [], 'Keys that are moved in a second now. Told by the leader.', status =>
    ofMove(status, move => (status.changesRoles ? move.keysPerSecond : null)),
  ),
  gauge('move_added_latency_seconds', [], "What the giver's answers take longer while keys are read from it.", status =>
    ofMove(status, move => (move.addedLatencyMs === null ? null : move.addedLatencyMs / 1000)),
  ),
  gauge('move_left_seconds', [], 'How long the move will take at the present pace.', status =>
    ofMove(status, move => (move.leftMs === null ? null : move.leftMs / 1000)),
  ),
  gauge('move_evicted_keys', [], 'Keys given up since the set of pulled keys had been evicted.', status =>
    ofMove(status, move => move.evicted),
  ),
  gauge('node_draining', ['shard', 'node'], 'Whether a node is to be free (1).', status =>
    ofNodes(status, node => (node.draining ? 1 : 0)),
  ),
  counter('failovers_total', 'Lost primaries that this supervisor has replaced.', counts => counts.failovers),
  counter('switchovers_total', 'Planned changes of primary by this supervisor.', counts => counts.switchovers),
  counter('rebuilds_total', 'Copies that this supervisor has brought in sync.', counts => counts.rebuilds),
];

/** In the text format of Prometheus. */
export async function exposition(status: ClusterStatus, counts: Counts): Promise<string> {
  const { Registry, Gauge, Counter } = await import('prom-client');
  const registry: Registry = new Registry();
  for (const { name, help, type, labels: labelNames, samples } of ROWS) {
    const found = samples(status, counts);
    // Without a sample it would be told as 0.
    if (found.length === 0) continue;
    const options = { name, help, labelNames, registers: [registry] };
    if (type === 'gauge') {
      const metric = new Gauge(options);
      for (const { value, labels } of found) metric.set({ ...labels }, value);
    } else {
      const metric = new Counter(options);
      for (const { value, labels } of found) metric.inc({ ...labels }, value);
    }
  }
  return registry.metrics();
}

/** The table of the metrics for the README, in Markdown. */
export function supervisorMetricsReference(): string {
  return referenceOf(ROWS);
}

function gauge(
  name: string,
  labels: readonly string[],
  help: string,
  samples: (status: ClusterStatus) => Sample[],
): Row {
  return { name: `ringside_supervisor_${name}`, help, type: 'gauge', labels, samples };
}

function counter(name: string, help: string, pick: (counts: Counts) => ReadonlyMap<string, number>): Row {
  const samples = (status: ClusterStatus, counts: Counts): Sample[] =>
    status.shards.map(({ name: shard }) => ({ value: pick(counts).get(shard) ?? 0, labels: { shard } }));
  return { name: `ringside_supervisor_${name}`, help, type: 'counter', labels: ['shard'], samples };
}

function one(value: number): Sample {
  return { value, labels: {} };
}

function ofMove({ move }: ClusterStatus, read: (move: MoveStatus) => number | null): Sample[] {
  const value = move === null ? null : read(move);
  return value === null ? [] : [one(value)];
}

function ofNodes(status: ClusterStatus, read: (node: NodeStatus) => number | null): Sample[] {
  const members = status.shards.flatMap(shard => shard.nodes.map(node => ({ node, shard: shard.name })));
  const spares = status.spares.map(node => ({ node, shard: '' }));
  return [...members, ...spares].flatMap(({ node, shard }) => {
    const value = read(node);
    return value === null ? [] : [{ value, labels: { shard, node: node.id } }];
  });
}
