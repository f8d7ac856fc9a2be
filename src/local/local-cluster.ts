import path from 'node:path';
import { EnvironmentError } from '../base/environment-error.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import type { NodeReport } from '../supervisor/node-report.ts';
import { addressText, isLoopback } from './address.ts';
import { writeClusterFile } from './cluster-file.ts';
import { checkPorts, type WantedPort } from './ports.ts';
import { endProcessGroup, isAlive, type ProcessIdentity } from './process-identity.ts';
import { RedisProcess } from './redis-process.ts';
import { RoleProcess } from './role-process.ts';
import { type RunRecord, readRunRecord, writeRunRecord } from './run-record.ts';
import { bringNewestData } from './starting-data.ts';

/** A node has so long to save before it is killed; one that is seen to be writing has longer. */
const SAVE_LIMIT_MS = 30_000;
const RESPAWN_MS = 1000;

/**
 * What the local cluster is made of and where it stands.
 */
export interface LocalClusterPlan {
  readonly config: Config;
  /** Absolute; holds everything that is written. */
  readonly directory: string;
  /** Starts a node that has ended again, empty. */
  readonly respawn: boolean;
  /** Node ids by shard name. */
  readonly primaries: ReadonlyMap<string, string>;
}

/** The processes of the local cluster, started, watched and ended in their order. */
export class LocalCluster {
  readonly #plan: LocalClusterPlan;
  readonly #say: (line: string) => void;
  readonly #nodes = new Map<string, RedisProcess>();
  readonly #proxy: RoleProcess;
  readonly #supervisor: RoleProcess;
  readonly #respawns = new Set<NodeJS.Timeout>();
  #savedOffsets: Readonly<Record<string, number>> = {};
  #stopping = false;
  /** Rejects when proxy or supervisor ends before `settled` was called. */
  readonly failure: Promise<never>;

  constructor(plan: LocalClusterPlan, say: (line: string) => void) {
    this.#plan = plan;
    this.#say = say;
    const { config, directory } = plan;
    for (const node of config.nodes.filter(node => isLoopback(node.host))) {
      const home = path.join(directory, 'nodes', node.id);
      this.#nodes.set(node.id, new RedisProcess(node, home, config.nodeAccess, how => this.#nodeEnded(node, how)));
    }
    let onFailure: (problem: string) => void = () => undefined;
    this.failure = new Promise((_, reject) => {
      onFailure = problem => reject(new EnvironmentError(problem));
    });
    // Whoever races against it hears of it; before and after, nobody needs to.
    this.failure.catch(() => undefined);
    const role = (name: 'proxy' | 'supervisor'): RoleProcess =>
      new RoleProcess(
        name,
        config.file,
        path.join(directory, `${name}.log`),
        said => {
          this.#record();
          if (said !== null) say(said);
        },
        onFailure,
      );
    this.#supervisor = role('supervisor');
    this.#proxy = role('proxy');
  }

  /**
   * Starts everything, taking over the nodes that an earlier run has left. Resolves once every node answers and follows
   * its primary, the two other processes being on their way; rejects when a node cannot start.
   */
  async start(): Promise<void> {
    const previous = readRunRecord(this.#runFile);
    this.#savedOffsets = previous.savedOffsets;
    const crashed = await this.#endRolesOf(previous);
    await this.#adoptNodesOf(previous);
    const adopted = new Set([...this.#nodes.values()].filter(node => node.identity !== null));
    if (adopted.size > 0) this.#say(`taking over ${adopted.size} nodes that still run`);
    await checkPorts(this.#wantedPorts(adopted), crashed ? 3000 : 0);
    if (this.#stopping) return;
    await this.#bringData();
    if (this.#stopping) return;
    for (const node of this.#nodes.values()) if (!adopted.has(node)) node.start();
    // Side by side: the other two take longer to start than the nodes, and wait for them by themselves.
    this.#supervisor.start();
    this.#proxy.start();
    this.#savedOffsets = {};
    this.#record();
    await this.#nodesReady(adopted);
  }

  /** Proxy and supervisor work: from now on they are started again when they end. */
  settled(): void {
    this.#supervisor.settled();
    this.#proxy.settled();
  }

  /** The processes as they are now, for the table. */
  get pids(): { proxy: number | null; supervisor: number | null; node(id: string): number | null } {
    return {
      proxy: this.#proxy.identity?.pid ?? null,
      supervisor: this.#supervisor.identity?.pid ?? null,
      node: id => this.#nodes.get(id)?.identity?.pid ?? null,
    };
  }

  /** Ends everything: first those that use the nodes, then primaries, which wait for their replicas, then the rest. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#respawns) clearTimeout(timer);
    await this.#proxy.stop(this.#plan.config.proxy.graceMs + 2000);
    await this.#supervisor.stop(5000);
    const nodes = [...this.#nodes.values()];
    const offsets = new Map(await Promise.all(nodes.map(async node => [node, await offsetOf(node)] as const)));
    const primaries = new Set(this.#plan.primaries.values());
    const saved: Record<string, number> = { ...this.#savedOffsets };
    for (const first of [true, false]) {
      const group = nodes.filter(node => node.identity !== null && primaries.has(node.node.id) === first);
      await Promise.all(
        group.map(async node => {
          if (await node.stop(SAVE_LIMIT_MS)) saved[node.node.id] = offsets.get(node) ?? 0;
          else this.#say(`node ${node.node.id} did not end in order: what it held is not saved`);
        }),
      );
    }
    this.#savedOffsets = saved;
    this.#record();
  }

  /** Ends everything at once; what was not saved is lost. */
  kill(): void {
    this.#proxy.kill();
    this.#supervisor.kill();
    for (const node of this.#nodes.values()) node.kill();
  }

  get #runFile(): string {
    return path.join(this.#plan.directory, 'run.json');
  }

  /** True when the earlier run had crashed: its ports may take a moment to come free. */
  async #endRolesOf(previous: RunRecord): Promise<boolean> {
    const left = Object.values(previous.roles);
    await Promise.all(left.filter(isAlive).map(identity => endProcessGroup(identity, 3000)));
    return left.length > 0;
  }

  /** A node that runs where it should is kept; one that the settings no longer name, or name elsewhere, is ended. */
  async #adoptNodesOf(previous: RunRecord): Promise<void> {
    const strays: ProcessIdentity[] = [];
    for (const [id, running] of Object.entries(previous.nodes)) {
      if (!isAlive(running.process)) continue;
      const node = this.#nodes.get(id);
      const same = node !== undefined && node.node.host === running.host && node.node.port === running.port;
      if (same) node.adopt(running.process);
      else strays.push(running.process);
    }
    await Promise.all(strays.map(stray => endProcessGroup(stray, SAVE_LIMIT_MS)));
  }

  #wantedPorts(adopted: ReadonlySet<RedisProcess>): WantedPort[] {
    const { config, directory } = this.#plan;
    const { proxy, supervisor, file } = config;
    const isOurFile = path.dirname(file) === directory;
    const remedy = (flag: string, key: string, port: number): string =>
      isOurFile ? `choose another port, such as ${flag} ${port + 1}` : `set another ${key} in ${file}`;
    const wanted: WantedPort[] = [];
    for (const { node } of [...this.#nodes.values()].filter(node => !adopted.has(node))) {
      const change = isOurFile ? `choose others with --node-port and a new --dir` : `set another address in ${file}`;
      wanted.push({
        host: node.host,
        port: node.port,
        what: `node ${node.id}`,
        remedy: `end that process, or ${change}`,
      });
    }
    for (const address of proxy.listen.filter(address => address.kind === 'tcp')) {
      wanted.push({ ...address, what: 'the proxy', remedy: remedy('--port', 'proxy.listen', address.port) });
    }
    const { admin } = proxy;
    if (admin !== null) {
      wanted.push({ ...admin, what: 'the admin endpoint', remedy: remedy('--admin-port', 'proxy.admin', admin.port) });
    }
    const { listen } = supervisor;
    const ofSupervisor = remedy('--supervisor-port', 'supervisor.listen', listen.port);
    return [...wanted, { ...listen, what: 'the supervisor', remedy: ofSupervisor }];
  }

  async #bringData(): Promise<void> {
    const said = await Promise.all(
      this.#plan.config.shards.map(shard => {
        const primary = this.#nodes.get(this.#plan.primaries.get(shard.name) ?? '');
        if (primary === undefined) return null;
        const members = shard.nodes.map(id => this.#nodes.get(id)).filter(node => node !== undefined);
        const replicas = members.filter(node => node !== primary);
        return bringNewestData(primary, replicas, this.#savedOffsets);
      }),
    );
    for (const line of said) if (line !== null) this.#say(line);
  }

  async #nodesReady(adopted: ReadonlySet<RedisProcess>): Promise<void> {
    const ready = new Map<string, Promise<NodeReport>>();
    for (const node of this.#nodes.values()) ready.set(node.node.id, node.ready());
    await Promise.all(
      [...this.#nodes.values()].map(async node => {
        const report = await (ready.get(node.node.id) as Promise<NodeReport>);
        const primary = this.#primaryOf(node.node.id);
        if (primary === null) return;
        // A primary that is still loading would refuse the copy, and be asked again only a second later.
        await ready.get(primary.id);
        if (!adopted.has(node)) return this.#follow(node, primary);
        // One that was taken over keeps its role, unless it never had one.
        if (report.role === 'replica') return;
        if (report.keys === 0) return this.#follow(node, primary);
        this.#say(`node ${node.node.id} is a primary of its own and holds data: it is left so`);
      }),
    );
  }

  async #follow(node: RedisProcess, primary: NodeConfig): Promise<void> {
    await node.command(5000, 'REPLICAOF', primary.host, String(primary.port));
  }

  /** Whom a node has to follow; null: nobody. */
  #primaryOf(id: string): NodeConfig | null {
    const shard = this.#plan.config.shards.find(shard => shard.nodes.includes(id));
    const primary = shard === undefined ? undefined : this.#plan.primaries.get(shard.name);
    if (primary === undefined || primary === id) return null;
    return this.#plan.config.nodes.find(node => node.id === primary) ?? null;
  }

  #shardOf(id: string): string | null {
    return this.#plan.config.shards.find(shard => shard.nodes.includes(id))?.name ?? null;
  }

  #nodeEnded(node: NodeConfig, how: string): void {
    this.#record();
    if (this.#stopping) return;
    const shard = this.#shardOf(node.id);
    const name = `node ${node.id} (${shard === null ? 'a spare' : `shard ${shard}`}) ended (${how})`;
    if (!this.#plan.respawn) {
      this.#say(`${name}: it stays down until the next start (with --respawn it would come back empty)`);
      return;
    }
    this.#say(`${name}: it is started again, empty, in a second`);
    const timer = setTimeout(() => {
      this.#respawns.delete(timer);
      this.#startAgain(this.#nodes.get(node.id) as RedisProcess).catch((error: Error) => {
        if (!this.#stopping) this.#say(error.message);
      });
    }, RESPAWN_MS);
    this.#respawns.add(timer);
  }

  async #startAgain(node: RedisProcess): Promise<void> {
    node.forgetData();
    node.start();
    this.#record();
    await node.ready();
    const primary = this.#primaryOf(node.node.id);
    if (primary !== null) await this.#follow(node, primary);
    this.#say(`node ${node.node.id} runs again (pid ${node.identity?.pid ?? 'none'})`);
  }

  /** Puts the state as it is now into the two files that tell of it. */
  #record(): void {
    const { config, directory } = this.#plan;
    const tcp = config.proxy.listen.find(address => address.kind === 'tcp');
    const { listen } = config.supervisor;
    const { pids } = this;
    writeClusterFile(path.join(directory, 'cluster.json'), {
      proxy: { port: tcp?.port ?? null, adminPort: config.proxy.admin?.port ?? null, pid: pids.proxy },
      supervisors: [{ url: `http://${addressText(listen)}`, pid: pids.supervisor }],
      nodes: [...this.#nodes.values()].map(({ node: { id, host, port } }) => {
        return { id, host, port, pid: pids.node(id), shard: this.#shardOf(id) };
      }),
    });
    const roles = [this.#proxy, this.#supervisor].filter(role => role.identity !== null);
    const nodes = [...this.#nodes.values()].filter(node => node.identity !== null);
    writeRunRecord(this.#runFile, {
      roles: Object.fromEntries(roles.map(role => [role.role, role.identity as ProcessIdentity])),
      nodes: Object.fromEntries(
        nodes.map(({ node, identity }) => {
          return [node.id, { host: node.host, port: node.port, process: identity as ProcessIdentity }];
        }),
      ),
      savedOffsets: this.#savedOffsets,
    });
  }
}

/** How far a node is; null when it does not answer at once. */
async function offsetOf(node: RedisProcess): Promise<number | null> {
  if (node.identity === null) return null;
  return (await node.ask(500))?.offset ?? null;
}
