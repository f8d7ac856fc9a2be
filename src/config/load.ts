import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Config } from './config.ts';
import { crossCheck } from './cross-checks.ts';
import { SettingsDocument } from './document.ts';
import { ConfigError, type Mistake, mistakesOf, pathText, type SettingPath, unknownKey } from './mistakes.ts';
import { prepare } from './prepare.ts';
import { resolveConfig } from './resolve.ts';
import { checkRules } from './rule-checks.ts';
import { type Settings, schema, sections } from './schema.ts';
import { keysAt } from './schema-walk.ts';

/**
 * Reads a settings file: text, then values, then checked settings, then the one `Config` that every part reads.
 */
export interface Loaded {
  readonly config: Config;
  /** What the file says, defaults filled in, under the names that a person writes. */
  readonly settings: Settings;
}

/** Loads a file; throws `ConfigError` with all its mistakes. `file` stands in them as it is given. */
export function loadConfig(file: string, environment: NodeJS.ProcessEnv = process.env): Config {
  return loadSettings(file, environment).config;
}

/** As `loadConfig`, with what is needed to compare two versions of a file. */
export function loadSettings(file: string, environment: NodeJS.ProcessEnv = process.env): Loaded {
  const document = new SettingsDocument(readSettings(file), environment);
  const { values, problems } = document;
  if (!isMap(values)) {
    throw new ConfigError(problems.length > 0 ? mistakeLines(file, document, []) : [emptyLine(file)]);
  }
  const { settings, mistakes } = checkSections(values);
  mistakes.push(...crossCheck(settings), ...checkRules(settings));
  const directory = dirname(resolve(file));
  const secret = readSecret(settings, directory, values, mistakes);
  mistakes.push(...checkFiles(settings, directory), ...checkSocketPaths(settings, directory));
  if (mistakes.length > 0 || problems.length > 0) throw new ConfigError(mistakeLines(file, document, mistakes));
  // Without a mistake every section is there.
  const whole = settings as Settings;
  return { config: resolveConfig(resolve(file), whole, secret), settings: whole };
}

function readSettings(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const reason =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : (error as Error).message;
    throw new ConfigError([`${file}: cannot be read (${reason}), expected a settings file`]);
  }
}

function emptyLine(file: string): string {
  return `${file}:1:1: holds no settings, expected a map with at least cluster, secret and nodes`;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkSections(values: Record<string, unknown>): { settings: Partial<Settings>; mistakes: Mistake[] } {
  const mistakes: Mistake[] = [];
  const settings: Record<string, unknown> = {};
  for (const key of Object.keys(values)) {
    if (!Object.hasOwn(sections, key)) mistakes.push(unknownKey([], key, Object.keys(sections)));
  }
  for (const [key, section] of Object.entries(sections)) {
    const checked = section.safeParse(prepare(values[key], section));
    if (checked.success) settings[key] = checked.data;
    else mistakes.push(...mistakesOf(checked.error.issues, [key], path => keysAt(schema, path)));
  }
  return { settings: settings as Partial<Settings>, mistakes };
}

/** The secret, from wherever the file says; empty when that is a mistake. */
function readSecret(
  settings: Partial<Settings>,
  directory: string,
  values: Record<string, unknown>,
  mistakes: Mistake[],
): string {
  const { secret, secretFile } = settings;
  if (values['secret'] !== undefined && values['secretFile'] !== undefined) {
    mistakes.push({ path: ['secretFile'], message: 'is given beside secret, expected only one of the two' });
    return '';
  }
  if (values['secret'] === undefined && values['secretFile'] === undefined) {
    mistakes.push({ path: ['secret'], message: `missing, expected secret: \${RINGSIDE_SECRET}, or a secretFile` });
    return '';
  }
  if (secretFile === undefined) return secret ?? '';
  return readSecretFile(resolve(directory, secretFile), mistakes);
}

function readSecretFile(file: string, mistakes: Mistake[]): string {
  let secret = '';
  try {
    secret = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    mistakes.push({
      path: ['secretFile'],
      message: `${file} cannot be read (${reasonOf(error)}), expected a file with the secret`,
    });
    return '';
  }
  if (secret.length >= 16) return secret;
  mistakes.push({ path: ['secretFile'], message: `${file} holds ${secret.length} characters, expected at least 16` });
  return '';
}

function checkFiles(settings: Partial<Settings>, directory: string): Mistake[] {
  const files: [SettingPath, string | undefined][] = [];
  for (const key of ['ca', 'cert', 'key'] as const) {
    files.push([['nodeAccess', 'tls', key], settings.nodeAccess?.tls?.[key]]);
    files.push([['proxy', 'tls', key], settings.proxy?.tls?.[key]]);
    files.push([['supervisor', 'store', 'etcd', 'tls', key], settings.supervisor?.store.etcd?.tls?.[key]]);
  }
  return files.flatMap(([path, file]) => {
    const reason = file === undefined ? null : unreadable(resolve(directory, file));
    return reason === null ? [] : [{ path, message: `${reason}, expected a PEM file that this user may read` }];
  });
}

function unreadable(file: string): string | null {
  try {
    accessSync(file, constants.R_OK);
    return statSync(file).isFile() ? null : `${file} is no file`;
  } catch (error) {
    return `${file} cannot be read (${reasonOf(error)})`;
  }
}

/** A socket's path has at most 107 bytes on Linux (`sun_path` of unix(7), less its closing zero). */
function checkSocketPaths(settings: Partial<Settings>, directory: string): Mistake[] {
  return (settings.proxy?.listen ?? []).flatMap((address, index) => {
    if (address.kind !== 'unix') return [];
    const length = Buffer.byteLength(resolve(directory, address.path));
    if (length <= 107) return [];
    const message = `the path has ${length} bytes, expected at most 107, which is all that the system takes`;
    return [{ path: ['proxy', 'listen', index], message }];
  });
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such file';
  return code === 'EACCES' ? 'permission denied' : message;
}

/** All that is wrong, in the order of the file. A value that the environment lacks is wrong for that reason alone. */
function mistakeLines(file: string, document: SettingsDocument, mistakes: readonly Mistake[]): string[] {
  const unset = new Set(document.problems.map(({ path }) => pathText(path)));
  const placed = mistakes
    .filter(({ path }) => !unset.has(pathText(path)))
    .map(({ path, message, atKey }) => {
      const position = atKey ? document.positionOfKey(path) : document.positionOf(path);
      return { ...position, path, message };
    });
  return [...document.problems, ...placed]
    .sort((a, b) => a.line - b.line || a.column - b.column)
    .map(({ line, column, path, message }) => formatLine(file, line, column, path, message));
}

function formatLine(file: string, line: number, column: number, path: SettingPath, message: string): string {
  const where = path.length === 0 ? '' : `${pathText(path)}: `;
  return `${file}:${line}:${column}: ${where}${message}`;
}
