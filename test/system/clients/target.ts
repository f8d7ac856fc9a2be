/**
 * What the client tests connect to: a local Ringside cluster, or any one Redis for comparison.
 *
 * With `RINGSIDE_CLIENTS_AGAINST=<port>` the same files run against the Redis that listens there, which proves that
 * what they expect is Redis's own behaviour. That Redis is emptied.
 */
import { Redis } from 'ioredis';
import { expect } from 'vitest';
import { startCluster } from '../../support/cluster.ts';

export interface Target {
  port: number;
  /** How many keys each primary holds, to see that data is really spread; one number for a single Redis. */
  nodePorts: number[];
  stop(): Promise<void>;
}

/** Waits until so many clients wait for data, by what the nodes themselves say. */
export async function hasWaiters({ nodePorts }: Target, count: number): Promise<void> {
  const nodes = nodePorts.map(port => new Redis({ port }));
  const blocked = async () => {
    const answers = await Promise.all(nodes.map(node => node.info('clients')));
    return answers.map(text => Number(/^blocked_clients:(\d+)/m.exec(text)?.[1])).reduce((sum, one) => sum + one);
  };
  try {
    await expect.poll(blocked).toBe(count);
  } finally {
    for (const node of nodes) node.disconnect();
  }
}

const against = process.env['RINGSIDE_CLIENTS_AGAINST'];

/** Whether a stock Redis is the target, so that claims about Ringside alone are left out. */
export const againstStockRedis = against !== undefined;

/** Three shards of one copy each, unless a stock Redis was named. */
export async function startTarget(): Promise<Target> {
  if (against !== undefined) {
    const redis = new Redis({ port: Number(against) });
    await redis.flushall();
    redis.disconnect();
    return { port: Number(against), nodePorts: [Number(against)], stop: async () => {} };
  }
  const cluster = await startCluster({ shards: 3, copies: 1 });
  const nodePorts = cluster.clusterJson().nodes.map(node => node.port);
  return { port: cluster.port, nodePorts, stop: () => cluster.stop() };
}
