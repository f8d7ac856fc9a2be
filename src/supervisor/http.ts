import { timingSafeEqual } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Topology } from '../topology/snapshot.ts';
import type { ClusterStatus } from './status.ts';

/** What the interface tells of: asked anew at each request. */
export interface HttpSource {
  topology(): Topology;
  status(): ClusterStatus;
}

export interface HttpAccess {
  /** What a proxy presents as `Authorization: Bearer …`. */
  readonly token: string;
  /** Status and topology are for anyone who reaches the port; the feed never is. */
  readonly openToRead: boolean;
}

/** A comment line now and then tells a proxy that the silence is no dead peer's. */
const HEARTBEAT_MS = 1000;

/** A proxy that has left so much of the feed unread is cut off; it comes back and gets the newest topology. */
const UNREAD_BYTES = 4 * 1024 * 1024;

/**
 * The supervisor's HTTP interface: status for people, and the feed by which proxies hear of a new topology.
 *
 *   GET /healthz            the process lives
 *   GET /v1/status          ClusterStatus
 *   GET /v1/topology        Topology
 *   GET /v1/topology/feed   server-sent events: `event: topology`, at once and with every change
 */
export class SupervisorHttp {
  readonly #server: FastifyInstance;
  readonly #source: HttpSource;
  readonly #access: HttpAccess;
  readonly #feeds = new Set<ServerResponse>();
  #heartbeat: NodeJS.Timeout | null = null;

  constructor(source: HttpSource, access: HttpAccess) {
    this.#source = source;
    this.#access = access;
    this.#server = fastify({ forceCloseConnections: true });
    this.#server.get('/healthz', async () => ({ ok: true }));
    this.#server.get('/v1/status', { preHandler: this.#mayRead }, async () => source.status());
    this.#server.get('/v1/topology', { preHandler: this.#mayRead }, async () => source.topology());
    this.#server.get('/v1/topology/feed', { preHandler: this.#hasToken }, async (_request, reply) => {
      this.#openFeed(reply);
    });
  }

  /** Rejects with Node's own error (EADDRINUSE and the like) when it cannot listen there. */
  async listen(host: string, port: number): Promise<void> {
    await this.#server.listen({ host, port });
    this.#heartbeat = setInterval(() => this.#toAllFeeds(':\n\n'), HEARTBEAT_MS);
  }

  /** Sends the topology as it is now to every proxy that listens. */
  publish(): void {
    this.#toAllFeeds(topologyEvent(this.#source.topology()));
  }

  async close(): Promise<void> {
    if (this.#heartbeat !== null) clearInterval(this.#heartbeat);
    for (const feed of this.#feeds) feed.end();
    await this.#server.close();
  }

  readonly #mayRead = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (!this.#access.openToRead) await this.#hasToken(request, reply);
  };

  readonly #hasToken = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const presented = Buffer.from(request.headers.authorization ?? '');
    const wanted = Buffer.from(`Bearer ${this.#access.token}`);
    if (presented.length === wanted.length && timingSafeEqual(presented, wanted)) return;
    await reply.code(401).header('www-authenticate', 'Bearer').send({
      error: 'this needs the token that the cluster secret gives: has the caller the same `cluster` and `secret`?',
    });
  };

  #openFeed(reply: FastifyReply): void {
    reply.hijack();
    const feed = reply.raw;
    feed.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    feed.write(topologyEvent(this.#source.topology()));
    this.#feeds.add(feed);
    feed.once('close', () => this.#feeds.delete(feed));
  }

  #toAllFeeds(text: string): void {
    for (const feed of this.#feeds) {
      if (feed.writableLength > UNREAD_BYTES) feed.destroy();
      else feed.write(text);
    }
  }
}

function topologyEvent(topology: Topology): string {
  return `event: topology\nid: ${topology.version}\ndata: ${JSON.stringify(topology)}\n\n`;
}
