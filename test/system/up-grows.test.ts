/**
 * A local cluster is given a shard more, as a newcomer does it: nodes, a plan, the order; then it starts again with it.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ClusterStatus } from '../../src/supervisor/status.ts';
import { startCluster, type TestCluster } from '../support/cluster.ts';
import { mustType, type } from './moves/command.ts';

let cluster: TestCluster;
let client: Redis;
const KEYS = 2000;

beforeAll(async () => {
  cluster = await startCluster({ shards: 2, copies: 2 });
  client = new Redis(cluster.port);
  client.on('error', () => undefined);
});

afterAll(async () => {
  client?.disconnect();
  await cluster?.stop();
});

const settings = () => path.join(cluster.dir, 'ringside.yaml');
const typed = (...words: string[]) => mustType(cluster.dir, ...words, '--config', settings());

async function valuesAreThere(): Promise<void> {
  const keys = Array.from({ length: KEYS }, (_, i) => `key:${i}`);
  expect(await client.mget(keys)).toEqual(keys.map((_, i) => `value ${i}`));
  expect(await client.dbsize()).toBe(KEYS);
}

async function status(): Promise<ClusterStatus> {
  return (await (await fetch(`${cluster.supervisorUrl}/v1/status`)).json()) as ClusterStatus;
}

test('three commands make a third shard, and `up` starts with it again', async () => {
  const pipeline = client.pipeline();
  for (let i = 0; i < KEYS; i += 1) pipeline.set(`key:${i}`, `value ${i}`);
  await pipeline.exec();

  const nodes = await typed('node', 'add', '2');
  expect(nodes).toMatch(/^n5: 127\.0\.0\.1:\d+, zone z1\nn6: .*, zone z2\nthey run as spares/);
  expect(cluster.clusterJson().nodes.slice(4)).toMatchObject([
    { id: 'n5', shard: null, pid: expect.any(Number) },
    { id: 'n6', shard: null, pid: expect.any(Number) },
  ]);
  const plan = await typed('plan', 'add-shard', 's3');
  expect(plan).toMatch(/add shard s3 \(n5, n6\)|add shard s3 \(n6, n5\)/);
  expect((await status()).shards).toHaveLength(2);
  const unasked = await type(cluster.dir, 'apply', 'add-shard', 's3', '--config', settings());
  expect([unasked.status, unasked.err]).toEqual([2, expect.stringContaining('say --yes')]);

  const applied = await typed('apply', 'add-shard', 's3', '--yes', '--save', '--wait');
  expect(applied).toContain('done: no keys are being moved any more');
  await valuesAreThere();
  expect(readFileSync(settings(), 'utf8')).toContain('- { name: s3, nodes: [ n');
  const grown = await status();
  expect(grown.shards.map(({ name }) => name)).toEqual(['s1', 's2', 's3']);
  expect(grown.problems).toEqual([]);
  expect(await typed('move')).toBe('no keys are being moved\n');
  expect(await typed('plan')).toMatch(/: nothing changes\n/);

  await cluster.up.end();
  // The flags with which it was made would say two shards; what is in the file decides.
  const again = await type(cluster.dir, 'up', '--dir', cluster.dir, '--shards', '2');
  expect([again.status, again.err]).toEqual([2, expect.stringContaining('was made with --shards 3')]);
}, 90_000);
