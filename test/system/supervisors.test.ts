import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import type { ClusterStatus } from '../../src/supervisor/status.ts';
import { Stand } from '../supervisor/stand.ts';
import { program } from '../support/cluster.ts';
import { TestEtcd } from '../support/etcd.ts';
import { until } from '../support/patience.ts';
import { type Ended, runProgram } from '../support/run-program.ts';

/**
 * Several supervisors as processes of their own, one settings file, a real etcd: who leads is killed or frozen, and the
 * shard is in good hands all the same.
 */
let stand: Stand;
let etcd: TestEtcd;
let config: Config;
let children: Map<number, ChildProcess>;

beforeEach(async () => {
  stand = await Stand.make('a', 'b', 'c');
  children = new Map();
  etcd = await TestEtcd.start();
  await Promise.all(stand.nodes.map(node => node.start()));
  const peers = [0, 1, 2].map(which => stand.url(which));
  config = stand.settings({
    shards: '[ { name: s1, nodes: [a, b, c] } ]',
    supervisor: `  peers: ${JSON.stringify(peers)}
  store: { etcd: { endpoints: ${JSON.stringify(etcd.endpoints)} } }
`,
  });
});

afterEach(async () => {
  for (const which of [...children.keys()]) await end(which, 'SIGKILL');
  await stand.remove();
  await etcd.remove();
});

function start(which: number): void {
  const listen = stand.url(which).slice('http://'.length);
  const words = ['supervisor', '--config', config.file, '--listen', listen];
  children.set(which, spawn(process.execPath, [program, ...words], { stdio: 'ignore' }));
}

async function end(which: number, signal: NodeJS.Signals): Promise<void> {
  const child = children.get(which);
  children.delete(which);
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGCONT');
  child.kill(signal);
  await exit;
}

function ringside(...words: string[]): Promise<Ended> {
  return runProgram([...words, '--config', config.file]);
}

const statusOf = (which: number) => stand.status(which).catch(() => null);

/** What some supervisor that answers tells of the leader, once it is good. */
async function statusWhen(good: (status: ClusterStatus) => boolean): Promise<ClusterStatus> {
  const found = await until(
    async () => {
      const all = await Promise.all([0, 1, 2].map(statusOf));
      return all.find(one => one?.changesRoles === true) ?? null;
    },
    status => status !== null && good(status),
  );
  return found as ClusterStatus;
}

const whole = ({ shards: [shard] }: ClusterStatus) => shard?.state === 'healthy' && shard.inSync.length === 2;
const numberOf = (url: string | null) => [0, 1, 2].findIndex(which => stand.url(which) === url);

test('a killed leader is replaced, and a primary that dies with it as well', async () => {
  for (const which of [0, 1, 2]) start(which);
  const before = await statusWhen(whole);
  const leader = numberOf(before.leader);
  await Promise.all([end(leader, 'SIGKILL'), stand.node('a').kill()]);
  const after = await statusWhen(({ shards }) => shards[0]?.primary !== 'a');
  expect(after.leader).not.toBe(before.leader);
  expect(after.term).toBeGreaterThan(before.term);
  await stand.node('a').start();
  await statusWhen(whole);
});

test('a leader that was frozen finds itself deposed when it wakes, and does no harm', async () => {
  for (const which of [0, 1]) start(which);
  const before = await statusWhen(whole);
  const leader = numberOf(before.leader);
  children.get(leader)?.kill('SIGSTOP');
  const other = leader === 0 ? 1 : 0;
  const next = await until(
    () => statusOf(other),
    status => status?.changesRoles === true && status.term > before.term && whole(status),
  );
  children.get(leader)?.kill('SIGCONT');
  await until(
    () => stand.read('/healthz', leader).catch(() => null) as Promise<{ leading: boolean } | null>,
    health => health?.leading === false,
  );
  const versionOf = async () => (await stand.topology(other)).version;
  const version = await versionOf();
  await new Promise(resolve => setTimeout(resolve, 2000));
  expect(await versionOf()).toBe(version);
  expect(await statusOf(leader)).toMatchObject({ knownBy: stand.url(other), term: next?.term });
});

test('orders reach the leader, whichever supervisor is asked first', async () => {
  for (const which of [0, 1]) start(which);
  const { shards } = await statusWhen(whole);
  for (const to of ['b', 'c', 'a']) {
    const from = (await statusWhen(whole)).shards[0]?.primary;
    expect(await ringside('switchover', 's1', to)).toEqual({
      ...{ status: 0, err: '' },
      out: expect.stringMatching(new RegExp(`^s1: the primary is ${to}, was ${from} \\(epoch \\d+\\)\n$`)),
    });
  }
  expect((await statusWhen(whole)).shards[0]?.epoch).toBeGreaterThan(shards[0]?.epoch ?? 0);
  expect(await ringside('switchover', 's1', 'a')).toMatchObject({ status: 1 });
  const { status, out } = await ringside('events', '--last', '200');
  expect(status).toBe(0);
  expect(out.match(/ switchover s1: done/g)).toHaveLength(3);
});

test('a lone supervisor that was frozen concludes nothing from its own absence', async () => {
  config = stand.settings({
    shards: '[ { name: s1, nodes: [a, b, c] } ]',
    supervisor: '  store: { file: store }\n',
  });
  start(0);
  const before = await statusWhen(whole);
  for (const pauseMs of [400, 2500]) {
    children.get(0)?.kill('SIGSTOP');
    await new Promise(resolve => setTimeout(resolve, pauseMs));
    children.get(0)?.kill('SIGCONT');
    await new Promise(resolve => setTimeout(resolve, 1000));
    const after = await statusWhen(whole);
    expect(after.version, `after ${pauseMs} ms`).toBe(before.version);
  }
  // It does see what has happened meanwhile.
  children.get(0)?.kill('SIGSTOP');
  await stand.node('a').kill();
  await new Promise(resolve => setTimeout(resolve, 1000));
  children.get(0)?.kill('SIGCONT');
  await statusWhen(({ shards }) => shards[0]?.primary !== 'a');
});
