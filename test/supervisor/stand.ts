import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, pino } from 'pino';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { ClusterEvent } from '../../src/supervisor/events.ts';
import type { ClusterStatus } from '../../src/supervisor/status.ts';
import { type RunningSupervisor, runSupervisor } from '../../src/supervisor/supervisor.ts';
import { feedToken } from '../../src/topology/credentials.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { until } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';
import { BareNode } from './bare-node.ts';

/**
 * Supervisors over bare nodes, in a directory that goes with the test: what most tests of the supervisor stand on.
 */
export class Stand {
  readonly directory: string;
  readonly nodes: readonly BareNode[];
  readonly #firstPort: number;
  readonly #running: RunningSupervisor[] = [];
  /** What all supervisors have logged, as JSON lines. */
  readonly lines: string[] = [];

  private constructor(directory: string, firstPort: number, ids: readonly string[]) {
    this.directory = directory;
    this.#firstPort = firstPort;
    this.nodes = ids.map((id, index) => new BareNode(id, firstPort + index));
  }

  /** The nodes are named, and not yet started. */
  static async make(...ids: string[]): Promise<Stand> {
    const directory = mkdtempSync(join(tmpdir(), 'ringside-supervisor-'));
    return new Stand(directory, await freePorts(ids.length + 3), ids);
  }

  node(id: string): BareNode {
    const found = this.nodes.find(node => node.id === id);
    if (found === undefined) throw new Error(`no node ${id} in this test`);
    return found;
  }

  get log(): Logger {
    return pino({ base: { role: 'supervisor' } }, { write: line => this.lines.push(line) });
  }

  /** URL of the first, second or third supervisor. */
  url(which = 0): string {
    return `http://127.0.0.1:${this.#firstPort + this.nodes.length + which}`;
  }

  settings({ more = '', shards = '[ { name: s1, nodes: [a, b] } ]', which = 0, supervisor = '' } = {}): Config {
    const file = join(this.directory, `ringside-${which}.yaml`);
    const list = this.nodes.map(({ id, port }) => `  - { id: ${id}, address: 127.0.0.1:${port} }`).join('\n');
    const text = `cluster: shop
secret: 0123456789abcdef0123456789abcdef
nodes:
${list}
shards: ${shards}
supervisor:
  listen: ${this.url(which).slice('http://'.length)}
  detect: { every: 50ms }
${supervisor}
${more}`;
    writeFileSync(file, text);
    return loadConfig(file);
  }

  async start(config: Config): Promise<RunningSupervisor> {
    const running = await runSupervisor(config, this.log);
    this.#running.push(running);
    return running;
  }

  /** Ends the last supervisor that was started, changes what it has kept in the directory `store`, and starts it again. */
  async restart(config: Config, change: (kept: Topology) => Topology): Promise<RunningSupervisor> {
    await this.#running.pop()?.close();
    const file = join(this.directory, 'store', 'topology.json');
    const kept = JSON.parse(readFileSync(file, 'utf8')) as Topology;
    writeFileSync(file, JSON.stringify(change(kept)));
    return this.start(config);
  }

  headers(config: Config): Record<string, string> {
    return { authorization: `Bearer ${feedToken(config.secret, config.cluster)}` };
  }

  async read(path: string, which = 0): Promise<unknown> {
    return (await fetch(this.url(which) + path)).json();
  }

  async status(which = 0): Promise<ClusterStatus> {
    return (await this.read('/v1/status', which)) as ClusterStatus;
  }

  async topology(which = 0): Promise<Topology> {
    return (await this.read('/v1/topology', which)) as Topology;
  }

  async events(which = 0): Promise<readonly ClusterEvent[]> {
    return ((await this.read('/v1/events', which)) as { events: readonly ClusterEvent[] }).events;
  }

  /** Waits for a status; what was decided until then stands in the error when it does not come. */
  async statusWhen(good: (status: ClusterStatus) => boolean, limitMs?: number): Promise<ClusterStatus> {
    try {
      return await until(() => this.status(), good, limitMs);
    } catch (error) {
      const events = (await this.events()).slice(-40).map(({ event, text }) => `${event}: ${text}`);
      throw new Error(`${(error as Error).message}\n${events.join('\n')}`);
    }
  }

  async remove(): Promise<void> {
    await Promise.all(this.#running.map(running => running.close()));
    await Promise.all(this.nodes.map(node => node.remove()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}
