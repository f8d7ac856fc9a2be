import { note, type Procedure } from './procedure.ts';
import type { LargeKey } from './setup.ts';

/**
 * Keys that are too large to be moved among others: what they are called, and for how long they hold their shard up.
 *
 * A node does nothing else while it reads or restores a value; how long that takes is reckoned by its size, at a pace
 * that is assumed at first and corrected by what was measured.
 */
export interface FoundKey {
  readonly database: number;
  /** Bytes (latin1). */
  readonly key: string;
  /** Of memory. */
  readonly bytes: number;
}

/** What no Redis takes as one value. */
export const MOST_BYTES = 512 * 1024 * 1024;
/** What a value of a megabyte or more takes to be read, sent and put in place (measured: 100 MB/s and more). */
export const ASSUMED_BYTES_PER_MS = 100_000;
/** However it was measured, it is not believed to be slower or faster than this. */
const LEAST_BYTES_PER_MS = 10_000;
const MOST_BYTES_PER_MS = 400_000;
const KEPT = 20;

export class LargeKeys {
  #bytesPerMs = ASSUMED_BYTES_PER_MS;
  #found: LargeKey[] = [];

  get found(): readonly LargeKey[] {
    return this.#found;
  }

  stallMs(bytes: number): number {
    return bytes / this.#bytesPerMs;
  }

  note(shard: string, { database, key, bytes }: FoundKey): void {
    const stallMs = Math.round(this.stallMs(bytes));
    const others = this.#found.filter(
      one => one.shard !== shard || one.database !== database || one.key !== named(key),
    );
    this.#found = [...others, { shard, database, key: named(key), bytes, stallMs }]
      .sort((a, b) => b.bytes - a.bytes)
      .slice(0, KEPT);
  }

  /** One was moved, and the slower of its two nodes took so long. */
  *moved(shard: string, { database, key, bytes }: FoundKey, tookMs: number): Procedure<void> {
    const measured = Math.min(MOST_BYTES_PER_MS, Math.max(LEAST_BYTES_PER_MS, bytes / Math.max(1, tookMs)));
    this.#bytesPerMs += (measured - this.#bytesPerMs) / 2;
    this.#found = this.#found.map(one =>
      one.shard === shard && one.database === database && one.key === named(key)
        ? { ...one, stallMs: Math.round(tookMs) }
        : one,
    );
    const text = `large key ${named(key)} of database ${database} (${megabytes(bytes)}) was moved in ${Math.round(tookMs)} ms`;
    yield* note('info', 'move', text, { shard });
  }
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

/** A key for people: bytes that are not printable as `\xHH`. */
export function named(key: string): string {
  return key.replace(/[^\x20-\x7e]/g, one => `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
