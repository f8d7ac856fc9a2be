import path from 'node:path';
import { EnvironmentError } from '../base/environment-error.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import { ConfigWatch } from '../config/watch.ts';
import { isLoopback } from './address.ts';
import { ClusterView } from './cluster-view.ts';
import type { ProcessIds } from './overview.ts';
import { checkPorts } from './ports.ts';
import { endProcessGroup, isAlive, type ProcessIdentity } from './process-identity.ts';
import { RedisProcess } from './redis-process.ts';
import { RoleProcess } from './role-process.ts';
import { etcdPlan, type LocalRoles, proxyPlan, supervisorPlan } from './roles.ts';
import { type RunRecord, readRunRecord } from './run-record.ts';
import { wantedPorts } from './wanted-ports.ts';
import { writeState } from './written-state.ts';

/** A node has so long to save before it is killed; one that is seen to be writing has longer. */
const SAVE_LIMIT_MS = 30_000;
const RESPAWN_MS = 1000;
/** What etcd has confirmed is on its disk; and its last members would wait many seconds for the others. */
const ETCD_LIMIT_MS = 300;

/**
 * What the local cluster is made of and where it stands.
 */
export interface LocalClusterPlan {
  readonly config: Config;
  /** Absolute; holds everything that is written. */
  readonly directory: string;
  readonly roles: LocalRoles;
  /** Starts a node that has ended again, empty. */
  readonly respawn: boolean;
}

/**
 * The processes of the local cluster, started, watched and ended in their order.
 *
 * Nodes are given no orders: who is a primary, and what a node does with data of an earlier run, the supervisors decide.
 */
export class LocalCluster {
  /** The cluster as its supervisors publish it. */
  readonly view: ClusterView;
  readonly #plan: LocalClusterPlan;
  readonly #say: (line: string) => void;
  readonly #nodes = new Map<string, RedisProcess>();
  readonly #proxy: RoleProcess;
  readonly #supervisors: readonly RoleProcess[];
  readonly #etcd: readonly RoleProcess[];
  readonly #respawns = new Set<NodeJS.Timeout>();
  #settings: ConfigWatch | null = null;
  #stopping = false;
  /** Rejects when a proxy, supervisor or member of etcd ends before `settled` was called. */
  readonly failure: Promise<never>;

  constructor(plan: LocalClusterPlan, say: (line: string) => void) {
    this.#plan = plan;
    this.#say = say;
    const { config, directory, roles } = plan;
    this.view = new ClusterView(config, () => this.#record());
    for (const node of config.nodes.filter(node => isLoopback(node.host))) this.#makeNode(node);
    let onFailure: (problem: string) => void = () => undefined;
    this.failure = new Promise((_, reject) => {
      onFailure = problem => reject(new EnvironmentError(problem));
    });
    // Whoever races against it hears of it; before and after, nobody needs to.
    this.failure.catch(() => undefined);
    const onChange = (said: string | null): void => {
      this.#record();
      if (said !== null) say(said);
    };
    this.#proxy = new RoleProcess(proxyPlan(config, directory), onChange, onFailure);
    this.#supervisors = roles.supervisors.map(
      (_, index) => new RoleProcess(supervisorPlan(config, directory, roles, index), onChange, onFailure),
    );
    this.#etcd = roles.etcd.map(member => new RoleProcess(etcdPlan(directory, roles, member), onChange, onFailure));
  }

  /**
   * Starts everything, taking over the nodes that an earlier run has left. Resolves once every node serves, the other
   * processes being on their way; rejects when a node cannot start.
   */
  async start(): Promise<void> {
    const previous = readRunRecord(this.#runFile);
    const crashed = await this.#endRolesOf(previous);
    await this.#adoptNodesOf(previous);
    const adopted = new Set([...this.#nodes.values()].filter(node => node.identity !== null));
    if (adopted.size > 0) this.#say(`taking over ${adopted.size} nodes that still run`);
    const started = [...this.#nodes.values()].filter(node => !adopted.has(node));
    const { config, directory, roles } = this.#plan;
    const nodes = started.map(({ node }) => node);
    await checkPorts(wantedPorts(config, directory, roles, nodes), crashed ? 3000 : 0);
    if (this.#stopping) return;
    // Side by side: each of them waits by itself for those that it needs.
    for (const role of this.#etcd) role.start();
    for (const node of started) node.start();
    for (const role of [...this.#supervisors, this.#proxy]) role.start();
    this.view.start();
    this.#record();
    await Promise.all([...this.#nodes.values()].map(node => node.ready()));
  }

  /** Everything works: from now on what ends is started again, and nodes that come in the settings are started. */
  settled(): void {
    for (const role of this.#roles) role.settled();
    this.#settings = new ConfigWatch(this.#plan.config.file, {
      onReload: ({ config }) => this.#startNew(config),
      onMistakes: error => this.#say(`the settings were not read again: ${error.mistakes.join('; ')}`),
      signals: false,
    });
    // What has changed before somebody watched.
    this.#startNew(this.#settings.config);
  }

  /** The processes as they are now, for the table. */
  get pids(): ProcessIds {
    const pidOf = (role: RoleProcess): number | null => role.identity?.pid ?? null;
    return {
      proxy: pidOf(this.#proxy),
      supervisors: this.#supervisors.map(pidOf),
      etcd: this.#etcd.map(pidOf),
      node: id => this.#nodes.get(id)?.identity?.pid ?? null,
    };
  }

  /**
   * Ends everything: first those that use the nodes, so that nobody is promoted in place of who is being ended; then
   * primaries, which wait for their replicas and save; then the rest. So all copies of a shard are saved alike.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#settings?.close();
    for (const timer of this.#respawns) clearTimeout(timer);
    this.view.close();
    await this.#proxy.stop(this.#plan.config.proxy.graceMs + 2000);
    await Promise.all(this.#supervisors.map(supervisor => supervisor.stop(5000)));
    await Promise.all([this.#stopNodes(), ...this.#etcd.map(member => member.stop(ETCD_LIMIT_MS))]);
    this.#record();
  }

  /** Ends everything at once; what was not saved is lost. */
  kill(): void {
    for (const role of this.#roles) role.kill();
    for (const node of this.#nodes.values()) node.kill();
  }

  get #roles(): RoleProcess[] {
    return [this.#proxy, ...this.#supervisors, ...this.#etcd];
  }

  get #runFile(): string {
    return path.join(this.#plan.directory, 'run.json');
  }

  async #stopNodes(): Promise<void> {
    const nodes = [...this.#nodes.values()];
    const primaries = new Set(this.view.topology.shards.map(shard => shard.primary));
    for (const first of [true, false]) {
      const group = nodes.filter(node => node.identity !== null && primaries.has(node.node.id) === first);
      await Promise.all(
        group.map(async node => {
          if (await node.stop(SAVE_LIMIT_MS)) return;
          this.#say(`node ${node.node.id} did not end in order: what it held is not saved`);
        }),
      );
    }
  }

  /** True when the earlier run had crashed: its ports may take a moment to come free. */
  async #endRolesOf(previous: RunRecord): Promise<boolean> {
    const left = Object.entries(previous.roles).filter(([, identity]) => isAlive(identity));
    const limitMs = (name: string): number => (name.startsWith('etcd') ? ETCD_LIMIT_MS : 3000);
    await Promise.all(left.map(([name, identity]) => endProcessGroup(identity, limitMs(name))));
    return Object.keys(previous.roles).length > 0;
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

  #makeNode(node: NodeConfig): RedisProcess {
    const { config, directory } = this.#plan;
    const home = path.join(directory, 'nodes', node.id);
    const made = new RedisProcess(node, home, config.nodeAccess, how => this.#nodeEnded(node, how));
    this.#nodes.set(node.id, made);
    return made;
  }

  /** Nodes of this machine that the settings did not name before. One that they name no longer runs on until the end. */
  #startNew({ nodes }: Config): void {
    if (this.#stopping) return;
    for (const node of nodes.filter(({ id, host }) => isLoopback(host) && !this.#nodes.has(id))) {
      const made = this.#makeNode(node);
      made.start();
      this.#record();
      made.ready().then(
        () => this.#say(`node ${node.id} runs (pid ${made.identity?.pid ?? 'none'}): the settings name it`),
        (error: Error) => {
          if (!this.#stopping) this.#say(error.message);
        },
      );
    }
  }

  #nodeEnded(node: NodeConfig, how: string): void {
    this.#record();
    if (this.#stopping) return;
    const shard = this.view.shardOf(node.id);
    const name = `node ${node.id} (${shard === null ? 'a spare' : `shard ${shard.name}`}) ended (${how})`;
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
    this.#say(`node ${node.node.id} runs again (pid ${node.identity?.pid ?? 'none'})`);
  }

  /** Puts the state as it is now into the two files that tell of it. */
  #record(): void {
    const { config, directory, roles } = this.#plan;
    writeState({
      config,
      directory,
      roles,
      view: this.view,
      pids: this.pids,
      nodes: [...this.#nodes.values()],
      running: this.#roles.flatMap(({ name, identity }) => (identity === null ? [] : [{ name, identity }])),
    });
  }
}
