/**
 * What can happen to a cluster of real processes. Each fault is done and undone here; what must hold afterwards is
 * judged elsewhere.
 */
import type { Random } from '../../../src/base/random.ts';
import { HANG_MS } from '../../support/patience.ts';
import { sleep } from '../faults/stand.ts';
import type { Fleet } from './fleet.ts';
import type { Host } from './host.ts';
import type { Network } from './network.ts';
import type { RedisNode } from './redis-node.ts';

/** One run of a fault: what it may use. */
export interface Scene {
  readonly fleet: Fleet;
  readonly random: Random;
  /** Resolves when every client has been served by every shard since it was called; rejects when that never is. */
  served(): Promise<void>;
}

export interface Fault {
  readonly name: string;
  /** Of the few that are tried in the short form as well. */
  readonly short?: true;
  /** Clients see a pause and no error: nothing was lost that could have left a write in doubt. */
  readonly costsNoError?: true;
  /** Does it, lets it last, and undoes it: when this resolves, everything runs and reaches everything again. */
  run(scene: Scene): Promise<void>;
}

/** How long hosts are cut off. */
const CUT_MS = 4_500;
/** Longer than `detect.hung` of a fleet's settings: whoever is silent for so long has been replaced. */
const HUNG_MS = 2_500;
/** Long enough for a fail-over after a crash. */
const CRASH_MS = 1_000;

export const processFaults: readonly Fault[] = [
  {
    name: 'a primary is killed and comes back empty',
    short: true,
    run: async scene => {
      const { primary } = await members(scene);
      await primary.kill();
      await sleep(CRASH_MS);
      await primary.restartEmpty();
    },
  },
  {
    name: 'a primary is killed and comes back empty at once',
    short: true,
    run: async scene => (await members(scene)).primary.restartEmpty(),
  },
  {
    name: 'a primary is killed and comes back with what its last sync left on disk',
    run: async scene => {
      const { primary } = await members(scene);
      await primary.kill();
      await primary.start();
    },
  },
  {
    name: 'a replica is killed and comes back empty',
    costsNoError: true,
    run: async scene => {
      const { replicas } = await members(scene);
      const replica = oneOf(scene.random, replicas);
      await replica.kill();
      await sleep(CRASH_MS);
      await replica.restartEmpty();
    },
  },
  {
    name: 'two of three nodes are killed in the same instant, the primary among them',
    short: true,
    run: async scene => {
      const { primary, replicas } = await members(scene);
      const replica = oneOf(scene.random, replicas);
      primary.killNow();
      replica.killNow();
      await sleep(CRASH_MS);
      await Promise.all([primary.restartEmpty(), replica.restartEmpty()]);
    },
  },
  {
    name: 'a primary is frozen until it is replaced, and goes on',
    short: true,
    run: async scene => frozen((await members(scene)).primary, HUNG_MS),
  },
  {
    name: 'a primary is frozen for a moment',
    costsNoError: true,
    run: async scene => frozen((await members(scene)).primary, 400),
  },
  {
    name: 'a replica is frozen until it is dropped, and goes on',
    costsNoError: true,
    short: true,
    run: async scene => frozen(oneOf(scene.random, (await members(scene)).replicas), HUNG_MS),
  },
  {
    name: 'a shard changes its primary as planned',
    costsNoError: true,
    short: true,
    run: async ({ fleet, random }) => {
      const name = oneOf(random, (await fleet.topology()).shards).name;
      await (await leaderOf(fleet)).post(`/v1/shards/${name}/switchover`, {});
    },
  },
  {
    name: 'the leading supervisor is killed',
    costsNoError: true,
    run: async ({ fleet }) => {
      const leader = await leaderOf(fleet);
      await leader.kill();
      await sleep(CRASH_MS);
      leader.start();
    },
  },
  {
    name: 'the leading supervisor and a primary are killed together',
    short: true,
    run: async scene => {
      const { primary } = await members(scene);
      const leader = await leaderOf(scene.fleet);
      primary.killNow();
      await leader.kill();
      await sleep(CRASH_MS);
      leader.start();
      await primary.restartEmpty();
    },
  },
  {
    name: 'the leading supervisor is frozen while a primary is killed, and goes on as if nothing had been',
    run: async scene => {
      const { primary } = await members(scene);
      const leader = await leaderOf(scene.fleet);
      leader.signal('SIGSTOP');
      await primary.kill();
      await sleep(5_000);
      leader.signal('SIGCONT');
      await primary.restartEmpty();
    },
  },
  {
    name: 'a member of etcd is killed',
    costsNoError: true,
    short: true,
    run: async ({ fleet, random }) => {
      const member = oneOf(random, fleet.etcd);
      await member.kill();
      await sleep(CRASH_MS);
      await member.start();
    },
  },
  {
    name: 'every supervisor is killed: proxies go on without',
    costsNoError: true,
    run: async ({ fleet }) => {
      await Promise.all(fleet.supervisors.map(one => one.kill()));
      await sleep(CRASH_MS);
      for (const one of fleet.supervisors) one.start();
    },
  },
  {
    name: 'a proxy is killed and starts again',
    run: async ({ fleet, random }) => {
      const proxy = oneOf(random, fleet.proxies);
      await proxy.kill();
      proxy.start();
    },
  },
];

/** With hosts of the test's own, which are made only when the first fault begins. */
export function networkFaults(networkOf: () => Network): Fault[] {
  /** A cut lasts for so long, and until `meanwhile` has happened. */
  const during = async (cut: Promise<void>, ms: number, meanwhile?: () => Promise<void>): Promise<void> => {
    await cut;
    try {
      await Promise.all([sleep(ms), meanwhile?.()]);
    } finally {
      await networkOf().heal();
    }
  };
  return [
    {
      name: "a primary's host is cut off from all others",
      run: async scene => during(networkOf().isolate((await members(scene)).primary.host), CUT_MS),
    },
    {
      name: "nothing that a primary's host sends arrives",
      run: async scene => during(oneWay(networkOf(), (await members(scene)).primary.host, 'from'), CUT_MS),
    },
    {
      name: "nothing arrives at a primary's host",
      run: async scene => during(oneWay(networkOf(), (await members(scene)).primary.host, 'to'), CUT_MS),
    },
    {
      name: 'a primary is cut off with one proxy from all others',
      short: true,
      run: async scene => {
        const { primary } = await members(scene);
        const companion = oneOf(scene.random, scene.fleet.proxies);
        await during(networkOf().separate([primary.host, companion.host], networkOf().hosts), CUT_MS);
      },
    },
    {
      name: 'a proxy is cut off from every supervisor while a primary is killed',
      short: true,
      run: async scene => {
        const proxy = oneOf(scene.random, scene.fleet.proxies);
        const supervisors = scene.fleet.supervisors.map(({ host }) => host);
        const { primary } = await members(scene);
        await networkOf().separate([proxy.host], supervisors);
        await primary.kill();
        await sleep(CUT_MS);
        await networkOf().heal();
        await primary.restartEmpty();
      },
    },
    {
      name: "the leading supervisor's host is cut off from all others",
      costsNoError: true,
      run: async ({ fleet }) => during(networkOf().isolate((await leaderOf(fleet)).host), CUT_MS),
    },
    {
      name: 'the leading supervisor is cut off with a primary from all others',
      short: true,
      run: async scene => {
        const hosts = [(await leaderOf(scene.fleet)).host, (await members(scene)).primary.host];
        await during(networkOf().separate(hosts, networkOf().hosts), CUT_MS);
      },
    },
    {
      name: "a replica's host is cut off from all others",
      costsNoError: true,
      run: async scene =>
        during(networkOf().isolate(oneOf(scene.random, (await members(scene)).replicas).host), CUT_MS),
    },
    {
      name: 'a primary and a replica do not hear each other, though the leader hears both',
      costsNoError: true,
      run: async scene => {
        const { primary, replicas } = await members(scene);
        await during(networkOf().cut(primary.host, oneOf(scene.random, replicas).host), CUT_MS, scene.served);
      },
    },
    {
      name: 'a primary is heard neither by the leader nor by one replica, but by the other',
      short: true,
      run: async scene => {
        const { primary, replicas } = await members(scene);
        const deaf = [(await leaderOf(scene.fleet)).host, oneOf(scene.random, replicas).host];
        await during(networkOf().separate([primary.host], deaf), CUT_MS, scene.served);
      },
    },
  ];
}

/** Primary and replicas of a shard chosen by chance. */
async function members({ fleet, random }: Scene): Promise<{ primary: RedisNode; replicas: RedisNode[] }> {
  const { primary, inSync } = oneOf(random, (await fleet.topology()).shards);
  return { primary: fleet.node(primary), replicas: inSync.map(id => fleet.node(id)) };
}

async function leaderOf(fleet: Fleet) {
  for (const endMs = performance.now() + HANG_MS; performance.now() < endMs; ) {
    const leader = await fleet.leader();
    if (leader !== null) return leader;
    await sleep(100);
  }
  throw new Error('no supervisor leads');
}

async function frozen(node: RedisNode, ms: number): Promise<void> {
  node.freeze();
  await sleep(ms);
  node.thaw();
}

async function oneWay(network: Network, host: Host, direction: 'from' | 'to'): Promise<void> {
  const others = network.hosts.filter(other => other !== host);
  await Promise.all(
    others.map(other => (direction === 'from' ? network.cutOneWay(host, other) : network.cutOneWay(other, host))),
  );
}

export function oneOf<T>(random: Random, items: readonly T[]): T {
  const item = items[random.below(items.length)];
  if (item === undefined) throw new Error('there is nothing to choose from');
  return item;
}
