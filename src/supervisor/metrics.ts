import type { Registry } from 'prom-client';
import { referenceOf } from '../base/metric-reference.ts';
import type { Topology } from '../topology/snapshot.ts';
import type { ClusterStatus, NodeStatus } from './status.ts';

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
  gauge('shard_copies_missing', ['shard'], 'Members of a shard that are not in sync.', status =>
    status.shards.map(shard => {
      return { value: shard.nodes.length - shard.inSync.length - 1, labels: { shard: shard.name } };
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
    'replica_lag_bytes',
    ['shard', 'node'],
    "Bytes of its primary's stream that a replica has not applied.",
    status => ofNodes(status, node => (node.role === 'replica' ? node.lagBytes : null)),
  ),
  gauge('replica_lag_seconds', ['shard', 'node'], 'For how long a primary has been ahead of its replica.', status =>
    ofNodes(status, node => (node.role === 'replica' ? node.lagSeconds : null)),
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

function ofNodes(status: ClusterStatus, read: (node: NodeStatus) => number | null): Sample[] {
  const members = status.shards.flatMap(shard => shard.nodes.map(node => ({ node, shard: shard.name })));
  const spares = status.spares.map(node => ({ node, shard: '' }));
  return [...members, ...spares].flatMap(({ node, shard }) => {
    const value = read(node);
    return value === null ? [] : [{ value, labels: { shard, node: node.id } }];
  });
}
