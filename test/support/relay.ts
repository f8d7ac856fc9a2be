/** A cable that a test can pull: it passes bytes on to one port, swallows them, or breaks every connection. */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class Relay {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Those of them that lead to the port. */
  readonly #targets = new Set<Socket>();
  #isFrozen = false;
  #isCut = false;

  private constructor(server: Server, target: number) {
    this.#server = server;
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the relay has no port');
    this.port = address.port;
    server.on('connection', client => this.#join(client, connect({ host: '127.0.0.1', port: target })));
  }

  /** Listens on a free port of this machine. */
  static async to(target: number): Promise<Relay> {
    const server = createServer();
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    return new Relay(server, target);
  }

  /** Of clients, that are open now. */
  get connections(): number {
    return this.#sockets.size / 2;
  }

  /** From now on nothing arrives, and nobody is told. */
  freeze(): void {
    this.#isFrozen = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** On the connections that are open now everything arrives at the port, and no answer comes back. */
  hush(): void {
    for (const socket of this.#targets) socket.pause();
  }

  /** The connections that are open now break; others come about. */
  cutOpen(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Every connection breaks, and none comes about. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** What was held back arrives, late; new connections come about. */
  heal(): void {
    this.#isFrozen = false;
    this.#isCut = false;
    for (const socket of this.#sockets) socket.resume();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise(resolve => this.#server.close(resolve));
  }

  #join(client: Socket, target: Socket): void {
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#sockets.add(from);
      if (from === target) this.#targets.add(target);
      from.on('data', bytes => void to.write(bytes));
      from.on('error', () => undefined);
      from.once('close', () => {
        this.#sockets.delete(from);
        this.#targets.delete(from);
        to.destroy();
      });
      if (this.#isFrozen) from.pause();
    }
    if (this.#isCut) client.destroy();
  }
}
