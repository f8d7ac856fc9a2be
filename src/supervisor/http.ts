import { timingSafeEqual } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Topology } from '../topology/snapshot.ts';
import type { Order, OrderAnswer } from './core/engine.ts';
import type { EmptyAnswer } from './emptying.ts';
import type { ClusterEvent } from './events.ts';
import { askLeader, FORWARDED } from './leader-link.ts';
import {
  type EmptyWish,
  type OrderMistake,
  readEmptyWish,
  readLeave,
  readMoveOrder,
  readNodeOrder,
  readOrder,
} from './orders.ts';
import type { MovePlan } from './plan.ts';
import type { Leave } from './planner.ts';
import { type Proposal, readProposal } from './proposal.ts';
import type { ClusterStatus } from './status.ts';

/** What the interface tells of: asked anew at each request. */
export interface HttpSource {
  /** Null: none is known yet. */
  topology(): Topology | null;
  /** What this supervisor itself knows. */
  status(leader: string | null): ClusterStatus;
  /** Those with a number above `afterId`. */
  events(afterId: number): readonly ClusterEvent[];
  metrics(): Promise<string>;
  readonly isLeading: boolean;
  /** What keeps the store from working; null: nothing. */
  readonly storeProblem: string | null;
  /** URL of the leader, this supervisor included; null: nobody, as far as is known. Never rejects. */
  leader(): Promise<string | null>;
  /** Null: this supervisor does not lead. */
  order(order: Order): OrderAnswer | null;
  /** Has a spare emptied, or says what that would discard; null: this supervisor does not lead. */
  empty(node: string, wish: EmptyWish): Promise<EmptyAnswer | null>;
  /** What a proposal would move; null: this supervisor does not lead. */
  plan(proposal: Proposal): Promise<MovePlan | null>;
  /** Begins what a plan has shown; null: this supervisor does not lead. */
  apply(proposal: Proposal, leave: Leave): Promise<OrderAnswer | null>;
}

export interface HttpAccess {
  /** What a proxy presents as `Authorization: Bearer …`. */
  readonly token: string;
  /** Status and topology are for anyone who reaches the port; the feed and orders never are. */
  readonly openToRead: boolean;
  /** Our own URL: we do not ask ourselves. */
  readonly self: string;
}

/** A comment line now and then tells a proxy that the silence is no dead peer's. */
const HEARTBEAT_MS = 1000;

/** A proxy that has left so much of the feed unread is cut off; it comes back and gets the newest topology. */
const UNREAD_BYTES = 4 * 1024 * 1024;

/** A proposal names every node of the cluster. */
const BODY_BYTES = 8 * 1024 * 1024;

/**
 * The supervisor's HTTP interface: status and orders for people, and the feed by which proxies hear of a new topology.
 *
 *   GET  /healthz                          the process lives; whether it leads, and what is wrong with its store
 *   GET  /metrics                          for Prometheus
 *   GET  /v1/status                        ClusterStatus, the leader's wherever it can be had
 *   GET  /v1/events?after=ID               { events: ClusterEvent[] }, the same way
 *   GET  /v1/topology                      Topology
 *   GET  /v1/topology/feed                 server-sent events: `event: topology`, at once and with every change
 *   POST /v1/shards/NAME/switchover        { to?: node id }; a follower answers 307 with the leader's URL
 *   POST /v1/shards/NAME/recover           { acceptLoss: true }
 *   POST /v1/plan                          { proposal: Proposal }: MovePlan
 *   POST /v1/apply                         { proposal, basis: of the plan, allowStalls? }
 *   POST /v1/move/pause, resume, throttle, abort      resume: { allowStalls? }; throttle: { keysPerSecond: number or null }
 *   POST /v1/nodes/ID/drain, undrain       drain: { to?: node id, zone? }
 *   POST /v1/nodes/ID/empty                { confirmed?: { runId, keys }, acceptLoss? }: { text, holds }
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
    this.#server = fastify({ forceCloseConnections: true, bodyLimit: BODY_BYTES });
    const mayRead = { preHandler: this.#mayRead };
    const hasToken = { preHandler: this.#hasToken };
    this.#server.get('/healthz', async () => {
      return { ok: true, leading: source.isLeading, store: source.storeProblem ?? 'ok' };
    });
    this.#server.get('/metrics', mayRead, async (_request, reply) => {
      reply.type('text/plain; version=0.0.4; charset=utf-8');
      return source.metrics();
    });
    this.#server.get('/v1/status', mayRead, request => this.#ofLeader(request, leader => source.status(leader)));
    this.#server.get('/v1/events', mayRead, request =>
      this.#ofLeader(request, () => ({ events: source.events(afterOf(request)) })),
    );
    this.#server.get('/v1/topology', mayRead, async (_request, reply) => source.topology() ?? this.#unknown(reply));
    this.#server.get('/v1/topology/feed', hasToken, async (_request, reply) => this.#openFeed(reply));
    this.#server.post('/v1/shards/:name/:order', hasToken, (request, reply) => this.#onOrder(request, reply));
    this.#server.post('/v1/plan', hasToken, (request, reply) => this.#onPlan(request, reply));
    this.#server.post('/v1/apply', hasToken, (request, reply) => this.#onApply(request, reply));
    this.#server.post('/v1/move/:order', hasToken, (request, reply) => {
      const { order } = request.params as { order: string };
      return this.#take(readMoveOrder(order, request.body), request, reply);
    });
    this.#server.post('/v1/nodes/:id/:order', hasToken, (request, reply) => {
      const { id, order } = request.params as { id: string; order: string };
      return this.#onNodeOrder(id, order, request, reply);
    });
    this.#server.setErrorHandler((error: { statusCode?: number; message: string }, _request, reply) => {
      return reply.code(error.statusCode ?? 500).send({ error: error.message });
    });
    this.#server.setNotFoundHandler((request, reply) => {
      return reply.code(404).send({ error: `there is no ${request.method} ${request.url} here` });
    });
  }

  /** Rejects with Node's own error (EADDRINUSE and the like) when it cannot listen there. */
  async listen(host: string, port: number): Promise<void> {
    await this.#server.listen({ host, port });
    this.#heartbeat = setInterval(() => this.#toAllFeeds(':\n\n'), HEARTBEAT_MS);
  }

  /** Sends a topology to every proxy that listens. */
  publish(topology: Topology): void {
    this.#toAllFeeds(topologyEvent(topology));
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

  /** The leader's answer to the same question where this is a follower and the leader answers; else our own. */
  async #ofLeader(request: FastifyRequest, own: (leader: string | null) => unknown): Promise<unknown> {
    const { self, token } = this.#access;
    const leader = this.#source.isLeading ? self : await this.#source.leader();
    if (leader === null || leader === self || request.headers[FORWARDED] !== undefined) return own(leader);
    return (await askLeader(leader, request.url, token)) ?? own(leader);
  }

  async #onOrder(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const { name, order: word } = request.params as { name: string; order: string };
    const order = readOrder(name, word, request.body);
    const shards = this.#source.topology()?.shards ?? [];
    if (!('error' in order) && this.#source.isLeading && !shards.some(shard => shard.name === name)) {
      const names = shards.map(shard => shard.name).join(', ');
      return reply.code(404).send({ error: `there is no shard ${name}; there are ${names}` });
    }
    return this.#take(order, request, reply);
  }

  async #onNodeOrder(id: string, word: string, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const nodes = this.#source.topology()?.nodes ?? [];
    if (this.#source.isLeading && !nodes.some(node => node.id === id)) {
      const ids = nodes.map(node => node.id).join(', ');
      return reply.code(404).send({ error: `there is no node ${id}; there are ${ids}` });
    }
    if (word !== 'empty') return this.#take(readNodeOrder(id, word, request.body), request, reply);
    const wish = readEmptyWish(request.body);
    if ('error' in wish) return reply.code(wish.status).send({ error: wish.error });
    const answer = await this.#source.empty(id, wish);
    return answer?.holds === undefined
      ? this.#tell(answer, request, reply)
      : reply.code(202).send({ accepted: true, text: answer.text, holds: answer.holds });
  }

  async #take(order: Order | OrderMistake, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    if ('error' in order) return reply.code(order.status).send({ error: order.error });
    return this.#tell(this.#source.order(order), request, reply);
  }

  async #onPlan(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const proposal = readProposal((request.body as { proposal?: unknown } | null)?.proposal);
    if (typeof proposal === 'string') return reply.code(400).send({ error: proposal });
    return (await this.#source.plan(proposal)) ?? this.#toLeader(request, reply);
  }

  async #onApply(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const proposal = readProposal((request.body as { proposal?: unknown } | null)?.proposal);
    if (typeof proposal === 'string') return reply.code(400).send({ error: proposal });
    const leave = readLeave(request.body);
    if ('error' in leave) return reply.code(leave.status).send({ error: leave.error });
    return this.#tell(await this.#source.apply(proposal, leave), request, reply);
  }

  async #tell(answer: OrderAnswer | null, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    if (answer === null) return this.#toLeader(request, reply);
    if (!answer.accepted) return reply.code(409).send({ error: answer.text });
    return reply.code(202).send({ accepted: true, text: answer.text });
  }

  async #toLeader(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const leader = await this.#source.leader();
    if (leader !== null && leader !== this.#access.self) return reply.redirect(leader + request.url, 307);
    const problem = this.#source.storeProblem;
    const why = problem === null ? '' : ` (${problem})`;
    return reply.code(503).send({ error: `nobody leads at this moment${why}: try again in a few seconds` });
  }

  #unknown(reply: FastifyReply): FastifyReply {
    const problem = this.#source.storeProblem ?? 'the store has not answered yet';
    return reply.code(503).send({ error: `this supervisor knows no topology yet: ${problem}` });
  }

  /** Who knows nothing yet says so, so that the proxy asks the next supervisor. */
  #openFeed(reply: FastifyReply): FastifyReply {
    const topology = this.#source.topology();
    if (topology === null) return this.#unknown(reply);
    reply.hijack();
    const feed = reply.raw;
    feed.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    feed.write(topologyEvent(topology));
    this.#feeds.add(feed);
    feed.once('close', () => this.#feeds.delete(feed));
    return reply;
  }

  #toAllFeeds(text: string): void {
    for (const feed of this.#feeds) {
      if (feed.writableLength > UNREAD_BYTES) feed.destroy();
      else feed.write(text);
    }
  }
}

function afterOf(request: FastifyRequest): number {
  const { after } = request.query as { after?: string };
  return /^\d{1,15}$/.test(after ?? '') ? Number(after) : 0;
}

function topologyEvent(topology: Topology): string {
  return `event: topology\nid: ${topology.version}\ndata: ${JSON.stringify(topology)}\n\n`;
}
