/**
 * `ringside status`: shards and nodes as the supervisor sees them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterStatus, NodeStatus, ShardStatus } from '../supervisor/status.ts';
import { askSupervisors, type ClusterSource, clusterSource } from './cluster-source.ts';
import { columns } from './columns.ts';
import { tellFailure } from './failure.ts';

const WATCH_EVERY_MS = 1000;
const CLEAR_SCREEN = '\x1b[H\x1b[2J';

export async function status(
  url: string | null,
  options: { config: string; json?: boolean; watch?: boolean },
): Promise<number> {
  const source = clusterSource(url ?? options.config);
  const asJson = options.json === true;
  if (options.watch !== true) {
    process.stdout.write(await render(source, asJson));
    return 0;
  }
  for (;;) {
    // A supervisor that is away for a while is what somebody who watches wants to see, not the end of watching.
    const text = await render(source, asJson).catch((error: Error) => error);
    if (process.stdout.isTTY && !asJson) process.stdout.write(CLEAR_SCREEN);
    if (typeof text === 'string') process.stdout.write(text);
    else tellFailure(text);
    await sleep(WATCH_EVERY_MS);
  }
}

async function render(source: ClusterSource, asJson: boolean): Promise<string> {
  const { url, body } = await askSupervisors(source, '/v1/status');
  return asJson ? `${JSON.stringify(body)}\n` : statusText(body as ClusterStatus, url);
}

/** The status as a table, one line per node. */
export function statusText(cluster: ClusterStatus, url: string): string {
  const roles = cluster.changesRoles ? '' : ', changes no roles';
  const head = `cluster ${cluster.cluster}, topology ${cluster.version}, supervisor ${url}${roles}\n\n`;
  const rows = [['SHARD', 'NODE', 'ROLE', 'STATE', 'LAG', 'ADDRESS']];
  for (const shard of cluster.shards) {
    shard.nodes.forEach((node, i) => {
      rows.push([i === 0 ? shard.name : '', node.id, role(shard, node), state(shard, node), lag(node), node.address]);
    });
  }
  for (const node of cluster.spares) rows.push(['-', node.id, node.role, node.up ? 'up' : 'DOWN', '', node.address]);
  return head + columns(rows) + problems(cluster);
}

/** A role other than the one that the topology gives is worth a second look. */
function role(shard: ShardStatus, node: NodeStatus): string {
  const expected = node.id === shard.primary ? 'primary' : 'replica';
  return node.role === expected ? node.role : `${node.role} (should be ${expected})`;
}

function state(shard: ShardStatus, node: NodeStatus): string {
  if (!node.up) return 'DOWN';
  if (node.id === shard.primary) return 'up';
  if (node.id === shard.joining) return 'joining';
  return shard.inSync.includes(node.id) ? 'in sync' : 'not in sync';
}

function lag(node: NodeStatus): string {
  if (node.role !== 'replica') return '';
  return node.lagBytes === null ? '?' : `${node.lagBytes} B`;
}

function problems(cluster: ClusterStatus): string {
  const nodes = [...cluster.shards.flatMap(shard => shard.nodes), ...cluster.spares];
  const down = nodes.filter(node => !node.up);
  return down.length === 0 ? '' : `\n${down.map(node => `${node.id}: ${node.error ?? 'down'}`).join('\n')}\n`;
}
