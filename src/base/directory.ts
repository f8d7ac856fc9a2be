import { mkdirSync, statSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a directory and those around it that are missing, each with the same mode.
 *
 * Not by `mkdir`'s own `recursive`: where a directory can never be made, as in /proc, that tries for ever (Node 20), and
 * the synchronous one lets nothing else run meanwhile. Both ways here throw the system's own error, which has the path
 * and the reason.
 */
export async function makeDirectory(directory: string, mode: number = OWNER_ONLY): Promise<void> {
  try {
    await mkdir(directory, mode);
  } catch (error) {
    if ((await stat(directory).catch(() => null))?.isDirectory() === true) return;
    const around = dirname(directory);
    if (!isMissing(error) || (await stat(around).catch(() => null)) !== null) throw error;
    await makeDirectory(around, mode);
    await makeDirectory(directory, mode);
  }
}

/** As `makeDirectory`, done when it returns. */
export function makeDirectorySync(directory: string, mode: number = OWNER_ONLY): void {
  try {
    mkdirSync(directory, mode);
  } catch (error) {
    if (isDirectory(directory)) return;
    const around = dirname(directory);
    if (!isMissing(error) || isThere(around)) throw error;
    makeDirectorySync(around, mode);
    makeDirectorySync(directory, mode);
  }
}

/** What a directory gets from the system's umask alone: it need not be hidden from other users. */
export const AS_UMASK = 0o777;
const OWNER_ONLY = 0o700;

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function isThere(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch {
    return false;
  }
}
