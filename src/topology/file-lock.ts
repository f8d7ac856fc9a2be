import { link, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { makeDirectory } from '../base/directory.ts';
import { fileTrouble } from './atomic-file.ts';

/**
 * Keeps a directory to one process at a time, without the help of the kernel, which Node does not offer.
 *
 * The holder is whoever made the file `lock.N` with the greatest N. It names its holder by pid and start time: a pid
 * alone may be another process's by now, and so a holder that crashed is told from one that lives.
 *
 *   lock.7 of a dead process ──▶ link lock.8 (fails where it exists) ──▶ is mine still the greatest? ──▶ delete lock.7
 *
 * Invariant: the greatest N never shrinks, so that no two processes make the same step from the same stale holder. That
 * is why the lock is given back by emptying the file and not by deleting it. Rejected: one file that is moved aside when
 * stale; of eight processes that found one at the same time, three went on to hold it.
 */
export class FileLock {
  readonly #directory: string;
  readonly #number: number;
  readonly #content: string;

  private constructor(directory: string, number: number, content: string) {
    this.#directory = directory;
    this.#number = number;
    this.#content = content;
  }

  /** Takes the lock of a directory, which is made where it is missing; throws `LockError`. */
  static async take(directory: string): Promise<FileLock> {
    const content = JSON.stringify(await self());
    try {
      await makeDirectory(directory);
      return new FileLock(directory, await takeNumber(directory, content), content);
    } catch (error) {
      if (error instanceof LockError) throw error;
      throw new LockError(`cannot use the directory ${directory}: ${fileTrouble(error)}`);
    }
  }

  /** Whether nobody has taken the lock from this process, believing it dead. */
  async isHeld(): Promise<boolean> {
    const greatest = (await lockNumbers(this.#directory)).at(-1);
    return greatest === this.#number && (await readOrNull(fileOf(this.#directory, greatest))) === this.#content;
  }

  async release(): Promise<void> {
    if (await this.isHeld()) await writeFile(fileOf(this.#directory, this.#number), RELEASED);
  }
}

export class LockError extends Error {
  override readonly name = 'LockError';
}

interface Holder {
  readonly pid: number;
  /** Clock ticks from the machine's start to the process's (field 22 of /proc/PID/stat); null: no such file here. */
  readonly startedAt: string | null;
  readonly host: string;
}

/** What stands in the file of nobody. */
const RELEASED = '';
/** Each further attempt means that another process has just taken the lock, and that it has ended since. */
const ATTEMPTS = 10;

async function takeNumber(directory: string, content: string): Promise<number> {
  const own = join(directory, `lock-of-${process.pid}`);
  await writeFile(own, content, { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const number = await tryNextNumber(directory, own);
      if (number !== null) return number;
    }
    throw new LockError(`${directory}: other processes take it again and again; start again`);
  } finally {
    await rm(own, { force: true });
  }
}

/** Null: somebody else was quicker. */
async function tryNextNumber(directory: string, own: string): Promise<number | null> {
  const greatest = (await lockNumbers(directory)).at(-1) ?? 0;
  if (greatest > 0) await refuseIfAlive(directory, greatest);
  const next = greatest + 1;
  if (!(await linkIfFree(own, fileOf(directory, next)))) return null;
  const numbers = await lockNumbers(directory);
  // The one that was looked at may have been old news: then a greater one is there.
  const isGreatest = numbers.at(-1) === next;
  for (const number of numbers) {
    if (isGreatest ? number < next : number === next) await rm(fileOf(directory, number), { force: true });
  }
  return isGreatest ? next : null;
}

async function linkIfFree(own: string, file: string): Promise<boolean> {
  try {
    await link(own, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** The numbers in use, the greatest last. */
async function lockNumbers(directory: string): Promise<number[]> {
  const numbers = (await readdir(directory)).flatMap(name => {
    const number = /^lock\.(\d{1,15})$/.exec(name)?.[1];
    return number === undefined ? [] : [Number(number)];
  });
  return numbers.sort((a, b) => a - b);
}

function fileOf(directory: string, number: number): string {
  return join(directory, `lock.${number}`);
}

async function refuseIfAlive(directory: string, number: number): Promise<void> {
  const holder = parseHolder((await readOrNull(fileOf(directory, number))) ?? RELEASED);
  if (holder === null) return;
  if (holder.host !== hostname()) {
    const remedy = `if that machine is gone, empty ${fileOf(directory, number)}`;
    throw new LockError(`${directory} belongs to process ${holder.pid} on ${holder.host}; ${remedy}`);
  }
  if (!(await isAlive(holder))) return;
  throw new LockError(`${directory} is in use by process ${holder.pid}; end it first, or choose another directory`);
}

/** Null: the lock was given back. (A holder's file is never seen half written: it appears by `link`.) */
function parseHolder(content: string): Holder | null {
  try {
    const { pid, startedAt, host } = JSON.parse(content) as Partial<Holder>;
    return Number.isInteger(pid) && typeof host === 'string'
      ? { pid: pid as number, startedAt: startedAt ?? null, host }
      : null;
  } catch {
    return null;
  }
}

async function self(): Promise<Holder> {
  return { pid: process.pid, startedAt: await startTimeOf(process.pid), host: hostname() };
}

async function isAlive({ pid, startedAt }: Holder): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives, but belongs to another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return startedAt === null || (await startTimeOf(pid)) === startedAt;
}

/** Null where there is no /proc, no such process, or only its zombie. The name in field 2 may hold spaces and brackets itself. */
async function startTimeOf(pid: number): Promise<string | null> {
  const stat = await readOrNull(`/proc/${pid}/stat`);
  if (stat === null) return null;
  const fieldsFromThird = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie holds nothing any more; it waits for a parent that may never ask.
  if (fieldsFromThird[0] === 'Z' || fieldsFromThird[0] === 'X') return null;
  return fieldsFromThird[22 - 3] ?? null;
}

async function readOrNull(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch(error => {
    ignoreMissing(error);
    return null;
  });
}

function ignoreMissing(error: unknown): void {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOENT' && code !== 'ESRCH') throw error;
}
