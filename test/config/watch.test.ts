/** A settings file that changes under a running process, in each of the ways in which files change. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ConfigError } from '../../src/config/mistakes.ts';
import { ConfigWatch, type Reload, type WatchOptions } from '../../src/config/watch.ts';
import { HANG_MS } from '../support/patience.ts';

const HEAD = 'cluster: shop\nsecret: "0123456789abcdef"\nnodes: [ { id: a1, address: "127.0.0.1:7001" } ]\n';

let directory = '';
let watch: ConfigWatch | null = null;
let reloads: Reload[] = [];
let mistakes: ConfigError[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-watch-'));
  reloads = [];
  mistakes = [];
});

afterEach(() => {
  watch?.close();
  watch = null;
  rmSync(directory, { recursive: true, force: true });
});

function begin(file: string, options: Partial<WatchOptions> = {}): ConfigWatch {
  watch = new ConfigWatch(file, {
    onReload: reload => reloads.push(reload),
    onMistakes: error => mistakes.push(error),
    settleMs: 20,
    ...options,
  });
  return watch;
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let waitedMs = 0; waitedMs < HANG_MS; waitedMs += 5) {
    if (isTrue()) return;
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  throw new Error(`never: ${isTrue}`);
}

/** Long enough for a change to be noticed, were it one. */
const quiet = () => new Promise(resolve => setTimeout(resolve, 150));

describe('a change of the file', () => {
  test('written in place is taken up, with the names of what changed', async () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    const watched = begin(file);
    writeFileSync(file, `${HEAD}proxy: { hold: 1s, limits: { clients: 5 }, deny: [ KEYS ] }\n`);
    await until(() => reloads.length > 0);
    expect(reloads[0]?.changed).toEqual(['proxy.hold', 'proxy.limits.clients', 'proxy.deny']);
    expect(reloads[0]?.needsRestart).toEqual([]);
    expect(watched.config.proxy).toMatchObject({ holdMs: 1000, deny: ['KEYS'] });
  });

  test('put in place by rename is taken up, again and again', async () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    const watched = begin(file);
    for (const [index, hold] of ['1s', '2s', '3s'].entries()) {
      writeFileSync(`${file}.new`, `${HEAD}proxy: { hold: ${hold} }\n`);
      renameSync(`${file}.new`, file);
      await until(() => reloads.length === index + 1);
    }
    expect(watched.config.proxy.holdMs).toBe(3000);
  });

  test('by a swap of links, as Kubernetes does it, is taken up, again and again', async () => {
    const mount = join(directory, 'mount');
    mkdirSync(mount);
    const version = (name: string, hold: string) => {
      mkdirSync(join(mount, name));
      writeFileSync(join(mount, name, 'ringside.yaml'), `${HEAD}proxy: { hold: ${hold} }\n`);
      symlinkSync(name, join(mount, '..data_tmp'));
      renameSync(join(mount, '..data_tmp'), join(mount, '..data'));
    };
    version('..one', '1s');
    symlinkSync('..data/ringside.yaml', join(mount, 'ringside.yaml'));
    const watched = begin(join(mount, 'ringside.yaml'));
    version('..two', '2s');
    rmSync(join(mount, '..one'), { recursive: true });
    await until(() => watched.config.proxy.holdMs === 2000);
    version('..three', '3s');
    rmSync(join(mount, '..two'), { recursive: true });
    await until(() => watched.config.proxy.holdMs === 3000);
    expect(mistakes).toEqual([]);
  });

  test('behind a link into another directory is taken up', async () => {
    mkdirSync(join(directory, 'real'));
    const real = join(directory, 'real', 'settings.yaml');
    writeFileSync(real, HEAD);
    symlinkSync(real, join(directory, 'ringside.yaml'));
    begin(join(directory, 'ringside.yaml'));
    writeFileSync(real, `${HEAD}proxy: { hold: 1s }\n`);
    await until(() => reloads.length === 1);
    expect(reloads[0]?.changed).toEqual(['proxy.hold']);
  });

  test('of another file beside it, or of a comment, is not told', async () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    begin(file);
    writeFileSync(join(directory, 'other'), 'text');
    writeFileSync(file, `# hello\n${HEAD}`);
    await quiet();
    expect(reloads).toEqual([]);
    writeFileSync(file, `${HEAD}proxy: { hold: 1s }\n`);
    await until(() => reloads.length === 1);
  });

  test('with a mistake is told once, changes nothing, and is over with the next good file', async () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    const watched = begin(file);
    const before = watched.config;
    writeFileSync(file, `${HEAD}proxy: { hold: soon }\n`);
    await until(() => mistakes.length > 0);
    expect(mistakes[0]?.mistakes).toEqual([expect.stringMatching(/ringside\.yaml:4:16: proxy\.hold: got "soon"/)]);
    writeFileSync(join(directory, 'other'), 'text');
    await quiet();
    expect(mistakes.length).toBe(1);
    expect(watched.config).toBe(before);
    writeFileSync(file, `${HEAD}proxy: { hold: 1s }\n`);
    await until(() => reloads.length === 1);
    expect(watched.config.proxy.holdMs).toBe(1000);
  });

  test('that takes the file away is a mistake, and its return is taken up', async () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    begin(file);
    rmSync(file);
    await until(() => mistakes.length === 1);
    writeFileSync(file, `${HEAD}proxy: { hold: 1s }\n`);
    await until(() => reloads.length === 1);
    expect(reloads[0]?.config.proxy.holdMs).toBe(1000);
  });
});

test('a change is taken up even where something else is written all the while', async () => {
  const file = join(directory, 'ringside.yaml');
  writeFileSync(file, HEAD);
  begin(file);
  writeFileSync(file, `${HEAD}proxy: { hold: 1s }\n`);
  for (const end = performance.now() + 1500; performance.now() < end && reloads.length === 0; ) {
    writeFileSync(join(directory, 'log'), String(performance.now()));
    await new Promise(resolve => setTimeout(resolve, 3));
  }
  expect(reloads.length).toBe(1);
});

describe('what needs a restart', () => {
  test('is named, and stays named until the file says again what the process was started with', async () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    begin(file);
    writeFileSync(file, `${HEAD}proxy: { workers: 2, hold: 1s }\nnodeAccess: { username: other }\n`);
    await until(() => reloads.length === 1);
    expect(reloads[0]?.needsRestart).toEqual(['nodeAccess.username', 'proxy.workers']);
    writeFileSync(file, `${HEAD}proxy: { workers: 2, hold: 2s }\n`);
    await until(() => reloads.length === 2);
    expect(reloads[1]).toMatchObject({
      changed: ['nodeAccess.username', 'proxy.hold'],
      needsRestart: ['proxy.workers'],
    });
    writeFileSync(file, HEAD);
    await until(() => reloads.length === 3);
    expect(reloads[2]).toMatchObject({ changed: ['proxy.workers', 'proxy.hold'], needsRestart: [] });
  });

  test('is not what clients must present: a password may come, change and go', async () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    begin(file);
    writeFileSync(file, `${HEAD}proxy: { auth: { password: one } }\n`);
    await until(() => reloads.length === 1);
    writeFileSync(file, `${HEAD}proxy: { auth: { password: two } }\n`);
    await until(() => reloads.length === 2);
    writeFileSync(file, HEAD);
    await until(() => reloads.length === 3);
    expect(reloads.flatMap(reload => reload.needsRestart)).toEqual([]);
    expect(reloads[0]?.changed).toEqual(reloads[2]?.changed);
    expect(reloads[1]?.changed).toEqual(['proxy.auth.password']);
  });

  test('is not when a write counts as done, nor who answers reads', async () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    begin(file);
    writeFileSync(file, `${HEAD}writes: { acknowledge: primary, timeout: 9s }\nreads: { strict: true }\n`);
    await until(() => reloads.length === 1);
    writeFileSync(file, `${HEAD}rules: [ { match: "a*", writes: { acknowledge: primary } } ]\n`);
    await until(() => reloads.length === 2);
    expect(reloads.map(reload => reload.needsRestart)).toEqual([[], []]);
    expect(reloads[0]?.changed).toEqual(['writes.acknowledge', 'writes.timeout', 'reads.strict']);
    expect(reloads[1]?.changed).toContain('rules');
  });

  test('a changed secret in an unchanged secretFile', () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(join(directory, 'secret'), '0123456789abcdef');
    writeFileSync(file, 'cluster: shop\nsecretFile: secret\nnodes: [ { id: a1, address: "127.0.0.1:7001" } ]\n');
    const watched = begin(file);
    writeFileSync(join(directory, 'secret'), 'fedcba9876543210');
    watched.reload();
    expect(reloads).toMatchObject([{ changed: ['secretFile'], needsRestart: ['secretFile'] }]);
  });
});

describe('SIGHUP', () => {
  test('reads the file at once and tells the outcome even if nothing changed', async () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    begin(file);
    process.kill(process.pid, 'SIGHUP');
    await until(() => reloads.length === 1);
    expect(reloads[0]).toMatchObject({ changed: [], needsRestart: [] });
  });

  test('tells a mistake each time it is asked', () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    const watched = begin(file, { signals: false });
    writeFileSync(file, 'cluster: shop\n');
    watched.reload();
    watched.reload();
    expect(mistakes.length).toBe(2);
  });

  test('is not listened to after close, nor is the file', async () => {
    const file = join(directory, 'ringside.yaml');
    writeFileSync(file, HEAD);
    const before = process.listenerCount('SIGHUP');
    begin(file).close();
    expect(process.listenerCount('SIGHUP')).toBe(before);
    writeFileSync(file, `${HEAD}proxy: { hold: 1s }\n`);
    await quiet();
    expect(reloads).toEqual([]);
  });
});
