/**
 * What one process counted, at one moment, as plain data that can go through a pipe.
 *
 * Several workers serve one proxy, and a scrape must see one. Their samples are put together by each metric's own rule
 * (`merge`). A worker that ended leaves its counters behind: a counter that fell would read as a burst after a reset.
 */
import { LATENCY_BOUNDS_SECONDS } from './histogram.ts';
import { METRICS, type Merge, type MetricRow, type MetricSource } from './metrics.ts';

/** By metric name: one entry per combination of label values. */
export type Samples = Record<string, Sample[]>;

export interface Sample {
  /** Label values in the order of the row's labels. */
  readonly labels: readonly string[];
  /** One number; of a histogram, the count of each bucket and of what is above all, then the sum in seconds. */
  readonly values: readonly number[];
}

/** Reads every metric of one worker. */
export function takeSamples(source: MetricSource): Samples {
  const samples: Samples = {};
  for (const row of METRICS) {
    const list: Sample[] = [];
    row.read(source, (values, ...labels) =>
      list.push({ labels, values: typeof values === 'number' ? [values] : values }),
    );
    samples[row.name] = list;
  }
  return samples;
}

/** Puts the samples of several processes together. Metrics that no row here knows (of another version) are left out. */
export function mergeSamples(parts: readonly Samples[]): Samples {
  const merged: Samples = {};
  for (const row of METRICS) {
    const byLabels = new Map<string, Sample>();
    for (const part of parts) {
      for (const sample of part[row.name] ?? []) {
        if (!fits(row, sample)) continue;
        const key = sample.labels.join('\0');
        const other = byLabels.get(key);
        byLabels.set(key, other === undefined ? sample : combine(row.merge, other, sample));
      }
    }
    merged[row.name] = [...byLabels.values()];
  }
  return merged;
}

/** Of a process that ended: what must go on being counted. */
export function countersOf(samples: Samples): Samples {
  const kept: Samples = {};
  for (const row of METRICS) {
    const list = samples[row.name];
    if (row.type !== 'gauge' && list !== undefined) kept[row.name] = list;
  }
  return kept;
}

/** Another version's row of the same name may have other labels or buckets; such numbers cannot be put together. */
function fits(row: MetricRow, sample: Sample): boolean {
  const values = row.type === 'histogram' ? LATENCY_BOUNDS_SECONDS.length + 2 : 1;
  return sample.labels.length === row.labels.length && sample.values.length === values;
}

function combine(merge: Merge, a: Sample, b: Sample): Sample {
  const values = a.values.map((value, i) => {
    const other = b.values[i] as number;
    if (merge === 'sum') return value + other;
    return merge === 'max' ? Math.max(value, other) : Math.min(value, other);
  });
  return { labels: a.labels, values };
}
