/** Which store the settings name, and what keeps it from being opened. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EnvironmentError } from '../../src/base/environment-error.ts';
import { EtcdStore } from '../../src/topology/etcd-store.ts';
import { FileStore } from '../../src/topology/file-store.ts';
import { openStore } from '../../src/topology/open-store.ts';

let directory = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-open-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('a directory becomes a store in a file, which a second supervisor cannot have', async () => {
  const config = { kind: 'file', directory } as const;
  const store = await openStore(config, 'shop', () => undefined);
  expect(store).toBeInstanceOf(FileStore);
  const second = openStore(config, 'shop', () => undefined);
  await expect(second).rejects.toBeInstanceOf(EnvironmentError);
  await expect(second).rejects.toThrow(/^supervisor\.store\.file: .* is in use by process \d+; end it first/);
  await store.close();
});

test('endpoints become a store in etcd, also while nobody answers there', async () => {
  const config = { kind: 'etcd', endpoints: ['http://127.0.0.1:1'], prefix: '/', auth: null, tls: null } as const;
  const store = await openStore(config, 'shop', () => undefined);
  expect(store).toBeInstanceOf(EtcdStore);
  await expect(store.read()).rejects.toThrow('etcd at http://127.0.0.1:1 does not answer');
  await store.close();
});

test('certificates that cannot be read are told at once', async () => {
  const tls = { ca: join(directory, 'ca.pem'), cert: join(directory, 'none.pem'), key: null, serverName: null };
  const config = { kind: 'etcd', endpoints: ['https://127.0.0.1:1'], prefix: '/', auth: null, tls } as const;
  const open = () => openStore(config, 'shop', () => undefined);
  await expect(open()).rejects.toThrow(/^supervisor\.store\.etcd\.tls: cannot read .*ca\.pem/);
  writeFileSync(tls.ca, '');
  await (await open()).close();
});
