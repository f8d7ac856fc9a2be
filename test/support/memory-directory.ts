/**
 * A new directory for processes that wait for the disk at every write, as etcd does: in memory where there is room for it,
 * so that a machine with a slow disk, or tests that use it meanwhile, do not depose a leader.
 */
import { mkdtempSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const MEMORY = '/dev/shm';
/** Each of three members of etcd sets aside twice 64 MB before it writes anything. */
const ROOM_BYTES = 1e9;

/** Whoever asks for it removes it. */
export function memoryDirectory(prefix: string): string {
  return mkdtempSync(path.join(hasRoom() ? MEMORY : tmpdir(), prefix));
}

function hasRoom(): boolean {
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    return bavail * bsize > ROOM_BYTES;
  } catch {
    return false;
  }
}
