/**
 * Bad input and bad days: a clear state and a clear message for each, and no damage.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { ClusterStatus } from '../../../src/supervisor/status.ts';
import { ADMIN_USER, userPassword } from '../../../src/topology/credentials.ts';
import type { Topology } from '../../../src/topology/snapshot.ts';
import { HANG_MS } from '../../support/patience.ts';
import { sleep, until } from '../faults/stand.ts';
import { Fleet, type FleetOptions } from './fleet.ts';
import { ErrorReply, RespConnection } from './resp.ts';
import type { Role } from './role.ts';

const execute = promisify(execFile);

let fleet: Fleet;
/** The fleet of this test alone, which ends with it. */
let own: Fleet | null = null;
const cleanUps: (() => Promise<unknown>)[] = [];
const clients: RespConnection[] = [];
afterEach(async () => {
  for (const connection of clients.splice(0)) connection.close();
  await own?.close();
  own = null;
  for (const work of cleanUps.splice(0)) await work();
});

async function start(options: FleetOptions = {}): Promise<RespConnection> {
  own = await Fleet.start(options);
  fleet = own;
  return client();
}

/** A further role of the fleet, which ends with the test. */
async function further(kind: 'proxy' | 'supervisor', change: (settings: Record<string, unknown>) => object) {
  const role = await fleet.further(kind, change);
  cleanUps.push(() => role.end());
  return role;
}

/** A client of the first proxy. */
async function client(): Promise<RespConnection> {
  const [proxy] = fleet.proxies as [Role];
  const connection = await RespConnection.open(proxy.host.address, proxy.port);
  connection.giveUpAfter(HANG_MS);
  clients.push(connection);
  return connection;
}

const status = (supervisor: Role) => supervisor.get<ClusterStatus>('/v1/status');

/** Waits until what a supervisor tells people, of itself, a shard or a node, has the words. */
async function tells(supervisor: Role, words: RegExp, limitMs = HANG_MS): Promise<void> {
  let told: (string | null)[] = [];
  await until(
    () => `${supervisor.name} says ${words}; it tells ${told.join('\n')}\nits log: ${supervisor.log.slice(-3_000)}`,
    async () => {
      const shown = await status(supervisor).catch(() => null);
      if (shown === null) return false;
      const { problems, shards, spares } = shown;
      const nodes = [...spares, ...shards.flatMap(shard => shard.nodes)];
      told = [...problems, ...shards.flatMap(shard => [shard.needs, shard.why]), ...nodes.map(node => node.needs)];
      return told.some(text => text !== null && words.test(text));
    },
    limitMs,
  );
}

/** The cluster goes on as if nothing had been: the same primary, nothing lost, writes are done. */
async function isUnharmed(connection: RespConnection, primary: string, epoch: number): Promise<void> {
  expect(await connection.must('GET', 'before')).toBe('yes');
  expect(await connection.must('SET', 'after', 'yes')).toBe('OK');
  expect(await fleet.shard('s1')).toMatchObject({ primary, epoch });
}

describe('a cluster goes on as if nothing had been', () => {
  let shared: Fleet;
  beforeAll(async () => {
    shared = await Fleet.start();
  });
  afterAll(() => shared?.close());
  beforeEach(() => {
    fleet = shared;
  });

  test('with a wrong secret a supervisor is let in by no node, says so, and changes none', async () => {
    const connection = await client();
    await connection.must('SET', 'before', 'yes');
    const { primary, epoch } = await fleet.shard('s1');
    const stranger = await further('supervisor', settings => ({
      ...settings,
      secret: 'another secret, and long enough as well',
    }));
    stranger.start();
    await tells(stranger, /secret/i);
    await sleep(2_000);
    await isUnharmed(connection, primary, epoch);
  });

  test('with a wrong secret a proxy is told by the supervisor, and does not become ready', async () => {
    const stranger = await further('proxy', settings => ({
      ...settings,
      secret: 'another secret, and long enough as well',
    }));
    stranger.start();
    await until(
      () => `the proxy says why; it said ${stranger.log}`,
      () => /secret/.test(stranger.log),
    );
    await expect(stranger.get('/readyz')).rejects.toThrow();
  });

  test('a node in two shards is a mistake that is named, with its place', async () => {
    const mistaken = await further('supervisor', settings => ({
      ...settings,
      shards: [
        { name: 's1', nodes: ['n1', 'n2'] },
        { name: 's2', nodes: ['n2', 'n3'] },
      ],
    }));
    mistaken.start();
    expect(await mistaken.exitStatus()).toBe(2);
    expect(mistaken.log).toMatch(/ringside\.yaml:\d+:\d+.*n2/s);
  });

  test('nobody without the password of this cluster is an admin of its nodes', async () => {
    const node = fleet.node('n1');
    await expect(
      node.connect(ADMIN_USER, userPassword('another secret, long enough', ADMIN_USER, 'fleet')),
    ).rejects.toThrow(/WRONGPASS/);
    const anybody = await node.connect();
    for (const words of [
      ['ACL', 'LIST'],
      ['PSYNC', '?', '-1'],
      ['REPLICAOF', 'NO', 'ONE'],
      ['GET', 'before'],
    ]) {
      expect(await anybody.call(...words)).toBeInstanceOf(ErrorReply);
    }
  });
});

test.each([false, true])(
  'a node of another cluster is never adopted (its default user kept: %s)',
  async keepDefaultUser => {
    const connection = await start({ spares: 1, settings: { nodeAccess: { keepDefaultUser } } });
    await connection.must('SET', 'before', 'yes');
    const { primary, epoch } = await fleet.shard('s1');
    const other = await further('supervisor', settings => ({ ...settings, cluster: 'other' }));
    other.start();
    await tells(other, /another (secret or )?cluster/);
    await sleep(2_000);
    await isUnharmed(connection, primary, epoch);
    const { shards } = await other.get<Topology>('/v1/topology');
    expect(shards.every(({ inSync }) => inSync.length === 0)).toBe(true);
  },
);

test('a node whose memory is full refuses writes in its own words, and is not replaced', async () => {
  const connection = await start({ nodeArgs: ['--maxmemory', '30mb', '--maxmemory-policy', 'noeviction'] });
  await connection.must('SET', 'before', 'yes');
  const { primary, epoch } = await fleet.shard('s1');
  // Until there is no room for small values either.
  const answers = [await fill(connection, 'large', 100_000), await fill(connection, 'small', 100)];
  for (const answer of answers) expect(answer.text).toMatch(/^OOM /);
  const [supervisor] = fleet.supervisors as [Role];
  await tells(supervisor, /maxmemory|memory|OOM/i);
  expect(await connection.must('GET', 'before')).toBe('yes');
  const shard = await fleet.shard('s1');
  expect(shard).toMatchObject({ primary, epoch });
  expect(shard.inSync).toHaveLength(2);
  for (let i = 0; i < 50; i += 1) await connection.must('DEL', `large${i}`);
  await isUnharmed(connection, primary, epoch);
});

/** Writes values of this size until one is refused; the refusal. */
async function fill(connection: RespConnection, name: string, bytes: number): Promise<ErrorReply> {
  for (let i = 0; i < 20_000; i += 1) {
    const answer = await connection.call('SET', `${name}${i}`, 'x'.repeat(bytes));
    if (answer instanceof ErrorReply) return answer;
  }
  throw new Error('the node is never full');
}

const isRoot = process.getuid?.() === 0;

test.skipIf(!isRoot)('a full disk under the file store stops decisions, not clients, until there is room', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'ringside-full-'));
  await execute('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'none', directory]);
  cleanUps.push(async () => {
    await execute('umount', [directory]);
    rmSync(directory, { recursive: true, force: true });
  });
  mkdirSync(path.join(directory, 'store'));
  const connection = await start({ settings: { supervisor: { store: { file: path.join(directory, 'store') } } } });
  await connection.must('SET', 'before', 'yes');
  const filler = path.join(directory, 'filler');
  fillUp(filler);
  const { primary } = await fleet.shard('s1');
  await fleet.node(primary).kill();
  const [supervisor] = fleet.supervisors as [Role];
  await tells(supervisor, /ENOSPC|no space|disk is full|full disk/i);
  rmSync(filler);
  expect(await (await client()).must('GET', 'before')).toBe('yes');
  await fleet.node(primary).restartEmpty();
  await fleet.whole();
  expect(await (await client()).must('SET', 'after', 'yes')).toBe('OK');
});

/** Writes until there is no room. */
function fillUp(file: string): void {
  try {
    for (let size = 4_096; ; ) {
      writeFileSync(file, Buffer.alloc(size), { flag: 'a' });
      size = 1_024;
    }
  } catch {
    // Full: what was asked for.
  }
}

test('with etcd gone clients are served, nobody is promoted, and all of it is told; later it goes on by itself', async () => {
  const connection = await start({ supervisors: 3 });
  await connection.must('SET', 'before', 'yes');
  const { primary, epoch } = await fleet.shard('s1');
  await Promise.all(fleet.etcd.map(member => member.kill()));
  for (const supervisor of fleet.supervisors) await tells(supervisor, /etcd/i);
  await sleep(2_000);
  await isUnharmed(connection, primary, epoch);
  await Promise.all(fleet.etcd.map(member => member.start()));
  await until('one supervisor leads again', async () => (await fleet.leader()) !== null);
  await fleet.node(primary).kill();
  expect(await (await client()).must('SET', 'after failover', 'yes')).toBe('OK');
  expect((await fleet.shard('s1')).primary).not.toBe(primary);
});

test('a supervisor with old settings shows what is different, and applies none of it', async () => {
  const connection = await start({ shards: 2, copies: 2 });
  await connection.must('SET', 'before', 'yes');
  const before = await fleet.topology();
  const [supervisor] = fleet.supervisors as [Role];
  await supervisor.end();
  const settings = parse(readFileSync(supervisor.file, 'utf8'));
  writeFileSync(supervisor.file, stringify({ ...settings, shards: [{ name: 's1', nodes: ['n1', 'n2'] }] }));
  supervisor.start();
  await tells(supervisor, /s2/);
  await tells(supervisor, /settings/i);
  await sleep(1_000);
  const after = await fleet.topology();
  expect(after.shards.map(({ name, nodes }) => [name, nodes])).toEqual(
    before.shards.map(({ name, nodes }) => [name, nodes]),
  );
  expect(await connection.must('GET', 'before')).toBe('yes');
});
