import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { isMap, isSeq, parseDocument } from 'yaml';
import { EnvironmentError } from '../base/environment-error.ts';
import type { Config, NodeConfig } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { addressText, isLoopback } from './address.ts';
import { writeWhole } from './written-file.ts';

/**
 * Further nodes on this machine, written into the settings of a local cluster; a running `up` starts what comes there.
 */
const MOST = 64;
/** So many ports are tried for each node. */
const TRIES = 100;

/**
 * Writes `count` nodes into the file, on the ports after the last node's that are free, and gives them. Everything else
 * in the file is left as it is. Throws `EnvironmentError` where nodes are elsewhere, or no port is free.
 */
export async function addLocalNodes(file: string, count: number): Promise<readonly NodeConfig[]> {
  const config = loadConfig(file);
  const stranger = config.nodes.find(({ host }) => !isLoopback(host));
  if (stranger !== undefined)
    throw new EnvironmentError(
      `${file}: node ${stranger.id} is on ${stranger.host}: nodes are added here where all of them are on this machine; start a redis-server, and name it under \`nodes\``,
    );
  if (count < 1 || count > MOST) throw new EnvironmentError(`${count} nodes: expected a number from 1 to ${MOST}`);
  const nodes: NodeConfig[] = [];
  for (let i = 0; i < count; i += 1) nodes.push(await nextNode(config, nodes));
  writeWhole(file, withNodes(readFileSync(file, 'utf8'), nodes));
  return nodes;
}

async function nextNode(config: Config, added: readonly NodeConfig[]): Promise<NodeConfig> {
  const all = [...config.nodes, ...added];
  const host = config.nodes[0]?.host ?? '127.0.0.1';
  const first = Math.max(...all.map(({ port }) => port)) + 1;
  for (let port = first; port < Math.min(first + TRIES, 65_536); port += 1) {
    if (!isNamed(config, port) && (await isFree(host, port)))
      return { id: freeId(all), host, port, zone: emptiestZone(all) };
  }
  throw new EnvironmentError(
    `no free port for a node from ${host}:${first} on: name one under \`nodes\` in the settings`,
  );
}

/** As n1, n2, … go on. */
function freeId(nodes: readonly NodeConfig[]): string {
  const numbers = nodes.map(({ id }) => Number(/^n(\d{1,9})$/.exec(id)?.[1] ?? 0));
  return `n${Math.max(...numbers) + 1}`;
}

/** Of the zones that there are, that with fewest nodes; of equal ones the first. */
function emptiestZone(nodes: readonly NodeConfig[]): string {
  const counts = new Map<string, number>();
  for (const { zone } of nodes) counts.set(zone, (counts.get(zone) ?? 0) + 1);
  const [emptiest] = [...counts].sort(([, a], [, b]) => a - b);
  return emptiest?.[0] ?? 'default';
}

/** Whether something of the settings listens there, even if it does not run now. */
function isNamed({ proxy, supervisor }: Config, port: number): boolean {
  const listening = proxy.listen.flatMap(address => (address.kind === 'tcp' ? [address.port] : []));
  const urls = [...supervisor.peers, ...(supervisor.store.kind === 'etcd' ? supervisor.store.endpoints : [])];
  const named = [
    ...listening,
    proxy.admin?.port,
    supervisor.listen.port,
    ...urls.map(url => Number(new URL(url).port)),
  ];
  return named.includes(port) || named.includes(port - 1);
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

function withNodes(text: string, nodes: readonly NodeConfig[]): string {
  const document = parseDocument(text);
  const list = document.get('nodes');
  if (!isSeq(list)) throw new EnvironmentError('`nodes` is no list: add the nodes by hand');
  for (const { id, host, port, zone } of nodes) {
    const item = document.createNode({ id, address: addressText({ host, port }), zone });
    if (isMap(item)) item.flow = true;
    list.add(item);
  }
  return document.toString({ lineWidth: 0 });
}
