import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileWatch } from '../../src/config/file-watch.ts';

let dir = '';
let watch: FileWatch | null = null;
let calls = 0;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ringside-watch-'));
  calls = 0;
});

afterEach(() => {
  watch?.close();
  rmSync(dir, { recursive: true });
});

function start(name: string): string {
  const file = join(dir, name);
  watch = new FileWatch(file, () => {
    calls += 1;
  });
  return file;
}

async function called(times: number): Promise<void> {
  await expect.poll(() => calls).toBe(times);
}

describe('a watched file', () => {
  it('is told once when it is written in several steps', async () => {
    writeFileSync(join(dir, 'a.yaml'), 'x');
    const file = start('a.yaml');
    for (let i = 0; i < 5; i += 1) {
      writeFileSync(file, 'y'.repeat(i));
      await sleep(10);
    }
    await called(1);
    await sleep(250);
    expect(calls).toBe(1);
  });

  it('is told each time another file is put in its place', async () => {
    writeFileSync(join(dir, 'a.yaml'), 'x');
    const file = start('a.yaml');
    for (let i = 1; i <= 3; i += 1) {
      writeFileSync(join(dir, 'new'), String(i));
      renameSync(join(dir, 'new'), file);
      await called(i);
    }
  });

  it('is told when the link to its directory leads elsewhere, and when it changes there', async () => {
    for (const version of ['v1', 'v2']) {
      mkdirSync(join(dir, version));
      writeFileSync(join(dir, version, 'a.yaml'), version);
    }
    // As Kubernetes mounts a ConfigMap: the name, a link to the current version, and its directory.
    symlinkSync('v1', join(dir, '..data'));
    symlinkSync('..data/a.yaml', join(dir, 'a.yaml'));
    start('a.yaml');
    symlinkSync('v2', join(dir, '..tmp'));
    renameSync(join(dir, '..tmp'), join(dir, '..data'));
    await called(1);
    writeFileSync(join(dir, 'v2', 'a.yaml'), 'v2 again');
    await called(2);
  });

  it('is told in time even where something else is written all the while', async () => {
    start('a.yaml');
    const end = performance.now() + 1600;
    while (performance.now() < end) {
      writeFileSync(join(dir, 'log'), String(performance.now()));
      await sleep(20);
    }
    expect(calls).toBeGreaterThanOrEqual(1);
  });

  it('is not told after the watch was closed', async () => {
    const file = start('a.yaml');
    writeFileSync(file, 'x');
    await sleep(20);
    watch?.close();
    await sleep(200);
    expect(calls).toBe(0);
  });
});
