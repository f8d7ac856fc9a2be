/** A proxy in the test's own process, over stock redis-servers on free ports, with one more server as the measure. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog } from '../../src/base/log.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Listener } from '../../src/downstream/listener.ts';
import { Proxy } from '../../src/proxy/proxy.ts';
import { ProxyMetrics } from '../../src/telemetry/proxy-cells.ts';
import { initialTopology, type Topology } from '../../src/topology/snapshot.ts';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import { type Endpoint, encode, Wire } from '../differential/wire.ts';
import { formTopology } from '../support/formed-node.ts';
import { HANG_MS } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';

export class Stand {
  readonly proxy: Proxy;
  readonly endpoint: Endpoint;
  /** The primary of each shard, in the order of the shards. */
  readonly nodes: readonly StockRedis[];
  readonly #listener: Listener;
  readonly #directory: string;
  readonly #sweeper: NodeJS.Timeout;
  readonly #wires: Wire[] = [];

  private constructor(proxy: Proxy, listener: Listener, port: number, nodes: readonly StockRedis[], directory: string) {
    this.proxy = proxy;
    this.endpoint = { host: '127.0.0.1', port };
    this.nodes = nodes;
    this.#listener = listener;
    this.#directory = directory;
    this.#sweeper = setInterval(() => proxy.sweep(), 100);
  }

  /** `settings`: further lines of the `proxy` part. */
  static async start(shards: number, settings = ''): Promise<Stand> {
    const nodes = await Promise.all(Array.from({ length: shards }, () => startStockRedis()));
    const port = await freePorts(1);
    const directory = mkdtempSync(join(tmpdir(), 'ringside-stand-'));
    const file = join(directory, 'ringside.yaml');
    const lines = nodes.map((node, i) => `  - { id: n${i + 1}, address: "127.0.0.1:${node.port}" }`);
    const shardLines = nodes.map((_, i) => `  - { name: s${i + 1}, nodes: [n${i + 1}] }`);
    const proxyPart = `proxy:\n  listen: ["127.0.0.1:${port}"]\n${settings}`;
    writeFileSync(
      file,
      `cluster: stand\nsecret: "0123456789abcdef"\nnodes:\n${lines.join('\n')}\nshards:\n${shardLines.join('\n')}\n${proxyPart}`,
    );
    process.env['RINGSIDE_LOG'] ??= 'silent';
    const config = loadConfig(file);
    const topology = await formTopology(initialTopology(config), config);
    const proxy = new Proxy(config, topology, null, new ProxyMetrics(), createLog('proxy'));
    const listener = new Listener(proxy);
    await listener.listen();
    const stand = new Stand(proxy, listener, port, nodes, directory);
    await until(() => proxy.waitingFor().length === 0);
    // The nodes' tables of commands have come too, and nothing is held any more.
    await until(() => proxy.commandsDigest !== '' && proxy.pool.heldBytes === 0);
    return stand;
  }

  /** The topology that the proxy goes by. */
  get topology(): Topology {
    return this.proxy.topology;
  }

  /** Makes the nodes ready for a topology (users of its epochs, their incarnations of now), and tells the proxy of it. */
  async follow(topology: Topology, except: readonly string[] = []): Promise<void> {
    const { secret } = this.proxy.config;
    const formed = await formTopology({ ...topology, version: this.topology.version + 1 }, { secret, except });
    this.proxy.follow(formed);
  }

  /** A client of the proxy; closed with the stand. */
  async connect(): Promise<Wire> {
    return this.#keep(await Wire.open(this.endpoint));
  }

  /** A connection past the proxy. */
  async connectTo(endpoint: Endpoint): Promise<Wire> {
    return this.#keep(await Wire.open(endpoint));
  }

  async stop(): Promise<void> {
    for (const wire of this.#wires) wire.close();
    clearInterval(this.#sweeper);
    await this.#listener.drain(200);
    this.proxy.close();
    await Promise.all(this.nodes.map(node => node.stop()));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #keep(wire: Wire): Wire {
    this.#wires.push(wire);
    return wire;
  }
}

/** Waits for something that becomes true; fails when it never does. */
export async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + HANG_MS; !(await isTrue()); ) {
    if (Date.now() > deadline) throw new Error(`it never became true: ${isTrue}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

/** A command in words, apart by blanks, as the array that clients send. */
export function command(words: string): Buffer {
  const args = words.split(' ').map(word => Buffer.from(word === '""' ? '' : word));
  return encode({ args, inline: false, lead: '', answered: true });
}

/** Sends the commands in one piece and takes as many replies, as text. */
export async function pipeline(wire: Wire, ...commands: string[]): Promise<string[]> {
  await wire.send(Buffer.concat(commands.map(command)));
  return (await wire.take(commands.length)).map(frame => frame.toString('latin1'));
}

/** The body of a bulk or verbatim string. */
export function bodyOf(frame: Buffer | string): string {
  const text = typeof frame === 'string' ? frame : frame.toString('latin1');
  const body = text.slice(text.indexOf('\r\n') + 2, -2);
  return text.startsWith('=') ? body.slice('txt:'.length) : body;
}
