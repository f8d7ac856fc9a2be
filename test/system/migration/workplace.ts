/**
 * What a person has who brings Redis processes that run already to Ringside: a directory with a settings file, the
 * commands that they type there, and the supervisor and the proxy that they start.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../../../src/config/load.ts';
import type { ClusterStatus } from '../../../src/supervisor/status.ts';
import { ADMIN_USER, feedToken, userPassword } from '../../../src/topology/credentials.ts';
import type { Topology } from '../../../src/topology/snapshot.ts';
import { freePorts } from '../../support/ports.ts';
import { until } from '../faults/stand.ts';
import { mustType, PROGRAM, type Printed, type } from '../moves/command.ts';
import type { Readable } from '../moves/whole.ts';
import { loopback } from '../safety/host.ts';
import { RedisNode } from '../safety/redis-node.ts';
import { RespConnection } from '../safety/resp.ts';
import { Role } from '../safety/role.ts';

export const SECRET = 'the secret of somebody who migrates';

/** What stands in the settings in its place, as a person would have it. */
export const SECRET_SETTING = `\${RINGSIDE_SECRET}`;

export class Workplace implements Readable {
  readonly dir = mkdtempSync(path.join(tmpdir(), 'ringside-migration-'));
  readonly file = path.join(this.dir, 'ringside.yaml');
  readonly #nodes: RedisNode[] = [];
  readonly #clients: RespConnection[] = [];
  #roles: Role[] = [];
  /** Where clients connect. */
  proxyPort = 0;

  /** A redis-server of the person's own. */
  async redis(...args: string[]): Promise<RedisNode> {
    const node = await RedisNode.start({ port: await freePorts(1), args });
    this.#nodes.push(node);
    return node;
  }

  /** Writes the settings file; every port in it that a default would give is one that is free. */
  async write(settings: Readonly<Record<string, unknown>>): Promise<void> {
    const first = await freePorts(3);
    const { proxy = {}, supervisor = {}, ...others } = settings as Record<string, object>;
    this.proxyPort ||= first;
    const listen = { listen: [`127.0.0.1:${this.proxyPort}`], admin: `127.0.0.1:${first + 1}` };
    const document = {
      ...others,
      proxy: { ...listen, ...proxy },
      supervisor: { listen: `127.0.0.1:${first + 2}`, ...supervisor },
    };
    writeFileSync(this.file, stringify(document));
  }

  /** What stands in the settings file now, for the test to change and to write back. */
  settings(): Record<string, unknown> {
    return parse(readFileSync(this.file, 'utf8')) as Record<string, unknown>;
  }

  save(settings: Readonly<Record<string, unknown>>): void {
    writeFileSync(this.file, stringify(settings));
  }

  /** `ringside supervisor` and `ringside proxy`; waits until the proxy is ready. */
  async start(): Promise<void> {
    process.env['RINGSIDE_SECRET'] = SECRET;
    const { proxy, supervisor, cluster } = loadConfig(this.file);
    const [listen] = proxy.listen;
    if (listen?.kind !== 'tcp' || proxy.admin === null) throw new Error('these settings are not of this test');
    this.proxyPort = listen.port;
    const common = { host: loopback, program: PROGRAM, file: this.file, token: feedToken(SECRET, cluster) };
    const ports = {
      proxy: [listen.port, proxy.admin.port],
      supervisor: [supervisor.listen.port, supervisor.listen.port],
    };
    this.#roles = (['supervisor', 'proxy'] as const).map(kind => {
      const [port, adminPort] = ports[kind] as [number, number];
      return new Role({ ...common, name: kind, kind, port, adminPort });
    });
    for (const role of this.#roles) role.start();
    await until(
      () => `the proxy is ready\n${this.logs()}`,
      () => this.proxy.get('/readyz').then(Boolean, () => false),
      30_000,
    );
  }

  /** Ends the supervisor, and starts it with other settings; clients need notice nothing. */
  async restartSupervisorWith(settings: Readonly<Record<string, unknown>>): Promise<void> {
    this.save(settings);
    await this.supervisor.end();
    this.supervisor.start();
    await until(
      () => `the supervisor leads again
${this.logs()}`,
      () =>
        this.supervisor.get<{ leading: boolean }>('/healthz').then(
          ({ leading }) => leading,
          () => false,
        ),
      30_000,
    );
  }

  get supervisor(): Role {
    return this.#roles[0] as Role;
  }

  get proxy(): Role {
    return this.#roles[1] as Role;
  }

  /** A command, typed in the directory. */
  type(...words: string[]): Promise<Printed> {
    process.env['RINGSIDE_SECRET'] = SECRET;
    return type(this.dir, ...words);
  }

  mustType(...words: string[]): Promise<string> {
    process.env['RINGSIDE_SECRET'] = SECRET;
    return mustType(this.dir, ...words);
  }

  status(): Promise<ClusterStatus> {
    return this.supervisor.get<ClusterStatus>('/v1/status');
  }

  topology(): Promise<Topology> {
    return this.supervisor.get<Topology>('/v1/topology');
  }

  /** Waits until every shard that is in the settings has so many copies in sync, and nothing is under way. */
  async whole(copies: number, limitMs = 60_000): Promise<void> {
    let seen = '';
    await until(
      () => `every shard has ${copies} copies: ${seen}\n${this.logs()}`,
      async () => {
        const { shards, move } = await this.topology();
        seen = JSON.stringify({ shards, move });
        return move === null && shards.every(one => one.inSync.length + 1 === copies && one.joining === null);
      },
      limitMs,
    );
  }

  /** Waits until the move that was begun is over. */
  async moved(shards: number, limitMs = 90_000): Promise<void> {
    let seen = '';
    await until(
      () => `${shards} shards own keys, and no move is on: ${seen}\n${this.logs()}`,
      async () => {
        const topology = await this.topology();
        seen = JSON.stringify({ move: topology.move, status: await this.status() });
        const isOver = topology.move === null && topology.shards.every(shard => shard.weight > 0);
        return isOver && topology.shards.length === shards;
      },
      limitMs,
    );
  }

  async admin(id: string): Promise<RespConnection> {
    const { nodes, cluster } = loadConfig(this.file);
    const place = nodes.find(node => node.id === id);
    const node = this.#nodes.find(one => one.port === place?.port);
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node.connect(ADMIN_USER, userPassword(SECRET, ADMIN_USER, cluster));
  }

  /** A client of the proxy, closed with everything else. */
  async client(port = this.proxyPort): Promise<RespConnection> {
    const connection = await RespConnection.open('127.0.0.1', port);
    connection.giveUpAfter(30_000);
    this.#clients.push(connection);
    return connection;
  }

  logs(lines = 60): string {
    const parts = this.#roles.map(role => `--- ${role.name}\n${role.log.split('\n').slice(-lines).join('\n')}`);
    return parts.join('\n');
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all([...this.#roles].reverse().map(role => role.end()));
    await Promise.all(this.#nodes.map(node => node.close()));
    if (existsSync(this.dir)) rmSync(this.dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
}
