import { get } from 'node:http';
import { connect } from 'node:net';
import type { HostPort, ProxyConfig } from '../config/config.ts';
import type { ClusterView } from './cluster-view.ts';

/** Between two questions to a proxy that is starting. */
const POLL_MS = 20;
/** Nobody should look at a silent terminal for longer. */
const PATIENCE_MS = 10_000;

/** What has to be ready. */
export interface Awaited {
  readonly proxy: ProxyConfig;
  readonly supervisors: readonly HostPort[];
  readonly view: ClusterView;
}

/**
 * Waits until the supervisors answer, every shard has its primary and all its copies in sync, and the proxy is logged in
 * to each; `say` hears now and then what is still missing.
 *
 * Where all is served and only copies are missing, which may need a person, it waits no longer than its patience. A
 * proxy without an admin endpoint cannot be asked: then it counts that it accepts a connection.
 */
export async function waitUntilReady(
  awaited: Awaited,
  aborted: () => boolean,
  say: (line: string) => void,
): Promise<void> {
  let patienceEndMs = performance.now() + PATIENCE_MS;
  while (!aborted()) {
    const { missing, isServed } = await whatIsMissing(awaited);
    if (missing === null) return;
    if (performance.now() > patienceEndMs) {
      if (isServed) return;
      say(`not ready yet: ${missing}`);
      patienceEndMs = performance.now() + 3 * PATIENCE_MS;
    }
    await new Promise(resolve => setTimeout(resolve, POLL_MS));
  }
}

async function whatIsMissing({
  proxy,
  supervisors,
  view,
}: Awaited): Promise<{ missing: string | null; isServed: boolean }> {
  const [ofProxy, ...health] = await Promise.all([
    missingOfProxy(proxy),
    ...supervisors.map(({ host, port }) => ask(host, port, '/healthz')),
  ]);
  const silent = health.findIndex(answer => answer.status !== 200);
  const which = supervisors.length === 1 ? 'the supervisor' : `supervisor ${silent + 1}`;
  const unserved = silent >= 0 ? `${which} does not answer` : (view.unformed ?? ofProxy);
  return { missing: unserved ?? view.incomplete, isServed: unserved === null };
}

async function missingOfProxy({ admin, listen }: ProxyConfig): Promise<string | null> {
  if (admin === null) {
    const address = listen[0];
    const accepted = address === undefined || (await accepts(address));
    return accepted ? null : 'the proxy does not listen';
  }
  const answer = await ask(admin.host, admin.port, '/readyz');
  if (answer.status === 200) return null;
  return answer.status === null ? 'the proxy does not answer' : answer.body.trim();
}

function ask(host: string, port: number, path: string): Promise<{ status: number | null; body: string }> {
  return new Promise(resolve => {
    const request = get({ host, port, path, agent: false, timeout: 2000 }, response => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        body += piece;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? null, body }));
      response.on('error', () => resolve({ status: null, body }));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve({ status: null, body: '' }));
  });
}

function accepts(address: { host: string; port: number } | { path: string }): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
