/**
 * What can happen to nodes that are drained. Each is done and undone here; what must hold afterwards is judged elsewhere.
 */
import type { ClusterStatus } from '../../../src/supervisor/status.ts';
import type { TopologyShard } from '../../../src/topology/snapshot.ts';
import { sleep, until } from '../faults/stand.ts';
import { isOver, order, topologyOf, underWay } from '../moves/cluster.ts';
import type { MoveTrial } from '../moves/trial.ts';
import type { Fleet } from '../safety/fleet.ts';
import type { Role } from '../safety/role.ts';

/** How long a node that is free stays stopped. */
const STOPPED_MS = 200;
const DONE_MS = 60_000;

export const drainTrials: readonly MoveTrial[] = [
  {
    name: 'each node of a shard is drained in turn, the primary last, and stopped, and started empty',
    short: true,
    costsNoError: true,
    run: async ({ fleet }) => {
      const { primary, inSync } = await shardOf(fleet);
      for (const id of [...inSync, primary]) {
        await order(fleet, 'node', 'drain', id);
        const node = fleet.node(id);
        node.killNow();
        await sleep(STOPPED_MS);
        await node.restartEmpty();
        await order(fleet, 'node', 'undrain', id);
      }
    },
  },
  {
    name: 'the primary and a replica are drained at once, to nodes that are named, and the leader is killed meanwhile',
    short: true,
    // While a copy joins writes are held; who kills the only supervisor then has them wait until it is back.
    run: async ({ fleet, random }) => {
      const { primary, inSync } = await shardOf(fleet);
      const leaving = [primary, random.pick(inSync)];
      const { nodes, shards } = await topologyOf(fleet);
      const members = new Set(shards.flatMap(shard => shard.nodes));
      const spares = nodes.map(({ id }) => id).filter(id => !members.has(id));
      for (const [i, id] of leaving.entries())
        await order(fleet, 'node', 'replace', id, '--with', spares[i] as string, '--no-wait');
      await until('both are drained', async () => (await drainingOf(fleet)).length === 2, DONE_MS);
      const [leader] = fleet.supervisors as [Role];
      await leader.kill();
      await sleep(random.below(500));
      leader.start();
      for (const id of leaving) await order(fleet, 'node', 'drain', id);
      for (const id of leaving) await order(fleet, 'node', 'undrain', id);
    },
  },
  {
    name: 'keys move from one shard to the other, and the primaries of both are drained',
    costsNoError: true,
    run: async ({ fleet }) => {
      const [{ weight } = { weight: 1 }] = (await topologyOf(fleet)).shards;
      await order(fleet, 'apply', 'weight', 's1', `${weight === 1 ? 2 : 1}`, '--yes');
      const leaving = (await topologyOf(fleet)).shards.map(shard => shard.primary);
      await underWay(fleet);
      for (const id of leaving) await order(fleet, 'node', 'drain', id, '--no-wait');
      for (const id of leaving) await order(fleet, 'node', 'drain', id);
      await isOver(fleet);
      for (const id of leaving) await order(fleet, 'node', 'undrain', id);
      await isQuiet(fleet);
    },
  },
  {
    name: 'a drain is taken back half-way',
    costsNoError: true,
    run: async ({ fleet, random }) => {
      const { inSync } = await shardOf(fleet);
      const id = random.pick(inSync);
      await order(fleet, 'node', 'drain', id, '--no-wait');
      await sleep(random.below(400));
      await order(fleet, 'node', 'undrain', id);
      await isQuiet(fleet);
    },
  },
  {
    name: 'the new copy dies while it is being made',
    run: async ({ fleet, random }) => {
      const before = await shardOf(fleet);
      const id = random.pick([before.primary, ...before.inSync]);
      await order(fleet, 'node', 'drain', id, '--no-wait');
      await until('a member more', async () => (await shardOf(fleet)).nodes.length > before.nodes.length, DONE_MS);
      const [added = ''] = (await shardOf(fleet)).nodes.filter(other => !before.nodes.includes(other));
      const node = fleet.node(added);
      node.killNow();
      await order(fleet, 'node', 'drain', id);
      await node.restartEmpty();
      await order(fleet, 'node', 'undrain', id);
      await isQuiet(fleet);
    },
  },
  {
    name: 'the node dies while it is being drained',
    run: async ({ fleet, random }) => {
      const { primary, inSync } = await shardOf(fleet);
      const id = random.pick([primary, ...inSync]);
      await order(fleet, 'node', 'drain', id, '--no-wait');
      await sleep(random.below(300));
      const node = fleet.node(id);
      node.killNow();
      await order(fleet, 'node', 'drain', id);
      await node.restartEmpty();
      await order(fleet, 'node', 'undrain', id);
      await isQuiet(fleet);
    },
  },
];

async function shardOf(fleet: Fleet): Promise<TopologyShard> {
  return (await topologyOf(fleet)).shards[0] as TopologyShard;
}

async function drainingOf(fleet: Fleet): Promise<string[]> {
  return (await topologyOf(fleet)).nodes.filter(({ draining }) => draining).map(({ id }) => id);
}

/** As many members as there were, all in sync. */
async function isQuiet(fleet: Fleet): Promise<void> {
  let told = '';
  await until(
    () => `the shard has its copies and none too many: ${told}`,
    async () => {
      const [leader] = fleet.supervisors as [Role];
      const shard = await shardOf(fleet);
      told = JSON.stringify((await leader.get<ClusterStatus>('/v1/status').catch(() => null))?.shards ?? null);
      return (
        shard.copies === undefined && shard.nodes.length === fleet.copies && shard.inSync.length === fleet.copies - 1
      );
    },
    DONE_MS,
  );
}
