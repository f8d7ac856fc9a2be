import type { ProcessReading } from '../../src/telemetry/process-cells.ts';

/** What a process might cost: numbers that are easy to tell apart. */
export function readingOf(): ProcessReading {
  return { residentBytes: 50e6, cpuSeconds: 1.5, lagP99Seconds: 0.001, lagMaxSeconds: 0.002 };
}
