/**
 * Hosts that a benchmark makes of one machine: network namespaces at one bridge, to whose outer side the benchmark, the
 * supervisor and the proxy belong. A host that is cut off sends and gets nothing, and nobody is told.
 */
import { execFileSync } from 'node:child_process';

/** @typedef {{ name: string, address: string, command: (program: string, args: string[]) => [string, string[]] }} Host */

/** Names of interfaces are 15 characters at most. */
const bridge = `rsb${(process.pid % 46_656).toString(36)}`;
const subnet = `10.${180 + (process.pid % 20)}.9`;

/** @param {string[]} args */
const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });

export class Hosts {
  /** @type {Host[]} */
  list = [];

  /** Throws when namespaces cannot be made here. @param {number} count */
  constructor(count) {
    try {
      ip('link', 'add', bridge, 'type', 'bridge');
      ip('addr', 'add', `${subnet}.254/24`, 'dev', bridge);
      ip('link', 'set', bridge, 'up');
      for (let i = 1; i <= count; i += 1) this.#add(i);
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** @param {number} number */
  #add(number) {
    const name = `${bridge}h${number}`;
    const address = `${subnet}.${number}`;
    ip('netns', 'add', name);
    this.list.push({ name, address, command: (program, args) => ['ip', ['netns', 'exec', name, program, ...args]] });
    ip('link', 'add', `${bridge}p${number}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    ip('link', 'set', `${bridge}p${number}`, 'master', bridge, 'up');
    ip('-n', name, 'link', 'set', 'eth0', 'up');
    ip('-n', name, 'link', 'set', 'lo', 'up');
    ip('-n', name, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
  }

  /** @param {Host} host */
  cut(host) {
    ip('link', 'set', this.#port(host), 'nomaster');
  }

  /** @param {Host} host */
  heal(host) {
    ip('link', 'set', this.#port(host), 'master', bridge);
  }

  /** May be called more than once. */
  remove() {
    for (const { name } of this.list) tryTo(() => ip('netns', 'del', name));
    this.list = [];
    tryTo(() => ip('link', 'del', bridge));
  }

  /** @param {Host} host */
  #port(host) {
    return host.name.replace(/h(\d+)$/, 'p$1');
  }
}

/** @param {() => void} work */
function tryTo(work) {
  try {
    work();
  } catch {
    // It is not there.
  }
}
