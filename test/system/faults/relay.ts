/**
 * Stands between the proxy and one real node and passes bytes on, until it is told to do what no healthy node does:
 * answer garbage, break off in the middle, answer twice, or say nothing.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export type Conduct =
  /** Bytes go both ways as they are. */
  | { kind: 'honest' }
  /** The next reply is replaced by these bytes, as are all after it. */
  | { kind: 'say'; bytes: string }
  /** These bytes come before the node's own next reply, once per piece of it. */
  | { kind: 'prepend'; bytes: string }
  /** So many bytes of the next replies pass, then the connection is cut. */
  | { kind: 'cut'; afterBytes: number }
  /** Nothing passes from the node to the proxy. */
  | { kind: 'silent' }
  /** New connections are reset at once, the old ones too. */
  | { kind: 'refuse' };

export class Relay {
  conduct: Conduct = { kind: 'honest' };
  port = 0;
  accepted = 0;
  readonly #target: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer(socket => this.#pair(socket));
  }

  static async start(port: number, target: number): Promise<Relay> {
    const relay = new Relay(target);
    relay.#server.listen(port, '127.0.0.1');
    await once(relay.#server, 'listening');
    relay.port = port;
    return relay;
  }

  /** Changes its conduct; `cut` and `refuse` end what is open. */
  behave(conduct: Conduct): void {
    this.conduct = conduct;
    if (conduct.kind === 'refuse') for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #pair(proxy: Socket): void {
    this.accepted += 1;
    if (this.conduct.kind === 'refuse') {
      proxy.resetAndDestroy();
      return;
    }
    const node = connect(this.#target, '127.0.0.1');
    for (const socket of [proxy, node]) {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        proxy.destroy();
        node.destroy();
      });
    }
    proxy.on('data', piece => node.write(piece));
    node.on('data', piece => this.#answer(proxy, piece));
  }

  #answer(proxy: Socket, piece: Buffer): void {
    const { conduct } = this;
    switch (conduct.kind) {
      case 'honest':
        proxy.write(piece);
        return;
      case 'say':
        proxy.write(conduct.bytes);
        return;
      case 'prepend':
        proxy.write(Buffer.concat([Buffer.from(conduct.bytes), piece]));
        return;
      case 'cut':
        proxy.write(piece.subarray(0, conduct.afterBytes));
        proxy.end();
        return;
      case 'silent':
      case 'refuse':
        return;
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
