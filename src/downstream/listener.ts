import { readFileSync } from 'node:fs';
import net from 'node:net';
import type { TlsOptions } from 'node:tls';
import type { ListenAddress, TlsServer } from '../config/config.ts';
import { overloaded } from '../proxy/failures.ts';
import type { Proxy } from '../proxy/proxy.ts';
import { Session } from './session.ts';

/**
 * Listens where the settings say, and makes a session of each connection.
 */
export class Listener {
  readonly #proxy: Proxy;
  readonly #servers: net.Server[] = [];
  readonly #sessions = new Set<Session>();
  #onEmpty: (() => void) | null = null;
  #draining = false;

  constructor(proxy: Proxy) {
    this.#proxy = proxy;
  }

  get sessions(): ReadonlySet<Session> {
    return this.#sessions;
  }

  /** Listens at every address; rejects with the system's error for the first that cannot be had. */
  async listen(): Promise<void> {
    const { listen, tls: secure } = this.#proxy.config.proxy;
    for (const address of listen) await this.#listenAt(address, secure);
  }

  /** Stops accepting, lets what is in flight finish, and ends what has not after `graceMs`. */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    for (const server of this.#servers) server.close();
    for (const session of this.#sessions) session.drain(performance.now());
    if (this.#sessions.size === 0) return;
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, graceMs);
      this.#onEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    for (const session of [...this.#sessions]) session.end('drained');
  }

  /** Some times a second: slow readers. */
  sweep(nowMs: number): void {
    for (const session of this.#sessions) session.sweep(nowMs);
  }

  async #listenAt(address: ListenAddress, secure: TlsServer | null): Promise<void> {
    // A client may close its half when it has said all: it still gets its answers.
    const options = { noDelay: true, allowHalfOpen: true };
    const unixPath = address.kind === 'unix' ? address.path : '';
    const onConnection = (socket: net.Socket): void => this.#accept(socket, unixPath);
    const server =
      secure === null || address.kind === 'unix'
        ? net.createServer(options, onConnection)
        : (await import('node:tls')).createServer({ ...options, ...serverOptions(secure) }, onConnection);
    server.on('tlsClientError', () => {
      this.#proxy.metrics.clients.refused += 1;
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      const where = address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
      server.listen({ ...where, backlog: BACKLOG }, () => {
        server.off('error', reject);
        server.on('error', error => this.#proxy.log.error(`listening failed: ${error.message}`));
        this.#servers.push(server);
        resolve();
      });
    });
  }

  #accept(socket: net.Socket, unixPath: string): void {
    const proxy = this.#proxy;
    if (this.#sessions.size >= proxy.config.proxy.limits.clients) {
      proxy.metrics.clients.refused += 1;
      proxy.metrics.overloaded.clients += 1;
      proxy.metrics.errors.count('OVERLOADED');
      socket.on('error', () => socket.destroy());
      socket.end(overloaded('proxy.limits.clients'), () => socket.destroy());
      return;
    }
    const session = new Session(socket, proxy, unixPath, one => this.#onEnd(one));
    this.#sessions.add(session);
    proxy.clients.set(session.client.id, session.client);
    // It was accepted before the listening socket closed, and came in behind.
    if (this.#draining) session.drain(performance.now());
    proxy.metrics.clients.accepted += 1;
    proxy.metrics.clients.connected += 1;
  }

  #onEnd(session: Session): void {
    if (!this.#sessions.delete(session)) return;
    const { client } = session;
    this.#proxy.forget(client);
    this.#proxy.metrics.clients.connected -= 1;
    if (this.#sessions.size === 0) this.#onEmpty?.();
  }
}

/** Connections that wait to be accepted, as Redis has it by default (`tcp-backlog`). */
const BACKLOG = 511;

function serverOptions(secure: TlsServer): TlsOptions {
  return {
    cert: readFileSync(secure.cert),
    key: readFileSync(secure.key),
    ...(secure.ca === null ? {} : { ca: readFileSync(secure.ca) }),
    requestCert: secure.clientCertificates !== 'none',
    rejectUnauthorized: secure.clientCertificates === 'required',
  };
}
