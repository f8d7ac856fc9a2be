/**
 * The process that reads a settings file, tells what is in it, and ends.
 */
import { compareSettings } from '../config/changes.ts';
import { loadSettings } from '../config/load.ts';
import type { ReadSettings, SettingsAnswer, SettingsRequest } from './settings-reader.ts';

/** Answers the one request that comes over the channel. */
export function tellSettings(): void {
  process.once('message', (request: SettingsRequest) => {
    process.send?.(answerTo(request), undefined, undefined, () => process.disconnect());
  });
}

function answerTo({ file, earlier }: SettingsRequest): SettingsAnswer {
  try {
    const { config, settings } = loadSettings(file);
    const now = { config, settings };
    const changed = earlier === null ? [] : differences(earlier.last, now).changed;
    const needsRestart = earlier === null ? [] : differences(earlier.started, now).needsRestart;
    return { ok: true, reading: { ...now, changed, needsRestart } };
  } catch (error) {
    if ((error as Error).name !== 'ConfigError') throw error;
    return { ok: false, mistakes: (error as Error).message };
  }
}

/** What a secret's file holds is no setting by itself, but as good as one. */
function differences(before: ReadSettings, after: ReadSettings): { changed: string[]; needsRestart: string[] } {
  const { changed, needsRestart } = compareSettings(before.settings, after.settings);
  const file = before.settings.secretFile;
  const another =
    file !== undefined && file === after.settings.secretFile && before.config.secret !== after.config.secret;
  const also = another ? ['secretFile'] : [];
  return { changed: [...changed, ...also], needsRestart: [...needsRestart, ...also] };
}
