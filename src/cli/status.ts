/**
 * `ringside status`: shards and nodes as the supervisor that leads sees them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterStatus, NodeStatus, RebuildStatus, ShardStatus } from '../supervisor/status.ts';
import { bytesText } from './amounts.ts';
import { askSupervisors, type ClusterSource, clusterSource } from './cluster-source.ts';
import { columns } from './columns.ts';
import { tellFailure } from './failure.ts';
import { moveText } from './move.ts';

const WATCH_EVERY_MS = 1000;
const CLEAR_SCREEN = '\x1b[H\x1b[2J';
/** Changes of primary that are shown of each shard; `--json` has more. */
const SHOWN_CHANGES = 3;

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

/** The status as a table, one line per node; below it what is being done, what was done, and what needs somebody. */
export function statusText(cluster: ClusterStatus, url: string): string {
  const leader = cluster.leader === null ? 'nobody leads' : `leader ${cluster.leader}`;
  const told = cluster.changesRoles ? '' : ` (told by ${cluster.knownBy ?? url}, which does not lead)`;
  const head = `cluster ${cluster.cluster}, topology ${cluster.version}, term ${cluster.term}, ${leader}${told}\n\n`;
  const rows = [['SHARD', 'EPOCH', 'NODE', 'ROLE', 'STATE', 'LAG', 'ADDRESS', 'ZONE']];
  for (const shard of cluster.shards) {
    shard.nodes.forEach((node, i) => {
      const first = i === 0 ? [shard.name, String(shard.epoch)] : ['', ''];
      rows.push([
        ...first,
        node.id,
        role(shard, node),
        state(cluster, shard, node),
        lag(node),
        node.address,
        node.zone,
      ]);
    });
  }
  for (const node of cluster.spares) {
    const word = `${upOrDown(cluster, node)}${node.draining ? ', free' : ''}`;
    rows.push(['-', '', node.id, node.role, word, '', node.address, node.zone]);
  }
  const parts = [
    cluster.move === null ? [] : [moveText(cluster.move).trimEnd()],
    [...cluster.shards.flatMap(doing), ...drains(cluster)],
    cluster.shards.flatMap(changes),
    troubles(cluster),
  ];
  const below = parts.filter(lines => lines.length > 0).map(lines => `\n${lines.join('\n')}\n`);
  return head + columns(rows) + below.join('');
}

/** A role other than the one that the topology gives is worth a second look. */
function role(shard: ShardStatus, node: NodeStatus): string {
  const expected = node.id === shard.primary ? 'primary' : 'replica';
  return node.role === expected ? node.role : `${node.role} (should be ${expected})`;
}

function state(cluster: ClusterStatus, shard: ShardStatus, node: NodeStatus): string {
  return node.draining ? `${ofMember(cluster, shard, node)}, draining` : ofMember(cluster, shard, node);
}

function ofMember(cluster: ClusterStatus, shard: ShardStatus, node: NodeStatus): string {
  if (cluster.changesRoles && !node.up) return 'DOWN';
  if (node.id === shard.primary) return upOrDown(cluster, node);
  if (node.id === shard.joining) return 'joining';
  if (shard.inSync.includes(node.id)) return 'in sync';
  return node.id === shard.rebuild?.node ? 'rebuilding' : 'not in sync';
}

/** Only who leads asks the nodes. */
function upOrDown(cluster: ClusterStatus, node: NodeStatus): string {
  if (!cluster.changesRoles) return '?';
  return node.up ? 'up' : 'DOWN';
}

function lag(node: NodeStatus): string {
  if (node.role !== 'replica') return '';
  if (node.lagBytes === null) return '?';
  return node.lagBytes === 0 ? '0 B' : `${bytesText(node.lagBytes)}, ${node.lagSeconds ?? '?'} s`;
}

/** A line for each shard that is not simply healthy. */
function doing(shard: ShardStatus): string[] {
  const { name, inSync, nodes, running, rebuild } = shard;
  const lines: string[] = [];
  if (shard.state !== 'healthy' || running !== null) {
    const work = running === null ? '' : `, ${running} is running`;
    // Only the leader says more of the copies.
    const copies = shard.state === 'unknown' ? `, ${inSync.length + 1} of ${nodes.length} copies in sync` : '';
    lines.push(`${name}: ${shard.state}${copies}${work}${shard.why === '' ? '' : `: ${shard.why}`}`);
  }
  if (rebuild !== null) lines.push(`${name}: ${rebuildText(rebuild)}`);
  return lines;
}

/** How far each node has come that a person wants free, or empty. */
function drains(cluster: ClusterStatus): string[] {
  return allNodes(cluster).flatMap(({ id, drain, emptying }) => {
    if (emptying?.step === 'empties') return [`${id} is emptied: ${emptying.why}`];
    if (drain === null) return [];
    return [drain.step === 'free' ? `${id} is free: ${drain.why}` : `${id} is drained, ${drain.step}: ${drain.why}`];
  });
}

function allNodes({ shards, spares }: ClusterStatus): NodeStatus[] {
  return [...shards.flatMap(shard => shard.nodes), ...spares];
}

function rebuildText({ node, from, since, leftBytes, lagBytes }: RebuildStatus): string {
  const seconds = Math.max(0, Math.round((Date.now() - since) / 1000));
  const way = from === null ? 'catches up' : `is rebuilt from ${from}`;
  const left = leftBytes > 0 ? `, ${bytesText(leftBytes)} left` : '';
  const behind = lagBytes === null ? '' : `, ${bytesText(lagBytes)} behind`;
  return `${node} ${way}, for ${seconds} s${left}${behind}`;
}

function changes({ name, changes }: ShardStatus): string[] {
  return changes.slice(-SHOWN_CHANGES).map(({ kind, cause, at, durationMs, from, to }) => {
    const way = from === to ? `with ${to}` : `from ${from} to ${to}`;
    return `${name}: ${new Date(at).toISOString()} ${kind} ${way} in ${durationMs} ms: ${cause}`;
  });
}

/** What is wrong, and what waits for somebody. */
function troubles(cluster: ClusterStatus): string[] {
  const nodes = allNodes(cluster);
  const down = cluster.changesRoles ? nodes.filter(node => !node.up) : [];
  const waiting = [
    ...cluster.shards.map(shard => ({ who: shard.name, needs: shard.needs })),
    ...nodes.map(node => ({ who: node.id, needs: node.needs })),
    ...nodes.map(({ id, drain }) => ({ who: id, needs: drain?.needs ?? null })),
  ].filter(({ needs }) => needs !== null);
  return [
    ...down.map(node => `${node.id}: ${node.error ?? 'down'}`),
    ...cluster.problems,
    ...waiting.map(({ who, needs }) => `NEEDS YOU  ${who}: ${needs}`),
  ];
}
