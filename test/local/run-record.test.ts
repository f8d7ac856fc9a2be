import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { identify } from '../../src/local/process-identity.ts';
import { lockDirectory, readRunRecord, unlockDirectory, writeRunRecord } from '../../src/local/run-record.ts';

let directory = '';
let lock = '';

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'ringside-record-'));
  lock = path.join(directory, 'up.lock');
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('a directory that a living process has is refused, with its pid', async () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  writeFileSync(lock, JSON.stringify(identify(child.pid as number)));
  expect(() => lockDirectory(lock, directory)).toThrow(`already runs in ${directory} (pid ${child.pid})`);
  child.kill('SIGKILL');
  await once(child, 'exit');
  lockDirectory(lock, directory);
  expect(JSON.parse(readFileSync(lock, 'utf8'))).toEqual(identify(process.pid));
});

test('a lock whose pid belongs to another process by now is taken over', () => {
  const own = identify(process.pid);
  writeFileSync(lock, JSON.stringify({ ...own, startTicks: 1 }));
  lockDirectory(lock, directory);
  expect(JSON.parse(readFileSync(lock, 'utf8'))).toEqual(own);
});

test('a lock that a crash has cut short is taken over', () => {
  writeFileSync(lock, '{"pid":');
  lockDirectory(lock, directory);
  expect(JSON.parse(readFileSync(lock, 'utf8'))).toEqual(identify(process.pid));
});

test('unlocking leaves nothing behind, and leaves the lock of another process alone', () => {
  lockDirectory(lock, directory);
  unlockDirectory(lock);
  expect(existsSync(lock)).toBe(false);
  writeFileSync(lock, JSON.stringify({ ...identify(process.pid), pid: 1 }));
  unlockDirectory(lock);
  expect(existsSync(lock)).toBe(true);
});

test('a record comes back as it was written', () => {
  const file = path.join(directory, 'run.json');
  const own = identify(process.pid);
  if (own === null) throw new Error('no identity');
  const record = {
    roles: { proxy: own },
    nodes: { n1: { host: '127.0.0.1', port: 7001, process: own } },
  };
  writeRunRecord(file, record);
  expect(readRunRecord(file)).toEqual(record);
});

test('without a readable record nothing has run before', () => {
  const file = path.join(directory, 'run.json');
  const nothing = { roles: {}, nodes: {} };
  expect(readRunRecord(file)).toEqual(nothing);
  writeFileSync(file, '{"nodes":{"n1"');
  expect(readRunRecord(file)).toEqual(nothing);
});
