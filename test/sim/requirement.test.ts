import { expect, test } from 'vitest';
import { passwordHash, proxyUser } from '../../src/topology/credentials.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { password } from './act.ts';
import { NOTHING_OMITTED } from './cluster.ts';
import { Network } from './network.ts';
import { ProxyShard } from './proxy.ts';
import { SimNode } from './redis/node.ts';
import type { Answer } from './request.ts';
import { Actor, World } from './world.ts';

/**
 * Rule R1: a count is judged by what was required when its WAIT was sent. Chance meets this rarely, so it is staged: the
 * count of a barrier is on its way, one of two copies in it, while that very copy is dropped and one is required.
 */
function stage(judgesByPresent: boolean): { answer: Answer['kind'] | null; copyHasIt: boolean } {
  const world = new World(7);
  const network = new Network(world);
  const nature = { loadFailure: 0, backlogBytes: 1_000_000, runIdKept: false };
  const [primary, dropped, staying] = ['n1', 'n2', 'n3'].map(id => new SimNode(network, id, 'a', nature)) as [
    SimNode,
    SimNode,
    SimNode,
  ];
  for (const node of [primary, dropped, staying]) node.start(false);
  const runId = primary.living?.runId ?? '';
  const user = proxyUser(1);
  primary.living?.config.set('repl-diskless-sync-delay', '0');
  primary.living?.users.set(user, ['on', passwordHash(password(user, runId)), '+@all']);
  for (const node of [dropped, staying]) node.living?.follow(primary.host, primary.port);
  world.run(1000);

  const habits = { ...NOTHING_OMITTED.habits, judgesByPresent };
  const shard = new ProxyShard(network, 'p1.sim', new Actor(world, 'p1'), 's1', id => `${id}.sim:6379`, habits);
  shard.follow(topologyOf(1, ['n2', 'n3'], runId));
  world.run(1050);
  network.slow(primary.host, staying.host, 3000);
  network.slow(primary.host, 'p1.sim', 60);
  let answer: Answer['kind'] | null = null;
  shard.submit(['RPUSH', 'k', 'w'], 5000, ({ kind }) => {
    answer = kind;
  });
  // The barrier is sent once the write is answered, and comes back after 100 ms, with one of two copies.
  const waits = (): boolean => [...(primary.living?.connections ?? [])].some(({ wait }) => wait !== null);
  world.run(1400, waits);
  world.run(1500, () => !waits());
  shard.follow(topologyOf(2, ['n3'], runId));
  for (const one of primary.living?.replicas ?? []) if (one.end.peerHost === dropped.host) primary.living?.drop(one);
  world.run(world.nowMs + 90);
  return { answer, copyHasIt: staying.living?.data.writes.has('w') === true };
}

function topologyOf(version: number, inSync: readonly string[], runId: string): Topology {
  const shard = {
    name: 's1',
    weight: 1,
    epoch: 1,
    primary: 'n1',
    joining: null,
    paused: false,
    nodes: ['n1', 'n2', 'n3'],
  };
  return {
    cluster: 'sim',
    version,
    term: 1,
    ring: { kind: 'murmur3', vnodes: 16, hash: 'murmur3', hashTag: '{}' },
    shards: [{ ...shard, inSync }],
    nodes: shard.nodes.map(id => ({
      id,
      host: `${id}.sim`,
      port: 6379,
      zone: 'a',
      runId: id === 'n1' ? runId : null,
      draining: false,
    })),
    move: null,
  };
}

test('a count that was asked for two copies confirms nothing when one of them is dropped', () => {
  expect(stage(false)).toEqual({ answer: null, copyHasIt: false });
});

test('judged by what is required now, the same count acknowledges a write that the one copy left does not have', () => {
  expect(stage(true)).toEqual({ answer: 'acknowledged', copyHasIt: false });
});
