import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { workerShare } from '../../src/admin/worker-share.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';

function configOf(proxy: string): Config {
  const dir = mkdtempSync(join(tmpdir(), 'ringside-share-'));
  const file = join(dir, 'ringside.yaml');
  const nodes = 'nodes: [{ id: a, address: "127.0.0.1:20001" }]';
  writeFileSync(file, `cluster: test\nsecret: a secret of the tests, long enough\n${nodes}\nproxy: ${proxy}\n`);
  const config = loadConfig(file);
  rmSync(dir, { recursive: true });
  return config;
}

describe("a worker's share of the bounds", () => {
  it('is everything where there is one worker', () => {
    const config = configOf('{ workers: 1 }');
    expect(workerShare(config)).toBe(config);
  });

  it('is its part of what holds for the proxy, and the whole of what holds for each client, lane and shard', () => {
    const config = configOf('{ workers: 3, limits: { clients: 100, bulk: 1mb, heldBytes: 300mb } }');
    const { limits } = workerShare(config).proxy;
    expect(limits).toEqual({ ...config.proxy.limits, clients: 34, heldBytes: 100 * 1024 * 1024 });
  });

  it('always has room for one value of the largest size', () => {
    const config = configOf('{ workers: 8, limits: { bulk: 64mb, heldBytes: 128mb } }');
    expect(workerShare(config).proxy.limits.heldBytes).toBe(64 * 1024 * 1024);
  });
});
