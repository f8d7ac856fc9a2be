/**
 * What can happen while keys move. Each is done and undone here; what must hold afterwards is judged elsewhere.
 */
import type { TopologyShard } from '../../../src/topology/snapshot.ts';
import { sleep, until } from '../faults/stand.ts';
import type { Fleet } from '../safety/fleet.ts';
import type { Host } from '../safety/host.ts';
import type { Network } from '../safety/network.ts';
import type { RedisNode } from '../safety/redis-node.ts';
import type { Role } from '../safety/role.ts';
import { comesTo, order, primaryOf, toggleShard, topologyOf, tryOrder, underWay } from './cluster.ts';
import type { MoveScene, MoveTrial } from './trial.ts';

/** Longer than `detect.hung` of a fleet's settings: whoever is silent for so long has been replaced. */
const HUNG_MS = 2_500;
/** Long enough for a fail-over after a crash. */
const CRASH_MS = 1_000;
/** How long hosts are cut off. */
const CUT_MS = 4_500;

export const processTrials: readonly MoveTrial[] = [
  {
    name: 'a shard comes or goes, and nothing else happens',
    order: 'shard',
    costsNoError: true,
    run: async () => undefined,
  },
  {
    name: 'the leading supervisor is killed at some moment',
    order: 'shard',
    short: true,
    costsNoError: true,
    run: async ({ fleet, random }) => {
      await sleep(random.below(2_500));
      const leader = await leaderOf(fleet);
      await leader.kill();
      await sleep(CRASH_MS);
      leader.start();
    },
  },
  {
    name: 'it is aborted half-way, and goes back',
    order: 'shard',
    short: true,
    costsNoError: true,
    run: async ({ fleet, random }) => {
      await comesTo(fleet, move => move.moved > 0 && move.current?.phase === 'moving');
      await sleep(random.below(300));
      await tryOrder(fleet, 'move', 'abort');
    },
  },
  {
    name: 'the primary that gives keys is killed, and comes back empty',
    order: 'shard',
    short: true,
    run: scene => ofRoute(scene, 'giver', killed),
  },
  {
    name: 'the primary that takes keys is frozen until it is replaced, and goes on',
    order: 'shard',
    short: true,
    run: scene => ofRoute(scene, 'taker', node => frozen(node, HUNG_MS)),
  },
  {
    name: 'the primary that takes keys is killed, and comes back empty',
    order: 'shard',
    run: scene => ofRoute(scene, 'taker', killed),
  },
  {
    name: 'the primary that gives keys is frozen until it is replaced, and goes on',
    order: 'shard',
    run: scene => ofRoute(scene, 'giver', node => frozen(node, HUNG_MS)),
  },
  {
    name: 'both primaries are killed in the same instant',
    order: 'shard',
    run: async scene => {
      const route = await underWay(scene.fleet);
      if (route === null) return;
      const nodes = await Promise.all([primaryOf(scene.fleet, route.giver), primaryOf(scene.fleet, route.taker)]);
      for (const node of nodes) node.killNow();
      await sleep(CRASH_MS);
      await Promise.all(nodes.map(node => node.restartEmpty()));
    },
  },
  {
    name: 'both primaries are changed as planned',
    order: 'shard',
    costsNoError: true,
    run: async ({ fleet }) => {
      const route = await underWay(fleet);
      if (route === null) return;
      for (const shard of [route.giver, route.taker]) await tryOrder(fleet, 'switchover', shard);
    },
  },
  {
    name: 'the leading supervisor and the primary that gives keys are killed together',
    order: 'shard',
    run: scene => withLeader(scene, 'giver'),
  },
  {
    name: 'the leading supervisor and the primary that takes keys are killed together',
    order: 'shard',
    run: scene => withLeader(scene, 'taker'),
  },
  {
    name: 'the leading supervisor is frozen, deposed, and goes on as if nothing had been',
    order: 'shard',
    costsNoError: true,
    run: async ({ fleet, random }) => {
      await sleep(random.below(2_000));
      const leader = await leaderOf(fleet);
      leader.signal('SIGSTOP');
      await sleep(5_000);
      leader.signal('SIGCONT');
    },
  },
  {
    name: 'every supervisor is killed, and they start again',
    order: 'shard',
    costsNoError: true,
    run: async ({ fleet }) => {
      await underWay(fleet);
      await Promise.all(fleet.supervisors.map(one => one.kill()));
      await sleep(CRASH_MS);
      for (const one of fleet.supervisors) one.start();
    },
  },
  {
    name: 'leaders are killed one after another',
    order: 'shard',
    costsNoError: true,
    run: async ({ fleet, random }) => {
      for (let i = 0; i < 3; i += 1) {
        await sleep(random.below(1_500));
        const leader = await leaderOf(fleet);
        await leader.kill();
        await until('another leads', async () => (await fleet.leader()) !== null, 30_000);
        leader.start();
      }
    },
  },
  {
    name: 'a proxy is killed, and starts again',
    order: 'shard',
    run: async ({ fleet, random }) => {
      await underWay(fleet);
      const proxy = random.pick(fleet.proxies);
      await proxy.kill();
      proxy.start();
    },
  },
  {
    name: 'it is paused, goes on more slowly, and then as quickly as it may',
    order: 'shard',
    costsNoError: true,
    run: async ({ fleet }) => {
      await underWay(fleet);
      for (const words of [['pause'], ['resume'], ['throttle', '100'], ['throttle', 'off']]) {
        await tryOrder(fleet, 'move', ...words);
        await sleep(500);
      }
    },
  },
  {
    name: 'it is aborted while the primary that gives keys is killed',
    order: 'shard',
    run: async scene => {
      await comesTo(scene.fleet, move => move.moved > 0 && move.current?.phase === 'moving');
      await Promise.all([ofRoute(scene, 'giver', killed), tryOrder(scene.fleet, 'move', 'abort')]);
    },
  },
  {
    name: 'it is aborted, and then the primary that takes keys back is killed, and the leader',
    order: 'shard',
    run: async scene => {
      await comesTo(scene.fleet, move => move.moved > 0 && move.current?.phase === 'moving');
      await tryOrder(scene.fleet, 'move', 'abort');
      await comesTo(scene.fleet, move => move.aborting && move.current?.phase === 'moving');
      await withLeader(scene, 'taker');
    },
  },
  {
    name: 'a shard weighs twice as much, and then as before',
    costsNoError: true,
    run: async ({ fleet }) => {
      const [shard] = (await topologyOf(fleet)).shards;
      const { name, weight } = shard as TopologyShard;
      for (const next of [2 * weight, weight]) {
        await order(fleet, 'apply', 'weight', name, `${next}`, '--yes');
        await comesTo(fleet, () => false);
      }
    },
  },
];

/** With hosts of the test's own, which are made only when the first trial begins. */
export function networkTrials(networkOf: () => Network): MoveTrial[] {
  const during = async (cut: Promise<void>): Promise<void> => {
    await cut;
    await sleep(CUT_MS);
    await networkOf().heal();
  };
  const hostOf = async (fleet: Fleet, end: 'giver' | 'taker'): Promise<Host | null> => {
    const route = await underWay(fleet);
    return route === null ? null : (await primaryOf(fleet, route[end])).host;
  };
  return [
    {
      name: 'a proxy that hears no supervisor goes on writing from before the move until after it',
      short: true,
      run: async ({ fleet, random }) => {
        const proxy = random.pick(fleet.proxies);
        await networkOf().separate(
          [proxy.host],
          fleet.supervisors.map(({ host }) => host),
        );
        await toggleShard(fleet);
        await comesTo(fleet, move => move.moved > 1);
        await sleep(CUT_MS);
        await networkOf().heal();
      },
    },
    {
      name: 'the primary that gives keys is cut off with one proxy from all others',
      order: 'shard',
      run: async ({ fleet, random }) => {
        const host = await hostOf(fleet, 'giver');
        const { host: companion } = random.pick(fleet.proxies);
        if (host !== null) await during(networkOf().separate([host, companion], networkOf().hosts));
      },
    },
    {
      name: 'the primary that takes keys is cut off with one proxy from all others',
      order: 'shard',
      run: async ({ fleet, random }) => {
        const host = await hostOf(fleet, 'taker');
        const { host: companion } = random.pick(fleet.proxies);
        if (host !== null) await during(networkOf().separate([host, companion], networkOf().hosts));
      },
    },
    {
      name: 'the primary that takes keys is cut off from all others',
      order: 'shard',
      run: async ({ fleet }) => {
        const host = await hostOf(fleet, 'taker');
        if (host !== null) await during(networkOf().isolate(host));
      },
    },
    {
      name: 'the leading supervisor is cut off with the primary that gives keys from all others',
      order: 'shard',
      run: async ({ fleet }) => {
        const host = await hostOf(fleet, 'giver');
        const leader = await leaderOf(fleet);
        if (host !== null) await during(networkOf().separate([leader.host, host], networkOf().hosts));
      },
    },
    {
      name: 'a proxy does not reach the primary that gives keys, which everybody else reaches',
      order: 'shard',
      run: async ({ fleet, random }) => {
        const host = await hostOf(fleet, 'giver');
        if (host !== null) await during(networkOf().cut(random.pick(fleet.proxies).host, host));
      },
    },
  ];
}

async function ofRoute(
  { fleet }: MoveScene,
  end: 'giver' | 'taker',
  fault: (node: RedisNode) => Promise<void>,
): Promise<void> {
  const route = await underWay(fleet);
  if (route !== null) await fault(await primaryOf(fleet, route[end]));
}

async function withLeader({ fleet }: MoveScene, end: 'giver' | 'taker'): Promise<void> {
  const route = await underWay(fleet);
  if (route === null) return;
  const primary = await primaryOf(fleet, route[end]);
  const leader = await leaderOf(fleet);
  primary.killNow();
  await leader.kill();
  await sleep(CRASH_MS);
  leader.start();
  await primary.restartEmpty();
}

async function killed(node: RedisNode): Promise<void> {
  await node.kill();
  await sleep(CRASH_MS);
  await node.restartEmpty();
}

async function frozen(node: RedisNode, ms: number): Promise<void> {
  node.freeze();
  await sleep(ms);
  node.thaw();
}

async function leaderOf(fleet: Fleet): Promise<Role> {
  let leader: Role | null = null;
  await until(
    'a supervisor leads',
    async () => {
      leader = await fleet.leader();
      return leader !== null;
    },
    30_000,
  );
  return leader as unknown as Role;
}
