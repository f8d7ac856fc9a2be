import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import type { ShardStatus } from '../../src/supervisor/status.ts';
import { ADMIN_USER, proxyUser, userPassword } from '../../src/topology/credentials.ts';
import { until } from '../support/patience.ts';
import { Stand } from './stand.ts';

/**
 * The whole supervisor over real nodes: a shard is formed, loses its primary, is rebuilt, and changes its primary by
 * order. What is acknowledged here is written as a proxy writes it: as the epoch's user, confirmed by `WAIT`.
 */
let stand: Stand;
let config: Config;

beforeEach(async () => {
  stand = await Stand.make('a', 'b', 'c');
  await Promise.all(stand.nodes.map(node => node.start()));
  config = stand.settings({
    shards: '[ { name: s1, nodes: [a, b, c] } ]',
    supervisor: '  store: { file: store }\n',
  });
});

afterEach(async () => {
  await stand.remove();
});

const healthy = (shard: ShardStatus) =>
  shard.state === 'healthy' && shard.inSync.length === 2 && shard.joining === null;

async function formed(): Promise<ShardStatus> {
  const status = await stand.statusWhen(({ shards }) => shards[0] !== undefined && healthy(shards[0]));
  return status.shards[0] as ShardStatus;
}

/** Logged in to the primary as the proxies of its present epoch are. */
async function proxyClient() {
  const { shards, nodes } = await stand.topology();
  const { primary, epoch } = shards[0] as { primary: string; epoch: number };
  const username = proxyUser(epoch);
  const runId = nodes.find(({ id }) => id === primary)?.runId ?? '';
  const client = stand.node(primary).client({ username, password: userPassword(config.secret, username, runId) });
  await client.connect();
  return client;
}

/** Writes as many keys, and answers how many copies have them all. */
async function writeKeys(from: number, count: number): Promise<number> {
  const client = await proxyClient();
  const writes = Array.from({ length: count }, (_, index) =>
    client.set(`key-${from + index}`, `value-${from + index}`),
  );
  await Promise.all(writes);
  const copies = await client.wait(2, 1000);
  client.disconnect();
  return copies;
}

/** A leader that takes over closes what others have open as the admin: then it is done again. */
async function asAdmin(id: string, name: string, ...args: string[]): Promise<unknown> {
  const password = userPassword(config.secret, ADMIN_USER, config.cluster);
  for (let tries = 0; ; tries += 1) {
    const client = stand.node(id).client({ username: ADMIN_USER, password });
    try {
      await client.connect();
      return await client.call(name, ...args);
    } catch (error) {
      if (tries === 20 || (error as Error).message !== 'Connection is closed.') throw error;
      await new Promise(resolve => setTimeout(resolve, 20));
    } finally {
      client.disconnect();
    }
  }
}

async function everyNodeHolds(keys: number): Promise<void> {
  for (const { id } of stand.nodes) {
    await until(
      () => asAdmin(id, 'DBSIZE'),
      size => size === keys,
    );
    expect(await asAdmin(id, 'GET', `key-${keys - 1}`)).toBe(`value-${keys - 1}`);
  }
}

describe('a shard of three nodes', () => {
  test('is formed from empty nodes; what is written is on every copy', async () => {
    await stand.start(config);
    const shard = await formed();
    expect(shard).toMatchObject({ primary: 'a', required: 2, paused: false, needs: null });
    expect(await writeKeys(0, 100)).toBe(2);
    await everyNodeHolds(100);
  });

  test('goes on with another primary when its own is killed, and is whole again when it comes back empty', async () => {
    await stand.start(config);
    const before = await formed();
    expect(await writeKeys(0, 100)).toBe(2);
    await stand.node('a').kill();
    const failed = await stand.statusWhen(({ shards }) => shards[0]?.primary !== 'a');
    expect(failed.shards[0]?.epoch).toBeGreaterThan(before.epoch);
    expect(failed.shards[0]?.changes.at(-1)).toMatchObject({
      kind: 'failover',
      from: 'a',
      to: failed.shards[0]?.primary,
    });
    expect(await writeKeys(100, 50)).toBeGreaterThanOrEqual(failed.shards[0]?.required ?? 0);
    await stand.node('a').start();
    const whole = await formed();
    expect(whole.inSync).toContain('a');
    expect(await writeKeys(150, 50)).toBe(2);
    await everyNodeHolds(200);
    const told = (await stand.events()).map(({ event }) => event);
    expect(told).toEqual(expect.arrayContaining(['node-down', 'published', 'node-up']));
  });

  test('drops a replica that is killed, and takes it in again', async () => {
    await stand.start(config);
    await formed();
    await stand.node('c').kill();
    await stand.statusWhen(({ shards }) => shards[0]?.inSync.join() === 'b');
    expect(await writeKeys(0, 10)).toBe(1);
    await stand.node('c').start();
    await formed();
    await everyNodeHolds(10);
  });

  test('replaces a primary that is frozen, which is a replica when it wakes', async () => {
    await stand.start(config);
    await formed();
    expect(await writeKeys(0, 10)).toBe(2);
    process.kill(stand.node('a').pid, 'SIGSTOP');
    await stand.statusWhen(({ shards }) => shards[0]?.primary !== 'a');
    await writeKeys(10, 10);
    process.kill(stand.node('a').pid, 'SIGCONT');
    const whole = await formed();
    expect(whole.primary).not.toBe('a');
    await everyNodeHolds(20);
  });

  test('changes its primary by order, and refuses a node that it does not have', async () => {
    await stand.start(config);
    const before = await formed();
    expect(await writeKeys(0, 10)).toBe(2);
    const headers = { ...stand.headers(config), 'content-type': 'application/json' };
    const order = (to: string) => {
      const body = JSON.stringify({ to });
      return fetch(`${stand.url()}/v1/shards/s1/switchover`, { method: 'POST', headers, body });
    };
    expect((await order('x')).status).toBe(409);
    const answer = await order('c');
    expect([answer.status, await answer.json()]).toEqual([202, { accepted: true, text: expect.any(String) }]);
    await stand.statusWhen(({ shards }) => shards[0]?.primary === 'c' && !shards[0].paused);
    const after = await formed();
    expect(after.epoch).toBeGreaterThan(before.epoch);
    expect(after.changes.at(-1)).toMatchObject({ kind: 'switchover', from: 'a', to: 'c' });
    expect(await writeKeys(10, 10)).toBe(2);
    await everyNodeHolds(20);
  });

  test('is left as it is by the next leader, who alone may give orders then', async () => {
    const supervisor = await stand.start(config);
    const before = await formed();
    expect(await writeKeys(0, 10)).toBe(2);
    await supervisor.close();
    await stand.start(config);
    const { term } = await stand.statusWhen(status => status.changesRoles);
    const after = await formed();
    expect(after).toMatchObject({ primary: before.primary, epoch: before.epoch, inSync: before.inSync });
    expect(term).toBe(2);
    const users = async () => (await asAdmin('a', 'ACL', 'USERS')) as string[];
    await until(
      users,
      all => all.filter(user => user.startsWith('ringside-supervisor-')).join() === 'ringside-supervisor-2',
    );
    expect(await writeKeys(10, 10)).toBe(2);
  });

  test('is taken over with a term above every one that is met on its nodes, also when the store has lost count', async () => {
    const supervisor = await stand.start(config);
    await formed();
    await supervisor.close();
    await asAdmin('b', 'ACL', 'SETUSER', 'ringside-supervisor-41', 'reset', 'on', '+@all');
    await stand.start(config);
    const { term } = await stand.statusWhen(status => status.term > 2 && status.changesRoles);
    expect(term).toBe(42);
    await formed();
    expect(await writeKeys(0, 10)).toBe(2);
    await until(
      async () => (await asAdmin('b', 'ACL', 'USERS')) as string[],
      users => !users.includes('ringside-supervisor-41'),
    );
  });

  test('is not touched while the store cannot be written, and taken care of as soon as it can', async () => {
    await stand.start(config);
    const before = await formed();
    const file = join(stand.directory, 'store', 'topology.json');
    const kept = readFileSync(file);
    // As good as a full disk: nothing can be moved to where a directory stands.
    rmSync(file);
    mkdirSync(join(file, 'in-the-way'), { recursive: true });
    await stand.node('c').kill();
    const failing = await stand.statusWhen(status => status.leader === null && status.problems.length > 1);
    expect(failing.shards[0]).toMatchObject({ epoch: before.epoch, inSync: before.inSync });
    expect(failing.problems).toContainEqual(expect.stringContaining(file));
    const feed = await fetch(`${stand.url()}/v1/topology/feed`, { headers: stand.headers(config) });
    expect(feed.status).toBe(200);
    await feed.body?.cancel();
    expect((await stand.events()).map(({ event }) => event)).toEqual(
      expect.arrayContaining(['not-published', 'not-leading', 'store']),
    );
    rmSync(file, { recursive: true });
    writeFileSync(file, kept);
    await stand.statusWhen(({ shards, problems }) => shards[0]?.inSync.join() === 'b' && problems.length === 0);
    await stand.node('c').start();
    await formed();
  });

  test('survives the death of two of its nodes in the same instant, the primary among them', async () => {
    await stand.start(config);
    await formed();
    expect(await writeKeys(0, 100)).toBe(2);
    await Promise.all([stand.node('a').kill(), stand.node('b').kill()]);
    await stand.statusWhen(({ shards }) => shards[0]?.primary === 'c');
    const client = await proxyClient();
    expect(await client.dbsize()).toBe(100);
    expect(await client.set('key-100', 'value-100')).toBe('OK');
    client.disconnect();
    await Promise.all([stand.node('a').start(), stand.node('b').start()]);
    await formed();
    await everyNodeHolds(101);
  });
});

describe('nodes that are not ours', () => {
  test('a supervisor with another secret gets in nowhere, and says what to look at', async () => {
    const supervisor = await stand.start(config);
    const before = await formed();
    await supervisor.close();
    const topologyBefore = await stand
      .node('a')
      .command('PING')
      .catch((error: Error) => error.message);
    expect(topologyBefore).toMatch(/NOAUTH/);
    await stand.start({ ...config, secret: 'fedcba9876543210fedcba9876543210' });
    const status = await stand.statusWhen(
      ({ shards }) => shards[0]?.nodes.every(node => node.health === 'denied') === true,
    );
    expect(status.shards[0]).toMatchObject({ primary: before.primary, epoch: before.epoch, inSync: before.inSync });
    for (const node of status.shards[0]?.nodes ?? []) {
      expect(node).toMatchObject({ up: false, error: expect.stringMatching(/NOAUTH|WRONGPASS/) });
      expect(node.needs).toMatch(/secret/);
    }
  });

  test('nodes that serve another cluster are not adopted, even where the door is open', async () => {
    const open = { ...config, nodeAccess: { ...config.nodeAccess, keepDefaultUser: true } };
    const supervisor = await stand.start(open);
    await formed();
    expect(await writeKeys(0, 10)).toBe(2);
    await supervisor.close();
    const store = { kind: 'file' as const, directory: join(stand.directory, 'other-store') };
    await stand.start({ ...open, cluster: 'other', supervisor: { ...open.supervisor, store } });
    const status = await stand.statusWhen(
      ({ shards }) => shards[0]?.nodes.every(({ needs }) => needs !== null) === true,
    );
    expect(status.shards[0]?.state).toBe('unformed');
    for (const node of status.shards[0]?.nodes ?? []) expect(node.needs).toMatch(/shop|cluster/);
    await new Promise(resolve => setTimeout(resolve, 500));
    expect((await stand.topology()).nodes.map(({ runId }) => runId)).toEqual([null, null, null]);
    for (const { id } of stand.nodes) expect(await stand.node(id).command('DBSIZE')).toBe(10);
  });
});
