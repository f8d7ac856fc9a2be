import { systemClock } from '../base/clock.ts';
import { EnvironmentError } from '../base/environment-error.ts';
import type { Logger } from '../base/log.ts';
import type { Config } from '../config/config.ts';
import { ConfigWatch } from '../config/watch.ts';
import { feedToken } from '../topology/credentials.ts';
import { LockError } from '../topology/file-lock.ts';
import { FileStore, StoreError } from '../topology/file-store.ts';
import { initialTopology, type Topology } from '../topology/snapshot.ts';
import { SupervisorHttp } from './http.ts';
import { NodeProbe, type Observation } from './probe.ts';
import { reconcile } from './reconcile.ts';
import { clusterStatus } from './status.ts';

/** Nodes that are seen within so long become one new version of the topology, not one each. */
const GATHER_MS = 20;
/** After the store has failed to write. */
const RETRY_MS = 1000;

/** A supervisor that runs. */
export interface RunningSupervisor {
  close(): Promise<void>;
}

/**
 * Runs the supervisor of a settings file: it watches the nodes and publishes who owns what.
 *
 * It gives no node an order: roles are as the settings propose and stay so. What it changes in the topology is which
 * incarnation it has seen of each node. Throws `EnvironmentError` when its port or its store cannot be had.
 */
export async function runSupervisor(config: Config, log: Logger): Promise<RunningSupervisor> {
  const store = await openStore(config);
  try {
    const topology = await startingTopology(store, config, log);
    const supervisor = new Supervisor(config, store, topology, log);
    await supervisor.start();
    return supervisor;
  } catch (error) {
    await store.close();
    throw error;
  }
}

class Supervisor implements RunningSupervisor {
  readonly #config: Config;
  readonly #store: FileStore;
  readonly #log: Logger;
  readonly #http: SupervisorHttp;
  readonly #probes = new Map<string, NodeProbe>();
  #topology: Topology;
  #publishing: NodeJS.Timeout | null = null;
  #storeFailed = false;
  #closed = false;
  #settings: ConfigWatch | null = null;

  constructor(config: Config, store: FileStore, topology: Topology, log: Logger) {
    this.#config = config;
    this.#store = store;
    this.#topology = topology;
    this.#log = log;
    for (const node of topology.nodes) {
      const onObservation = (before: Observation, now: Observation): void => this.#onObservation(node.id, before, now);
      const { everyMs } = config.supervisor.detect;
      this.#probes.set(node.id, new NodeProbe(node, config.nodeAccess, everyMs, systemClock, onObservation));
    }
    const seen = (): Map<string, Observation> => new Map([...this.#probes].map(([id, probe]) => [id, probe.last]));
    this.#http = new SupervisorHttp(
      { topology: () => this.#topology, status: () => clusterStatus(this.#topology, seen()) },
      {
        token: feedToken(config.secret, config.cluster),
        openToRead: config.supervisor.auth.dashboard === 'open',
      },
    );
  }

  async start(): Promise<void> {
    const { host, port } = this.#config.supervisor.listen;
    await this.#http.listen(host, port).catch((error: NodeJS.ErrnoException) => {
      throw new EnvironmentError(listenTrouble(error, `${host}:${port}`));
    });
    for (const probe of this.#probes.values()) probe.start();
    this.#settings = new ConfigWatch(this.#config.file, {
      onReload: ({ needsRestart }) => this.#onSettings(needsRestart),
      onMistakes: error => this.#log.error({ mistakes: error.mistakes }, 'settings not read again'),
    });
    this.#endWithParent();
    this.#log.info(
      { listen: `${host}:${port}`, nodes: this.#probes.size, topology: this.#topology.version, changesRoles: false },
      'watching; roles are not changed: a lost primary is not replaced',
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#settings?.close();
    if (this.#publishing !== null) clearTimeout(this.#publishing);
    for (const probe of this.#probes.values()) probe.stop();
    await this.#http.close();
    await this.#store.close();
    this.#log.info('ended');
  }

  #onObservation(id: string, before: Observation, now: Observation): void {
    if (now.up && !before.up)
      this.#log.info({ node: id, nodeRole: now.report?.role, runId: now.report?.runId }, 'node is up');
    if (!now.up && before.up) this.#log.warn({ node: id, reason: now.error }, 'node does not answer');
    const known = this.#topology.nodes.find(node => node.id === id)?.runId ?? null;
    const runId = now.report?.runId ?? null;
    if (runId !== null && runId !== known) this.#publishSoon(GATHER_MS);
  }

  #publishSoon(delayMs: number): void {
    if (this.#closed) return;
    this.#publishing ??= setTimeout(() => void this.#publish(), delayMs);
  }

  /** Writes a version with the incarnations that were seen last, then tells the proxies: never the other way round. */
  async #publish(): Promise<void> {
    const next = this.#withSeenIncarnations();
    try {
      if (next !== null) await this.#store.write(next, this.#topology.version);
      if (this.#storeFailed) this.#log.info('the topology can be written again');
      this.#storeFailed = false;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (!this.#storeFailed) this.#log.error({ reason: error.message }, 'topology not published');
      this.#storeFailed = true;
      this.#publishing = null;
      return this.#publishSoon(RETRY_MS);
    }
    this.#publishing = null;
    if (next === null || this.#closed) return;
    this.#topology = next;
    this.#http.publish();
    this.#log.info({ version: next.version }, 'topology published');
  }

  /** The next version; null: nothing new was seen. */
  #withSeenIncarnations(): Topology | null {
    const nodes = this.#topology.nodes.map(node => {
      return { ...node, runId: this.#probes.get(node.id)?.last.report?.runId ?? node.runId };
    });
    const changed = nodes.some((node, index) => node.runId !== this.#topology.nodes[index]?.runId);
    return changed ? { ...this.#topology, version: this.#topology.version + 1, nodes } : null;
  }

  #onSettings(needsRestart: readonly string[]): void {
    const own = needsRestart.filter(path => !path.startsWith('proxy.'));
    if (own.length > 0) this.#log.warn({ needsRestart: own }, 'settings have changed; these wait for a restart');
  }

  /** Who started this process may hold a channel to it: without that process, nobody would end this one. */
  #endWithParent(): void {
    if (process.send === undefined) return;
    const end = (): void => {
      if (!this.#closed) process.kill(process.pid, 'SIGTERM');
    };
    // The parent may be gone before this line is reached: then no event tells of it.
    if (process.connected) process.once('disconnect', end);
    else setImmediate(end);
    process.channel?.unref();
  }
}

async function openStore(config: Config): Promise<FileStore> {
  try {
    return await FileStore.open(config.supervisor.store.file);
  } catch (error) {
    if (!(error instanceof LockError)) throw error;
    throw new EnvironmentError(`supervisor.store.file: ${error.message}`);
  }
}

/** What is kept decides; without it, what the settings propose. */
async function startingTopology(store: FileStore, config: Config, log: Logger): Promise<Topology> {
  try {
    const proposed = initialTopology(config);
    const kept = await store.read();
    if (kept === null) {
      await store.write(proposed, 0);
      return proposed;
    }
    if (kept.cluster !== config.cluster) {
      throw new EnvironmentError(
        `${config.supervisor.store.file} holds the topology of cluster ${kept.cluster}, not ${config.cluster}: correct supervisor.store.file or cluster`,
      );
    }
    const { topology, refused } = reconcile(kept, proposed);
    if (refused.length > 0)
      log.warn({ refused }, 'the settings differ from the topology in force, which stays: keys do not move');
    if (topology !== kept) await store.write(topology, kept.version);
    return topology;
  } catch (error) {
    if (error instanceof StoreError) throw new EnvironmentError(error.message);
    throw error;
  }
}

function listenTrouble(error: NodeJS.ErrnoException, address: string): string {
  if (error.code === 'EADDRINUSE')
    return `${address} is taken by another process: end it, or set another supervisor.listen`;
  return `cannot listen on ${address} (${error.code ?? error.message}): correct supervisor.listen`;
}
