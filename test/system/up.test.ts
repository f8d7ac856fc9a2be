import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
import type { ClusterFile } from '../../src/local/cluster-file.ts';
import { identify } from '../../src/local/process-identity.ts';
import type { ClusterStatus } from '../../src/supervisor/status.ts';
import { startCluster, startUp, type TestCluster } from '../support/cluster.ts';
import { until } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';

const clusters: TestCluster[] = [];
const directories: string[] = [];

afterEach(async () => {
  for (const cluster of clusters.splice(0)) await cluster.stop();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

async function started(...options: Parameters<typeof startCluster>): Promise<TestCluster> {
  const cluster = await startCluster(...options);
  clusters.push(cluster);
  return cluster;
}

function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'ringside-up-'));
  directories.push(directory);
  return directory;
}

interface Login {
  readonly username?: string;
  readonly password?: string;
}

async function withClient<T>(port: number, use: (client: Redis) => Promise<T>, login: Login = {}): Promise<T> {
  const client = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: 3, ...login });
  client.on('error', () => undefined);
  try {
    return await use(client);
  } finally {
    client.disconnect();
  }
}

const allPids = ({ proxy, supervisors, etcd, nodes }: ClusterFile) =>
  [proxy, ...supervisors, ...etcd, ...nodes].map(({ pid }) => pid);
const isRunning = (pid: number | null) => pid !== null && identify(pid) !== null;
const pidOf = (cluster: TestCluster, id: string) =>
  cluster.clusterJson().nodes.find(node => node.id === id)?.pid ?? null;

async function statusOf(cluster: TestCluster): Promise<ClusterStatus> {
  const response = await fetch(`${cluster.supervisorUrl}/v1/status`);
  return (await response.json()) as ClusterStatus;
}

/** Every shard has all its copies in sync. */
function isWhole({ shards }: ClusterStatus): boolean {
  return shards.every(shard => shard.inSync.length === shard.nodes.length - 1 && shard.joining === null);
}

/** Every node of a shard, asked by itself. */
async function sizesOf(cluster: TestCluster): Promise<number[]> {
  return Promise.all(cluster.clusterJson().nodes.map(({ port }) => withClient(port, client => client.dbsize())));
}

/** Processes whose command line names the directory: also those that cluster.json may have forgotten. */
function processesOf(directory: string): number[] {
  const pids = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number);
  return pids.filter(pid => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(directory) && identify(pid) !== null;
    } catch {
      return false;
    }
  });
}

/** True when somebody listens there. */
async function answers(port: number): Promise<boolean> {
  const server = createServer();
  server.listen({ port, host: '127.0.0.1', exclusive: true });
  const free = await Promise.race([
    once(server, 'listening').then(() => true),
    once(server, 'error').then(() => false),
  ]);
  server.close();
  return !free;
}

test('a start tells what runs where, and ends without leaving a process', async () => {
  const cluster = await started({ shards: 3, copies: 3, spares: 1 });
  const { stdout } = cluster.up;
  expect(stdout.trimEnd().split('\n').at(-1)).toBe(`ready: redis://127.0.0.1:${cluster.port}`);
  expect(stdout).toMatch(new RegExp(`^node n1 +127.0.0.1:${cluster.nodePort} +\\d+ +primary of s1$`, 'm'));
  expect(stdout).toMatch(/^node n9 .* replica of s3$/m);
  expect(stdout).toMatch(/^node n10 .* spare$/m);
  expect(stdout).toContain('(the default user is kept, and may neither copy nor administrate)');
  expect(stdout).not.toMatch(/^missing/m);
  expect(isWhole(await statusOf(cluster))).toBe(true);
  const file = cluster.clusterJson();
  expect(Object.keys(file)).toEqual(['proxy', 'supervisors', 'etcd', 'nodes', 'inspect']);
  expect(file.etcd).toEqual([]);
  expect(file.inspect).toBeNull();
  expect(file.proxy).toMatchObject({ port: cluster.port, adminPort: cluster.adminPort });
  expect(file.supervisors).toEqual([{ url: cluster.supervisorUrl, pid: expect.any(Number) }]);
  expect(file.nodes).toHaveLength(10);
  expect(file.nodes[3]).toEqual({
    id: 'n4',
    host: '127.0.0.1',
    port: cluster.nodePort + 3,
    pid: expect.any(Number),
    shard: 's2',
    role: 'primary',
  });
  expect(file.nodes[4]).toMatchObject({ shard: 's2', role: 'replica' });
  expect(file.nodes[9]).toMatchObject({ shard: null, role: null });
  expect(allPids(file).every(isRunning)).toBe(true);
  expect(await cluster.up.end()).toBe(0);
  expect(allPids(file).some(isRunning)).toBe(false);
  expect(processesOf(cluster.dir)).toEqual([]);
  expect(allPids(cluster.clusterJson()).every(pid => pid === null)).toBe(true);
});

test('a kept default user reads and writes on the nodes, and may neither copy nor administrate', async () => {
  const cluster = await started({ shards: 1, copies: 2 });
  await withClient(cluster.nodePort, async client => {
    expect(await client.set('key', 'value')).toBe('OK');
    await expect(client.call('REPLCONF', 'listening-port', '1')).rejects.toThrow('NOPERM');
    await expect(client.call('CONFIG', 'GET', 'port')).rejects.toThrow('NOPERM');
    await expect(client.call('ACL', 'LIST')).rejects.toThrow('NOPERM');
  });
  const admin = await cluster.admin('n1');
  expect(await admin.call('ACL', 'WHOAMI')).toBe('ringside-admin');
  admin.disconnect();
});

test('--closed switches the default user off, and cluster.json names who may read instead', async () => {
  const cluster = await started({ shards: 1, copies: 2, args: ['--closed'] });
  expect(cluster.up.stdout).toContain('--user ringside-inspect (it reads; its password is in cluster.json)');
  expect(statSync(path.join(cluster.dir, 'cluster.json')).mode & 0o777).toBe(0o600);
  await withClient(cluster.port, client => client.set('key', 'value'));
  for (const port of [cluster.nodePort, cluster.nodePort + 1]) {
    const anonymous = await withClient(port, client => client.get('key')).catch((error: Error) => error.message);
    expect(anonymous).toMatch(/NOAUTH|WRONGPASS/);
  }
  const login = cluster.clusterJson().inspect;
  if (login === null) throw new Error('cluster.json names nobody');
  await withClient(
    cluster.nodePort,
    async client => {
      expect(await client.get('key')).toBe('value');
      await expect(client.set('key', 'other')).rejects.toThrow('NOPERM');
      await expect(client.call('ACL', 'LIST')).rejects.toThrow('NOPERM');
    },
    login,
  );
  expect(await cluster.up.end()).toBe(0);
  await cluster.upAgain();
  expect(await withClient(cluster.port, client => client.get('key'))).toBe('value');
});

test('a node that dies is null in cluster.json and stays down', async () => {
  const cluster = await started({ shards: 2, copies: 1 });
  const pid = pidOf(cluster, 'n1');
  cluster.kill('n1', 'SIGKILL');
  await until(
    () => pidOf(cluster, 'n1'),
    now => now === null,
  );
  expect(isRunning(pid)).toBe(false);
  await until(
    () => cluster.up.stderr,
    text => text.includes('node n1 (shard s1) ended (SIGKILL): it stays down'),
  );
  await new Promise(resolve => setTimeout(resolve, 1500));
  expect(pidOf(cluster, 'n1')).toBeNull();
  expect(await answers(cluster.nodePort)).toBe(false);
});

test('a node that died is replaced, comes back with --respawn after a second, empty, and copies again', async () => {
  const cluster = await started({ shards: 1, copies: 2, args: ['--respawn'] });
  const before = pidOf(cluster, 'n1');
  await withClient(cluster.port, client => client.set('key', 'value'));
  cluster.kill('n1', 'SIGKILL');
  await until(
    () => pidOf(cluster, 'n1'),
    pid => pid === null,
  );
  const diedMs = performance.now();
  const after = await until(
    () => pidOf(cluster, 'n1'),
    pid => pid !== null,
  );
  expect(performance.now() - diedMs).toBeGreaterThan(900);
  expect(after).not.toBe(before);
  expect(await withClient(cluster.port, client => client.get('key'))).toBe('value');
  await until(
    () => cluster.clusterJson().nodes.map(({ role }) => role),
    roles => roles.join() === 'replica,primary',
  );
  await until(() => statusOf(cluster), isWhole);
  expect(await withClient(cluster.nodePort, client => client.get('key'))).toBe('value');
});

test('proxy and supervisor are started again when they die, and the terminal says so', async () => {
  const cluster = await started({ shards: 1 });
  const before = cluster.clusterJson();
  process.kill(before.supervisors[0]?.pid as number, 'SIGKILL');
  process.kill(before.proxy.pid as number, 'SIGKILL');
  const isNew = (now: ClusterFile) =>
    now.proxy.pid !== null &&
    now.proxy.pid !== before.proxy.pid &&
    now.supervisors[0]?.pid !== null &&
    now.supervisors[0]?.pid !== before.supervisors[0]?.pid;
  await until(() => cluster.clusterJson(), isNew);
  expect(cluster.up.stderr).toContain('the proxy ended (SIGKILL), it is started again');
  expect(cluster.up.stderr).toContain('the supervisor ended (SIGKILL), it is started again');
  const served = () =>
    withClient(cluster.port, client => client.set('key', 'value')).catch((error: Error) => error.message);
  await until(served, reply => reply === 'OK');
});

test('Ctrl-C keeps the data, and the next start serves them', async () => {
  const cluster = await started({ shards: 3, copies: 2 });
  const keys = Array.from({ length: 300 }, (_, index) => `key:${index}`);
  await withClient(cluster.port, client => Promise.all(keys.map(key => client.set(key, `value of ${key}`))));
  cluster.up.child.kill('SIGINT');
  expect(await cluster.up.ended).toBe(0);
  await cluster.upAgain();
  const values = await withClient(cluster.port, client => Promise.all(keys.map(key => client.get(key))));
  expect(values).toEqual(keys.map(key => `value of ${key}`));
});

test('after Ctrl-C every copy has saved the same, and the next start has them all in sync by itself', async () => {
  const cluster = await started({ shards: 2, copies: 3 });
  const keys = Array.from({ length: 1000 }, (_, index) => `key:${index}`);
  await withClient(cluster.port, client => Promise.all(keys.map(key => client.set(key, key))));
  expect(await cluster.up.end()).toBe(0);
  expect(cluster.up.stderr).not.toContain('did not end in order');
  await cluster.upAgain();
  expect(cluster.up.stdout).not.toMatch(/^missing/m);
  const sizes = await sizesOf(cluster);
  expect(new Set(sizes.slice(0, 3)).size).toBe(1);
  expect(new Set(sizes.slice(3)).size).toBe(1);
  expect((sizes[0] ?? 0) + (sizes[3] ?? 0)).toBe(1000);
});

test('data survive a primary that had died before Ctrl-C: the next start begins with those of the copy', async () => {
  const cluster = await started({ shards: 1, copies: 2 });
  await withClient(cluster.port, client => client.set('key', 'value'));
  cluster.kill('n1', 'SIGKILL');
  await until(
    () => pidOf(cluster, 'n1'),
    pid => pid === null,
  );
  await until(
    () => cluster.clusterJson().nodes[1]?.role,
    role => role === 'primary',
  );
  await withClient(cluster.port, client => client.set('later', 'value'));
  await cluster.up.end();
  await cluster.upAgain();
  expect(await withClient(cluster.port, client => client.mget('key', 'later'))).toEqual(['value', 'value']);
  await until(() => statusOf(cluster), isWhole);
});

test('after a crash the next start keeps the nodes that run and replaces the rest', async () => {
  const cluster = await started({ shards: 2, copies: 2 });
  await withClient(cluster.port, client => client.mset('{a}1', 'x', '{a}2', 'y'));
  const before = cluster.clusterJson();
  cluster.up.child.kill('SIGKILL');
  await cluster.up.ended;
  // While nobody watches, a replica dies as well.
  process.kill(before.nodes[1]?.pid as number, 'SIGKILL');
  await cluster.upAgain();
  expect(cluster.up.stderr).toContain('taking over 3 nodes that still run');
  const after = cluster.clusterJson();
  for (const index of [0, 2, 3]) expect(after.nodes[index]?.pid).toBe(before.nodes[index]?.pid);
  expect(after.nodes[1]?.pid).not.toBe(before.nodes[1]?.pid);
  expect(isRunning(before.proxy.pid)).toBe(false);
  expect(isRunning(before.supervisors[0]?.pid ?? null)).toBe(false);
  expect(await withClient(cluster.port, client => client.mget('{a}1', '{a}2'))).toEqual(['x', 'y']);
  // The end of a node that is nobody's child is noticed too.
  cluster.kill('n3', 'SIGKILL');
  await until(
    () => pidOf(cluster, 'n3'),
    pid => pid === null,
  );
  expect(await cluster.up.end()).toBe(0);
  expect(allPids(after).some(isRunning)).toBe(false);
});

test('proxy and supervisor end by themselves when `up` is killed', async () => {
  const cluster = await started({ shards: 1 });
  const { proxy, supervisors, nodes } = cluster.clusterJson();
  cluster.up.child.kill('SIGKILL');
  await until(
    () => [proxy.pid, supervisors[0]?.pid ?? null].filter(isRunning),
    left => left.length === 0,
  );
  expect(isRunning(nodes[0]?.pid ?? null)).toBe(true);
});

test('a pid of the last run that belongs to another process by now is left alone', async () => {
  const cluster = await started({ shards: 1 });
  await cluster.up.end();
  const stranger = spawn('sleep', ['60'], { stdio: 'ignore' });
  const identity = { ...identify(stranger.pid as number), startTicks: 1 };
  const nodes = { n1: { host: '127.0.0.1', port: cluster.nodePort, process: identity } };
  writeFileSync(path.join(cluster.dir, 'run.json'), JSON.stringify({ roles: { proxy: identity }, nodes }));
  await cluster.upAgain();
  await cluster.up.end();
  expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
  stranger.kill();
});

test('three supervisors over etcd: any of them may die, and a member of etcd with it', async () => {
  const cluster = await started({ shards: 1, copies: 3, supervisors: 3 });
  const file = cluster.clusterJson();
  expect(file.supervisors).toHaveLength(3);
  expect(file.etcd).toHaveLength(3);
  expect(allPids(file).every(isRunning)).toBe(true);
  expect(cluster.up.stdout).toMatch(/^supervisor 3 +127\.0\.0\.1:\d+ +\d+ +status, topology$/m);
  expect(cluster.up.stdout).toMatch(/^etcd e3 +127\.0\.0\.1:\d+ +\d+ +keeps the topology$/m);
  await withClient(cluster.port, client => client.set('key', 'value'));
  const { leader } = await until(
    () => statusOf(cluster),
    status => status.leader !== null,
  );
  const leading = file.supervisors.find(({ url }) => url === leader);
  process.kill(leading?.pid as number, 'SIGKILL');
  process.kill(file.etcd[0]?.pid as number, 'SIGKILL');
  cluster.kill('n1', 'SIGKILL');
  await until(
    () => cluster.clusterJson().nodes.map(({ role }) => role),
    roles => roles[0] === 'replica' && roles.includes('primary'),
  );
  const served = () => withClient(cluster.port, client => client.get('key')).catch((error: Error) => error.message);
  await until(served, reply => reply === 'value');
  expect(cluster.up.stderr).toContain('the etcd e1 ended (SIGKILL), it is started again');
  await until(
    () => cluster.clusterJson(),
    ({ etcd, supervisors }) => [...etcd, ...supervisors].every(({ pid }) => pid !== null),
  );
  expect(await cluster.up.end()).toBe(0);
  expect(processesOf(cluster.dir)).toEqual([]);
  await cluster.upAgain();
  expect(await withClient(cluster.port, client => client.get('key'))).toBe('value');
});

test('several supervisors after a crash of `up`: what it left is ended, and started again', async () => {
  const cluster = await started({ shards: 1, copies: 1, supervisors: 3 });
  await withClient(cluster.port, client => client.set('key', 'value'));
  const before = cluster.clusterJson();
  cluster.up.child.kill('SIGKILL');
  await cluster.up.ended;
  expect(before.etcd.map(({ pid }) => pid).every(isRunning)).toBe(true);
  await cluster.upAgain();
  expect(before.etcd.map(({ pid }) => pid).some(isRunning)).toBe(false);
  expect(before.supervisors.map(({ pid }) => pid).some(isRunning)).toBe(false);
  expect(await withClient(cluster.port, client => client.get('key'))).toBe('value');
});

test('without an etcd on the PATH several supervisors are refused in one line, exit status 2', async () => {
  const dir = temporaryDirectory();
  const found = (process.env['PATH'] ?? '').split(':').find(place => existsSync(path.join(place, 'redis-server')));
  symlinkSync(path.join(found ?? '', 'redis-server'), path.join(dir, 'redis-server'));
  const up = startUp(['--dir', path.join(dir, 'cluster'), '--supervisors', '3'], { PATH: dir });
  expect(await up.ended).toBe(2);
  expect(up.stderr).toMatch(
    /^ringside: several supervisors need etcd, and no etcd is in PATH: install it \(.*etcd-server\), or take --supervisors 1, .*\n$/,
  );
  expect(processesOf(dir)).toEqual([]);
});

test('a second start in the same directory is refused and disturbs nothing', async () => {
  const cluster = await started({ shards: 1 });
  const before = cluster.clusterJson();
  const second = startUp(['--dir', cluster.dir]);
  expect(await second.ended).toBe(2);
  expect(second.stderr).toBe(
    `ringside: \`ringside up\` already runs in ${cluster.dir} (pid ${cluster.up.child.pid}): stop that one, or take another --dir (and ports)\n`,
  );
  expect(cluster.clusterJson()).toEqual(before);
  expect(await withClient(cluster.port, client => client.ping())).toBe('PONG');
});

test('a signal that comes twice at once, as with Ctrl-C under npm, ends in order and keeps the data', async () => {
  const cluster = await started({ shards: 1 });
  await withClient(cluster.port, client => client.set('key', 'value'));
  cluster.up.child.kill('SIGINT');
  cluster.up.child.kill('SIGINT');
  await until(
    () => cluster.up.stderr,
    text => text.includes('once more to end at once'),
  );
  cluster.up.child.kill('SIGINT');
  expect(await cluster.up.ended).toBe(0);
  await cluster.upAgain();
  expect(await withClient(cluster.port, client => client.get('key'))).toBe('value');
});

test('a node that does not heed the first signal is ended at once by a second one', async () => {
  const cluster = await started({ shards: 1 });
  const file = cluster.clusterJson();
  const busy = withClient(cluster.nodePort, client => client.eval('while true do end', 0)).catch(() => 'broken off');
  await new Promise(resolve => setTimeout(resolve, 100));
  cluster.up.child.kill('SIGINT');
  await until(
    () => cluster.up.stderr,
    text => text.includes('once more to end at once'),
  );
  await new Promise(resolve => setTimeout(resolve, 1500));
  expect(isRunning(file.nodes[0]?.pid ?? null)).toBe(true);
  cluster.up.child.kill('SIGINT');
  await cluster.up.ended;
  expect(await busy).toBe('broken off');
  expect(allPids(file).some(isRunning)).toBe(false);
});

test.each([
  ['--port', 0, 'the proxy'],
  ['--admin-port', 1, 'the admin endpoint'],
  ['--supervisor-port', 2, 'the supervisor'],
  ['--node-port', 3, 'node n1'],
])('a taken port (%s) is one line and exit status 2, and nothing is started', async (flag, offset, who) => {
  const first = await freePorts(4);
  const server = createServer().listen(first + offset, '127.0.0.1');
  await once(server, 'listening');
  const dir = temporaryDirectory();
  const flags = ['--port', '--admin-port', '--supervisor-port', '--node-port'];
  const ports = flags.flatMap((flag, index) => [flag, String(first + index)]);
  const up = startUp(['--dir', dir, '--shards', '1', '--copies', '1', ...ports]);
  expect(await up.ended).toBe(2);
  server.close();
  expect(up.stdout).toBe('');
  expect(up.stderr.trimEnd().split('\n')).toHaveLength(1);
  expect(up.stderr).toContain(`${who} cannot listen on 127.0.0.1:${first + offset}`);
  expect(up.stderr).toContain(flag);
  expect(processesOf(dir)).toEqual([]);
});

test('without a redis-server on the PATH: one line that says how to get one, exit status 2', async () => {
  const dir = temporaryDirectory();
  const up = startUp(['--dir', path.join(dir, 'cluster')], { PATH: dir });
  expect(await up.ended).toBe(2);
  expect(up.stderr).toMatch(
    /^ringside: redis-server is not on the PATH: install it \(apt-get install redis-server, .*\n$/,
  );
  expect(existsSync(path.join(dir, 'cluster'))).toBe(false);
});

test('a redis-server older than 7.0 is refused with its version, exit status 2', async () => {
  const dir = temporaryDirectory();
  const old = path.join(dir, 'redis-server');
  writeFileSync(old, "#!/bin/sh\necho 'Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64'\n");
  chmodSync(old, 0o755);
  const up = startUp(['--dir', path.join(dir, 'cluster')], { PATH: `${dir}:${process.env['PATH'] ?? ''}` });
  expect(await up.ended).toBe(2);
  expect(up.stderr).toMatch(/^ringside: redis-server is 6\.2\.14, Ringside needs 7\.0 or newer: .*\n$/);
});

test('a directory that cannot be written is one line and exit status 2', async () => {
  const file = path.join(temporaryDirectory(), 'file');
  writeFileSync(file, '');
  const below = startUp(['--dir', path.join(file, 'cluster')]);
  expect(await below.ended).toBe(2);
  expect(below.stderr).toBe(
    `ringside: cannot write in ${path.join(file, 'cluster')} (a part of the path is a file): choose another directory with --dir\n`,
  );
});

test.runIf(process.platform === 'linux')('a directory that can never be made is told at once', async () => {
  const up = startUp(['--dir', '/proc/ringside/cluster']);
  const limit = setTimeout(() => up.child.kill('SIGKILL'), 10_000);
  expect(await up.ended).toBe(2);
  clearTimeout(limit);
  expect(up.stderr).toBe(
    'ringside: cannot write in /proc/ringside/cluster (no directory can be made there): choose another directory with --dir\n',
  );
});

test.runIf(process.getuid?.() === 0)('a directory of another user is one line and exit status 2', async () => {
  const dir = temporaryDirectory();
  chmodSync(dir, 0o755);
  mkdirSync(path.join(dir, 'cluster'));
  for (const where of [path.join(dir, 'cluster'), path.join(dir, 'new')]) {
    const up = startUp(['--dir', where], {}, 65_534);
    expect(await up.ended).toBe(2);
    expect(up.stderr).toBe(
      `ringside: cannot write in ${where} (permission denied): choose another directory with --dir\n`,
    );
  }
});

test('another number of shards than the directory has is refused, exit status 2', async () => {
  const cluster = await started({ shards: 1 });
  await cluster.up.end();
  const up = startUp(['--dir', cluster.dir, '--shards', '2']);
  expect(await up.ended).toBe(2);
  expect(up.stderr).toBe(
    `ringside: ${cluster.dir} was made with --shards 1, not 2: leave the flag out, or take another --dir\n`,
  );
});

test("a person's own file decides which nodes run, and is left as it is", async () => {
  const dir = temporaryDirectory();
  const first = await freePorts(5);
  const file = path.join(dir, 'shop.yaml');
  const text = `cluster: shop
secret: 0123456789abcdef0123456789abcdef
nodes:
  - { id: left, address: 127.0.0.1:${first + 3} }
  - { id: right, address: 127.0.0.1:${first + 4} }
nodeAccess: { password: s3cret, keepDefaultUser: true }
shards: { count: 2, copies: 1 }
proxy: { listen: [ "127.0.0.1:${first}" ], admin: 127.0.0.1:${first + 1}, auth: { password: open } }
supervisor: { listen: 127.0.0.1:${first + 2} }
`;
  writeFileSync(file, text);
  const up = startUp(['--dir', path.join(dir, 'data'), '--config', file]);
  try {
    await up.ready;
    expect(up.stdout).toMatch(/^node right .* primary of s2$/m);
    expect(readFileSync(file, 'utf8')).toBe(text);
    expect(await withClient(first + 3, client => client.ping(), { password: 's3cret' })).toBe('PONG');
    await expect(withClient(first + 3, client => client.ping())).rejects.toThrow('NOAUTH');
    expect(await withClient(first, client => client.set('key', 'value'), { password: 'open' })).toBe('OK');
  } finally {
    expect(await up.end()).toBe(0);
  }
  const refused = startUp(['--dir', path.join(dir, 'data'), '--config', file, '--port', '20000']);
  expect(await refused.ended).toBe(2);
  expect(refused.stderr).toContain('--port does not go with --config');
});

test('mistakes in the settings are told with their place, exit status 2', async () => {
  const cluster = await started({ shards: 1 });
  await cluster.up.end();
  const file = path.join(cluster.dir, 'ringside.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace('cluster: local', 'cluster: local\nclustre: x'));
  const up = startUp(['--dir', cluster.dir]);
  expect(await up.ended).toBe(2);
  expect(up.stderr).toMatch(new RegExp(`^${file}:4:1: clustre: `));
});
