import { type FSWatcher, realpathSync, watch } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { compareReadings } from './changes.ts';
import type { Config } from './config.ts';
import { type Loaded, loadSettings } from './load.ts';
import { ConfigError } from './mistakes.ts';

/**
 * Reads the settings anew on SIGHUP, and when the file changes.
 *
 * What is watched is the directory, not the file: an editor, or Kubernetes with its links, puts another file under the
 * name, and a watch on the old one would hear no more. A file with mistakes changes nothing but the log.
 */
export interface Reload {
  readonly config: Config;
  /** What differs from the settings that were in force before, as in `proxy.hold`. */
  readonly changed: readonly string[];
  /** What differs from the settings that the process was started with, and waits for a restart. */
  readonly needsRestart: readonly string[];
}

export interface WatchOptions {
  /** Called after SIGHUP or `reload()`, and when the file says something else than before. */
  readonly onReload: (reload: Reload) => void;
  /** The settings stay as they were. */
  readonly onMistakes: (error: ConfigError) => void;
  readonly environment?: NodeJS.ProcessEnv;
  /** Whether SIGHUP is heard; false where another process passes it on. Default: true. */
  readonly signals?: boolean;
  /** Pause after which a change of the file counts as done. Default: 100 ms. */
  readonly settleMs?: number;
}

export class ConfigWatch {
  readonly #file: string;
  readonly #options: WatchOptions;
  readonly #started: Loaded;
  #current: Loaded;
  /** The mistakes told last, so that each event of the directory does not tell them again. */
  #told = '';
  #watchers: FSWatcher[] = [];
  #settling: NodeJS.Timeout | null = null;
  readonly #onSignal = () => this.reload();

  /** Loads the file, which throws `ConfigError`, and begins to watch. */
  constructor(file: string, options: WatchOptions) {
    this.#file = resolve(file);
    this.#options = options;
    this.#started = this.#load();
    this.#current = this.#started;
    this.#watch();
    if (options.signals !== false) process.on('SIGHUP', this.#onSignal);
  }

  get config(): Config {
    return this.#current.config;
  }

  /** Reads the file now, and tells the outcome even when it is the same as before. */
  reload(): void {
    this.#told = '';
    this.#read(true);
  }

  close(): void {
    process.off('SIGHUP', this.#onSignal);
    if (this.#settling) clearTimeout(this.#settling);
    this.#settling = null;
    this.#unwatch();
  }

  #load(): Loaded {
    return loadSettings(this.#file, this.#options.environment);
  }

  #read(tellAlways: boolean): void {
    let next: Loaded;
    try {
      next = this.#load();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      if (error.message !== this.#told) this.#options.onMistakes(error);
      this.#told = error.message;
      return;
    }
    this.#told = '';
    const { changed } = compareReadings(this.#current, next);
    const { needsRestart } = compareReadings(this.#started, next);
    this.#current = next;
    if (tellAlways || changed.length > 0) this.#options.onReload({ config: next.config, changed, needsRestart });
  }

  /** Watches the directory of the name, and that of the file it leads to. */
  #watch(): void {
    this.#unwatch();
    for (const directory of new Set([dirname(this.#file), dirname(realPath(this.#file))])) {
      try {
        const watcher = watch(directory, { persistent: false }, () => this.#settle());
        // A directory that goes away takes the watch with it; SIGHUP still works.
        watcher.on('error', () => watcher.close());
        this.#watchers.push(watcher);
      } catch {
        // No more watches to be had (inotify's limit), or no such directory: SIGHUP still works.
      }
    }
  }

  #unwatch(): void {
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
  }

  /** A change comes as several events; the file is whole when they have ended. */
  #settle(): void {
    if (this.#settling) clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      this.#settling = null;
      this.#watch();
      this.#read(false);
    }, this.#options.settleMs ?? 100);
    this.#settling.unref();
  }
}

function realPath(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return file;
  }
}
