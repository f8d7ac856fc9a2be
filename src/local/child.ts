import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { identify, type ProcessIdentity } from './process-identity.ts';

/**
 * What can be told of a child process: who it is, how it ended, what it said last.
 */

/** A process's end in words: `status 1`, `SIGKILL`. */
export function endOf(status: number | null, signal: NodeJS.Signals | null): string {
  return signal ?? `status ${status}`;
}

/** The newest line of a log file that says something; a short sentence when there is none. */
export function lastLine(file: string): string {
  try {
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    return lines.findLast(line => line.trim() !== '') ?? `${file} is empty`;
  } catch {
    return `it left no log at ${file}`;
  }
}

/** Who a child is; null when it could not be started or is gone already (its event follows). */
export function identityOf(child: ChildProcess): ProcessIdentity | null {
  return child.pid === undefined ? null : identify(child.pid);
}
