/**
 * Reads a settings file in a process that ends at once.
 *
 * The parser and the schema take 15 MB, which a process that runs for months would hold for the sake of its first
 * moment. What comes back is the plain result.
 */
import { fork } from 'node:child_process';
import type { Config } from '../config/config.ts';
import type { Settings } from '../config/schema.ts';

/** First argument of the process that reads; only a process with a channel to its parent understands it. */
export const SETTINGS_WORD = 'read-settings';

/** What is wrong with the file, one line per mistake. */
export class SettingsFailure extends Error {
  override readonly name = 'SettingsFailure';
}

/** A file's settings at one moment. */
export interface ReadSettings {
  readonly config: Config;
  /** Under the names that a person writes, to be compared with another reading. */
  readonly settings: Settings;
}

/** A reading, held against two earlier ones. */
export interface SettingsReading extends ReadSettings {
  /** Names of what differs from what was read last. */
  readonly changed: readonly string[];
  /** Names of what differs from what the processes were started with, and cannot change while they run. */
  readonly needsRestart: readonly string[];
}

/** What the reading process is asked. */
export interface SettingsRequest {
  readonly file: string;
  readonly earlier: { readonly started: ReadSettings; readonly last: ReadSettings } | null;
}

/** What it answers. */
export type SettingsAnswer =
  | { readonly ok: true; readonly reading: SettingsReading }
  | { readonly ok: false; readonly mistakes: string };

/** The settings as they are on disk now; rejected with a SettingsFailure. */
export function readSettings(request: SettingsRequest): Promise<SettingsReading> {
  return new Promise((resolve, reject) => {
    const reader = fork(process.argv[1] as string, [SETTINGS_WORD]);
    let answer: SettingsAnswer | null = null;
    reader.send(request, () => undefined);
    reader.once('message', (message: SettingsAnswer) => {
      answer = message;
    });
    reader.once('error', reject);
    reader.once('exit', (code, signal) => {
      if (answer === null)
        reject(new Error(`reading ${request.file} failed: the process ended with ${signal ?? code}`));
      else if (answer.ok) resolve(answer.reading);
      else reject(new SettingsFailure(answer.mistakes));
    });
  });
}
