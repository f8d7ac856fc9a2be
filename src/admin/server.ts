/**
 * The admin endpoint: what a probe, a person and Prometheus ask of a proxy, over HTTP.
 *
 * It answers for all workers, whichever of them took the connection. It changes nothing.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { exposition } from '../telemetry/exposition.ts';
import { health, readiness, samplesOf, statusOf } from './whole-proxy.ts';
import type { Gathered, Question } from './worker-protocol.ts';

/** Connections at once; a scraper and a few probes need a handful. */
const MOST_CONNECTIONS = 64;

/** Asks all workers of the proxy. */
export type Gather = (question: Question) => Promise<Gathered>;

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

type Handler = (gather: Gather) => Promise<Answer>;

const PAGES: Readonly<Record<string, Handler>> = {
  '/healthz': async gather => {
    const { ok, detail } = health(await gather('ready'));
    return json(ok ? 200 : 503, detail);
  },
  '/readyz': async gather => {
    const { ok, detail } = readiness(await gather('ready'));
    return json(ok ? 200 : 503, detail);
  },
  '/status': async gather => json(200, statusOf(await gather('status'))),
  '/metrics': async gather => {
    const { contentType, text } = await exposition(samplesOf(await gather('samples')));
    return { status: 200, contentType, body: text };
  },
};

/** A server that is not listening yet. */
export function createAdminServer(gather: Gather): Server {
  const server = createServer((request, response) => void answer(request, response, gather));
  server.maxConnections = MOST_CONNECTIONS;
  server.requestTimeout = 10_000;
  return server;
}

async function answer(request: IncomingMessage, response: ServerResponse, gather: Gather): Promise<void> {
  const path = (request.url ?? '/').split('?', 1)[0] as string;
  const page = Object.hasOwn(PAGES, path) ? PAGES[path] : undefined;
  if (page === undefined) {
    send(request, response, json(404, { error: `no page ${path}; there are ${Object.keys(PAGES).join(', ')}` }));
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    send(request, response, json(405, { error: `${path} answers GET and HEAD` }));
  } else {
    try {
      send(request, response, await page(gather));
    } catch (error) {
      send(request, response, json(500, { error: (error as Error).message }));
    }
  }
}

function send(request: IncomingMessage, response: ServerResponse, { status, contentType, body }: Answer): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function json(status: number, value: object): Answer {
  return { status, contentType: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` };
}
