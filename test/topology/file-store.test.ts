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
import { LockError } from '../../src/topology/file-lock.ts';
import { FileStore, StoreConflict, StoreError } from '../../src/topology/file-store.ts';
import { LastKnownTopology } from '../../src/topology/last-known.ts';
import { exampleTopology } from './example.ts';

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

async function open(path = directory): Promise<FileStore> {
  const store = await FileStore.open(path);
  stores.push(store);
  return store;
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

describe('the store', () => {
  test('holds nothing at first, then what was written, for the next process too', async () => {
    const store = await open(join(directory, 'made', 'anew'));
    expect(await store.read()).toBeNull();
    await store.write(exampleTopology(1), 0);
    await store.write(exampleTopology(2), 1);
    expect(await store.read()).toEqual(exampleTopology(2));
    await store.close();
    expect(await (await open(join(directory, 'made', 'anew'))).read()).toEqual(exampleTopology(2));
  });

  test('takes a change only from who has read the version before it', async () => {
    const store = await open();
    await store.write(exampleTopology(1), 0);
    await expect(store.write(exampleTopology(1), 0)).rejects.toMatchObject({ name: 'StoreConflict', present: 1 });
    await expect(store.write(exampleTopology(3), 1)).rejects.toBeInstanceOf(StoreConflict);
    expect((await store.read())?.version).toBe(1);
  });

  test('lets one of many writers at a time win', async () => {
    const store = await open();
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => store.write(exampleTopology(1), 0)));
    expect(outcomes.filter(outcome => outcome.status === 'fulfilled').length).toBe(1);
    const reasons = outcomes.flatMap(outcome => (outcome.status === 'rejected' ? [outcome.reason] : []));
    expect(reasons.every(reason => reason instanceof StoreConflict)).toBe(true);
  });

  test('writes no topology that contradicts itself', async () => {
    const store = await open();
    const wrong = { ...exampleTopology(1), nodes: exampleTopology(1).nodes.slice(1) };
    await expect(store.write(wrong, 0)).rejects.toThrow('its member a1 is no node');
    expect(await store.read()).toBeNull();
  });

  test('leaves the old document where the disk is full, says so, and works again afterwards', async () => {
    const store = await open();
    await store.write(exampleTopology(1), 0);
    // /dev/full answers every write with ENOSPC.
    symlinkSync('/dev/full', join(directory, 'topology.json.tmp'));
    await expect(store.write(exampleTopology(2), 1)).rejects.toThrow(/cannot write .*topology\.json: the disk is full/);
    expect(await store.read()).toEqual(exampleTopology(1));
    expect(readdirSync(directory).sort()).toEqual(['lock.1', 'topology.json']);
    await store.write(exampleTopology(2), 1);
    expect(await store.read()).toEqual(exampleTopology(2));
  });

  test('tells a document that is damaged, and does not write over it', async () => {
    const store = await open();
    await store.write(exampleTopology(1), 0);
    const file = join(directory, 'topology.json');
    writeFileSync(file, readFileSync(file, 'utf8').slice(0, 100));
    await expect(store.read()).rejects.toThrow(
      /topology\.json holds no usable topology .*put back a copy.*start every proxy again without its last-topology\.json/,
    );
    await expect(store.write(exampleTopology(2), 1)).rejects.toBeInstanceOf(StoreError);
    expect(readFileSync(file, 'utf8').length).toBe(100);
  });

  test('is for this user only', async () => {
    const store = await open();
    await store.write(exampleTopology(1), 0);
    expect(statSync(join(directory, 'topology.json')).mode & 0o077).toBe(0);
  });
});

describe('a directory that cannot be used', () => {
  test('because a file stands there', async () => {
    writeFileSync(join(directory, 'file'), '');
    await expect(FileStore.open(join(directory, 'file'))).rejects.toThrow(
      /a file stands where the directory should be/,
    );
    await expect(FileStore.open(join(directory, 'file', 'below'))).rejects.toThrow(/a part of the path is a file/);
  });

  test('because nothing can be made there', async () => {
    await expect(FileStore.open('/proc/ringside/state')).rejects.toThrow(LockError);
    await expect(FileStore.open('/proc/ringside')).rejects.toThrow('cannot use the directory /proc/ringside');
  });
});

describe('the lock', () => {
  test('keeps out a second supervisor while the first lives', async () => {
    const other = await startProcess();
    writeLock({ pid: other.pid, startedAt: startTime(other.pid), host: hostname() });
    await expect(FileStore.open(directory)).rejects.toThrow(`${directory} is in use by process ${other.pid}`);
  });

  test('keeps out a second store of the same process', async () => {
    await open();
    await expect(FileStore.open(directory)).rejects.toThrow(`in use by process ${process.pid}`);
  });

  test('of a process that has crashed is taken over', async () => {
    const other = await startProcess();
    writeLock({ pid: other.pid, startedAt: startTime(other.pid), host: hostname() });
    other.kill('SIGKILL');
    await once(other, 'exit');
    await (await open()).write(exampleTopology(1), 0);
    expect(readdirSync(directory).sort()).toEqual(['lock.2', 'topology.json']);
    expect(JSON.parse(readFileSync(join(directory, 'lock.2'), 'utf8'))).toMatchObject({ pid: process.pid });
  });

  test('of a process whose pid another process has now is taken over', async () => {
    const other = await startProcess();
    writeLock({ pid: other.pid, startedAt: String(Number(startTime(other.pid)) - 1), host: hostname() });
    await (await open()).write(exampleTopology(1), 0);
  });

  test('of another machine is not judged from here', async () => {
    writeLock({ pid: 1, startedAt: '5', host: 'elsewhere' });
    await expect(FileStore.open(directory)).rejects.toThrow(/belongs to process 1 on elsewhere; .*empty .*lock\.1/);
  });

  test('is given back at the end, and free for the next', async () => {
    await (await FileStore.open(directory)).close();
    expect(readFileSync(join(directory, 'lock.1'), 'utf8')).toBe('');
    await open();
    expect(readdirSync(directory)).toEqual(['lock.2']);
  });

  test('that was lost stops every write, and is not given back by who lost it', async () => {
    const store = await open();
    writeFileSync(join(directory, 'lock.2'), 'another');
    await expect(store.write(exampleTopology(1), 0)).rejects.toThrow('another process has taken the directory');
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
