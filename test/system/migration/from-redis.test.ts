/**
 * From a Redis that runs already, with or without replicas of its own: adopted in place as the only shard, given copies,
 * and then split, while clients write. Nobody stops, and no key is lost or changed.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { sleep } from '../faults/stand.ts';
import { type Before, changedSince, everythingOf, fillWithEverything } from '../moves/everything.ts';
import { foundIn, wholeOf } from '../moves/whole.ts';
import { judge } from '../safety/ledger.ts';
import type { RedisNode } from '../safety/redis-node.ts';
import { SEED } from '../safety/trial.ts';
import { Writers } from '../safety/writers.ts';
import { SECRET_SETTING, Workplace } from './workplace.ts';

let place: Workplace;
let writers: Writers | null = null;
afterEach(async () => {
  await writers?.stop();
  writers = null;
  await place.close();
});

const PER_DATABASE = 400;

/** A Redis full of everything, as somebody has it before they hear of Ringside. */
async function aRedisInUse(): Promise<{ redis: RedisNode; before: Before }> {
  const redis = await place.redis();
  const connection = await redis.connect();
  await fillWithEverything(connection, PER_DATABASE, SEED);
  return { redis, before: await everythingOf(connection) };
}

function startWriting(): Writers {
  writers = new Writers([place.proxy], SEED, 'w:');
  writers.start(4);
  return writers;
}

/** Nothing that was there before is lost or changed, and what has expired since does not come back. */
async function keepsAll(before: Before): Promise<void> {
  expect(before.groups.size).toBeGreaterThan(10);
  expect(await changedSince(before, await place.client())).toEqual([]);
}

/**
 * Ends the writers. Everything that they were told is true; all copies are the same, and every key is where the ring looks
 * for it and nowhere else. How many keys each shard has.
 */
async function writersLostNothing(): Promise<ReadonlyMap<string, number>> {
  const ledger = await (writers as Writers).stop();
  const { contents, problems, keys } = await wholeOf(place);
  expect(problems).toEqual([]);
  expect(judge(ledger.entries, foundIn(contents))).toEqual([]);
  expect(ledger.strange).toEqual([]);
  expect(ledger.firstErrors, place.logs(120)).toEqual([]);
  expect(ledger.count('acknowledged')).toBeGreaterThan(100);
  return keys;
}

describe(`seed ${SEED}`, () => {
  test('a Redis without replicas is adopted in place, given a copy, and split', async () => {
    place = new Workplace();
    const { redis, before } = await aRedisInUse();
    const address = (node: RedisNode) => `127.0.0.1:${node.port}`;
    await place.write({
      cluster: 'shop',
      secret: SECRET_SETTING,
      nodes: [{ id: 'old', address: address(redis), zone: 'a' }],
      shards: [{ name: 's1', nodes: ['old'] }],
    });
    expect(await place.mustType('check', 'ringside.yaml')).toMatch(/s1 \(weight 1\): old/);
    await place.start();
    startWriting();
    await sleep(300);
    expect((await place.topology()).shards).toMatchObject([{ name: 's1', primary: 'old' }]);
    await keepsAll(before);

    // Nodes for a second shard of two copies, and a copy of the first: named in the file, which is read as it changes.
    const [copy, b1, b2] = [await place.redis(), await place.redis(), await place.redis()];
    const settings = place.settings();
    place.save({
      ...settings,
      nodes: [
        { id: 'old', address: address(redis), zone: 'a' },
        { id: 'copy', address: address(copy), zone: 'b' },
        { id: 'b1', address: address(b1), zone: 'a' },
        { id: 'b2', address: address(b2), zone: 'b' },
      ],
      shards: [
        { name: 's1', nodes: ['old', 'copy'] },
        { name: 's2', nodes: ['b1', 'b2'] },
      ],
    });
    const plan = await place.mustType('plan', 'ringside.yaml');
    expect(plan).toMatch(/s1.*s2/s);
    await place.mustType('apply', 'ringside.yaml', '--yes');
    await place.moved(2);
    await place.whole(2);
    await sleep(300);
    const keys = await writersLostNothing();
    await keepsAll(before);
    for (const [shard, count] of keys) expect(count, shard).toBeGreaterThan(PER_DATABASE / 2);
  });

  test('a Redis with replicas of its own is adopted with them, and split', async () => {
    place = new Workplace();
    const { redis, before } = await aRedisInUse();
    const replicas = [await place.redis(), await place.redis()];
    for (const replica of replicas) await (await replica.connect()).must('REPLICAOF', '127.0.0.1', `${redis.port}`);
    const all = [redis, ...replicas];
    await place.write({
      cluster: 'shop',
      secret: SECRET_SETTING,
      nodes: all.map((node, i) => ({ id: `a${i + 1}`, address: `127.0.0.1:${node.port}`, zone: `z${i}` })),
      shards: [{ name: 's1', nodes: ['a1', 'a2', 'a3'] }],
    });
    await place.start();
    startWriting();
    await place.whole(3);
    expect((await place.topology()).shards).toMatchObject([{ name: 's1', primary: 'a1' }]);
    await keepsAll(before);

    const more = [await place.redis(), await place.redis(), await place.redis()];
    const settings = place.settings();
    const ids = ['b1', 'b2', 'b3'];
    place.save({
      ...settings,
      nodes: [
        ...(settings['nodes'] as object[]),
        ...more.map((node, i) => ({ id: ids[i], address: `127.0.0.1:${node.port}`, zone: `z${i}` })),
      ],
      shards: [...(settings['shards'] as object[]), { name: 's2', nodes: ids }],
    });
    await place.mustType('apply', 'ringside.yaml', '--yes');
    await place.moved(2);
    await place.whole(3);
    await writersLostNothing();
    await keepsAll(before);
  });
});
