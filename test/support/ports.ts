import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Test ports lie below those that the system gives out by itself (from 32768 on), so that none is taken in between. */
const FIRST = 20_001;
const LAST = 32_000;

/**
 * A file for each port that a test process of this machine has taken, with its pid in it. What a test starts listens only
 * later, and may be down for a while: that nobody listens there does not say that nobody will.
 */
const TAKEN = path.join(tmpdir(), 'ringside-test-ports');
/** A file without a pid in it is being written, unless it is older than this. */
const WRITTEN_MS = 10_000;

const mine: string[] = [];
process.once('exit', () => {
  for (const file of mine) if (isOurs(file)) rmSync(file, { force: true });
});

/** The first of `count` neighbouring ports on which nobody listens; they are this process's until it ends. */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 500; tries += 1) {
    const first = FIRST + Math.floor(Math.random() * (LAST - FIRST - count));
    const ports = Array.from({ length: count }, (_, index) => first + index);
    if (!take(ports) || !(await Promise.all(ports.map(isFree))).every(Boolean)) continue;
    // Who found a file that an earlier process had left behind in the same instant may have put theirs in place of ours.
    if (ports.every(port => isOurs(fileOf(port)))) return first;
  }
  throw new Error(`found no ${count} free ports between ${FIRST} and ${LAST}`);
}

function fileOf(port: number): string {
  return path.join(TAKEN, String(port));
}

/** Takes all of them or none. */
function take(ports: readonly number[]): boolean {
  mkdirSync(TAKEN, { recursive: true });
  const taken: string[] = [];
  for (const port of ports) {
    const file = fileOf(port);
    if (!takeOne(file)) {
      for (const other of taken) rmSync(other, { force: true });
      return false;
    }
    taken.push(file);
  }
  // One on which somebody listens stays taken as well: nobody need try it again.
  mine.push(...taken);
  return true;
}

function takeOne(file: string): boolean {
  if (write(file)) return true;
  if (isHeld(file)) return false;
  // An earlier process has left it behind.
  rmSync(file, { force: true });
  return write(file);
}

/** False: it is there already. */
function write(file: string): boolean {
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function isOurs(file: string): boolean {
  try {
    return readFileSync(file, 'utf8') === String(process.pid);
  } catch {
    return false;
  }
}

function isHeld(file: string): boolean {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    if (pid === 0) return Date.now() - statSync(file).mtimeMs < WRITTEN_MS;
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Of another user, it runs all the same.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
