import type { z } from 'zod';

/**
 * What is wrong with a settings file, in the words in which a person is told.
 *
 * All mistakes are told at once, in the order of the file: `FILE:LINE:COLUMN: path: what is wrong, what would be right`.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** One line each. */
  readonly mistakes: readonly string[];

  constructor(mistakes: readonly string[]) {
    super(mistakes.join('\n'));
    this.mistakes = mistakes;
  }
}

/** Keys and list indices from the root of the settings to a value. */
export type SettingPath = readonly (string | number)[];

/** One mistake before its place in the file was looked up. */
export interface Mistake {
  readonly path: SettingPath;
  readonly message: string;
  /** The key itself is wrong, not its value. */
  readonly atKey?: boolean;
}

/** A path as people write it: `proxy.listen[0]`. */
export function pathText(path: SettingPath): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text;
}

/**
 * The mistakes that zod found, below `path`.
 *
 * `keysAt` gives the keys that the schema knows at a path, to propose one for a key that it does not know.
 */
export function mistakesOf(
  issues: readonly z.core.$ZodIssue[],
  path: SettingPath,
  keysAt: (path: SettingPath) => readonly string[],
): Mistake[] {
  return issues.flatMap(issue => {
    const place = [...path, ...issue.path.map(part => (typeof part === 'number' ? part : String(part)))];
    if (issue.code === 'unrecognized_keys') return issue.keys.map(key => unknownKey(place, key, keysAt(place)));
    if (issue.code === 'invalid_key') {
      return [{ path: place, message: issue.issues[0]?.message ?? issue.message, atKey: true }];
    }
    if (issue.code === 'invalid_union') return mistakesOfUnion(issue, place, keysAt);
    return [{ path: place, message: issue.message }];
  });
}

export function unknownKey(path: SettingPath, key: string, known: readonly string[]): Mistake {
  const near = nearest(key, known);
  const hint =
    near === null ? `expected ${known.length === 1 ? '' : 'one of '}${known.join(', ')}` : `did you mean ${near}?`;
  return { path: [...path, key], message: `unknown setting, ${hint}`, atKey: true };
}

/** Of several forms, a person meant the one whose outer kind fits: a map or a list. */
function mistakesOfUnion(
  issue: z.core.$ZodIssueInvalidUnion,
  path: SettingPath,
  keysAt: (path: SettingPath) => readonly string[],
): Mistake[] {
  const meant = issue.errors.find(
    issues => !issues.some(inner => inner.code === 'invalid_type' && inner.path.length === 0),
  );
  return meant ? mistakesOf(meant, path, keysAt) : [{ path, message: issue.message }];
}

/** The word that is at most a third of its letters away; null: none is. */
export function nearest(word: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein's distance: insertions, deletions and replacements, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
