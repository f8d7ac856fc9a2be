import { afterEach, describe, expect, test } from 'vitest';
import { createRing } from '../../../src/ring/ring.ts';
import { ADMIN_USER } from '../../../src/topology/credentials.ts';
import { cutPortions, type Flow, type TopologyMove } from '../../../src/topology/move.ts';
import type { Topology, TopologyShard } from '../../../src/topology/snapshot.ts';
import { CLUSTER, password, quiet, RealLeader, type RealNode, realNodes, TEST_SETTINGS } from './real-stand.ts';

/**
 * Keys moved by the engine alone, over real redis-servers and without any proxy: every key is afterwards where the ring
 * says, on every copy, with value, type and expiry as before, and nowhere else.
 */
const toEnd: { end(): Promise<void> | void }[] = [];
afterEach(async () => {
  for (const one of toEnd.splice(0).reverse()) await one.end();
});

const DATABASES = [0, 3, 11];
type Admin = ReturnType<typeof quiet>;

/** s1 and s2 of two copies each, and s3 of weight 0 as well; formed. */
async function stand(weights: readonly number[]): Promise<{ nodes: RealNode[]; leader: RealLeader }> {
  const { nodes, topology } = await realNodes(weights.length * 2);
  toEnd.push(...nodes);
  await Promise.all(nodes.map(node => node.start()));
  const ids = nodes.map(({ id }) => id);
  const shards = weights.map((weight, i): TopologyShard => {
    const members = ids.slice(2 * i, 2 * i + 2);
    const rest = { epoch: 1, inSync: [], joining: null, paused: false, nodes: members };
    return { name: `s${i + 1}`, weight, primary: members[0] ?? '', ...rest };
  });
  const leader = lead({ ...topology, shards }, 1);
  await leader.until('formed', () => leader.topology.shards.every(({ inSync }) => inSync.length === 1), 20_000);
  return { nodes, leader };
}

function lead(topology: Topology, term: number, settings = TEST_SETTINGS): RealLeader {
  const leader = new RealLeader(topology, term, settings);
  toEnd.push({ end: () => leader.stop() });
  return leader;
}

/** The move to these weights, in portions of two parts. */
function withMove(topology: Topology, to: readonly number[]): Topology {
  const { ring, shards, version } = topology;
  const weights = Object.fromEntries(shards.map(({ name }, i) => [name, to[i] ?? 0]));
  const before = createRing(ring, shards);
  const after = createRing(
    ring,
    shards.map(({ name }, i) => ({ name, weight: to[i] ?? 0 })),
  );
  const flows = new Map<string, Flow>();
  for (let i = 0; i < 2000; i++) {
    const key = Buffer.from(`sample:${i}`);
    const [source = '', target = ''] = [before, after].map(one => shards[one.ownerOf(key, 0, key.length)]?.name);
    if (source !== target) flows.set(`${source} ${target}`, { source, target, keys: 200 });
  }
  const rest = { moved: 0, current: null, aborting: false, paused: null, keysPerSecond: null, allowStalls: false };
  const move: TopologyMove = { id: version, ring, weights, portions: cutPortions([...flows.values()], 100), ...rest };
  return { ...topology, move };
}

async function admins(nodes: readonly RealNode[]): Promise<Map<string, Admin>> {
  const found = new Map<string, Admin>();
  for (const { id, port } of nodes) {
    const redis = quiet(port, ADMIN_USER, password(ADMIN_USER, CLUSTER));
    await redis.connect();
    toEnd.push({ end: () => redis.disconnect() });
    found.set(id, redis);
  }
  return found;
}

/** Keys of all types, some with an expiry, each on the shard that owns it, with bytes that are no text in key and value. */
async function fill(topology: Topology, nodes: Map<string, Admin>, count: number): Promise<void> {
  const ring = createRing(topology.ring, topology.shards);
  for (const database of DATABASES) {
    for (const redis of nodes.values()) await redis.select(database);
    for (let i = 0; i < count; i++) {
      const key = Buffer.concat([Buffer.from(`k${i}:`), Buffer.from([0, 255, i & 255, 13, 10])]);
      const redis = nodes.get(topology.shards[ring.ownerOf(key, 0, key.length)]?.primary ?? '') as Admin;
      const value = Buffer.from([i & 255, 0, 200, 10]);
      if (i % 7 === 0) await redis.rpush(key, value, 'b', 'c');
      else if (i % 7 === 1) await redis.sadd(key, value, 'x', `${i}`);
      else if (i % 7 === 2) await redis.hset(key, value, 'v', 'f', `${i}`);
      else if (i % 7 === 3) await redis.zadd(key, i, value, 0.5, 'm');
      else if (i % 7 === 4) {
        await redis.xadd(key, `${i + 1}-1`, 'f', value);
        await redis.xgroup('CREATE', key, 'g', '0');
      } else if (i % 7 === 5) await redis.pfadd(key, value, `${i}`, 'z');
      else await redis.set(key, value);
      if (i % 5 === 0) await redis.pexpire(key, 3_600_000 + i);
    }
  }
  for (const redis of nodes.values()) await redis.select(0);
}

/** By `<database>:<key>` what a node has: type, when it expires, and what it is. */
async function dataOf(redis: Admin): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const database of DATABASES) {
    await redis.select(database);
    const keys = await redis.keysBuffer('*');
    const told = await Promise.all(keys.map(key => valueOf(redis, key)));
    for (const [i, key] of keys.entries()) found.set(`${database}:${key.toString('latin1')}`, told[i] ?? '');
  }
  await redis.select(0);
  return found;
}

async function valueOf(redis: Admin, key: Buffer): Promise<string> {
  const [type, expires, dump] = await Promise.all([
    redis.type(key),
    redis.call('PEXPIRETIME', key),
    redis.dumpBuffer(key),
  ]);
  // Members of a set are in no order.
  const members = type === 'set' ? (await redis.smembersBuffer(key)).map(one => one.toString('hex')).sort() : null;
  return `${type} ${expires} ${members?.join() ?? dump.toString('base64')}`;
}

async function everything(topology: Topology, nodes: Map<string, Admin>): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for (const { primary } of topology.shards) {
    for (const [key, value] of await dataOf(nodes.get(primary) as Admin)) {
      if (all.has(key)) throw new Error(`${JSON.stringify(key)} is there twice`);
      all.set(key, value);
    }
  }
  return all;
}

/** Every key on its owner by these weights, and on its copies as well; nothing else anywhere. */
async function expectPlaced(topology: Topology, nodes: Map<string, Admin>, before: Map<string, string>): Promise<void> {
  expect(await everything(topology, nodes)).toEqual(before);
  const ring = createRing(topology.ring, topology.shards);
  for (const { name, primary, inSync } of topology.shards) {
    const mine = await dataOf(nodes.get(primary) as Admin);
    for (const key of mine.keys()) {
      const bytes = Buffer.from(key.slice(key.indexOf(':') + 1), 'latin1');
      expect(topology.shards[ring.ownerOf(bytes, 0, bytes.length)]?.name).toBe(name);
    }
    for (const copy of inSync) {
      await expect.poll(async () => await dataOf(nodes.get(copy) as Admin), { timeout: 3000 }).toEqual(mine);
    }
  }
}

const isOver = (leader: RealLeader) => (): boolean => leader.topology.move === null;

describe('a move over real nodes', () => {
  test('a third shard gets its share, and gives it back when it is removed', { timeout: 60_000 }, async () => {
    const { nodes, leader } = await stand([1, 1, 0]);
    const redis = await admins(nodes);
    await fill(leader.topology, redis, 1400);
    const before = await everything(leader.topology, redis);
    expect(before.size).toBe(1400 * DATABASES.length);
    leader.stop();
    const second = lead(withMove(leader.topology, [1, 1, 1]), 2);
    await second.until('moved', isOver(second), 30_000);
    expect(second.topology.shards.map(({ weight }) => weight)).toEqual([1, 1, 1]);
    await expectPlaced(second.topology, redis, before);
    second.stop();
    const third = lead(withMove(second.topology, [1, 1, 0]), 3);
    await third.until('moved back', isOver(third), 30_000);
    await expectPlaced(third.topology, redis, before);
    expect((await dataOf(redis.get(third.topology.shards[2]?.primary ?? '') as Admin)).size).toBe(0);
  });

  test('turned round half-way, all is back as it was', { timeout: 60_000 }, async () => {
    const { nodes, leader } = await stand([1, 1, 0]);
    const redis = await admins(nodes);
    await fill(leader.topology, redis, 700);
    const before = await everything(leader.topology, redis);
    leader.stop();
    const second = lead(withMove(leader.topology, [1, 1, 1]), 2);
    second.engine.order({ kind: 'move', what: 'throttle', keysPerSecond: 400 }, performance.now());
    await second.until('half-way', () => (second.topology.move?.moved ?? 0) >= 1 && movedSome(second), 30_000);
    second.engine.order({ kind: 'move', what: 'abort', keysPerSecond: null }, performance.now());
    second.engine.order({ kind: 'move', what: 'throttle', keysPerSecond: null }, performance.now());
    await second.until('back', isOver(second), 30_000);
    expect(second.topology.shards.map(({ weight }) => weight)).toEqual([1, 1, 0]);
    expect(second.notes.join('\n')).toContain('what was moved goes back, as ordered');
    await expectPlaced(second.topology, redis, before);
  });

  test('both primaries die on the way, a large key goes by itself', { timeout: 60_000 }, async () => {
    const { nodes, leader } = await stand([1, 0]);
    const redis = await admins(nodes);
    await fill(leader.topology, redis, 700);
    const [giver = '', taker = ''] = leader.topology.shards.map(({ primary }) => primary);
    const large = Array.from({ length: 40 }, (_, i) => `large${i}`);
    for (const key of large) await redis.get(giver)?.set(key, key.repeat(200_000));
    await redis.get(giver)?.wait(1, 5000);
    const before = await everything(leader.topology, redis);
    leader.stop();
    const second = lead(withMove(leader.topology, [1, 1]), 2);
    second.engine.order({ kind: 'move', what: 'throttle', keysPerSecond: 400 }, performance.now());
    for (const victim of [giver, taker]) {
      const movedBefore = second.engine.status(performance.now()).move?.bytesMoved ?? 0;
      await second.until('some have moved', () => movedSome(second, movedBefore), 30_000);
      const node = nodes.find(({ id }) => id === victim);
      await node?.restartEmpty();
      await second.until(
        'failed over',
        () => second.topology.shards.every(({ primary }) => primary !== victim),
        20_000,
      );
    }
    second.engine.order({ kind: 'move', what: 'throttle', keysPerSecond: null }, performance.now());
    await second.until('moved', isOver(second), 40_000);
    await second.until('whole', () => second.topology.shards.every(({ inSync }) => inSync.length === 1), 20_000);
    const notes = second.notes.filter(note => note.includes('large key'));
    expect(notes.length).toBeGreaterThan(5);
    await expectPlaced(second.topology, await admins(nodes), before);
  });
});

function movedSome(leader: RealLeader, besides = 0): boolean {
  const move = leader.engine.status(performance.now()).move;
  return leader.topology.move?.current?.phase === 'moving' && (move?.bytesMoved ?? 0) > besides + 1000;
}
