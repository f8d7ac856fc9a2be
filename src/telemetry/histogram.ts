/**
 * How long things took, counted into fixed buckets: one array of numbers, nothing allocated per observation.
 *
 * The bounds are the 1-2.5-5 series from 50 µs to 10 s: fine enough to tell a cache hit from a slow script, few enough
 * that twenty shards stay small on a scrape. Which commands are observed (all, or one in n) is the caller's choice.
 */
const BOUNDS_US: readonly number[] = [
  50, 100, 250, 500, 1e3, 2500, 5e3, 1e4, 25e3, 5e4, 1e5, 25e4, 5e5, 1e6, 25e5, 5e6, 1e7,
];

/** Upper bounds of the buckets in seconds, inclusive, ascending: Prometheus's `le`, without `+Inf`. */
export const LATENCY_BOUNDS_SECONDS: readonly number[] = BOUNDS_US.map(us => us / 1e6);

/** Durations by bucket. */
export class LatencyHistogram {
  /** How many observations fell into each bucket (not cumulative); the last one takes what is above every bound. */
  readonly counts = new Float64Array(BOUNDS_US.length + 1);
  /** Sum of all observations, in microseconds. */
  sumUs = 0;

  /** Counts one duration, in microseconds; what a clock that stepped back made negative counts as nothing. */
  observe(durationUs: number): void {
    const us = Math.max(durationUs, 0);
    let bucket = 0;
    while (bucket < BOUNDS_US.length && us > (BOUNDS_US[bucket] as number)) bucket += 1;
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.sumUs += us;
  }
}
