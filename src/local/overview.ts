import type { Config } from '../config/config.ts';
import { INSPECT_USER } from '../topology/credentials.ts';
import type { TopologyShard } from '../topology/snapshot.ts';
import { addressText, isLoopback } from './address.ts';
import type { ClusterView } from './cluster-view.ts';
import { clientUrl as etcdUrl } from './etcd-command.ts';
import type { LocalRoles } from './roles.ts';

/**
 * What a person reads once the local cluster runs: a table of its processes, and how to connect.
 */
export interface OverviewFacts {
  readonly config: Config;
  readonly directory: string;
  readonly redisVersion: string;
  readonly roles: LocalRoles;
  readonly view: ClusterView;
  readonly pids: ProcessIds;
}

/** Null: no such process at present. */
export interface ProcessIds {
  readonly proxy: number | null;
  readonly supervisors: readonly (number | null)[];
  readonly etcd: readonly (number | null)[];
  node(id: string): number | null;
}

/** Several lines; the last one, `ready: …`, is what scripts wait for. */
export function overview(facts: OverviewFacts): string {
  const { config, directory, redisVersion, view } = facts;
  const url = clientUrl(config);
  const lines = [
    `Ringside over redis-server ${redisVersion}; data and settings in ${directory}`,
    '',
    ...table([['process', 'address', 'pid', 'part'], ...roleRows(facts), ...nodeRows(facts)]),
    '',
    `clients    ${url}${config.proxy.auth === null ? '' : ' (with the password of proxy.auth)'}`,
    ...oneNode(config),
    ...(config.proxy.admin === null ? [] : [`metrics    http://${addressText(config.proxy.admin)}/metrics`]),
    ...(view.incomplete === null ? [] : [`missing    ${view.incomplete}: see \`ringside status\``]),
    'A write is answered when every copy has it; a lost primary is replaced by one of them.',
    'Ctrl-C ends everything and keeps the data.',
    '',
    `ready: ${url}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** How to look at a single node, and with which rights. */
function oneNode({ nodes, nodeAccess }: Config): string[] {
  const node = nodes.find(node => isLoopback(node.host));
  if (node === undefined) return [];
  const command = `one node   redis-cli -h ${node.host} -p ${node.port}`;
  if (!nodeAccess.keepDefaultUser)
    return [`${command} --user ${INSPECT_USER} (it reads; its password is in cluster.json)`];
  const asUser = nodeAccess.username === 'default' ? '' : ` --user ${nodeAccess.username}`;
  return [`${command}${asUser} (the default user is kept, and may neither copy nor administrate)`];
}

/** Where clients connect, as their libraries write it. */
function clientUrl({ proxy }: Config): string {
  const address = proxy.listen.find(address => address.kind === 'tcp') ?? proxy.listen[0];
  if (address === undefined) return 'nowhere';
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `${proxy.tls === null ? 'redis' : 'rediss'}://${addressText(address)}`;
}

function roleRows({ config, roles, pids }: OverviewFacts): string[][] {
  const proxies = config.proxy.listen.map(address => {
    const where = address.kind === 'tcp' ? addressText(address) : address.path;
    return ['proxy', where, String(pids.proxy), 'clients connect here'];
  });
  const supervisors = roles.supervisors.map((address, index) => {
    const name = roles.supervisors.length === 1 ? 'supervisor' : `supervisor ${index + 1}`;
    return [name, addressText(address), String(pids.supervisors[index]), 'status, topology'];
  });
  const etcd = roles.etcd.map((member, index) => {
    return [`etcd ${member.id}`, new URL(etcdUrl(member)).host, String(pids.etcd[index]), 'keeps the topology'];
  });
  return [...proxies, ...supervisors, ...etcd];
}

function nodeRows({ config, view, pids }: OverviewFacts): string[][] {
  return config.nodes.map(node => {
    const shard = view.shardOf(node.id);
    const pid = isLoopback(node.host) ? String(pids.node(node.id)) : 'elsewhere';
    return [`node ${node.id}`, addressText(node), pid, shard === null ? 'spare' : partOf(node.id, shard)];
  });
}

function partOf(id: string, { name, primary, inSync }: TopologyShard): string {
  if (primary === id) return `primary of ${name}`;
  return inSync.includes(id) ? `replica of ${name}` : `replica of ${name}, not in sync`;
}

/** Columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => (row[column] ?? '').length)));
  return rows.map(row =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
