import { afterEach, expect, test } from 'vitest';
import {
  asProxy,
  onlyShard,
  password,
  quiet,
  RealLeader,
  type RealNode,
  realNodes,
  TEST_SETTINGS,
} from './real-stand.ts';

/**
 * Nodes are drained, on real redis-servers: what Redis makes of it that the stories only believe.
 */
/** Nobody dies here before the end, however busy the machine is. */
const PATIENT = { ...TEST_SETTINGS, detect: { everyMs: 100, crashedMs: 3000, hungMs: 6000 } };
const toEnd: { end(): Promise<void> | void }[] = [];
afterEach(async () => {
  for (const one of toEnd.splice(0).reverse()) await one.end();
});

async function stand(members: number, spares: number): Promise<{ nodes: RealNode[]; leader: RealLeader }> {
  const { nodes, topology } = await realNodes(members, spares);
  toEnd.push(...nodes);
  await Promise.all(nodes.map(node => node.start()));
  const leader = new RealLeader(topology, 1, PATIENT);
  toEnd.push({ end: () => leader.stop() });
  await leader.until('formed', () => isWhole(leader));
  return { nodes, leader };
}

function isWhole(leader: RealLeader): boolean {
  const { inSync, nodes, copies, joining } = onlyShard(leader);
  return inSync.length === nodes.length - 1 && copies === undefined && joining === null;
}

const step = (leader: RealLeader, id: string) =>
  leader.engine.status(performance.now()).nodes.find(node => node.id === id)?.drain?.step ?? null;

test('each node of a shard is drained in turn: all data goes on, and what is free is stopped and started empty', async () => {
  const { nodes, leader } = await stand(3, 1);
  await asProxy(leader, redis =>
    redis.eval("for i = 1, 20000 do redis.call('SET', 'key:' .. i, string.rep('x', 100)) end", 0),
  );
  for (const id of ['n3', 'n1', 'n2']) {
    expect(leader.engine.order({ kind: 'drain', node: id, to: null, zone: null }, performance.now()).accepted).toBe(
      true,
    );
    await leader.until(`${id} is free`, () => {
      // The extra copy comes first: never is there one fewer.
      expect(onlyShard(leader).inSync.length, leader.story()).toBeGreaterThanOrEqual(2);
      return step(leader, id) === 'free' && isWhole(leader);
    });
    const { primary, inSync, nodes: members } = onlyShard(leader);
    expect([primary, ...inSync].sort()).toEqual([...members].sort());
    expect(members).not.toContain(id);
    const [node] = nodes.filter(one => one.id === id);
    await node?.restartEmpty();
    const count = await asProxy(leader, async redis => [await redis.wait(2, 2000), await redis.dbsize()]);
    expect(count).toEqual([2, 20_000]);
    expect(leader.engine.order({ kind: 'undrain', node: id }, performance.now()).accepted).toBe(true);
    await leader.until(`${id} is kept`, () => step(leader, id) === null);
  }
  // Whoever was drained first took the place of the next.
  expect([...onlyShard(leader).nodes].sort()).toEqual(['n1', 'n3', 'n4']);
});

test('a free node that still runs is followed by nobody, follows nobody, and lets no proxy in', async () => {
  const { nodes, leader } = await stand(2, 1);
  leader.engine.order({ kind: 'drain', node: 'n1', to: null, zone: null }, performance.now());
  await leader.until('n1 is free', () => step(leader, 'n1') === 'free' && isWhole(leader));
  const [n1] = nodes;
  const admin = quiet(n1?.port ?? 0, 'ringside-admin', password('ringside-admin', 'real'));
  toEnd.push({ end: () => admin.disconnect() });
  await admin.connect();
  const info = await admin.info('replication');
  expect(info).toContain('connected_slaves:0');
  expect(info).toContain('master_port:1\r\n');
  const users = (await admin.call('ACL', 'USERS')) as string[];
  expect(users.filter(user => /^ringside-(proxy|replica)-/.test(user))).toEqual([]);
  // Two nodes are left, and one of them may be lost.
  await nodes.find(({ id }) => id === onlyShard(leader).primary)?.kill();
  await leader.until('failed over', () => onlyShard(leader).inSync.length === 0);
  expect(onlyShard(leader).nodes).not.toContain('n1');
});
