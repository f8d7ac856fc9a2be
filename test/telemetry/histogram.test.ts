import { describe, expect, it } from 'vitest';
import { LATENCY_BOUNDS_SECONDS, LatencyHistogram } from '../../src/telemetry/histogram.ts';

describe('the latency histogram', () => {
  it('has bounds that ascend, one bucket for each and one for what is above', () => {
    const sorted = [...LATENCY_BOUNDS_SECONDS].sort((a, b) => a - b);
    expect(LATENCY_BOUNDS_SECONDS).toEqual(sorted);
    expect(new Set(sorted).size).toBe(sorted.length);
    expect(new LatencyHistogram().counts).toHaveLength(sorted.length + 1);
  });

  it('counts a duration that equals a bound below that bound, as Prometheus does', () => {
    const histogram = new LatencyHistogram();
    LATENCY_BOUNDS_SECONDS.forEach(bound => {
      histogram.observe(bound * 1e6);
    });
    expect([...histogram.counts]).toEqual([...LATENCY_BOUNDS_SECONDS.map(() => 1), 0]);
  });

  it('counts what is above every bound in the last bucket', () => {
    const histogram = new LatencyHistogram();
    histogram.observe(60e6);
    expect(histogram.counts.at(-1)).toBe(1);
    expect(histogram.sumUs).toBe(60e6);
  });

  it('counts a negative duration as none', () => {
    const histogram = new LatencyHistogram();
    histogram.observe(-5);
    expect(histogram.counts[0]).toBe(1);
    expect(histogram.sumUs).toBe(0);
  });
});
