/** What Ringside sets on nodes, as a real node takes it and tells it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { REQUIRED_NODE_SETTINGS, settingHolds, whyNotForAll } from '../../src/topology/node-settings.ts';

const directory = mkdtempSync(join(tmpdir(), 'ringside-node-settings-'));
const socket = join(directory, 'redis.sock');
const server = spawn('redis-server', ['--port', '0', '--unixsocket', socket, '--dir', directory, '--save', '']);
let client: Redis;

async function reported(name: string): Promise<string> {
  return ((await client.call('CONFIG', 'GET', name)) as string[])[1] ?? '';
}

beforeAll(async () => {
  client = new Redis({ path: socket, retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on('error', () => {}); // It is not there yet.
  await client.ping();
});
afterAll(async () => {
  client.disconnect();
  const ended = once(server, 'exit');
  server.kill('SIGKILL');
  await ended;
  rmSync(directory, { recursive: true, force: true });
});

describe('what every node has', () => {
  test.each(Object.entries(REQUIRED_NODE_SETTINGS))(
    '%s: a node takes %s, and tells that it holds',
    async (name, value) => {
      expect(await client.call('CONFIG', 'SET', name, value)).toBe('OK');
      expect(settingHolds(name, value, await reported(name))).toBe(true);
      expect(whyNotForAll(name)).toContain('set by Ringside itself');
    },
  );

  test('a bare node does not hold them all, so that the check is one', async () => {
    await client.call(
      'CONFIG',
      'SET',
      'client-output-buffer-limit',
      'replica 256mb 64mb 60',
      'repl-backlog-size',
      '1mb',
    );
    for (const name of ['client-output-buffer-limit', 'repl-backlog-size']) {
      expect(settingHolds(name, REQUIRED_NODE_SETTINGS[name] ?? '', await reported(name)), name).toBe(false);
    }
  });
});

describe('a setting holds', () => {
  test('however an amount is written', () => {
    expect(settingHolds('maxmemory', '100mb', '104857600')).toBe(true);
    expect(settingHolds('maxmemory', '100m', '100000000')).toBe(true);
    expect(settingHolds('maxmemory', '100mb', '100000000')).toBe(false);
  });

  test('in whatever case a word is written', () => {
    expect(settingHolds('maxmemory-policy', 'NoEviction', 'noeviction')).toBe(true);
    expect(settingHolds('maxmemory-policy', 'allkeys-lru', 'noeviction')).toBe(false);
  });
});

test("users, roles and places are nobody's to set for all nodes, by old names either", () => {
  for (const name of [
    'requirepass',
    'aclfile',
    'replicaof',
    'port',
    'dir',
    'min-replicas-to-write',
    'slave-read-only',
    'dual-channel-replication-enabled',
    'repl-rdb-channel',
  ]) {
    expect(whyNotForAll(name), name).not.toBeNull();
  }
  expect(['maxmemory', 'save', 'appendonly', 'constructor', 'toString'].filter(name => whyNotForAll(name))).toEqual([]);
});
