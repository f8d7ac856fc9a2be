/**
 * Samples as Prometheus reads them, by prom-client.
 *
 * prom-client is given numbers that were counted elsewhere, at scrape time only. It is loaded at the first scrape:
 * a proxy that nobody scrapes does not pay for it.
 */
import type { MetricValue, Registry } from 'prom-client';
import { LATENCY_BOUNDS_SECONDS } from './histogram.ts';
import { METRICS, type MetricRow } from './metrics.ts';
import type { Sample, Samples } from './samples.ts';

/** The package's other parts, its default metrics and the push gateway, would cost 10 MB and are not used. */
const REGISTRY_MODULE: string = 'prom-client/lib/registry.js';

/** A scrape's answer. */
export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

/** Writes the samples in the text format, with help and type of every metric, those without a sample included. */
export async function exposition(samples: Samples): Promise<Exposition> {
  const { default: RegistryClass } = (await import(REGISTRY_MODULE)) as { default: typeof Registry };
  const registry = new RegistryClass();
  for (const row of METRICS) register(registry, row, samples[row.name] ?? []);
  return { contentType: registry.contentType, text: await registry.metrics() };
}

/** The registry asks a metric for nothing but its name and what `get` gives. */
function register(registry: Registry, row: MetricRow, samples: readonly Sample[]): void {
  const values =
    row.type === 'histogram' ? samples.flatMap(s => histogramSeries(row, s)) : samples.map(s => plain(row, s));
  const got = { name: row.name, help: row.help, type: row.type, aggregator: 'sum', values };
  const metric = { name: row.name, get: async () => got };
  registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0]);
}

function plain(row: MetricRow, sample: Sample): MetricValue<string> {
  return { value: sample.values[0] as number, labels: labelsOf(row, sample) };
}

/** Prometheus's buckets are cumulative; the last, `+Inf`, is the count of all. */
function histogramSeries(row: MetricRow, sample: Sample): (MetricValue<string> & { metricName: string })[] {
  const labels = labelsOf(row, sample);
  const series: (MetricValue<string> & { metricName: string })[] = [];
  let count = 0;
  for (let i = 0; i <= LATENCY_BOUNDS_SECONDS.length; i += 1) {
    count += sample.values[i] as number;
    const le = LATENCY_BOUNDS_SECONDS[i] ?? '+Inf';
    series.push({ metricName: `${row.name}_bucket`, labels: { le, ...labels }, value: count });
  }
  series.push({ metricName: `${row.name}_sum`, labels, value: sample.values.at(-1) as number });
  series.push({ metricName: `${row.name}_count`, labels, value: count });
  return series;
}

function labelsOf(row: MetricRow, sample: Sample): Record<string, string> {
  const labels: Record<string, string> = {};
  row.labels.forEach((name, i) => {
    labels[name] = sample.labels[i] as string;
  });
  return labels;
}
