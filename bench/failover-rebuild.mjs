/**
 * The figures of the failover benchmark that need much data, or a network: how long a lost copy takes to be made anew,
 * what clients feel of it, and how soon all copies are in sync after a host was cut off.
 */
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Cluster, eventually, sleep } from './failover-cluster.mjs';
import { Probe } from './failover-probe.mjs';
import { Stage } from './harness.mjs';
import { Hosts } from './hosts.mjs';

const valueBytes = 10_000;
/** Writes so many megabytes of random values. @param {Redis} client  @param {number} megabytes */
async function fill(client, megabytes) {
  const count = Math.ceil((megabytes * 1e6) / valueBytes);
  const value = Buffer.alloc(valueBytes);
  for (let i = 0; i < valueBytes; i += 1) value[i] = Math.floor(Math.random() * 256);
  for (let i = 0; i < count; ) {
    const batch = [];
    for (; batch.length < 200 && i < count; i += 1) {
      value.writeUInt32LE(i, 0);
      batch.push(client.set(`fill:${i}`, Buffer.from(value)));
    }
    await Promise.all(batch);
  }
}

/**
 * A copy of so many megabytes, made anew by Ringside and, in turn with that, by a plain REPLICAOF of the same data; and
 * what a client feels while Ringside does it.
 * @param {string} dist  @param {number} megabytes  @param {number} rounds
 */
export async function rebuild(dist, megabytes, rounds) {
  const stage = new Stage();
  const cluster = await Cluster.start({ dist });
  try {
    const plain = await stage.redis('plain');
    const direct = new Redis(plain.port, '127.0.0.1');
    await direct.config('SET', 'repl-diskless-sync-delay', '0');
    const client = cluster.client();
    for (const filled of [direct, client]) {
      await fill(filled, megabytes);
      filled.disconnect();
    }
    const quiet = await probed(cluster, 'quiet', () => sleep(3_000));
    const [plainMs, rebuiltMs, busyP99Ms] = [[], [], []];
    for (let round = 0; round < rounds; round += 1) {
      plainMs.push(await plainCopy(stage, plain.port));
      rebuiltMs.push(await rebuildOne(cluster, round));
      const busy = await probed(cluster, `busy${round}`, () => rebuildOne(cluster, round + 1));
      busyP99Ms.push(busy.percentileMs(0.99));
    }
    return { megabytes, plainMs, rebuiltMs, quietP99Ms: quiet.percentileMs(0.99), busyP99Ms };
  } finally {
    await cluster.end();
    await stage.end();
  }
}

/** From the start of an empty process in the place of a replica to its being in sync. @param {Cluster} cluster  @param {number} which */
async function rebuildOne(cluster, which) {
  const node = cluster.node(/** @type {string} */ ((await cluster.shard()).inSync[which % 2]));
  node.child?.kill('SIGKILL');
  await eventually('the dead copy is dropped', 10_000, async () => !(await cluster.shard()).inSync.includes(node.id));
  await cluster.restartEmpty(node);
  return cluster.whole(300_000);
}

/** @param {Cluster} cluster  @param {string} prefix  @param {() => Promise<unknown>} work */
async function probed(cluster, prefix, work) {
  const client = cluster.client();
  await client.ping();
  const probe = new Probe(client, `${prefix}:`);
  await work();
  await probe.stop();
  client.disconnect();
  return probe;
}

/** What Redis itself needs for it, without Ringside. @param {Stage} stage  @param {number} primaryPort */
async function plainCopy(stage, primaryPort) {
  const copy = await stage.redis('copy');
  const redis = new Redis(copy.port, '127.0.0.1');
  await redis.config('SET', 'repl-diskless-load', 'disabled');
  const beganAt = performance.now();
  await redis.replicaof('127.0.0.1', primaryPort);
  await eventually('the plain copy is attached', 300_000, async () =>
    /master_link_status:up/.test(await redis.info('replication')),
  );
  const tookMs = performance.now() - beganAt;
  redis.disconnect();
  await copy.stop();
  return tookMs;
}

/**
 * Cuts the host of a replica, then of a primary, off from all others for a while; from healing to all copies in sync.
 * @param {string} dist  @param {number} megabytes  @param {number} rounds  @param {number} cutMs
 */
export async function healed(dist, megabytes, rounds, cutMs) {
  const hosts = new Hosts(3);
  try {
    const cluster = await Cluster.start({ dist, hosts: hosts.list });
    try {
      const client = cluster.client();
      await fill(client, megabytes);
      const took = [];
      for (let round = 0; round < rounds; round += 1) {
        const { primary, inSync } = await cluster.shard();
        const id = round % 2 === 0 ? /** @type {string} */ (inSync[0]) : primary;
        hosts.cut(cluster.node(id).host);
        await sleep(cutMs);
        hosts.heal(cluster.node(id).host);
        took.push(await cluster.whole(60_000));
      }
      client.disconnect();
      return { megabytes, cutMs, wholeMs: took };
    } finally {
      await cluster.end();
    }
  } finally {
    hosts.remove();
  }
}

/** Where the build is unless told otherwise. @param {string} projectDirectory */
export const defaultDist = projectDirectory => join(projectDirectory, 'dist');
