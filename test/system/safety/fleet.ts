/**
 * A whole cluster of real processes, each of which the test may kill, freeze, start again or cut off: nodes, etcd,
 * supervisors and proxies, on loopback or on hosts of the test's own. Nothing here restarts by itself.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';
import type { ClusterStatus } from '../../../src/supervisor/status.ts';
import { ADMIN_USER, feedToken, INSPECT_USER, userPassword } from '../../../src/topology/credentials.ts';
import type { Topology, TopologyShard } from '../../../src/topology/snapshot.ts';
import { program } from '../../support/cluster.ts';
import { memoryDirectory } from '../../support/memory-directory.ts';
import { HANG_MS } from '../../support/patience.ts';
import { freePorts } from '../../support/ports.ts';
import { until } from '../faults/stand.ts';
import { type Host, loopback } from './host.ts';
import type { Network } from './network.ts';
import { isAttached } from './raw-shard.ts';
import { infoField, RedisNode } from './redis-node.ts';
import type { RespConnection } from './resp.ts';
import { EtcdMember, Role } from './role.ts';

/** The build that is put to the test. */
const PROGRAM = process.env['RINGSIDE_PROGRAM'] ?? program;
const CLUSTER = 'fleet';
const SECRET = 'a secret of the fault tests, long enough for them';

export interface FleetOptions {
  /** Default 1. */
  readonly shards?: number;
  /** Nodes of a shard, the primary included; default 3. */
  readonly copies?: number;
  /** Default 0. */
  readonly spares?: number;
  /** Default 1. */
  readonly proxies?: number;
  /** One keeps the topology in a file, several keep it in as many members of etcd. Default 1. */
  readonly supervisors?: number;
  /** Enough hosts that each node, supervisor (with a member of etcd) and proxy has its own; default: all on loopback. */
  readonly network?: Network;
  /** Further settings, as a person writes them; `proxy` and `supervisor` are added to what they need here. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Further arguments of every redis-server. */
  readonly nodeArgs?: readonly string[];
}

export class Fleet {
  readonly copies: number;
  /** By id: n1, n2, …; the first of a shard is its proposed primary. */
  readonly nodes = new Map<string, RedisNode>();
  readonly proxies: Role[] = [];
  readonly supervisors: Role[] = [];
  readonly etcd: EtcdMember[] = [];
  readonly dir = memoryDirectory('ringside-fleet-');
  readonly #options: FleetOptions;
  readonly #hosts: readonly Host[];
  readonly #further: Role[] = [];
  #nextPort = 0;

  private constructor(options: FleetOptions) {
    this.#options = options;
    this.copies = options.copies ?? 3;
    this.#hosts = options.network?.hosts ?? [loopback];
  }

  /** Starts everything, and waits until every shard has all its copies in sync and every proxy is ready. */
  static async start(options: FleetOptions = {}): Promise<Fleet> {
    const fleet = new Fleet(options);
    try {
      await fleet.#make();
      await fleet.#startAll();
      return fleet;
    } catch (error) {
      const told = fleet.told();
      await fleet.close();
      throw new Error(`the cluster did not come up: ${String(error)}\n${told}`);
    }
  }

  /** Writes the settings of every role, and notes what is to be started where. */
  async #make(): Promise<void> {
    const { shards = 1, spares = 0, proxies = 1, supervisors = 1 } = this.#options;
    const nodes = shards * this.copies + spares;
    const members = supervisors > 1 ? supervisors : 0;
    let place = 0;
    const nextHost = (): Host => this.#hosts[place++ % this.#hosts.length] as Host;
    this.#nextPort = this.#hosts.length > 1 ? 7_000 : await freePorts(nodes + 2 * members + supervisors + 2 * proxies);
    for (let i = 0; i < nodes; i += 1) {
      const args = this.#options.nodeArgs ?? [];
      this.nodes.set(`n${i + 1}`, new RedisNode({ host: nextHost(), port: this.#port(), args }));
    }
    const hosts = Array.from({ length: supervisors }, nextHost);
    const places = hosts.slice(0, members).map(host => ({ host, port: this.#port(), peerPort: this.#port() }));
    for (let i = 0; i < members; i += 1) this.etcd.push(new EtcdMember(i, places, this.dir));
    const listens = hosts.map(host => ({ host, port: this.#port() }));
    const peers = listens.map(({ host, port }) => `http://${host.address}:${port}`);
    for (const [i, { host, port }] of listens.entries())
      this.supervisors.push(this.#role('supervisor', i, host, { port, adminPort: port }, peers));
    for (let i = 0; i < proxies; i += 1) {
      const ports = { port: this.#port(), adminPort: this.#port() };
      this.proxies.push(this.#role('proxy', i, nextHost(), ports, peers));
    }
  }

  async #startAll(): Promise<void> {
    await Promise.all([...this.nodes.values()].map(node => node.start()));
    await Promise.all(this.etcd.map(member => member.start()));
    const roles = [...this.supervisors, ...this.proxies];
    for (const role of roles) role.start();
    await this.whole(2 * HANG_MS, () => {
      const ended = roles.find(role => !role.running);
      if (ended !== undefined) throw new Error(`${ended.name} has ended`);
    });
    await until('every proxy is ready', async () => (await Promise.all(this.proxies.map(isReady))).every(Boolean));
  }

  #port(): number {
    this.#nextPort += 1;
    return this.#nextPort - 1;
  }

  #role(
    kind: 'proxy' | 'supervisor',
    index: number,
    host: Host,
    place: { port: number; adminPort: number },
    peers: readonly string[],
  ): Role {
    const dir = path.join(this.dir, `${kind}${index + 1}`);
    mkdirSync(dir);
    const file = path.join(dir, 'ringside.yaml');
    writeFileSync(file, stringify(this.#settings(kind, host, place, peers)));
    return new Role({
      name: `${kind}${index + 1}`,
      host,
      ...place,
      program: PROGRAM,
      kind,
      file,
      token: feedToken(SECRET, CLUSTER),
    });
  }

  #settings(kind: string, host: Host, place: { port: number; adminPort: number }, peers: readonly string[]): object {
    const { shards = 1, settings = {} } = this.#options;
    const { proxy = {}, supervisor = {}, ...others } = settings as Record<string, object>;
    const ids = [...this.nodes.keys()];
    const etcd = { endpoints: this.etcd.map(member => member.url), prefix: '/fleet/' };
    const own = `${host.address}:${place.port}`;
    return {
      cluster: CLUSTER,
      secret: SECRET,
      nodes: [...this.nodes].map(([id, node]) => ({
        id,
        address: `${node.host.address}:${node.port}`,
        zone: zoneOf(node),
      })),
      shards: Array.from({ length: shards }, (_, i) => ({
        name: `s${i + 1}`,
        nodes: ids.slice(i * this.copies, (i + 1) * this.copies),
      })),
      writes: { timeout: '20s' },
      ...others,
      proxy: {
        ...(kind === 'proxy' ? { listen: [own], admin: `${host.address}:${place.adminPort}` } : {}),
        allowInsecure: true,
        // Commands wait for whatever a fault, and a busy machine, make them wait for.
        hold: '20s',
        ...proxy,
      },
      supervisor: {
        ...(kind === 'supervisor' ? { listen: own } : {}),
        allowInsecure: true,
        peers,
        store: this.etcd.length > 0 ? { etcd } : { file: './store' },
        ...supervisor,
      },
    };
  }

  /**
   * A further proxy or supervisor beside those of the cluster, whose settings the test has changed: of another cluster,
   * with another secret, out of date. Not started; it ends with the fleet.
   */
  async further(kind: 'proxy' | 'supervisor', change: (settings: Record<string, unknown>) => object): Promise<Role> {
    const host = this.#hosts[0] as Host;
    const port = await freePorts(2);
    const place = { port, adminPort: kind === 'proxy' ? port + 1 : port };
    const peers = kind === 'proxy' ? this.supervisors.map(({ url }) => url) : [`http://${host.address}:${port}`];
    const role = this.#role(kind, this.#further.length + 100, host, place, peers);
    const settings = this.#settings(kind, host, place, peers) as Record<string, unknown>;
    writeFileSync(role.file, stringify(change(settings)));
    this.#further.push(role);
    return role;
  }

  node(id: string): RedisNode {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node;
  }

  /** What the supervisors publish: the newest that any of them has. Throws when none answers. */
  async topology(): Promise<Topology> {
    const answers = await Promise.allSettled(this.supervisors.map(one => one.get<Topology>('/v1/topology')));
    const known = answers.flatMap(answer => (answer.status === 'fulfilled' ? [answer.value] : []));
    const [newest] = known.sort((a, b) => b.version - a.version);
    if (newest === undefined) throw new Error('no supervisor answers');
    return newest;
  }

  async shard(name: string): Promise<TopologyShard> {
    const found = (await this.topology()).shards.find(shard => shard.name === name);
    if (found === undefined) throw new Error(`there is no shard ${name}`);
    return found;
  }

  /** The supervisor that leads, by what they say of themselves; null: none does. */
  async leader(): Promise<Role | null> {
    for (const supervisor of this.supervisors) {
      const status = await supervisor.get<ClusterStatus>('/v1/status').catch(() => null);
      if (status?.leader === supervisor.url) return supervisor;
    }
    return null;
  }

  /**
   * Waits until every shard has all its copies in sync, by the topology and by the nodes' own words; how long it took.
   * `check` is called again and again, and gives up by throwing.
   */
  async whole(limitMs = HANG_MS, check: () => void = () => undefined): Promise<number> {
    const beganAt = performance.now();
    let missing = 'nothing was asked yet';
    await until(
      () => `all copies in sync: ${missing}`,
      async () => {
        check();
        missing = await this.#missing().catch(error => String(error));
        return missing === '';
      },
      limitMs,
    );
    return performance.now() - beganAt;
  }

  /** In words what a whole cluster has and this one has not; empty: nothing. */
  async #missing(): Promise<string> {
    const { shards, nodes } = await this.topology();
    for (const { name, primary, inSync, joining, paused } of shards) {
      if (inSync.length + 1 < this.copies)
        return `${name} has ${inSync.length + 1} of ${this.copies} copies, joining ${joining}`;
      if (joining !== null || paused) return `${name}: joining ${joining}, paused ${paused}`;
      for (const id of [primary, ...inSync]) {
        const wanted = nodes.find(node => node.id === id)?.runId ?? null;
        const problem = await this.#differs(id, wanted, id !== primary).catch(error => String(error));
        if (problem !== '') return `${name}: ${id}: ${problem}`;
      }
    }
    return '';
  }

  async #differs(id: string, runId: string | null, isReplica: boolean): Promise<string> {
    const connection = await this.admin(id);
    try {
      const own = await infoField(connection, 'server', 'run_id');
      if (own !== runId) return `the topology means another incarnation, ${runId}, than ${own}`;
      return isReplica && !(await isAttached(connection)) ? 'its link is not up' : '';
    } finally {
      connection.close();
    }
  }

  /** A connection to a node with what rights there are: an admin's, a reader's, or the default user's. */
  async admin(id: string): Promise<RespConnection> {
    const node = this.node(id);
    for (const user of [ADMIN_USER, INSPECT_USER]) {
      try {
        return await node.connect(user, userPassword(SECRET, user, CLUSTER));
      } catch {
        // The next may do.
      }
    }
    return node.connect();
  }

  /** What the supervisors have logged since then, of any of them. */
  toldSince(sinceMs: number): LogLine[] {
    return this.supervisors
      .flatMap(({ log }) => log.split('\n'))
      .flatMap(line => {
        const told = asLogLine(line);
        return told !== null && told.time >= sinceMs ? [told] : [];
      });
  }

  /** The newest lines of every supervisor and proxy. */
  logs(lines: number): string {
    return [...this.supervisors, ...this.proxies]
      .map(({ name, log }) => `--- ${name}\n${newest(log, lines)}`)
      .join('\n');
  }

  /**
   * For the message of a failed test: few lines, since what has failed must not be pushed out of sight, and the name of
   * a file with all that everything has said.
   */
  told(): string {
    const nodes = [...this.nodes].map(([name, { log }]) => ({ name, log }));
    const etcd = this.etcd.map(({ log }, index) => ({ name: `etcd${index + 1}`, log }));
    const all = [...this.supervisors, ...this.proxies, ...nodes, ...etcd];
    const file = path.join(mkdtempSync(path.join(tmpdir(), 'ringside-logs-')), 'all.log');
    writeFileSync(file, all.map(({ name, log }) => `--- ${name}\n${log}\n`).join(''));
    return `all logs: ${file}\n${this.logs(6)}`;
  }

  /** Ends everything and removes what it has written. May be called more than once. */
  async close(): Promise<void> {
    await Promise.all([...this.proxies, ...this.supervisors, ...this.#further].map(role => role.end()));
    await Promise.all([...this.nodes.values()].map(node => node.close()));
    await Promise.all(this.etcd.map(member => member.kill()));
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
}

/** One line of a supervisor's log. */
export interface LogLine {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly event?: string;
  readonly msg: string;
}

/** Null: it is the first or the last part of a line, or was written by something else. */
function asLogLine(line: string): LogLine | null {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return null;
  }
}

function newest(log: string, lines: number): string {
  return log.trimEnd().split('\n').slice(-lines).join('\n');
}

function zoneOf(node: RedisNode): string {
  return node.host === loopback ? `z${node.port % 3}` : node.host.name;
}

async function isReady(proxy: Role): Promise<boolean> {
  return proxy.get('/readyz').then(
    () => true,
    () => false,
  );
}
