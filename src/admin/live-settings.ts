/**
 * The settings that a proxy runs with, and what its file has come to say since.
 */
import { readFileSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { FileWatch } from '../config/file-watch.ts';
import { type ReadSettings, readSettings, type SettingsReading } from './settings-reader.ts';

export class LiveSettings {
  readonly #file: string;
  /** What the workers that serve were started with. */
  #started: ReadSettings | null = null;
  /** What they were told last. */
  #last: ReadSettings | null = null;
  #lastText: string | null = null;
  #watch: FileWatch | null = null;

  constructor(file: string) {
    this.#file = file;
  }

  /** What is in force; null before the first were taken. */
  get config(): Config | null {
    return this.#last?.config ?? null;
  }

  /** What is in the file now, for workers that are to be started; rejected with a SettingsFailure. */
  read(): Promise<SettingsReading> {
    this.#lastText = textOf(this.#file);
    return readSettings({ file: this.#file, earlier: null });
  }

  /** The workers that were started with these serve now. */
  take(reading: SettingsReading): void {
    this.#started = reading;
    this.#last = reading;
  }

  /** What is in the file now, for workers that serve already; rejected with a SettingsFailure. */
  async reload(): Promise<SettingsReading> {
    this.#lastText = textOf(this.#file);
    const earlier = { started: this.#started as ReadSettings, last: this.#last as ReadSettings };
    const reading = await readSettings({ file: this.#file, earlier });
    this.#last = reading;
    return reading;
  }

  /** Calls back when the file's text is another than what was read last. */
  watch(onChange: () => void): void {
    this.#watch = new FileWatch(this.#file, () => {
      const text = textOf(this.#file);
      // A file that is gone for a moment is being replaced; one that stays away leaves the settings as they are.
      if (text !== null && text !== this.#lastText) onChange();
    });
  }

  close(): void {
    this.#watch?.close();
  }
}

/** Null: there is none to be had. */
function textOf(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
