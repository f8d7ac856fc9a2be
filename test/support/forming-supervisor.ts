/**
 * Stands in for a supervisor where a test runs proxies as processes of their own and cares for the nodes itself: it makes
 * each primary ready for proxies, again after each restart, and feeds the topology. It changes no role.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Topology } from '../../src/topology/snapshot.ts';
import { formTopology, type NodeLogin } from './formed-node.ts';

export interface FormingOptions {
  /** Every password is derived from it. */
  readonly secret: string;
  /** Port of loopback at which it listens. */
  readonly port: number;
  /** How it gets in to the nodes, where not without a login. */
  readonly access?: NodeLogin;
  /** Ports of the nodes by id, where proxies are to look for them elsewhere. */
  readonly nodePorts?: ReadonlyMap<string, number>;
}

export class FormingSupervisor {
  topology: Topology;
  readonly #options: FormingOptions;
  readonly #server: Server;
  readonly #feeds = new Set<ServerResponse>();
  #look: NodeJS.Timeout | null = null;
  #heartbeat: NodeJS.Timeout | null = null;
  #closed = false;

  private constructor(topology: Topology, options: FormingOptions) {
    this.topology = topology;
    this.#options = options;
    this.#server = createServer((request, response) => {
      if (request.url !== '/v1/topology/feed') return void response.writeHead(404).end();
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      this.#feeds.add(response);
      response.once('close', () => this.#feeds.delete(response));
      this.#tell(response);
    });
  }

  /** Listens; the first look at the nodes is over when this resolves. */
  static async start(topology: Topology, options: FormingOptions): Promise<FormingSupervisor> {
    const supervisor = new FormingSupervisor(topology, options);
    await supervisor.#lookAtNodes();
    await new Promise<void>((resolve, reject) => {
      supervisor.#server.once('error', reject);
      supervisor.#server.listen(options.port, '127.0.0.1', resolve);
    });
    supervisor.#heartbeat = setInterval(() => {
      for (const feed of supervisor.#feeds) feed.write(':\n\n');
    }, 1000);
    return supervisor;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#look !== null) clearTimeout(this.#look);
    if (this.#heartbeat !== null) clearInterval(this.#heartbeat);
    for (const feed of this.#feeds) feed.destroy();
    this.#server.closeAllConnections();
    await new Promise(resolve => this.#server.close(resolve));
  }

  async #lookAtNodes(): Promise<void> {
    const { secret, access, nodePorts } = this.#options;
    const reached = this.topology.nodes.map(node => ({ ...node, port: nodePorts?.get(node.id) ?? node.port }));
    const runIds = new Map<string, string | null>();
    for (const { id } of reached) {
      const except = reached.map(node => node.id).filter(other => other !== id);
      const limits = { ...access, connectTimeout: 500, commandTimeout: 500 };
      try {
        const formed = await formTopology({ ...this.topology, nodes: reached }, { secret, access: limits, except });
        runIds.set(id, formed.nodes.find(node => node.id === id)?.runId ?? null);
      } catch {
        // It is down, frozen or refuses: it is looked at again, and the others do not wait for it.
      }
    }
    const nodes = this.topology.nodes.map(node => ({ ...node, runId: runIds.get(node.id) ?? node.runId }));
    if (nodes.some((node, i) => node.runId !== this.topology.nodes[i]?.runId)) {
      this.topology = { ...this.topology, nodes, version: this.topology.version + 1 };
      for (const feed of this.#feeds) this.#tell(feed);
    }
    if (!this.#closed) this.#look = setTimeout(() => void this.#lookAtNodes(), 50);
  }

  #tell(feed: ServerResponse): void {
    feed.write(`event: topology\ndata: ${JSON.stringify(this.topology)}\n\n`);
  }
}
