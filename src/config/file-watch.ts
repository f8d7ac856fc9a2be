/**
 * Tells when a file may have changed, however it was put there.
 *
 * What is watched is the directory, not the file: an editor, or Kubernetes with its links, puts another file under the
 * name, and a watch on the old one would hear no more.
 */
import { type FSWatcher, realpathSync, watch } from 'node:fs';
import { dirname, resolve } from 'node:path';

const SETTLE_MS = 100;
/** In a directory where something is always written, the pause never comes. */
const LONGEST_SETTLE_MS = 1000;

export class FileWatch {
  readonly #file: string;
  readonly #onEvent: () => void;
  readonly #settleMs: number;
  #watchers: FSWatcher[] = [];
  #settling: NodeJS.Timeout | null = null;
  /** When the first event came since the last call. */
  #firstEventMs = 0;

  /**
   * `onEvent` is called after anything has happened in the file's directory: whether the file differs is to be seen.
   * A change comes as several events; after a pause of `settleMs` it counts as done.
   */
  constructor(file: string, onEvent: () => void, settleMs = SETTLE_MS) {
    this.#file = resolve(file);
    this.#onEvent = onEvent;
    this.#settleMs = settleMs;
    this.#watch();
  }

  close(): void {
    if (this.#settling !== null) clearTimeout(this.#settling);
    this.#settling = null;
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
  }

  /** The directory of the name, and that of the file it leads to. */
  #watch(): void {
    for (const directory of new Set([dirname(this.#file), dirname(realPath(this.#file))])) {
      try {
        const watcher = watch(directory, { persistent: false }, () => this.#settle());
        // A directory that goes away takes the watch with it.
        watcher.on('error', () => watcher.close());
        this.#watchers.push(watcher);
      } catch {
        // The system has no more watches to give, or the directory is gone: whoever is told otherwise reads the file.
      }
    }
  }

  #settle(): void {
    const nowMs = performance.now();
    if (this.#settling === null) this.#firstEventMs = nowMs;
    else clearTimeout(this.#settling);
    const leftMs = Math.max(0, this.#firstEventMs + LONGEST_SETTLE_MS - nowMs);
    this.#settling = setTimeout(() => this.#settled(), Math.min(this.#settleMs, leftMs));
    this.#settling.unref();
  }

  #settled(): void {
    // The name may lead to a file in another directory now.
    this.close();
    this.#watch();
    this.#onEvent();
  }
}

function realPath(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return file;
  }
}
