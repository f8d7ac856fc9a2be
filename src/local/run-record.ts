import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { EnvironmentError } from '../base/environment-error.ts';
import { identify, isAlive, type ProcessIdentity } from './process-identity.ts';
import { writeWhole } from './written-file.ts';

/**
 * What one run of `up` leaves for the next on the same directory: who ran.
 */
export interface RunRecord {
  /** Proxy, supervisors and members of etcd, by their names, where there is a process. */
  readonly roles: Readonly<Record<string, ProcessIdentity>>;
  /** By node id: the process, and the address on which it was told to listen. */
  readonly nodes: Readonly<Record<string, RunningNode>>;
}

export interface RunningNode {
  readonly host: string;
  readonly port: number;
  readonly process: ProcessIdentity;
}

const nothing: RunRecord = { roles: {}, nodes: {} };

/** The record of the run before; an empty one when there was none, or when the file is damaged. */
export function readRunRecord(file: string): RunRecord {
  try {
    return { ...nothing, ...(JSON.parse(readFileSync(file, 'utf8')) as Partial<RunRecord>) };
  } catch {
    return nothing;
  }
}

export function writeRunRecord(file: string, record: RunRecord): void {
  writeWhole(file, `${JSON.stringify(record, null, 2)}\n`);
}

/**
 * Takes the directory for this process; throws when another living `up` has it.
 *
 * `link` creates the file whole or fails: of two that start at once exactly one gets it. A dead holder's file is moved
 * aside first, which only one of several successors can do.
 */
export function lockDirectory(file: string, directory: string): void {
  const aside = `${file}.${process.pid}`;
  writeFileSync(aside, JSON.stringify(identify(process.pid)), { mode: 0o600 });
  try {
    for (let tries = 0; tries < 10; tries += 1) {
      if (tryLink(aside, file)) return;
      const holder = readHolder(file);
      if (holder !== null && isAlive(holder)) throw new EnvironmentError(alreadyRuns(directory, holder.pid));
      moveAside(file);
    }
  } finally {
    rmSync(aside, { force: true });
  }
  throw new EnvironmentError(`cannot take ${file}: another \`ringside up\` is starting there; try again in a moment`);
}

/** Gives the directory back. */
export function unlockDirectory(file: string): void {
  if (readHolder(file)?.pid === process.pid) rmSync(file, { force: true });
}

function alreadyRuns(directory: string, pid: number): string {
  return `\`ringside up\` already runs in ${directory} (pid ${pid}): stop that one, or take another --dir (and ports)`;
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function readHolder(file: string): ProcessIdentity | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity;
  } catch {
    return null;
  }
}

function moveAside(file: string): void {
  const dead = `${file}.dead-${process.pid}`;
  try {
    renameSync(file, dead);
  } catch {
    return;
  }
  // Somebody may have taken over between our look and our move: then it is theirs, and goes back.
  const moved = readHolder(dead);
  if (moved !== null && isAlive(moved)) tryLink(dead, file);
  rmSync(dead, { force: true });
}
