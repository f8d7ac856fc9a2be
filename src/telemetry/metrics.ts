/**
 * The proxy's metrics, one row each: name, type, labels, help, and where its numbers come from.
 *
 * A row is all there is to a metric: the exposition and the reference for people are made of this table.
 */

import { referenceOf } from '../base/metric-reference.ts';
import type { LatencyHistogram } from './histogram.ts';
import type { ProcessReading } from './process-cells.ts';
import type { ProxyMetrics, ShardCells } from './proxy-cells.ts';

/** How the numbers of several workers become the proxy's one number. */
export type Merge = 'sum' | 'max' | 'min';

/** What rows read from: one worker at one moment. */
export interface MetricSource {
  readonly proxy: ProxyMetrics;
  readonly process: ProcessReading;
  readonly version: string;
}

/** Takes a number (of a histogram: the buckets' counts, then the sum in seconds) and the row's label values in order. */
export type Put = (values: number | readonly number[], ...labels: string[]) => void;

export interface MetricRow {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly merge: Merge;
  readonly help: string;
  readonly read: (source: MetricSource, put: Put) => void;
}

export const METRICS: readonly MetricRow[] = [
  {
    name: 'ringside_build_info',
    type: 'gauge',
    labels: ['version', 'node'],
    merge: 'max',
    help: 'Always 1; the labels tell the version of Ringside and of Node.js.',
    read: (source, put) => put(1, source.version, process.version),
  },
  {
    name: 'ringside_clients_connected',
    type: 'gauge',
    labels: [],
    merge: 'sum',
    help: 'Clients connected now.',
    read: ({ proxy }, put) => put(proxy.clients.connected),
  },
  {
    name: 'ringside_clients_accepted_total',
    type: 'counter',
    labels: [],
    merge: 'sum',
    help: 'Connections of clients that were accepted.',
    read: ({ proxy }, put) => put(proxy.clients.accepted),
  },
  {
    name: 'ringside_clients_refused_total',
    type: 'counter',
    labels: [],
    merge: 'sum',
    help: 'Connections of clients that were turned away: too many clients, or a failed TLS handshake.',
    read: ({ proxy }, put) => put(proxy.clients.refused),
  },
  {
    name: 'ringside_clients_closed_total',
    type: 'counter',
    labels: ['reason'],
    merge: 'sum',
    help: 'Connections of clients that ended, by reason; slow_reader is one that left too many replies unread.',
    read: ({ proxy: { closed } }, put) => {
      put(closed.byClient, 'client');
      put(closed.quit, 'quit');
      put(closed.killed, 'killed');
      put(closed.protocolError, 'protocol_error');
      put(closed.slowReader, 'slow_reader');
      put(closed.drained, 'drained');
    },
  },
  {
    name: 'ringside_clients_paused',
    type: 'gauge',
    labels: [],
    merge: 'sum',
    help: 'Clients whose commands are not read until they read their replies.',
    read: ({ proxy }, put) => put(proxy.clients.paused),
  },
  {
    name: 'ringside_client_bytes_total',
    type: 'counter',
    labels: ['direction'],
    merge: 'sum',
    help: 'Bytes read from clients (in) and written to them (out).',
    read: ({ proxy }, put) => {
      put(proxy.clients.bytesIn, 'in');
      put(proxy.clients.bytesOut, 'out');
    },
  },
  {
    name: 'ringside_unread_bytes',
    type: 'gauge',
    labels: [],
    merge: 'sum',
    help: 'Bytes of replies that clients have not read yet.',
    read: ({ proxy }, put) => put(proxy.clients.unreadBytes),
  },
  {
    name: 'ringside_commands_total',
    type: 'counter',
    labels: ['class'],
    merge: 'sum',
    help: 'Commands by what was done with them: read and write are forwarded to one shard, split goes to several.',
    read: ({ proxy: { commands } }, put) => {
      put(commands.read, 'read');
      put(commands.write, 'write');
      put(commands.split, 'split');
      put(commands.local, 'local');
      put(commands.refused, 'refused');
      put(commands.exclusive, 'exclusive');
    },
  },
  {
    name: 'ringside_errors_total',
    type: 'counter',
    labels: ['word'],
    merge: 'sum',
    help: "Error replies made by the proxy, by the error's first word.",
    read: ({ proxy }, put) => {
      for (const [word, count] of proxy.errors.entries()) put(count, word);
    },
  },
  {
    name: 'ringside_command_duration_seconds',
    type: 'histogram',
    labels: ['class'],
    merge: 'sum',
    help: 'From the arrival of a command to its reply, of the commands that were sampled.',
    read: ({ proxy: { latency } }, put) => {
      put(histogramValues(latency.read), 'read');
      put(histogramValues(latency.write), 'write');
    },
  },
  {
    name: 'ringside_overloaded_total',
    type: 'counter',
    labels: ['bound'],
    merge: 'sum',
    help: 'How often a bound was reached, by the name it has in proxy.limits.',
    read: ({ proxy: { overloaded } }, put) => {
      put(overloaded.clients, 'clients');
      put(overloaded.heldBytes, 'heldBytes');
      put(overloaded.unreadBytes, 'unreadBytes');
      put(overloaded.laneQueue, 'laneQueue');
      put(overloaded.exclusive, 'exclusive');
    },
  },
  {
    name: 'ringside_limit',
    type: 'gauge',
    labels: ['bound'],
    merge: 'sum',
    help: 'Bounds of the whole proxy, by the name they have in proxy.limits.',
    read: ({ proxy: { limits } }, put) => {
      put(limits.clients, 'clients');
      put(limits.heldBytes, 'heldBytes');
    },
  },
  {
    name: 'ringside_limit_each',
    type: 'gauge',
    labels: ['bound'],
    merge: 'max',
    help: 'Bounds of each client (unreadBytes), each lane (laneQueue), each shard and worker (exclusive).',
    read: ({ proxy: { limits } }, put) => {
      put(limits.unreadBytes, 'unreadBytes');
      put(limits.laneQueue, 'laneQueue');
      put(limits.exclusive, 'exclusive');
    },
  },
  {
    name: 'ringside_held_bytes',
    type: 'gauge',
    labels: [],
    merge: 'sum',
    help: 'Bytes of commands that the proxy holds.',
    read: ({ proxy }, put) => put(proxy.held.bytes),
  },
  {
    name: 'ringside_held_commands',
    type: 'gauge',
    labels: [],
    merge: 'sum',
    help: 'Commands that wait for a primary.',
    read: ({ proxy }, put) => put(proxy.held.commands),
  },
  {
    name: 'ringside_held_expired_total',
    type: 'counter',
    labels: [],
    merge: 'sum',
    help: 'Commands, or parts of split ones, that waited for a primary in vain (CLUSTERDOWN).',
    read: ({ proxy }, put) => {
      let expired = proxy.held.expired;
      for (const shard of proxy.shards()) expired += shard.expired;
      put(expired);
    },
  },
  shardRow('ringside_shard_up', 'gauge', 'min', "1 while every worker is logged in to the shard's primary.", s => s.up),
  shardRow('ringside_shard_lanes', 'gauge', 'sum', 'Shared connections open to the shard.', s => s.lanes),
  shardRow('ringside_shard_exclusive', 'gauge', 'sum', 'Connections lent to single clients.', s => s.exclusive),
  shardRow('ringside_shard_in_flight', 'gauge', 'sum', 'Commands sent and not answered.', s => s.inFlight),
  shardRow('ringside_shard_queued', 'gauge', 'sum', 'Commands accepted and not sent yet.', s => s.queued),
  shardRow('ringside_shard_commands_total', 'counter', 'sum', 'Commands sent to the shard.', s => s.commands),
  shardRow(
    'ringside_shard_reconnects_total',
    'counter',
    'sum',
    'Connections made again after one was lost.',
    s => s.reconnects,
  ),
  shardRow(
    'ringside_shard_timeouts_total',
    'counter',
    'sum',
    'Connections given up because a node left a command unanswered too long.',
    s => s.timeouts,
  ),
  shardRow('ringside_shard_epoch', 'gauge', 'min', 'Epoch of the shard that the proxy knows.', s => s.epoch),
  shardRow('ringside_shard_required', 'gauge', 'max', 'Replicas that must confirm a write.', s => s.required),
  shardRow(
    'ringside_shard_barriers_total',
    'counter',
    'sum',
    'Questions put to the shard whether every copy has what was written; each stands for a batch of writes.',
    s => s.barriers,
  ),
  shardRow(
    'ringside_shard_unconfirmed',
    'gauge',
    'sum',
    'Writes that the primary has answered and that wait for their copies.',
    s => s.kept,
  ),
  {
    name: 'ringside_shard_confirm_seconds',
    type: 'histogram',
    labels: ['shard'],
    merge: 'sum',
    help: "From the primary's answer to the confirmation by every copy; of each batch the write that waited longest.",
    read: ({ proxy }, put) => {
      for (const shard of proxy.shards()) put(histogramValues(shard.keptTime), shard.name);
    },
  },
  {
    name: 'ringside_shard_lost_writes_total',
    type: 'counter',
    labels: ['shard', 'outcome'],
    merge: 'sum',
    help: 'Writes whose fate was open: uncertain was answered so, resent had not survived, survived had.',
    read: ({ proxy }, put) => {
      for (const shard of proxy.shards()) {
        put(shard.uncertain, shard.name, 'uncertain');
        put(shard.resent, shard.name, 'resent');
        put(shard.survived, shard.name, 'survived');
      }
    },
  },
  {
    name: 'ringside_shard_bytes_total',
    type: 'counter',
    labels: ['shard', 'direction'],
    merge: 'sum',
    help: "Bytes read from the shard's nodes (in) and written to them (out).",
    read: ({ proxy }, put) => {
      for (const shard of proxy.shards()) {
        put(shard.bytesIn, shard.name, 'in');
        put(shard.bytesOut, shard.name, 'out');
      }
    },
  },
  {
    name: 'ringside_topology_version',
    type: 'gauge',
    labels: [],
    merge: 'min',
    help: 'Version of the topology in use; 0 before the first.',
    read: ({ proxy }, put) => put(proxy.topology.version),
  },
  {
    name: 'ringside_feed_connected',
    type: 'gauge',
    labels: [],
    merge: 'min',
    help: "1 while a supervisor's topology feed is connected.",
    read: ({ proxy }, put) => put(proxy.topology.feedConnected),
  },
  {
    name: 'ringside_workers',
    type: 'gauge',
    labels: [],
    merge: 'sum',
    help: 'Worker processes, those that are being drained included.',
    read: (_source, put) => put(1),
  },
  {
    name: 'ringside_process_resident_bytes',
    type: 'gauge',
    labels: ['process'],
    merge: 'sum',
    help: 'Resident memory of the workers together, and of the parent that holds their listening sockets.',
    read: (source, put) => put(source.process.residentBytes, 'worker'),
  },
  {
    name: 'ringside_process_cpu_seconds_total',
    type: 'counter',
    labels: ['process'],
    merge: 'sum',
    help: 'Processor time used, user and system.',
    read: (source, put) => put(source.process.cpuSeconds, 'worker'),
  },
  {
    name: 'ringside_move_pulls_total',
    type: 'counter',
    labels: ['outcome'],
    merge: 'sum',
    help: 'Keys that were pulled to another shard because a client needed them; there: others had pulled them before; failed: tries that were begun anew or given up.',
    read: ({ proxy: { moving } }, put) => {
      put(moving.pulled, 'pulled');
      put(moving.there, 'there');
      put(moving.failed, 'failed');
    },
  },
  {
    name: 'ringside_move_pull_seconds',
    type: 'histogram',
    labels: [],
    merge: 'sum',
    help: 'From the moment when a client needed a key on the move until it was on its new shard.',
    read: ({ proxy: { moving } }, put) => put(histogramValues(moving.pullTime)),
  },
  {
    name: 'ringside_move_waiting',
    type: 'gauge',
    labels: [],
    merge: 'sum',
    help: 'Clients, and commands that were queued for another shard, that wait for keys on the move.',
    read: ({ proxy: { moving } }, put) => put(moving.waiting),
  },
  {
    name: 'ringside_event_loop_lag_seconds',
    type: 'gauge',
    labels: ['statistic'],
    merge: 'max',
    help: 'Delay of the event loop since the last scrape: 99th percentile and longest, of the worst worker.',
    read: (source, put) => {
      put(source.process.lagP99Seconds, 'p99');
      put(source.process.lagMaxSeconds, 'max');
    },
  },
];

/** A number that every shard has. */
function shardRow(
  name: string,
  type: 'counter' | 'gauge',
  merge: Merge,
  help: string,
  cell: (shard: ShardCells) => number,
): MetricRow {
  const read: MetricRow['read'] = ({ proxy }, put) => {
    for (const shard of proxy.shards()) put(cell(shard), shard.name);
  };
  return { name, type, labels: ['shard'], merge, help, read };
}

function histogramValues(histogram: LatencyHistogram): number[] {
  return [...histogram.counts, histogram.sumUs / 1e6];
}

/** The table as people read it: Markdown rows, one per metric. */
export function metricsReference(): string {
  return referenceOf(METRICS);
}
