import type { Config } from '../config/config.ts';
import { addressText, isLoopback } from './address.ts';

/**
 * What a person reads once the local cluster runs: a table of its processes, and how to connect.
 */
export interface OverviewFacts {
  readonly config: Config;
  readonly directory: string;
  readonly redisVersion: string;
  /** Node ids by shard name. */
  readonly primaries: ReadonlyMap<string, string>;
  readonly pids: { proxy: number | null; supervisor: number | null; node(id: string): number | null };
}

/** Several lines; the last one, `ready: …`, is what scripts wait for. */
export function overview(facts: OverviewFacts): string {
  const { config, directory, redisVersion } = facts;
  const url = clientUrl(config);
  const node = config.nodes.find(node => isLoopback(node.host));
  const lines = [
    `Ringside over redis-server ${redisVersion}; data and settings in ${directory}`,
    '',
    ...table([['process', 'address', 'pid', 'part'], ...roleRows(facts), ...nodeRows(facts)]),
    '',
    `clients    ${url}${config.proxy.auth === null ? '' : ' (with the password of proxy.auth)'}`,
    ...(node === undefined ? [] : [`one node   redis-cli -h ${node.host} -p ${node.port}`]),
    ...(config.proxy.admin === null ? [] : [`metrics    http://${addressText(config.proxy.admin)}/metrics`]),
    'The supervisor watches and changes no roles: a shard whose primary is down answers errors until it is back.',
    'Ctrl-C ends everything and keeps the data.',
    '',
    `ready: ${url}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** Where clients connect, as their libraries write it. */
function clientUrl({ proxy }: Config): string {
  const address = proxy.listen.find(address => address.kind === 'tcp') ?? proxy.listen[0];
  if (address === undefined) return 'nowhere';
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `${proxy.tls === null ? 'redis' : 'rediss'}://${addressText(address)}`;
}

function roleRows({ config, pids }: OverviewFacts): string[][] {
  const { listen } = config.supervisor;
  const proxies = config.proxy.listen.map(address => {
    const where = address.kind === 'tcp' ? addressText(address) : address.path;
    return ['proxy', where, String(pids.proxy), 'clients connect here'];
  });
  return [...proxies, ['supervisor', addressText(listen), String(pids.supervisor), 'status, topology']];
}

function nodeRows({ config, primaries, pids }: OverviewFacts): string[][] {
  return config.nodes.map(node => {
    const shard = config.shards.find(shard => shard.nodes.includes(node.id));
    const role = shard === undefined ? 'spare' : primaries.get(shard.name) === node.id ? 'primary' : 'replica';
    const part = shard === undefined ? role : `${role} of ${shard.name}`;
    const pid = isLoopback(node.host) ? String(pids.node(node.id)) : 'elsewhere';
    return [`node ${node.id}`, addressText(node), pid, part];
  });
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
