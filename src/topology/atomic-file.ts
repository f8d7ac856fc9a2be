import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeDirectory } from '../base/directory.ts';

/**
 * Replaces a file whole or not at all, also when the machine stops in the middle.
 *
 * The text goes to a file beside it, is brought to the disk, then takes the name (rename is atomic within a directory),
 * and the directory is brought to the disk too. A disk that is full leaves the old file as it was. `temporary` must be
 * used by nobody else at the same time.
 */
export async function replaceFile(file: string, text: string, temporary = `${file}.tmp`): Promise<void> {
  await makeDirectory(dirname(file));
  try {
    await writeThrough(temporary, text);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {
      // The first error is the one to tell.
    });
    throw error;
  }
  await syncDirectory(dirname(file));
}

/** What went wrong with a file, for a person: the system's word for it and what to do. */
export function fileTrouble(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const known = code === undefined ? undefined : TROUBLES[code];
  return known ?? message;
}

const TROUBLES: Record<string, string> = {
  ENOSPC: 'the disk is full: make room',
  EDQUOT: 'the disk quota is used up: make room',
  EROFS: 'the file system is read-only: choose another directory',
  EACCES: 'permission denied: give this user the right to write there, or choose another directory',
  EPERM: 'not permitted: give this user the right to write there, or choose another directory',
  ENOENT: 'no directory can be made there: choose another directory',
  ENOTDIR: 'a part of the path is a file: choose another directory',
  EEXIST: 'a file stands where the directory should be: choose another directory',
};

async function writeThrough(file: string, text: string): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
