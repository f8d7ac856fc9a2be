import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { redisServerVersion } from '../../src/local/redis-command.ts';
import { RedisProcess } from '../../src/local/redis-process.ts';
import { HANG_MS } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';

const access = { username: 'default', password: '', keepDefaultUser: true, tls: null };
let directory = '';
let nodes: RedisProcess[] = [];
let ends: string[] = [];

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'ringside-nodes-'));
  nodes = [];
  ends = [];
});

afterEach(async () => {
  for (const node of nodes) node.kill();
  while (nodes.some(node => node.identity !== null)) await new Promise(resolve => setTimeout(resolve, 5));
  rmSync(directory, { recursive: true, force: true });
});

async function makeNodes(count: number, nodeAccess = access): Promise<RedisProcess[]> {
  const first = await freePorts(count);
  nodes = Array.from({ length: count }, (_, index) => {
    const node = { id: `n${index + 1}`, host: '127.0.0.1', port: first + index, zone: 'z1' };
    return new RedisProcess(node, path.join(directory, node.id), nodeAccess, how => ends.push(`${node.id} ${how}`));
  });
  return nodes;
}

async function command(
  node: RedisProcess,
  words: string[],
  login: { username?: string; password?: string } = {},
): Promise<unknown> {
  const client = new Redis({ host: node.node.host, port: node.node.port, retryStrategy: () => null, ...login });
  client.on('error', () => undefined);
  try {
    return await client.call(...(words as [string, ...string[]]));
  } finally {
    client.disconnect();
  }
}

async function until(what: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + HANG_MS;
  while (!(await what())) {
    if (performance.now() > endMs) throw new Error(`did not come about within ${HANG_MS} ms`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

test('the version of the redis-server here is at least 7.0', async () => {
  expect(await redisServerVersion()).toMatch(/^([7-9]|\d\d)\.\d+\.\d+/);
});

test('a node that was ended in order has its data when it is started again', async () => {
  const [node] = (await makeNodes(1)) as [RedisProcess];
  node.start();
  await node.ready();
  await command(node, ['SET', 'key', 'value']);
  const pid = node.identity?.pid;
  expect(await node.stop(HANG_MS)).toBe(true);
  await until(async () => node.identity === null);
  node.start();
  await node.ready();
  expect(node.identity?.pid).not.toBe(pid);
  expect(await command(node, ['GET', 'key'])).toBe('value');
});

test('a node that forgets its data starts empty', async () => {
  const [node] = (await makeNodes(1)) as [RedisProcess];
  node.start();
  await node.ready();
  await command(node, ['SET', 'key', 'value']);
  await node.stop(HANG_MS);
  await until(async () => node.identity === null);
  node.forgetData();
  node.start();
  await node.ready();
  expect(await command(node, ['DBSIZE'])).toBe(0);
});

test('the end of a node is told once, with its cause', async () => {
  const [node] = (await makeNodes(1)) as [RedisProcess];
  node.start();
  await node.ready();
  node.kill();
  await until(async () => ends.length > 0);
  expect(ends).toEqual(['n1 SIGKILL']);
  expect(node.identity).toBeNull();
});

test('the end of a node that was taken over is noticed too', async () => {
  const [node] = (await makeNodes(1)) as [RedisProcess];
  node.start();
  await node.ready();
  const adopted: string[] = [];
  const later = new RedisProcess(node.node, node.directory, access, how => adopted.push(how));
  if (node.identity === null) throw new Error('not running');
  later.adopt(node.identity);
  await later.ready();
  node.kill();
  await until(async () => adopted.length > 0);
  expect(later.identity).toBeNull();
});

test('a node that cannot start says why', async () => {
  const [node] = (await makeNodes(1)) as [RedisProcess];
  mkdirSync(node.directory, { recursive: true });
  copyFileSync('/bin/ls', node.dumpFile);
  node.start();
  await expect(node.ready()).rejects.toThrow(/^node n1 ended at start: .*Fatal error loading the DB/);
});

test('a paused node is woken to save its data', async () => {
  const [node] = (await makeNodes(1)) as [RedisProcess];
  node.start();
  await node.ready();
  await command(node, ['SET', 'key', 'value']);
  process.kill(node.identity?.pid as number, 'SIGSTOP');
  expect(await node.stop(HANG_MS)).toBe(true);
  expect(existsSync(node.dumpFile)).toBe(true);
});

test('nodes with a password let in who has it', async () => {
  const password = 'a "quoted" \\ password';
  const [node] = (await makeNodes(1, { ...access, password })) as [RedisProcess];
  node.start();
  await node.ready();
  expect(await command(node, ['PING'], { password })).toBe('PONG');
  await expect(command(node, ['PING'])).rejects.toThrow('NOAUTH');
});

test("a user of the person's own may do all but copy", async () => {
  const [node] = (await makeNodes(1, { ...access, username: 'ops', password: 'secret' })) as [RedisProcess];
  node.start();
  await node.ready();
  const login = { username: 'ops', password: 'secret' };
  expect(await command(node, ['ACL', 'WHOAMI'], login)).toBe('ops');
  await expect(command(node, ['PSYNC', '?', '-1'], login)).rejects.toThrow('NOPERM');
});

test('a node whose port another process has says why, though somebody answers there', async () => {
  const [node, other] = (await makeNodes(2)) as [RedisProcess, RedisProcess];
  other.start();
  await other.ready();
  const twin = new RedisProcess({ ...other.node, id: 'twin' }, node.directory, access, () => undefined);
  nodes.push(twin);
  twin.start();
  await expect(twin.ready()).rejects.toThrow(/^node twin ended at start: .*(Failed listening|bind)/);
});
