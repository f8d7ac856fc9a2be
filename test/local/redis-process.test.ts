import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { redisServerVersion } from '../../src/local/redis-command.ts';
import { RedisProcess } from '../../src/local/redis-process.ts';
import { bringNewestData } from '../../src/local/starting-data.ts';
import { freePorts } from '../support/ports.ts';

const access = { username: 'default', password: '', tls: null };
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

async function startPair(): Promise<[RedisProcess, RedisProcess]> {
  const [primary, replica] = (await makeNodes(2)) as [RedisProcess, RedisProcess];
  primary.start();
  replica.start();
  await Promise.all([primary.ready(), replica.ready()]);
  await replica.command(1000, 'REPLICAOF', '127.0.0.1', String(primary.node.port));
  return [primary, replica];
}

async function until(what: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!(await what())) {
    if (performance.now() > endMs) throw new Error('did not come about within 10 s');
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

test('the version of the redis-server here is at least 7.0', async () => {
  expect(await redisServerVersion()).toMatch(/^([7-9]|\d\d)\.\d+\.\d+/);
});

test('a node that was ended in order has its data when it is started again', async () => {
  const [node] = (await makeNodes(1)) as [RedisProcess];
  node.start();
  const first = await node.ready();
  await node.command(1000, 'SET', 'key', 'value');
  expect(await node.stop(10_000)).toBe(true);
  await until(async () => node.identity === null);
  node.start();
  const second = await node.ready();
  expect(second.runId).not.toBe(first.runId);
  expect(await node.command(1000, 'GET', 'key')).toBe('value');
});

test('a node that forgets its data starts empty', async () => {
  const [node] = (await makeNodes(1)) as [RedisProcess];
  node.start();
  await node.ready();
  await node.command(1000, 'SET', 'key', 'value');
  await node.stop(10_000);
  await until(async () => node.identity === null);
  node.forgetData();
  node.start();
  expect((await node.ready()).keys).toBe(0);
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
  expect((await later.ready()).processId).toBe(node.identity.pid);
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
  await node.command(1000, 'SET', 'key', 'value');
  process.kill(node.identity?.pid as number, 'SIGSTOP');
  expect(await node.stop(10_000)).toBe(true);
  expect(existsSync(node.dumpFile)).toBe(true);
});

test('nodes with a password let in who has it and replicate with it', async () => {
  const password = 'a "quoted" \\ password';
  const [primary, replica] = (await makeNodes(2, { ...access, password })) as [RedisProcess, RedisProcess];
  primary.start();
  replica.start();
  await Promise.all([primary.ready(), replica.ready()]);
  await replica.command(1000, 'REPLICAOF', '127.0.0.1', String(primary.node.port));
  await until(async () => (await replica.ask())?.following?.linkUp === true);
});

test('a primary that died begins with what a living replica has', async () => {
  const [primary, replica] = await startPair();
  await primary.command(1000, 'SET', 'key', 'value');
  await until(async () => (await replica.ask())?.keys === 1);
  primary.kill();
  await until(async () => primary.identity === null);
  expect(await bringNewestData(primary, [replica], {})).toBe(
    'node n1 begins with the data of n2, which are newer than its own',
  );
  primary.start();
  await primary.ready();
  expect(await primary.command(1000, 'GET', 'key')).toBe('value');
});

test('a primary that died begins with what a replica saved at the end', async () => {
  const [primary, replica] = await startPair();
  await primary.command(1000, 'SET', 'key', 'value');
  await until(async () => (await replica.ask())?.keys === 1);
  primary.kill();
  await replica.stop(10_000);
  await until(async () => primary.identity === null && replica.identity === null);
  await bringNewestData(primary, [replica], { n2: 100 });
  primary.start();
  expect((await primary.ready()).keys).toBe(1);
});

test('a primary that was saved keeps its own data, and so does one beside an empty replica', async () => {
  const [primary, replica] = (await makeNodes(2)) as [RedisProcess, RedisProcess];
  primary.start();
  await primary.ready();
  await primary.command(1000, 'SET', 'key', 'value');
  await primary.stop(10_000);
  await until(async () => primary.identity === null);
  expect(await bringNewestData(primary, [replica], { n1: 5, n2: 5 })).toBeNull();
  replica.start();
  await replica.ready();
  expect(await bringNewestData(primary, [replica], {})).toBeNull();
  primary.start();
  expect((await primary.ready()).keys).toBe(1);
});
