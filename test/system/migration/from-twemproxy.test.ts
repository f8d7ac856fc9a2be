/**
 * From a twemproxy pool: `ringside import` makes the same ring of its file, its servers become shards where they are, and
 * no key moves; then they get copies, and then there is a shard more, which no twemproxy can do. All of it while clients
 * write, at first through twemproxy, then through Ringside.
 */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { sleep } from '../faults/stand.ts';
import { foundIn, wholeOf } from '../moves/whole.ts';
import { contentsOf, differences } from '../safety/copies.ts';
import { judge, type Ledger } from '../safety/ledger.ts';
import type { RedisNode } from '../safety/redis-node.ts';
import { ErrorReply, type RespConnection } from '../safety/resp.ts';
import { SEED } from '../safety/trial.ts';
import { Writers } from '../safety/writers.ts';
import { Nutcracker } from './nutcracker.ts';
import { SECRET, Workplace } from './workplace.ts';

let place: Workplace;
let twemproxy: Nutcracker | null = null;
afterEach(async () => {
  await twemproxy?.end();
  twemproxy = null;
  await place.close();
});

const KEYS = 1_500;

/** Through twemproxy: strings, hashes, lists, sets and sorted sets, some with an expiry and some with a hash tag. */
async function fill(client: RespConnection): Promise<void> {
  for (let first = 0; first < KEYS; first += 50) {
    const commands = Array.from({ length: 50 }, (_, i) => commandFor(first + i));
    const replies = await client.pipeline(...commands);
    for (const reply of replies) if (reply instanceof ErrorReply) throw new Error(reply.text);
  }
}

function commandFor(number: number): string[] {
  const key = number % 4 === 0 ? `old:{${number % 40}}:${number}` : `old:${number}`;
  switch (number % 6) {
    case 0:
      return ['HSET', key, 'name', `name ${number}`, 'age', `${number}`];
    case 1:
      return ['RPUSH', key, `${number}`, 'b', 'c'];
    case 2:
      return ['SADD', key, `${number}`, 'b', 'c'];
    case 3:
      return ['ZADD', key, '1', `${number}`, '2.5', 'b'];
    case 4:
      return ['SET', key, `value ${number}`, 'EX', '1000000'];
    default:
      return ['SET', key, 'x'.repeat(number)];
  }
}

async function contentsOfAll(nodes: readonly RedisNode[]) {
  const all = await Promise.all(nodes.map(async node => contentsOf(await node.connect())));
  return new Map(all.flatMap(one => [...one]));
}

const oldOnly = (contents: Awaited<ReturnType<typeof contentsOf>>) =>
  new Map([...contents].filter(([name]) => name.startsWith('0:old:')));

/** Writers that ask only for what twemproxy knows. */
async function written(ledger: Ledger): Promise<void> {
  expect(ledger.strange).toEqual([]);
  expect(ledger.firstErrors).toEqual([]);
  expect(ledger.count('acknowledged')).toBeGreaterThan(50);
}

/** The first is tried in the short form as well. */
const POOLS = [
  { hash: 'murmur', distribution: 'ketama', hashTag: '{}', weights: [1, 2, 1] },
  { hash: 'fnv1a_64', distribution: 'ketama', hashTag: '{}', weights: [1, 1, 1] },
  { hash: 'crc32a', distribution: 'modula', hashTag: '{}', weights: [1, 1, 1] },
];
const isLong = Number(process.env['RINGSIDE_FAULT_ROUNDS'] ?? 0) > 0;

describe(`seed ${SEED}`, () => {
  test.each(isLong ? POOLS : POOLS.slice(0, 1))(
    'a pool with $hash and $distribution, weights $weights',
    async ({ weights, ...ring }) => {
      place = new Workplace();
      const names = ['omega', 's10', 'Beta'];
      const servers = [];
      for (const [i, name] of names.entries())
        servers.push({ node: await place.redis(), name, weight: weights[i] ?? 1 });
      twemproxy = await Nutcracker.start(place.dir, servers, ring);
      const nodes = servers.map(({ node }) => node);
      await fill(await place.client(twemproxy.port));
      const before = await contentsOfAll(nodes);
      expect(before.size).toBe(KEYS);

      // The same ring, point for point. Ringside listens beside twemproxy, and the nodes' own user stays, until clients have
      // changed over.
      expect(await place.mustType('import', 'nutcracker.yml')).toMatch(/ringside\.yaml: written/);
      const imported = place.settings();
      const listen = (imported['proxy'] as { listen: string[] }).listen;
      expect(listen).toEqual([`127.0.0.1:${twemproxy.port}`]);
      await place.write({ ...imported, proxy: {}, nodeAccess: { keepDefaultUser: true } });
      await place.mustType('check', 'ringside.yaml');
      const throughTwemproxy = new Writers([twemproxy], SEED, 'early:', 'simple');
      throughTwemproxy.start(2);
      await sleep(200);
      await place.start();
      await place.whole(1);
      // Both serve, side by side.
      const client = await place.client();
      expect(differences('twemproxy', before, 'Ringside', oldOnly(await contentsOf(client)))).toEqual([]);
      await sleep(200);
      const early = await throughTwemproxy.stop();
      await written(early);
      await twemproxy.end();

      // Clients are with Ringside now: nobody else is let in to the nodes any more.
      const writers = new Writers([place.proxy], SEED + 1, 'after:', 'full');
      writers.start(4);
      try {
        await place.restartSupervisorWith({ ...place.settings(), nodeAccess: {} });
        for (const [i, { name }] of servers.entries())
          expect((await place.topology()).shards[i]).toMatchObject({ name, primary: `n${i + 1}` });
        // A copy for each.
        const copies = [await place.redis(), await place.redis(), await place.redis()];
        const settings = place.settings();
        const nodesOf = (shard: object) => (shard as { nodes: string[] }).nodes;
        const more = copies.map((node, i) => ({ id: `c${i + 1}`, address: `127.0.0.1:${node.port}`, zone: 'b' }));
        place.save({
          ...settings,
          nodes: [...(settings['nodes'] as object[]), ...more],
          shards: (settings['shards'] as object[]).map((shard, i) => ({
            ...shard,
            nodes: [...nodesOf(shard), `c${i + 1}`],
          })),
        });
        await place.whole(2);

        // And a shard more.
        const [d1, d2] = [await place.redis(), await place.redis()];
        const grown = place.settings();
        place.save({
          ...grown,
          nodes: [
            ...(grown['nodes'] as object[]),
            { id: 'd1', address: `127.0.0.1:${d1.port}`, zone: 'a' },
            { id: 'd2', address: `127.0.0.1:${d2.port}`, zone: 'b' },
          ],
          shards: [...(grown['shards'] as object[]), { name: 'delta', nodes: ['d1', 'd2'], weight: 1 }],
        });
        expect(await place.mustType('plan', 'ringside.yaml')).toMatch(/delta/);
        await place.mustType('apply', 'ringside.yaml', '--yes');
        await place.moved(4);
        await place.whole(2);
      } finally {
        await writers.stop();
      }
      await written(writers.ledger);
      const { contents, problems, keys } = await wholeOf(place);
      expect(problems).toEqual([]);
      expect(judge([...early.entries, ...writers.ledger.entries], foundIn(contents))).toEqual([]);
      expect(differences('twemproxy', before, 'the nodes', oldOnly(contents))).toEqual([]);
      expect(differences('twemproxy', before, 'Ringside', oldOnly(await contentsOf(await place.client())))).toEqual([]);
      expect(keys.get('delta')).toBeGreaterThan(KEYS / 20);
      expect(readFileSync(place.file, 'utf8')).not.toContain(SECRET);
    },
  );
});
