/**
 * Which Ringside this is, as its package file says.
 *
 * Read when first asked for: most processes never tell it.
 */
import { readFileSync } from 'node:fs';

let known: string | null = null;

/** The version, such as `0.1.0`. */
export function ringsideVersion(): string {
  if (known === null) {
    const packageFile = new URL('../../package.json', import.meta.url);
    const parsed = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };
    known = parsed.version;
  }
  return known;
}
