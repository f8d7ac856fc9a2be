import { afterEach, expect, test } from 'vitest';
import { asProxy, onlyShard, password, quiet, RealLeader, type RealNode, realNodes } from './real-stand.ts';

/**
 * What the engine decides, on real redis-servers: each of its procedures at least once.
 */
const toEnd: { end(): Promise<void> | void }[] = [];
afterEach(async () => {
  for (const one of toEnd.splice(0).reverse()) await one.end();
});

async function stand(members: number, spares = 0): Promise<{ nodes: RealNode[]; leader: RealLeader }> {
  const { nodes, topology } = await realNodes(members, spares);
  toEnd.push(...nodes);
  await Promise.all(nodes.map(node => node.start()));
  const leader = new RealLeader(topology, 1);
  toEnd.push({ end: () => leader.stop() });
  return { nodes, leader };
}

const nodeById = (nodes: readonly RealNode[], id: string): RealNode => {
  const found = nodes.find(node => node.id === id);
  if (found === undefined) throw new Error(`no node ${id}`);
  return found;
};
const isHealthy = (leader: RealLeader) => () => leader.engine.status(performance.now()).shards[0]?.state === 'healthy';

test('forms empty nodes, survives its primary, and takes the old one back', async () => {
  const { nodes, leader } = await stand(3);
  await leader.until('formed', isHealthy(leader));
  expect(onlyShard(leader).inSync).toHaveLength(2);
  expect(await asProxy(leader, async redis => [await redis.set('a', '1'), await redis.wait(2, 1000)])).toEqual([
    'OK',
    2,
  ]);
  const { epoch, primary } = onlyShard(leader);
  await nodeById(nodes, primary).kill();
  await leader.until('failed over', () => onlyShard(leader).primary !== primary);
  expect(onlyShard(leader)).toMatchObject({ epoch: epoch + 1, joining: null });
  expect(onlyShard(leader).inSync).toHaveLength(1);
  expect(await asProxy(leader, redis => redis.get('a'))).toBe('1');
  await nodeById(nodes, primary).start();
  await leader.until('whole again', isHealthy(leader));
  expect(await asProxy(leader, async redis => [await redis.set('a', '2'), await redis.wait(2, 1000)])).toEqual([
    'OK',
    2,
  ]);
});

/** Some data that takes a full copy a little while. */
async function fill(leader: RealLeader, keys: number): Promise<void> {
  await asProxy(leader, redis =>
    redis.eval("for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'key:' .. i, string.rep('x', 100)) end", 0, keys),
  );
}
const keysOf = (leader: RealLeader) => asProxy(leader, redis => redis.dbsize());

test('a killed replica is dropped without waiting until it is surely dead, and comes back', async () => {
  const { nodes, leader } = await stand(3);
  await leader.until('formed', isHealthy(leader));
  await nodeById(nodes, 'n3').kill();
  await leader.until('shrunk', () => !onlyShard(leader).inSync.includes('n3'));
  await nodeById(nodes, 'n3').start();
  await leader.until('whole again', isHealthy(leader));
});

test('a frozen primary is replaced, and returns as a copy by a partial resync', async () => {
  const { nodes, leader } = await stand(3);
  await leader.until('formed', isHealthy(leader));
  await fill(leader, 1000);
  const { primary } = onlyShard(leader);
  nodeById(nodes, primary).signal('SIGSTOP');
  await leader.until('failed over', () => onlyShard(leader).primary !== primary);
  nodeById(nodes, primary).signal('SIGCONT');
  await leader.until('whole again', isHealthy(leader));
  expect(leader.notes.some(line => line.includes(`${primary} goes on from what it has`))).toBe(true);
  expect(await keysOf(leader)).toBe(1000);
});

test('a switch-over leads to the node that was named and back, and keeps all copies', async () => {
  const { leader } = await stand(3);
  await leader.until('formed', isHealthy(leader));
  await fill(leader, 1000);
  for (const to of ['n3', 'n1']) {
    const { epoch } = onlyShard(leader);
    const answer = leader.engine.order({ kind: 'switchover', shard: 's1', to }, performance.now());
    expect(answer).toMatchObject({ accepted: true });
    await leader.until(`switched over to ${to}`, () => onlyShard(leader).primary === to && !onlyShard(leader).paused);
    expect(onlyShard(leader).epoch).toBe(epoch + 2);
    expect(onlyShard(leader).inSync).toHaveLength(2);
    expect(await asProxy(leader, async redis => [await redis.set('a', to), await redis.wait(2, 1000)])).toEqual([
      'OK',
      2,
    ]);
  }
});

test('a lost copy is made anew on a spare in another zone', async () => {
  const { nodes, leader } = await stand(3, 1);
  await leader.until('formed', isHealthy(leader));
  await fill(leader, 1000);
  await nodeById(nodes, 'n2').kill();
  await leader.until('rebuilt on n4', () => onlyShard(leader).inSync.includes('n4'));
  expect(onlyShard(leader).nodes).toEqual(['n1', 'n4', 'n3']);
  expect(leader.engine.status(performance.now()).shards[0]?.state).toBe('healthy');
});

test('a running Redis with data and a replica is taken into use without a restart', async () => {
  const { nodes, topology } = await realNodes(3);
  toEnd.push(...nodes);
  await Promise.all(nodes.map(node => node.start()));
  const [first, second] = nodes.map(node => quiet(node.port));
  if (first === undefined || second === undefined) throw new Error('no nodes');
  await Promise.all([first.connect(), second.connect()]);
  await second.call('SET', 'kept', 'value');
  await first.call('REPLICAOF', '127.0.0.1', String(nodeById(nodes, 'n2').port));
  await expect.poll(async () => String(await first.info('replication'))).toContain('master_link_status:up');
  const leader = new RealLeader(topology, 1);
  toEnd.push({ end: () => leader.stop() });
  await leader.until('formed', isHealthy(leader));
  expect(onlyShard(leader).primary).toBe('n2');
  expect(await asProxy(leader, redis => redis.get('kept'))).toBe('value');
  first.disconnect();
  second.disconnect();
});

test('nodes that hold different data are not formed, and nothing of theirs is touched', async () => {
  const { nodes, topology } = await realNodes(2);
  toEnd.push(...nodes);
  await Promise.all(nodes.map(node => node.start()));
  for (const node of nodes) {
    const redis = quiet(node.port);
    await redis.connect();
    await redis.set('mine', node.id);
    redis.disconnect();
  }
  const leader = new RealLeader(topology, 1);
  toEnd.push({ end: () => leader.stop() });
  const needs = () => leader.engine.status(performance.now()).shards[0]?.needs ?? '';
  await leader.until('refused', () => needs().includes('hold different data'));
  expect(leader.topology.version).toBe(1);
});

test('a new leader goes on where the last one died, and the last one is told so', async () => {
  const { leader } = await stand(3);
  await leader.until('formed', isHealthy(leader));
  const next = new RealLeader(leader.topology, 2);
  toEnd.push({ end: () => next.stop() });
  await next.until('taken over', isHealthy(next));
  await leader.until('superseded', () => leader.engine.lost !== null);
  expect(leader.engine.metTerm).toBe(2);
  expect(next.topology.shards).toEqual(leader.topology.shards);
  expect(await asProxy(next, async redis => [await redis.set('a', '1'), await redis.wait(2, 1000)])).toEqual(['OK', 2]);
});

test('after a restart of all nodes the copy with the newest mark wins; with nothing left a person is asked', async () => {
  const { nodes, leader } = await stand(3);
  await leader.until('formed', isHealthy(leader));
  await fill(leader, 100);
  const admin = quiet(nodeById(nodes, 'n2').port, 'ringside-admin', password('ringside-admin', 'real'));
  await admin.connect();
  await expect.poll(() => admin.call('SAVE').catch(() => 'another save is under way')).toBe('OK');
  admin.disconnect();
  await Promise.all(nodes.map(node => node.kill()));
  await new Promise(resolve => setTimeout(resolve, 500));
  await Promise.all(nodes.map(node => node.start()));
  await leader.until('begun again', isHealthy(leader));
  expect(await keysOf(leader)).toBe(100);
  await Promise.all(nodes.map(node => node.end()));
  await Promise.all(nodes.map(node => node.restartEmpty()));
  const status = () => leader.engine.status(performance.now()).shards[0];
  await leader.until('halted', () => status()?.state === 'halted');
  expect(status()?.needs).toContain('ringside recover s1 --accept-loss');
  expect(leader.engine.order({ kind: 'recover', shard: 's1', acceptLoss: true }, performance.now())).toMatchObject({
    accepted: true,
  });
  await leader.until('recovered', isHealthy(leader));
  expect(await keysOf(leader)).toBe(0);
});

test('a primary whose script cannot be ended is replaced, then shut down', async () => {
  const { nodes, leader } = await stand(3);
  await leader.until('formed', isHealthy(leader));
  const { primary } = onlyShard(leader);
  const stuck = asProxy(leader, redis => redis.eval("redis.call('SET', 'a', '1') while true do end", 0)).catch(
    () => 'cut off',
  );
  await leader.until('failed over', () => onlyShard(leader).primary !== primary);
  expect(await stuck).toBe('cut off');
  await leader.until('shut down', () => nodeById(nodes, primary).hasEnded);
  await nodeById(nodes, primary).start();
  await leader.until('whole again', isHealthy(leader));
});
