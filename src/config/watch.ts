import { resolve } from 'node:path';
import { compareReadings } from './changes.ts';
import type { Config } from './config.ts';
import { FileWatch } from './file-watch.ts';
import { type Loaded, loadSettings } from './load.ts';
import { ConfigError } from './mistakes.ts';

/**
 * Reads the settings anew on SIGHUP, and when the file changes.
 *
 * A file with mistakes changes nothing but the log. Where the system has no more watches to give, SIGHUP still works.
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
  readonly #watch: FileWatch;
  #current: Loaded;
  /** The mistakes told last, so that each event of the directory does not tell them again. */
  #told = '';
  readonly #onSignal = () => this.reload();

  /** Loads the file, which throws `ConfigError`, and begins to watch. */
  constructor(file: string, options: WatchOptions) {
    this.#file = resolve(file);
    this.#options = options;
    this.#started = this.#load();
    this.#current = this.#started;
    this.#watch = new FileWatch(this.#file, () => this.#read(false), options.settleMs);
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
    this.#watch.close();
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
}
