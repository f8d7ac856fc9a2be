import { chmodSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeDirectory, makeDirectorySync } from '../../src/base/directory.ts';

let base = '';

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'ringside-directory-'));
  chmodSync(base, 0o755);
});

afterEach(() => rmSync(base, { recursive: true, force: true }));

const ways: [string, (directory: string, mode?: number) => Promise<void>][] = [
  ['makeDirectory', makeDirectory],
  ['makeDirectorySync', async (directory, mode) => makeDirectorySync(directory, mode)],
];

describe.each(ways)('%s', (_name, make) => {
  it('makes every directory that is missing, for its owner only', async () => {
    await make(join(base, 'a', 'b', 'c'));
    for (const made of ['a', 'a/b', 'a/b/c']) expect(statSync(join(base, made)).mode & 0o777, made).toBe(0o700);
  });

  it('takes another mode, and leaves what is there as it is', async () => {
    await make(join(base, 'a'));
    await make(join(base, 'a', 'b'), 0o750);
    await make(join(base, 'a'), 0o750);
    expect(statSync(join(base, 'a')).mode & 0o777).toBe(0o700);
    expect(statSync(join(base, 'a', 'b')).mode & 0o777).toBe(0o750);
  });

  it('tells a file in the way, and a link to nowhere', async () => {
    writeFileSync(join(base, 'file'), '');
    symlinkSync(join(base, 'gone', 'too'), join(base, 'link'));
    await expect(make(join(base, 'file'))).rejects.toThrow(/EEXIST.*file/);
    await expect(make(join(base, 'file', 'below'))).rejects.toThrow(/ENOTDIR.*below/);
    await expect(make(join(base, 'link', 'below'))).rejects.toThrow(/EEXIST.*link/);
  });

  it.runIf(process.platform === 'linux')('gives up, with path and reason, where none can ever be made', async () => {
    await expect(make('/proc/ringside/below')).rejects.toThrow(/ENOENT.*'\/proc\/ringside'/);
  });
});
