/** The topology on a real disk: kept whole, by one process at a time, whatever goes wrong. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import { LockError } from '../../src/topology/file-lock.ts';
import { FileStore, type FileStoreOptions } from '../../src/topology/file-store.ts';
import { LastKnownTopology } from '../../src/topology/last-known.ts';
import type { Leadership } from '../../src/topology/store.ts';
import { exampleTopology } from './example.ts';
import { storeContract } from './store-contract.ts';

let directory = '';
let stores: FileStore[] = [];
let children: ChildProcess[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-store-'));
  stores = [];
  children = [];
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  for (const store of stores) await store.close();
  rmSync(directory, { recursive: true, force: true });
});

function optionsOf(problems: (string | null)[]): FileStoreOptions {
  return { cluster: 'shop', random: new Random(1), onProblem: problem => void problems.push(problem) };
}

async function open(path = directory, problems: (string | null)[] = []): Promise<FileStore> {
  const store = await FileStore.open(path, optionsOf(problems));
  stores.push(store);
  return store;
}

function lead(store: FileStore): Promise<Leadership> {
  return store.campaign('http://127.0.0.1:7101', new AbortController().signal);
}

/** Another process, which does nothing but live. */
async function startProcess(): Promise<ChildProcess & { pid: number }> {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  children.push(child);
  await once(child, 'spawn');
  return child as ChildProcess & { pid: number };
}

function startTime(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] as string;
}

function writeLock(holder: object): void {
  writeFileSync(join(directory, 'lock.1'), JSON.stringify(holder));
}

storeContract('a file', async () => {
  const place = mkdtempSync(join(tmpdir(), 'ringside-store-'));
  return {
    open: async (problems = []) => FileStore.open(place, optionsOf(problems)),
    depose: async () => writeFileSync(join(place, 'lock.999'), 'another'),
    damage: async () => writeFileSync(join(place, 'topology.json'), '{"cluster":'),
    remove: async () => rmSync(place, { recursive: true, force: true }),
  };
});

describe('a store in a directory', () => {
  test('makes the directory where it is missing', async () => {
    const leadership = await lead(await open(join(directory, 'made', 'anew')));
    await leadership.write(exampleTopology(1), 0);
    expect(existsSync(join(directory, 'made', 'anew', 'topology.json'))).toBe(true);
  });

  test('keeps the old document where the disk is full, says so, and leads again when there is room', async () => {
    const store = await open();
    const leadership = await lead(store);
    await leadership.write(exampleTopology(1), 0);
    // /dev/full answers every write with ENOSPC.
    symlinkSync('/dev/full', join(directory, 'topology.json.tmp'));
    await expect(leadership.write(exampleTopology(2), 1)).rejects.toThrow(
      /cannot write .*topology\.json: the disk is full/,
    );
    expect(leadership.lost.aborted).toBe(true);
    expect(await store.read()).toEqual(exampleTopology(1));
    const again = await lead(store);
    await again.write(exampleTopology(2), 1);
    expect(await store.read()).toEqual(exampleTopology(2));
    expect(readdirSync(directory).sort()).toEqual(['lock.1', 'term', 'topology.json']);
  });

  test('leads nobody before the term is on the disk', async () => {
    const problems: (string | null)[] = [];
    const store = await open(directory, problems);
    symlinkSync('/dev/full', join(directory, 'term.tmp'));
    // The link is used up by the first try.
    const leadership = await lead(store);
    expect(problems).toEqual([
      `cannot write ${join(directory, 'term')}, so nobody leads: the disk is full: make room`,
      null,
    ]);
    expect(leadership.term).toBe(1);
    expect(readFileSync(join(directory, 'term'), 'utf8')).toBe('1\n');
  });

  test('tells a term that is none, and leads nobody with it', async () => {
    writeFileSync(join(directory, 'term'), 'seven');
    await expect(lead(await open())).rejects.toThrow(/term holds no number: write into it one that is higher/);
  });

  test('counts on from a document of the first release, which has no term', async () => {
    const { term, ...withoutTerm } = exampleTopology(1);
    expect(term).toBe(0);
    writeFileSync(join(directory, 'topology.json'), JSON.stringify(withoutTerm));
    const store = await open();
    expect((await lead(store)).term).toBe(1);
    expect((await store.read())?.term).toBe(0);
  });

  test('is for this user only', async () => {
    await (await lead(await open())).write(exampleTopology(1), 0);
    expect(statSync(join(directory, 'topology.json')).mode & 0o077).toBe(0);
    expect(statSync(join(directory, 'term')).mode & 0o077).toBe(0);
  });
});

describe('a directory that cannot be used', () => {
  test('because a file stands there', async () => {
    writeFileSync(join(directory, 'file'), '');
    await expect(FileStore.open(join(directory, 'file'), optionsOf([]))).rejects.toThrow(
      /a file stands where the directory should be/,
    );
    await expect(FileStore.open(join(directory, 'file', 'below'), optionsOf([]))).rejects.toThrow(
      /a part of the path is a file/,
    );
  });

  test('because nothing can be made there', async () => {
    await expect(FileStore.open('/proc/ringside/state', optionsOf([]))).rejects.toThrow(LockError);
    await expect(FileStore.open('/proc/ringside', optionsOf([]))).rejects.toThrow(
      'cannot use the directory /proc/ringside',
    );
  });
});

describe('the lock', () => {
  test('keeps out a second supervisor while the first lives', async () => {
    const other = await startProcess();
    writeLock({ pid: other.pid, startedAt: startTime(other.pid), host: hostname() });
    await expect(FileStore.open(directory, optionsOf([]))).rejects.toThrow(
      `${directory} is in use by process ${other.pid}`,
    );
  });

  test('keeps out a second store of the same process', async () => {
    await open();
    await expect(FileStore.open(directory, optionsOf([]))).rejects.toThrow(`in use by process ${process.pid}`);
  });

  test('of a process that has crashed is taken over', async () => {
    const other = await startProcess();
    writeLock({ pid: other.pid, startedAt: startTime(other.pid), host: hostname() });
    other.kill('SIGKILL');
    await once(other, 'exit');
    await (await lead(await open())).write(exampleTopology(1), 0);
    expect(readdirSync(directory).sort()).toEqual(['lock.2', 'term', 'topology.json']);
    expect(JSON.parse(readFileSync(join(directory, 'lock.2'), 'utf8'))).toMatchObject({ pid: process.pid });
  });

  test('of a process whose pid another process has now is taken over', async () => {
    const other = await startProcess();
    writeLock({ pid: other.pid, startedAt: String(Number(startTime(other.pid)) - 1), host: hostname() });
    await (await lead(await open())).write(exampleTopology(1), 0);
  });

  test('of another machine is not judged from here', async () => {
    writeLock({ pid: 1, startedAt: '5', host: 'elsewhere' });
    await expect(FileStore.open(directory, optionsOf([]))).rejects.toThrow(
      /belongs to process 1 on elsewhere; .*empty .*lock\.1/,
    );
  });

  test('is given back at the end, and free for the next', async () => {
    await (await FileStore.open(directory, optionsOf([]))).close();
    expect(readFileSync(join(directory, 'lock.1'), 'utf8')).toBe('');
    await open();
    expect(readdirSync(directory)).toEqual(['lock.2']);
  });

  test('that was lost stops every write, and is not given back by who lost it', async () => {
    const store = await open();
    const leadership = await lead(store);
    writeFileSync(join(directory, 'lock.2'), 'another');
    await expect(leadership.write(exampleTopology(1), 0)).rejects.toThrow(`another process has taken ${directory}`);
    await expect(lead(store)).rejects.toThrow(`another process has taken ${directory}`);
    await store.close();
    expect(readFileSync(join(directory, 'lock.2'), 'utf8')).toBe('another');
    expect(existsSync(join(directory, 'topology.json'))).toBe(false);
  });
});

describe("a proxy's memory", () => {
  test('is empty at first, then the last that was saved', async () => {
    const memory = new LastKnownTopology(join(directory, 'state'), 'shop');
    expect(await memory.load()).toEqual({ topology: null, problem: null });
    expect(await memory.save(exampleTopology(4))).toBeNull();
    expect(await new LastKnownTopology(join(directory, 'state'), 'shop').load()).toEqual({
      topology: exampleTopology(4),
      problem: null,
    });
  });

  test('keeps the newest, in whatever order they are saved', async () => {
    const one = new LastKnownTopology(directory, 'shop');
    const two = new LastKnownTopology(directory, 'shop');
    await Promise.all([one.save(exampleTopology(5)), one.save(exampleTopology(6)), one.save(exampleTopology(4))]);
    await two.save(exampleTopology(3));
    expect((await two.load()).topology?.version).toBe(6);
    expect(readdirSync(directory)).toEqual(['last-topology.json']);
  });

  test('of another cluster is told and not used, then replaced', async () => {
    await new LastKnownTopology(directory, 'shop').save(exampleTopology(9));
    const other = new LastKnownTopology(directory, 'cache');
    expect(await other.load()).toMatchObject({
      topology: null,
      problem: expect.stringContaining('cluster shop, not cache'),
    });
    expect(await other.save({ ...exampleTopology(1), cluster: 'cache' })).toBeNull();
    expect((await other.load()).topology?.version).toBe(1);
  });

  test('that is damaged is told and not used, then replaced', async () => {
    writeFileSync(join(directory, 'last-topology.json'), '{"cluster":');
    const memory = new LastKnownTopology(directory, 'shop');
    expect((await memory.load()).problem).toMatch(/last-topology\.json is of no use/);
    expect(await memory.save(exampleTopology(1))).toBeNull();
    expect((await memory.load()).topology?.version).toBe(1);
  });

  test('that cannot be written is told, and stops nobody', async () => {
    writeFileSync(join(directory, 'file'), '');
    const problem = await new LastKnownTopology(join(directory, 'file'), 'shop').save(exampleTopology(1));
    expect(problem).toMatch(/cannot write .*last-topology\.json: a file stands where/);
  });
});
