/**
 * What a process costs and how late it is: memory, processor time, event loop lag.
 *
 * The lag is watched by the runtime's own histogram; nothing of ours runs between two scrapes.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

/** How often the runtime looks at the loop. What it records contains this interval, which is taken off again. */
const RESOLUTION_MS = 50;

/** What one reading found. */
export interface ProcessReading {
  readonly residentBytes: number;
  /** User and system time since the process began, in seconds. */
  readonly cpuSeconds: number;
  /** 99th percentile and longest delay of the event loop since the reading before, in seconds. */
  readonly lagP99Seconds: number;
  readonly lagMaxSeconds: number;
}

/** Watches this process from the moment it is made. */
export class ProcessCells {
  readonly #delay: IntervalHistogram;

  constructor() {
    this.#delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.#delay.enable();
  }

  /** Reads, and begins a new window for the lag. */
  read(): ProcessReading {
    const cpu = process.cpuUsage();
    const reading = {
      residentBytes: process.memoryUsage.rss(),
      cpuSeconds: (cpu.user + cpu.system) / 1e6,
      lagP99Seconds: lagSeconds(this.#delay.percentile(99)),
      lagMaxSeconds: lagSeconds(this.#delay.max),
    };
    this.#delay.reset();
    return reading;
  }

  /** Stops watching, so that the process can end by itself. */
  close(): void {
    this.#delay.disable();
  }
}

/** The histogram's nanoseconds without the interval. An empty one has a maximum of 0. */
function lagSeconds(recordedNs: number): number {
  return Math.max(0, recordedNs / 1e9 - RESOLUTION_MS / 1e3);
}
