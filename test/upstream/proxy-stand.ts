/** A proxy in the test's own process in front of scripted nodes, with raw clients. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog } from '../../src/base/log.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Listener } from '../../src/downstream/listener.ts';
import { Proxy } from '../../src/proxy/proxy.ts';
import { encodeCommand } from '../../src/resp/encoder.ts';
import { ProxyMetrics } from '../../src/telemetry/proxy-cells.ts';
import { initialTopology } from '../../src/topology/snapshot.ts';
import { freePorts } from '../support/ports.ts';
import { until } from './lane-stand.ts';
import type { ScriptedNode } from './scripted-node.ts';

/** A connection to the proxy: bytes out, bytes in. */
export class RawClient {
  readonly socket: Socket;
  heard = '';
  closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', bytes => {
      this.heard += bytes.toString('latin1');
    });
    socket.on('close', () => {
      this.closed = true;
    });
  }

  say(...commands: (string | readonly (string | Buffer)[])[]): void {
    const list = commands.map(one => encodeCommand(typeof one === 'string' ? one.split(' ') : one));
    this.socket.write(Buffer.concat(list));
  }
}

export class ProxyStand {
  readonly proxy: Proxy;
  readonly #listener: Listener;
  readonly #port: number;
  readonly #directory: string;
  readonly #sweeper: NodeJS.Timeout;
  readonly #clients: RawClient[] = [];

  private constructor(proxy: Proxy, listener: Listener, port: number, directory: string) {
    this.proxy = proxy;
    this.#listener = listener;
    this.#port = port;
    this.#directory = directory;
    this.#sweeper = setInterval(() => {
      proxy.sweep();
      listener.sweep(proxy.nowMs);
    }, 20);
  }

  /** One shard per node. `settings`: further lines of the `proxy` part, indented by two. */
  static async start(nodes: readonly ScriptedNode[], settings = ''): Promise<ProxyStand> {
    const port = await freePorts(1);
    const directory = mkdtempSync(join(tmpdir(), 'ringside-path-'));
    const file = join(directory, 'ringside.yaml');
    const lines = [
      'cluster: stand',
      'secret: "0123456789abcdef"',
      'nodes:',
      ...nodes.map((node, i) => `  - { id: n${i + 1}, address: "127.0.0.1:${node.port}" }`),
      'shards:',
      ...nodes.map((_, i) => `  - { name: s${i + 1}, nodes: [n${i + 1}] }`),
      'proxy:',
      `  listen: ["127.0.0.1:${port}"]`,
      settings,
    ];
    writeFileSync(file, lines.join('\n'));
    process.env['RINGSIDE_LOG'] ??= 'silent';
    const config = loadConfig(file);
    const proposed = initialTopology(config);
    const named = proposed.nodes.map((node, i) => ({ ...node, runId: nodes[i]?.info['run_id'] ?? null }));
    const proxy = new Proxy(config, { ...proposed, nodes: named }, null, new ProxyMetrics(), createLog('proxy'));
    const listener = new Listener(proxy);
    await listener.listen();
    const stand = new ProxyStand(proxy, listener, port, directory);
    await until('the proxy is ready', () => proxy.waitingFor().length === 0);
    await until('nothing is held yet', () => proxy.pool.heldBytes === 0);
    return stand;
  }

  async connect(): Promise<RawClient> {
    const socket = connect(this.#port, '127.0.0.1');
    await once(socket, 'connect');
    const client = new RawClient(socket);
    this.#clients.push(client);
    return client;
  }

  /** Keys that this shard owns. */
  keysOf(shard: number, count: number): string[] {
    const keys: string[] = [];
    for (let i = 0; keys.length < count; i += 1) {
      const key = Buffer.from(`k${i}`);
      if (this.proxy.ring.ownerOf(key, 0, key.length) === shard) keys.push(String(key));
    }
    return keys;
  }

  async stop(): Promise<void> {
    for (const { socket } of this.#clients) socket.destroy();
    await this.#listener.drain(200);
    clearInterval(this.#sweeper);
    this.proxy.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
