import { pathText } from './mistakes.ts';
import { type Settings, schema } from './schema.ts';
import { isLive, keysAt } from './schema-walk.ts';

/**
 * What is different between two versions of a settings file, and what of it a running process can take up.
 */
export interface SettingChanges {
  /** Paths as people write them, such as `proxy.hold`; a list counts as one value. */
  readonly changed: readonly string[];
  /** Those of them that only a restart brings. */
  readonly needsRestart: readonly string[];
}

export function compareSettings(before: Settings, after: Settings): SettingChanges {
  const paths = changedPaths(before, after, []);
  return {
    changed: paths.map(pathText),
    needsRestart: paths.filter(path => !isLive(schema, path)).map(pathText),
  };
}

/** As `compareSettings`, for two readings of one file: what a secret's file holds is no setting, but as good as one. */
export function compareReadings(before: Reading, after: Reading): SettingChanges {
  const { changed, needsRestart } = compareSettings(before.settings, after.settings);
  const file = before.settings.secretFile;
  const isOther =
    before.config.secret !== after.config.secret && file !== undefined && file === after.settings.secretFile;
  const also = isOther ? ['secretFile'] : [];
  return { changed: [...changed, ...also], needsRestart: [...needsRestart, ...also] };
}

interface Reading {
  readonly config: { readonly secret: string };
  readonly settings: Settings;
}

function changedPaths(before: unknown, after: unknown, path: readonly string[]): string[][] {
  if (isMap(before) && isMap(after) && keysAt(schema, path).length > 0) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys].flatMap(key => changedPaths(before[key], after[key], [...path, key]));
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [[...path]];
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
