import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import type { ClusterStatus, ShardStatus } from '../../../src/supervisor/status.ts';
import { startCluster, type TestCluster } from '../../support/cluster.ts';
import { type Ended, runProgram } from '../../support/run-program.ts';
import { until } from './stand.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster?.stop();
});

async function shardStatus(name: string): Promise<ShardStatus> {
  const answer = await fetch(`${cluster.supervisorUrl}/v1/status`);
  const { shards } = (await answer.json()) as ClusterStatus;
  return shards.find(shard => shard.name === name) as ShardStatus;
}

/** Runs the program with the cluster's settings. */
function ringside(...words: string[]): Promise<Ended> {
  return runProgram([...words, '--config', join(cluster.dir, 'ringside.yaml')]);
}

describe('ringside up --respawn', () => {
  it('the only copy of a shard comes back empty: nothing is served from it before a person accepts the loss', async () => {
    cluster = await startCluster({ shards: 3, copies: 1, args: ['--respawn'] });
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
    const kept = keys.filter(key => !lost.includes(key));
    const shard = node?.shard as string;

    cluster.kill(node?.id ?? '', 'SIGKILL');
    await until('the supervisor says what a person may do', async () => {
      const { needs } = await shardStatus(shard);
      return needs?.includes(`ringside recover ${shard} --accept-loss`) === true;
    });
    await until('the node runs again', () => {
      const pid = cluster.clusterJson().nodes[0]?.pid ?? null;
      return pid !== null && pid !== node?.pid;
    });
    // An empty node that served would answer that what was acknowledged had never been written.
    await expect(redis.get(lost[0] as string)).rejects.toThrow(/^CLUSTERDOWN /);
    expect(await redis.mget(kept)).toEqual(kept.map(key => `v-${key}`));

    expect(await ringside('recover', shard, '--accept-loss')).toMatchObject({ status: 0, err: '' });
    await until('the shard serves', () =>
      redis.set(lost[0] as string, 'new').then(
        reply => reply === 'OK',
        () => false,
      ),
    );
    expect(await redis.mget(kept)).toEqual(kept.map(key => `v-${key}`));
    expect(await redis.mget(lost)).toEqual(lost.map((_, i) => (i === 0 ? 'new' : null)));
    redis.disconnect();
  });

  it('a command sent right at the kill gets an answer that says what became of it', async () => {
    cluster = await startCluster({ shards: 2, copies: 2, args: ['--respawn'] });
    const redis = new Redis({ port: cluster.port });
    const asked: Promise<[string, string]>[] = [];
    for (let i = 0; i < 300; i += 1) {
      if (i === 100) cluster.kill('n1', 'SIGKILL');
      const key = `wave:${i}`;
      asked.push(
        redis
          .set(key, 'x')
          .then(String, (error: Error) => error.message)
          .then(text => [key, text]),
      );
      if (i % 10 === 0) await new Promise(resolve => setTimeout(resolve, 2));
    }
    const answers = await Promise.all(asked);
    const odd = answers.filter(([, text]) => text !== 'OK' && !text.startsWith('UNCERTAIN '));
    expect(odd).toEqual([]);
    const written = answers.filter(([, text]) => text === 'OK').map(([key]) => key);
    expect(await redis.mget(written)).toEqual(written.map(() => 'x'));
    redis.disconnect();
  });
});
