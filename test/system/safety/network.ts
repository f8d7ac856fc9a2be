/**
 * Hosts that a test makes of one machine: network namespaces, each with one interface at a common bridge. What runs on
 * them can be cut off, one way or both, from each other or from all, as hosts are by a broken switch: nothing is refused
 * or reset, bytes just never arrive.
 *
 * A host finds each other one by a fixed entry in its neighbour table. A cut in one direction is an entry that names an
 * interface which does not exist: the bridge sends such a frame to everybody, and everybody drops it. This needs no
 * packet filter, only the right to make namespaces.
 */
import { execFile } from 'node:child_process';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';
import { freePorts } from '../../support/ports.ts';
import type { Host } from './host.ts';

const execute = promisify(execFile);

/** Where nobody is. */
const NOWHERE = '02:00:00:00:00:ff';

/** Told apart from what another test run has on the same machine: names of interfaces are 15 characters at most. */
const RUN = (process.pid % 46_656).toString(36);
let networks = 0;

export class Network {
  readonly hosts: readonly Host[];
  readonly #bridge: string;
  readonly #subnet: string;
  readonly #namespaces: readonly string[];
  /** Directions that are cut. */
  readonly #cuts = new Map<string, readonly [from: Host, to: Host]>();

  private constructor(count: number, bridge: string, subnet: string) {
    this.#bridge = bridge;
    this.#subnet = subnet;
    this.#namespaces = Array.from({ length: count }, (_, index) => `${bridge}h${index + 1}`);
    this.hosts = this.#namespaces.map((namespace, index) => ({
      name: `host${index + 1}`,
      address: `${subnet}.${index + 1}`,
      command: (program, args) => ['ip', ['netns', 'exec', namespace, program, ...args]],
    }));
  }

  /** Why this machine cannot make hosts; null: it can. */
  static async obstacle(): Promise<string | null> {
    const probe = `rsp${RUN}`;
    try {
      await ip('netns', 'add', probe);
      await ip('link', 'add', probe, 'type', 'bridge');
      return null;
    } catch (error) {
      return `network namespaces cannot be made here: ${error instanceof Error ? error.message.trim() : String(error)}`;
    } finally {
      await ip('link', 'del', probe).catch(() => undefined);
      await ip('netns', 'del', probe).catch(() => undefined);
    }
  }

  /** Makes so many hosts; the test itself is at the same bridge, and reaches all of them whatever is cut. */
  static async create(count: number): Promise<Network> {
    networks += 1;
    const bridge = `rs${RUN}x${networks}`;
    const subnet = await freeSubnet();
    const network = new Network(count, bridge, subnet);
    try {
      await network.#make();
    } catch (error) {
      await network.remove();
      throw error;
    }
    return network;
  }

  /** Nothing that `from` sends reaches `to`. */
  async cutOneWay(from: Host, to: Host): Promise<void> {
    this.#cuts.set(`${from.name} ${to.name}`, [from, to]);
    await this.#pointAt(from, to, NOWHERE);
  }

  async cut(a: Host, b: Host): Promise<void> {
    await Promise.all([this.cutOneWay(a, b), this.cutOneWay(b, a)]);
  }

  /** One host from all the others, but not from the test. */
  async isolate(host: Host): Promise<void> {
    await this.separate([host], this.hosts);
  }

  /** Each of some hosts from each of some others, but not from one another. */
  async separate(some: readonly Host[], others: readonly Host[]): Promise<void> {
    await Promise.all(some.flatMap(a => others.filter(b => !some.includes(b)).map(b => this.cut(a, b))));
  }

  /** Ends every cut. */
  async heal(): Promise<void> {
    const cuts = [...this.#cuts.values()];
    this.#cuts.clear();
    await Promise.all(cuts.map(([from, to]) => this.#connect(from, to)));
  }

  /** May be called more than once. Processes that still run there go on without a network. */
  async remove(): Promise<void> {
    await Promise.all(this.#namespaces.map(namespace => ip('netns', 'del', namespace).catch(() => undefined)));
    await ip('link', 'del', this.#bridge).catch(() => undefined);
  }

  async #make(): Promise<void> {
    await ip('link', 'add', this.#bridge, 'type', 'bridge');
    await ip('addr', 'add', `${this.#subnet}.254/24`, 'dev', this.#bridge);
    await ip('link', 'set', this.#bridge, 'up');
    for (const [index, namespace] of this.#namespaces.entries()) {
      const port = `${this.#bridge}p${index + 1}`;
      await ip('netns', 'add', namespace);
      await ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
      await ip('link', 'set', port, 'master', this.#bridge, 'up');
      await ip('-n', namespace, 'link', 'set', 'eth0', 'address', addressOfInterface(index), 'up');
      await ip('-n', namespace, 'link', 'set', 'lo', 'up');
      await ip('-n', namespace, 'addr', 'add', `${this.#subnet}.${index + 1}/24`, 'dev', 'eth0');
    }
    for (const from of this.hosts)
      await Promise.all(this.hosts.filter(to => to !== from).map(to => this.#connect(from, to)));
  }

  #connect(from: Host, to: Host): Promise<void> {
    return this.#pointAt(from, to, addressOfInterface(this.#indexOf(to)));
  }

  async #pointAt(from: Host, to: Host, address: string): Promise<void> {
    const namespace = this.#namespaces[this.#indexOf(from)] as string;
    const entry = [to.address, 'lladdr', address, 'dev', 'eth0', 'nud', 'permanent'];
    await ip('-n', namespace, 'neigh', 'replace', ...entry);
  }

  #indexOf(host: Host): number {
    return this.hosts.indexOf(host);
  }
}

function addressOfInterface(index: number): string {
  return `02:00:00:00:01:${(index + 1).toString(16).padStart(2, '0')}`;
}

/** The first three numbers of addresses that nobody has, neither this machine nor another test that runs on it. */
async function freeSubnet(): Promise<string> {
  const addresses = Object.values(networkInterfaces()).flatMap(all => (all ?? []).map(({ address }) => address));
  for (;;) {
    // Of all tests that run here, none has a port of another one; so none has the subnet.
    const number = (await freePorts(1)) % 12_000;
    const subnet = `10.${200 + Math.floor(number / 250)}.${number % 250}`;
    if (!addresses.some(address => address.startsWith(`${subnet}.`))) return subnet;
  }
}

async function ip(...args: string[]): Promise<void> {
  await execute('ip', args);
}
