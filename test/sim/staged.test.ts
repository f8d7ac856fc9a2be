import { describe, expect, test } from 'vitest';
import type { Effect } from '../../src/supervisor/core/effect.ts';
import type { TopologyShard } from '../../src/topology/snapshot.ts';
import { NOTHING_OMITTED, type Omissions, SimCluster } from './cluster.ts';
import { drawPlan, type Plan } from './plan.ts';
import type { SimNode } from './redis/node.ts';
import type { SimSupervisor } from './supervisor.ts';
import { World } from './world.ts';

/**
 * Words of the protocol whose absence chance meets too rarely, so that their moment is staged by hand: the same story is
 * told with the word and without it, and only without it is a promise broken.
 */
class Stage {
  readonly cluster: SimCluster;
  readonly #world = new World(1);

  /** One shard, formed and written to, and nothing that happens by itself. */
  constructor(omissions: Omissions, leaning: Partial<Plan>) {
    const size = { shards: 1, copies: 3, spares: 0, proxies: 1, writersPerShard: 2, writerRestMs: 10 };
    const plan = drawPlan(this.#world, { ...size, backlogBytes: 10_000_000, loadFailure: 0, ...leaning });
    this.cluster = new SimCluster(this.#world, plan, omissions);
    this.until(() => this.cluster.whyNotWhole() === null && this.shard.inSync.length === 2);
    this.rest(500);
  }

  get shard(): TopologyShard {
    return this.cluster.store.topology.shards[0] as TopologyShard;
  }

  get acknowledged(): number {
    return this.cluster.ledger.counts.acknowledged;
  }

  /** The first broken promise, without the time; null: none. */
  get broken(): string | null {
    return this.cluster.ledger.violations[0]?.replace(/^at [\d.]+ ms: /, '') ?? null;
  }

  node(id: string | undefined): SimNode {
    return this.cluster.nodes.find(node => node.id === id) as SimNode;
  }

  leader(): SimSupervisor {
    return this.cluster.supervisors.find(one => one.statusOf('s1') !== null) as SimSupervisor;
  }

  rest(ms: number): void {
    this.#world.run(this.#world.nowMs + ms);
  }

  after(ms: number, act: () => void): void {
    this.#world.after(ms, act);
  }

  until(isSo: () => boolean): void {
    this.#world.run(this.#world.nowMs + 20_000, isSo);
    if (!isSo()) throw new Error(`it does not come to that:\n${this.#world.story.slice(-40).join('\n')}`);
  }
}

const isCallOf = (effect: Effect, ...words: readonly string[]): boolean => {
  return effect.kind === 'call' && effect.commands.some(command => words.every((word, at) => command[at] === word));
};

/**
 * R4.1: candidates stand still before they are read. The primary was only halted; it goes on between the reading and the
 * promotion, and one copy gets more from it than the one that is promoted: told to follow, it must copy everything.
 */
function failOverFromTheLiving(omissions: Omissions): string | null {
  const stage = new Stage(omissions, { supervisors: 1 });
  const { network } = stage.cluster;
  const [first, second] = stage.shard.inSync.map(id => stage.node(id)) as [SimNode, SimNode];
  const primary = stage.node(stage.shard.primary);
  const leader = stage.leader();
  let isPromoting = false;
  leader.beforeEffect = effect => {
    if (isCallOf(effect, 'REPLICAOF', 'NO', 'ONE')) {
      isPromoting = true;
      network.slow(primary.host, first.host, 2000);
      network.slow(leader.host, first.host, 100);
      primary.living?.actor.goOn();
    } else if (isPromoting && effect.kind === 'call' && effect.nodeId === second.id) {
      // Nobody is left to see that it copies, and to stop it.
      stage.after(2, () => leader.kill());
    }
  };
  primary.living?.actor.halt();
  stage.until(() => leader.actor.hasEnded);
  stage.rest(1000);
  return stage.broken;
}

/**
 * R6: a leader is halted when it is about to publish that a copy has joined. Its successor gives the joining up, and the
 * copy is no longer reached by anybody; then the first leader goes on.
 */
function publishAfterDeposition(omissions: Omissions): string | null {
  const stage = new Stage(omissions, { supervisors: 2 });
  const { cluster } = stage;
  const joining = stage.node(stage.shard.inSync[1]);
  joining.kill();
  stage.until(() => !stage.shard.inSync.includes(joining.id));
  const halted: SimSupervisor[] = [];
  for (const leader of cluster.supervisors) {
    leader.beforeEffect = effect => {
      if (halted.length > 0 || effect.kind !== 'publish' || !effect.shards[0]?.inSync.includes(joining.id)) return;
      halted.push(leader);
      leader.actor.halt();
      for (const host of cluster.hosts) {
        cluster.network.cut(host, joining.host);
        cluster.network.cut(joining.host, host);
      }
    };
  }
  cluster.startNode(joining, false);
  stage.until(() => halted.length > 0);
  stage.until(() => stage.shard.joining === null);
  const before = stage.acknowledged;
  stage.until(() => stage.acknowledged > before + 10);
  for (const leader of halted) leader.actor.goOn();
  // Longer than the store is ever late.
  stage.rest(4000);
  return stage.broken;
}

/**
 * R3.3: a proxy that hears of nothing goes on by what it was told last, one copy in sync. Meanwhile another joins, and
 * the one it was told of falls behind.
 */
function goOnAcrossTheFence(omissions: Omissions): string | null {
  const stage = new Stage(omissions, { supervisors: 1, proxies: 2 });
  const { cluster } = stage;
  const [staying, joining] = stage.shard.inSync.map(id => stage.node(id)) as [SimNode, SimNode];
  joining.kill();
  stage.until(() => !stage.shard.inSync.includes(joining.id));
  stage.rest(1000);
  for (const { host } of cluster.supervisors) cluster.network.cut(host, cluster.proxies[1]?.host ?? '');
  cluster.startNode(joining, false);
  stage.until(() => stage.shard.inSync.includes(joining.id));
  cluster.network.slow(stage.node(stage.shard.primary).host, staying.host, 400);
  stage.rest(1500);
  return stage.broken;
}

const isStanding = (command: readonly string[]): boolean => command[0] === 'REPLICAOF' && command[2] === '1';

describe('R4.1: stand still, then read', () => {
  test('as it is, no copy is thrown away', () => {
    expect(failOverFromTheLiving(NOTHING_OMITTED)).toBeNull();
  });

  test('promoted without standing still, an in-sync copy is emptied', () => {
    const spoil = { skips: isStanding, delays: null };
    expect(failOverFromTheLiving({ ...NOTHING_OMITTED, spoil })).toMatch(/^R9: n\d is emptied while it is in sync/);
  });
});

describe('R3.3: the fence', () => {
  test('as it is, a proxy of an older epoch acknowledges nothing', () => {
    expect(goOnAcrossTheFence(NOTHING_OMITTED)).toBeNull();
  });

  test('without it, the proxy counts the new copy in the place of the one that lacks the write', () => {
    const skips = ([name = '', what = '', ...users]: readonly string[]): boolean => {
      return name === 'ACL' && what === 'DELUSER' && users.some(user => user.startsWith('ringside-proxy-'));
    };
    const broken = goOnAcrossTheFence({ ...NOTHING_OMITTED, spoil: { skips, delays: null } });
    expect(broken).toMatch(/^I1: n\d#\d, in sync for s1, does not hold p2\.\S+ when it was acknowledged$/);
  });
});

describe('R6: proof of leadership in the same transaction', () => {
  test('as it is, whoever has been deposed publishes nothing', () => {
    expect(publishAfterDeposition(NOTHING_OMITTED)).toBeNull();
  });

  test('without it, a copy is published that lacks what was acknowledged', () => {
    const broken = publishAfterDeposition({ ...NOTHING_OMITTED, withoutProof: true });
    expect(broken).toMatch(/^I1: n\d#\d, in sync for s1, does not hold \S+ when this was published$/);
  });
});
