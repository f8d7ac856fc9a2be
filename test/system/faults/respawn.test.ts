import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startCluster, type TestCluster } from '../../support/cluster.ts';
import { until } from './stand.ts';

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await startCluster({ shards: 3, copies: 1, args: ['--respawn'] });
});

afterAll(async () => {
  await cluster?.stop();
});

describe('ringside up --respawn', () => {
  it('a killed node comes back empty; its shard serves again by itself, the others keep their data', async () => {
    const redis = new Redis({ port: cluster.port });
    redis.on('error', () => {});
    const keys = Array.from({ length: 90 }, (_, i) => `key:${i}`);
    await redis.mset(new Map(keys.map(key => [key, `v-${key}`])));
    const [node] = cluster.clusterJson().nodes;
    const direct = new Redis({ port: node?.port ?? 0, retryStrategy: () => null });
    direct.on('error', () => {});
    const lost = await direct.keys('*');
    direct.disconnect();
    expect(lost.length).toBeGreaterThan(5);
    cluster.kill(node?.id ?? '', 'SIGKILL');
    await until('the node runs again', () => {
      const pid = cluster.clusterJson().nodes[0]?.pid ?? null;
      return pid !== null && pid !== node?.pid;
    });
    // Within the hold time the write waits for the node; no error is seen at all.
    expect(await redis.set(lost[0] as string, 'new')).toBe('OK');
    const kept = keys.filter(key => !lost.includes(key));
    expect(await redis.mget(kept)).toEqual(kept.map(key => `v-${key}`));
    expect(await redis.mget(lost)).toEqual(lost.map((_, i) => (i === 0 ? 'new' : null)));
    redis.disconnect();
  });

  it('a command sent right at the kill gets an answer that says what became of it', async () => {
    const redis = new Redis({ port: cluster.port });
    const nodes = cluster.clusterJson().nodes;
    const asked: Promise<string>[] = [];
    for (let i = 0; i < 300; i += 1) {
      if (i === 100) cluster.kill(nodes[1]?.id ?? '', 'SIGKILL');
      asked.push(redis.set(`wave:${i}`, 'x').then(String, (error: Error) => error.message.split(' ')[0] as string));
      if (i % 10 === 0) await new Promise(resolve => setTimeout(resolve, 2));
    }
    const words = new Set(await Promise.all(asked));
    words.delete('OK');
    words.delete('UNCERTAIN');
    expect([...words]).toEqual([]);
    redis.disconnect();
  });
});
