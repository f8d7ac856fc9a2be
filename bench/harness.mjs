/**
 * The stage of a benchmark: the processes that are measured, started on free loopback ports and ended by their pids.
 *
 * Every process lives as long as its stage; the working files (configurations, logs) are in a temporary directory that
 * goes away with it. What a process used (CPU seconds, memory) is read from /proc, so benchmarks run on Linux only.
 */
import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/** The directory above bench/: package.json, dist/, the git repository. */
export const projectDirectory = dirname(here);

/** /proc counts CPU time in ticks of 1/USER_HZ seconds; Linux fixes USER_HZ at 100 on every architecture Node runs on. */
const ticksPerSecond = 100;

/** Debian keeps nutcracker and haproxy where a user's PATH often does not look. */
process.env['PATH'] = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;

/** @param {number} ms */
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

/** A mistake of the environment or of the arguments: told in one line, exit status 2. */
export class UsageError extends Error {}

/**
 * The number that an option was given: above 0, and from 1 on where it must be whole.
 *
 * @param {Record<string, string | boolean>} values  @param {string} name
 */
export function numberOf(values, name, isWhole = false) {
  const number = Number(values[name]);
  if (isWhole ? Number.isInteger(number) && number >= 1 : number > 0) return number;
  throw new UsageError(`--${name} ${values[name]}: ${isWhole ? '1 or more' : 'a number above 0'} is wanted`);
}

/**
 * @typedef {{ name: string, pid: number, port: number, log: string, exited: boolean, stop: () => Promise<void> }} Service
 *   a process the stage started, and where it listens (127.0.0.1:port)
 * @typedef {{ name: string, host: string, port: number, pid: number | null }} Target
 *   what a load is put on; pid is the root of its process tree, null where it is not known
 */

export class Stage {
  /** Temporary directory of this stage. */
  directory = mkdtempSync(join(tmpdir(), 'ringside-bench-'));
  /** @type {Service[]} */
  services = [];
  #ending = false;

  constructor() {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.once(signal, () => this.end().then(() => process.exit(130)));
    }
  }

  /**
   * Starts a program and waits until it answers PING on its port.
   * @param {string} name  @param {string} program  @param {string[]} args  @param {number} port
   * @returns {Promise<Service>}
   */
  async start(name, program, args, port) {
    if (this.#ending) throw new Error('this stage has ended');
    const log = join(this.directory, `${name}-${port}.log`);
    const output = openSync(log, 'a');
    const child = spawn(program, args, { cwd: this.directory, stdio: ['ignore', output, output] });
    closeSync(output);
    const exit = new Promise(resolve => {
      child.once('error', error => resolve(error.message));
      child.once('exit', (code, signal) => resolve(signal ?? `status ${code}`));
    });
    /** @type {Service} */
    const service = { name, pid: child.pid ?? 0, port, log, exited: false, stop: () => stopTree(service, exit) };
    exit.then(() => {
      service.exited = true;
    });
    this.services.push(service);
    const deadlineMs = Date.now() + 15_000;
    while (!(await answersPing(port))) {
      if (service.exited) throw new UsageError(`${name} ended with ${await exit} at its start: ${lastLines(log)}`);
      if (Date.now() > deadlineMs) throw new UsageError(`${name} does not answer on port ${port}: ${lastLines(log)}`);
      await sleep(20);
    }
    return service;
  }

  /** A redis-server without persistence. */
  async redis(name = 'redis') {
    const port = await freePort();
    const args = [
      '--port',
      `${port}`,
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'no',
      '--tcp-backlog',
      '1024',
    ];
    return this.start(name, 'redis-server', [...args, '--dir', this.directory, '--dbfilename', `${port}.rdb`], port);
  }

  /** nutcracker (twemproxy) with its defaults over the given Redis ports. @param {number[]} shardPorts */
  async nutcracker(shardPorts) {
    const [port, statsPort] = [await freePort(), await freePort()];
    const file = this.#write(`nutcracker-${port}.yml`, [
      'bench:',
      `  listen: 127.0.0.1:${port}`,
      '  redis: true',
      '  hash: fnv1a_64',
      '  distribution: ketama',
      '  preconnect: true',
      '  auto_eject_hosts: false',
      '  server_connections: 1',
      '  backlog: 1024',
      '  servers:',
      ...shardPorts.map((shard, index) => `    - 127.0.0.1:${shard}:1 s${index + 1}`),
    ]);
    const args = [
      '-c',
      file,
      '-s',
      `${statsPort}`,
      '-a',
      '127.0.0.1',
      '-p',
      join(this.directory, `nutcracker-${port}.pid`),
    ];
    return this.start('twemproxy', 'nutcracker', [...args, '-o', join(this.directory, `nutcracker-${port}.out`)], port);
  }

  /** haproxy that forwards TCP, on one thread like the others. @param {number} redisPort */
  async haproxy(redisPort) {
    const port = await freePort();
    const file = this.#write(`haproxy-${port}.cfg`, [
      'global',
      '  nbthread 1',
      '  maxconn 4000',
      'defaults',
      '  mode tcp',
      '  timeout connect 5s',
      '  timeout client 300s',
      '  timeout server 300s',
      'listen redis',
      `  bind 127.0.0.1:${port} backlog 1024`,
      `  server redis 127.0.0.1:${redisPort}`,
    ]);
    return this.start('haproxy', 'haproxy', ['-db', '-f', file], port);
  }

  /** The Node process that only copies bytes. @param {number} redisPort */
  async bytePipe(redisPort) {
    const port = await freePort();
    return this.start('pipe', process.execPath, [join(here, 'byte-pipe.mjs'), `${port}`, `${redisPort}`], port);
  }

  /**
   * A Ringside proxy over shards of these nodes, with its defaults but for further lines of the settings. No supervisor
   * runs: the nodes are made ready for the proxy here, and it is left a topology as it would remember one.
   * @param {(number | number[])[]} shards  of each the ports: the primary's, then those of its in-sync replicas
   * @param {string} distDirectory  where main.js is  @param {string} name  @param {string[]} settings
   */
  async ringside(shards, distDirectory = join(projectDirectory, 'dist'), name = 'ringside', settings = []) {
    const main = join(distDirectory, 'main.js');
    if (!existsSync(main)) throw new UsageError(`${main} is not there: run \`npm run build\` first`);
    const [port, adminPort, supervisorPort] = [await freePort(), await freePort(), await freePort()];
    const groups = shards.map((ports, index) => ({
      name: `s${index + 1}`,
      nodes: [ports].flat().map((nodePort, copy) => ({ id: `n${index + 1}-${copy + 1}`, port: nodePort })),
    }));
    // A directory of its own: a proxy keeps what it last knew, and its control socket, beside its configuration.
    const directory = `ringside-${port}`;
    mkdirSync(join(this.directory, directory));
    const file = this.#write(`${directory}/ringside.yaml`, [
      'cluster: bench',
      `secret: ${benchSecret}`,
      'nodes:',
      ...groups.flatMap(group =>
        group.nodes.map(node => `  - { id: ${node.id}, address: "127.0.0.1:${node.port}", zone: a }`),
      ),
      'shards:',
      ...groups.map(group => `  - { name: ${group.name}, nodes: [${group.nodes.map(node => node.id).join(', ')}] }`),
      `proxy: { listen: ["127.0.0.1:${port}"], admin: "127.0.0.1:${adminPort}", state: . }`,
      `supervisor: { listen: "127.0.0.1:${supervisorPort}", store: { file: ./supervisor } }`,
      ...settings,
    ]);
    const topology = await formedTopology(file, distDirectory);
    this.#write(`${directory}/last-topology.json`, [JSON.stringify(topology)]);
    return this.start(name, process.execPath, [main, 'proxy', '--config', file], port);
  }

  /** Ends everything that was started and removes the directory; may be called twice. */
  async end() {
    this.#ending = true;
    await Promise.all(this.services.map(service => service.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** @param {string} name  @param {string[]} lines */
  #write(name, lines) {
    const file = join(this.directory, name);
    writeFileSync(file, `${lines.join('\n')}\n`);
    return file;
  }
}

/** @param {Service} service  @param {Promise<unknown>} exit */
async function stopTree(service, exit) {
  if (service.exited || service.pid === 0) return;
  const tree = processTree(service.pid);
  signal(service.pid, 'SIGTERM');
  await Promise.race([exit, sleep(3000)]);
  // A root that dies hard, or late, may leave children; their pids were taken while the root still held them.
  if (!service.exited) signal(service.pid, 'SIGKILL');
  for (const pid of tree) if (pid !== service.pid && parentOf(pid) !== null) signal(pid, 'SIGKILL');
  await exit;
}

/** @param {number} pid  @param {NodeJS.Signals} name */
function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch {
    // It ended by itself in between.
  }
}

/** @param {string} log */
function lastLines(log) {
  const lines = readFileSync(log, 'utf8').trim().split('\n').slice(-3);
  return lines.join(' | ') || 'nothing in its log';
}

const benchSecret = 'a-secret-that-only-this-benchmark-run-knows';

/**
 * The topology that the settings propose, with every node set up as a supervisor would: the user of its shard's epoch,
 * its incarnation recorded, all replicas in sync.
 * @param {string} file  @param {string} distDirectory
 */
async function formedTopology(file, distDirectory) {
  const dist = (/** @type {string} */ path) => import(join(distDirectory, path));
  const { loadConfig } = await dist('config/load.js');
  const { initialTopology } = await dist('topology/snapshot.js');
  const { passwordHash, proxyUser, userPassword } = await dist('topology/credentials.js');
  const { PROXY_RIGHTS } = await dist('topology/proxy-rights.js');
  const proposed = initialTopology(loadConfig(file));
  const nodes = proposed.nodes.map((/** @type {{ port: number }} */ node) => {
    const runId = /run_id:(\w+)/.exec(askNode(node.port, 'INFO', 'server'))?.[1];
    const user = proxyUser(1);
    const hash = passwordHash(userPassword(benchSecret, user, runId));
    askNode(node.port, 'ACL', 'SETUSER', user, 'reset', 'on', hash, ...PROXY_RIGHTS);
    return { ...node, runId };
  });
  const shards = proposed.shards.map((/** @type {{ nodes: string[] }} */ shard) => ({
    ...shard,
    inSync: shard.nodes.slice(1),
  }));
  return { ...proposed, nodes, shards };
}

/** What a node answers. @param {number} port  @param {string[]} words */
export function askNode(port, ...words) {
  return execFileSync('redis-cli', ['-h', '127.0.0.1', '-p', `${port}`, ...words], { encoding: 'utf8' });
}

/** @param {number} port  @returns {Promise<boolean>} */
function answersPing(port) {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port });
    const finish = (/** @type {boolean} */ answered) => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(1000, () => finish(false));
    socket.once('connect', () => socket.write('*1\r\n$4\r\nPING\r\n'));
    socket.once('data', bytes => finish(bytes.toString('latin1').startsWith('+PONG')));
    socket.once('error', () => finish(false)).once('close', () => finish(false));
  });
}

/** A port that nobody listens on, below Linux's ephemeral range, so that no outgoing connection takes it meanwhile. */
export async function freePort() {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = 20_100 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const free = await new Promise(resolve => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new UsageError('no free port between 20100 and 32100 on 127.0.0.1');
}

/** The fields of /proc/PID/stat behind the program's name (which may hold spaces), or null. @param {number} pid */
function statOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

/** @param {number} pid  @returns {number | null} null when there is no such process */
function parentOf(pid) {
  const stat = statOf(pid);
  return stat === null ? null : Number(stat[1]);
}

/** The process and all its descendants. @param {number} root  @returns {number[]} */
export function processTree(root) {
  const parents = new Map();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (Number.isInteger(pid)) parents.set(pid, parentOf(pid));
  }
  const tree = [root];
  for (let index = 0; index < tree.length; index += 1) {
    for (const [pid, parent] of parents) if (parent === tree[index]) tree.push(pid);
  }
  return tree;
}

/** CPU seconds (user and system, all threads) the processes have used so far. @param {number[]} pids */
export function cpuSeconds(pids) {
  let ticks = 0;
  for (const pid of pids) {
    const stat = statOf(pid);
    if (stat !== null) ticks += Number(stat[11]) + Number(stat[12]);
  }
  return ticks / ticksPerSecond;
}

/**
 * Memory of the processes in bytes: `peak` is the sum of each one's highest resident size so far (VmHWM; pages that
 * processes share count once for each), `pss` the sum of their present proportional sizes (shared pages divided).
 * @param {number[]} pids
 */
export function memoryBytes(pids) {
  let peak = 0;
  let pss = 0;
  for (const pid of pids) {
    peak += kilobytesIn(`/proc/${pid}/status`, 'VmHWM') * 1024;
    pss += kilobytesIn(`/proc/${pid}/smaps_rollup`, 'Pss') * 1024;
  }
  return { peak, pss };
}

/** @param {string} file  @param {string} field */
function kilobytesIn(file, field) {
  try {
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(file, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/**
 * Keeps figures under bench/results, as `<day>-<commit><suffix>`.
 * @param {{ date: string, commit: string }} machine
 * @param {string} suffix
 * @param {unknown} result
 * @param {string} markdown
 */
export function keep({ date, commit }, suffix, result, markdown) {
  const directory = join(projectDirectory, 'bench', 'results');
  mkdirSync(directory, { recursive: true });
  const base = join(directory, `${date.slice(0, 10)}-${commit}${suffix}`);
  writeFileSync(`${base}.json`, `${JSON.stringify(result, null, 1)}\n`);
  writeFileSync(`${base}.md`, markdown);
  console.log(`\nkept in ${base}.json and .md`);
}
