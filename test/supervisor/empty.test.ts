import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { emptyNode } from '../../src/cli/node-empty.ts';
import type { Config } from '../../src/config/config.ts';
import type { MovePlan } from '../../src/supervisor/plan.ts';
import { proposalInForce } from '../../src/supervisor/proposal.ts';
import { ADMIN_USER, userPassword } from '../../src/topology/credentials.ts';
import type { BareNode } from './bare-node.ts';
import { Stand } from './stand.ts';

/**
 * Spares with old data, from the refusal of a plan to the node that takes its place in a new shard: the command as a person
 * types it, a supervisor, real nodes that let nobody else in.
 */
let stand: Stand;
let out = '';
const KEYS = 300;

beforeEach(async () => {
  stand = await Stand.make('a', 'b', 'c');
  out = '';
  vi.spyOn(process.stdout, 'write').mockImplementation(text => {
    out += String(text);
    return true;
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await stand.remove();
});

async function started(shards: string): Promise<Config> {
  const config = stand.settings({ shards, supervisor: '  store: { file: store }' });
  await stand.start(config);
  await stand.statusWhen(status => status.changesRoles && status.shards.every(({ state }) => state === 'healthy'));
  return config;
}

async function fill(node: BareNode, keys: number): Promise<void> {
  const client = node.client();
  await client.connect();
  for (let i = 0; i < keys; i += 1) await client.set(`key:${i}`, `value ${i}`);
  await client.select(5);
  await client.set('five', '5');
  client.disconnect();
}

/** What an administrator of the cluster is told by a node. */
async function ask(config: Config, node: BareNode, name: string, ...words: string[]): Promise<unknown> {
  const client = node.client({
    username: ADMIN_USER,
    password: userPassword(config.secret, ADMIN_USER, config.cluster),
  });
  try {
    await client.connect();
    return await client.call(name, ...words);
  } finally {
    client.disconnect();
  }
}

async function post(config: Config, path: string, body: object): Promise<unknown> {
  const headers = { 'content-type': 'application/json', ...stand.headers(config) };
  return (await fetch(stand.url() + path, { method: 'POST', headers, body: JSON.stringify(body) })).json();
}

/** Why a shard of this node alone could not be added. */
async function objections(config: Config, node: string): Promise<readonly string[]> {
  const present = proposalInForce(await stand.topology());
  const shards = [...present.shards, { name: 's2', weight: 1, nodes: [node], copies: 1 }];
  return ((await post(config, '/v1/plan', { proposal: { ...present, shards } })) as MovePlan).refused;
}

test('a node that was a copy is refused for a new shard, emptied by the command that this names, and taken', async () => {
  await Promise.all(stand.nodes.map(node => node.start()));
  const [a, b] = stand.nodes as [BareNode, BareNode];
  await fill(a, KEYS);
  const config = await started('[ { name: s1, nodes: [a, b] } ]');
  await post(config, '/v1/nodes/b/drain', {});
  await stand.statusWhen(({ spares }) => spares.some(({ id, drain }) => id === 'b' && drain?.step === 'free'));
  await post(config, '/v1/nodes/b/undrain', {});
  await stand.statusWhen(({ spares }) => spares.some(({ id, draining }) => id === 'b' && !draining));
  expect(await objections(config, 'b')).toEqual([
    `shard s2: node b: it holds ${KEYS + 1} keys, and a shard that is added begins empty: empty it (ringside node empty b), or start it again without its data`,
  ]);
  // Nobody could do that by hand.
  await expect(b.command('FLUSHALL')).rejects.toThrow(/NOAUTH|NOPERM|WRONGPASS/);

  await expect(emptyNode('b', { config: config.file })).rejects.toMatchObject({ status: 2 });
  expect(out).toMatch(
    /^b is a spare, once a copy of shard s1, of epoch \d+; it holds\n {2}database 0: 300 keys\n {2}database 5: 1 key\n$/,
  );
  expect(await ask(config, b, 'DBSIZE')).toBe(KEYS);
  await expect(emptyNode('a', { config: config.file, yes: true })).rejects.toMatchObject({
    status: 1,
    message: expect.stringContaining('a is a member of s1'),
  });
  await expect(emptyNode('z', { config: config.file, yes: true })).rejects.toMatchObject({
    status: 2,
    message: 'there is no node z; there are a, b, c',
  });
  expect(await emptyNode('b', { config: config.file, yes: true })).toBe(0);
  expect(out).toMatch(/b is empty: 301 keys are gone\n$/);
  expect(await ask(config, b, 'DBSIZE')).toBe(0);
  expect(await ask(config, b, 'FUNCTION', 'LIST')).toEqual([]);
  expect(await ask(config, a, 'DBSIZE')).toBe(KEYS);
  out = '';
  expect(await emptyNode('b', { config: config.file })).toBe(0);
  expect(out).toBe('b is empty already\n');
  await stand.statusWhen(({ spares }) => spares.some(({ id, runId }) => id === 'b' && runId !== null));
  expect(await objections(config, 'b')).toEqual([]);
  expect(
    (await stand.events()).filter(({ event }) => event === 'empty').map(({ level, text }) => [level, text]),
  ).toEqual([
    ['warn', 'b is emptied: 301 keys of a copy of s1 are discarded, as ordered'],
    ['info', 'b is empty: 301 keys are gone'],
  ]);
});

test('a node that comes from elsewhere is not touched, and taken over when its data is given up', async () => {
  await Promise.all(stand.nodes.map(node => node.start()));
  const c = stand.node('c');
  await fill(c, 20);
  const config = await started('[ { name: s1, nodes: [a, b] } ]');
  const status = await stand.statusWhen(({ spares }) => spares.some(({ needs }) => needs !== null));
  expect(status.spares[0]?.needs).toMatch(
    /^it holds 21 keys that are not of this cluster, .*\(ringside node empty c\)/,
  );
  expect(await c.command('DBSIZE')).toBe(20);
  expect(await emptyNode('c', { config: config.file, yes: true })).toBe(0);
  expect(out).toContain('c is a spare, no copy of this cluster, as far as can be told: it carries no mark; it holds');
  expect(await ask(config, c, 'DBSIZE')).toBe(0);
  await stand.statusWhen(({ spares }) => spares.every(({ needs }) => needs === null));
  expect(await objections(config, 'c')).toEqual([]);
});
