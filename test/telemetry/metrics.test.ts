import { describe, expect, it } from 'vitest';
import { METRICS, metricsReference } from '../../src/telemetry/metrics.ts';
import { ProxyMetrics } from '../../src/telemetry/proxy-cells.ts';
import { countersOf, mergeSamples, takeSamples } from '../../src/telemetry/samples.ts';
import { readingOf } from './reading.ts';

function sourceOf(proxy: ProxyMetrics) {
  return { proxy, process: readingOf(), version: '1.2.3' };
}

describe('the table of metrics', () => {
  it('names each metric once, by the rules of Prometheus', () => {
    const names = METRICS.map(row => row.name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, type } of METRICS) {
      expect(name).toMatch(/^ringside_[a-z]+(_[a-z]+)*$/);
      expect(name.endsWith('_total'), `${name} is a ${type}`).toBe(type === 'counter');
    }
  });

  it('gives each number as many label values as its row has labels', () => {
    const proxy = new ProxyMetrics();
    proxy.shard('s1');
    proxy.errors.count('ERR');
    const samples = takeSamples(sourceOf(proxy));
    for (const row of METRICS) {
      const list = samples[row.name] ?? [];
      expect(list, row.name).not.toHaveLength(0);
      for (const sample of list) expect(sample.labels, row.name).toHaveLength(row.labels.length);
    }
  });

  it('adds counters and gauges up only where that means something', () => {
    // A sum of versions or of ones that mean "all is well" would be no version and no truth.
    const notSummed = METRICS.filter(row => row.merge !== 'sum').map(row => row.name);
    expect(notSummed).toEqual([
      'ringside_build_info',
      'ringside_limit_each',
      'ringside_shard_up',
      'ringside_shard_epoch',
      'ringside_shard_required',
      'ringside_topology_version',
      'ringside_feed_connected',
      'ringside_event_loop_lag_seconds',
    ]);
    for (const row of METRICS) if (row.type !== 'gauge') expect(row.merge, row.name).toBe('sum');
  });

  it('is the reference for people, row by row', () => {
    const rows = metricsReference().trim().split('\n').slice(2);
    expect(rows).toHaveLength(METRICS.length);
    METRICS.forEach((row, i) => {
      const cells = (rows[i] as string).split('|').map(cell => cell.trim());
      expect(cells.slice(1, 5)).toEqual([
        `\`${row.name}\``,
        row.type,
        row.labels.map(label => `\`${label}\``).join(', '),
        row.help,
      ]);
    });
  });
});

describe('the cells', () => {
  it('keep one object per shard until it is dropped', () => {
    const proxy = new ProxyMetrics();
    const s1 = proxy.shard('s1');
    expect(proxy.shard('s1')).toBe(s1);
    proxy.shard('s2');
    proxy.dropShard('s1');
    expect([...proxy.shards()].map(shard => shard.name)).toEqual(['s2']);
  });

  it('keep in sums over all shards what a dropped one had counted', () => {
    const proxy = new ProxyMetrics();
    proxy.shard('s1').expired = 2;
    proxy.shard('s2').expired = 3;
    const expired = () => takeSamples(sourceOf(proxy))['ringside_held_expired_total']?.flatMap(sample => sample.values);
    expect(expired()).toEqual([5]);
    proxy.dropShard('s1');
    expect(expired()).toEqual([5]);
  });

  it('count first words of errors without bound only up to 64 words', () => {
    const { errors } = new ProxyMetrics();
    for (let i = 0; i < 100; i += 1) errors.count(`E${i}`);
    errors.count('E5');
    const counts = new Map(errors.entries());
    expect(counts.size).toBe(65);
    expect(counts.get('other')).toBe(36);
    expect(counts.get('E5')).toBe(2);
  });
});

describe('the samples of several workers', () => {
  it('become one proxy: sums, and the worst of what cannot be summed', () => {
    const one = new ProxyMetrics();
    const two = new ProxyMetrics();
    Object.assign(one.clients, { connected: 3, accepted: 10 });
    Object.assign(two.clients, { connected: 4, accepted: 20 });
    Object.assign(one.topology, { version: 8, feedConnected: 1 });
    Object.assign(two.topology, { version: 7, feedConnected: 0 });
    one.shard('s1').up = 1;
    two.shard('s1').up = 0;
    two.shard('s2').up = 1;
    one.errors.count('ERR');
    two.errors.count('CLUSTERDOWN');
    one.latency.read.observe(70);
    two.latency.read.observe(80);
    const merged = mergeSamples([takeSamples(sourceOf(one)), takeSamples(sourceOf(two))]);
    expect(merged['ringside_clients_connected']).toEqual([{ labels: [], values: [7] }]);
    expect(merged['ringside_clients_accepted_total']).toEqual([{ labels: [], values: [30] }]);
    expect(merged['ringside_topology_version']).toEqual([{ labels: [], values: [7] }]);
    expect(merged['ringside_feed_connected']).toEqual([{ labels: [], values: [0] }]);
    expect(merged['ringside_shard_up']).toEqual([
      { labels: ['s1'], values: [0] },
      { labels: ['s2'], values: [1] },
    ]);
    expect(merged['ringside_errors_total']).toEqual([
      { labels: ['ERR'], values: [1] },
      { labels: ['CLUSTERDOWN'], values: [1] },
    ]);
    expect(merged['ringside_workers']).toEqual([{ labels: [], values: [2] }]);
    const reads = merged['ringside_command_duration_seconds']?.find(sample => sample.labels[0] === 'read');
    expect(reads?.values[1]).toBe(2);
    expect(reads?.values.at(-1)).toBeCloseTo(150e-6);
  });

  it('survive a trip through JSON, as between processes', () => {
    const samples = takeSamples(sourceOf(new ProxyMetrics()));
    expect(mergeSamples([JSON.parse(JSON.stringify(samples))])).toEqual(mergeSamples([samples]));
  });

  it('leave out what another version calls by the same name but gives other labels or buckets', () => {
    const odd = {
      ringside_clients_connected: [{ labels: ['x'], values: [1] }],
      ringside_command_duration_seconds: [{ labels: ['read'], values: [1, 2] }],
      ringside_from_the_future: [{ labels: [], values: [1] }],
    };
    const merged = mergeSamples([odd]);
    expect(merged['ringside_clients_connected']).toEqual([]);
    expect(merged['ringside_command_duration_seconds']).toEqual([]);
    expect(merged).not.toHaveProperty('ringside_from_the_future');
  });

  it('of one that ended keep its counters and forget its gauges', () => {
    const ended = new ProxyMetrics();
    Object.assign(ended.clients, { connected: 3, accepted: 10 });
    const left = countersOf(takeSamples(sourceOf(ended)));
    const merged = mergeSamples([left, takeSamples(sourceOf(new ProxyMetrics()))]);
    expect(merged['ringside_clients_connected']).toEqual([{ labels: [], values: [0] }]);
    expect(merged['ringside_clients_accepted_total']).toEqual([{ labels: [], values: [10] }]);
  });
});
