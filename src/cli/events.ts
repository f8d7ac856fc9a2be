/**
 * `ringside events`: what has happened to the cluster, and why, as the supervisor that leads remembers it.
 */
import type { ClusterEvent } from '../supervisor/events.ts';
import { askSupervisors, clusterSource } from './cluster-source.ts';

/** Shown unless another number is asked for. */
const LAST = 50;

export async function events(
  url: string | null,
  options: { config: string; json?: boolean; last?: number },
): Promise<number> {
  const source = clusterSource(url ?? options.config);
  const { body } = await askSupervisors(source, '/v1/events');
  const found = (body as { events: readonly ClusterEvent[] }).events;
  const shown = found.slice(-Math.max(1, options.last ?? LAST));
  const lines = shown.map(event => (options.json === true ? JSON.stringify(event) : eventText(event)));
  process.stdout.write(lines.map(line => `${line}\n`).join(''));
  return 0;
}

/** One line: when, how grave, of whom, what. */
export function eventText({ atMs, level, event, shard, node, text }: ClusterEvent): string {
  const about = [shard, node].filter(one => one !== null).join('/');
  const grave = level === 'info' ? '' : `${level.toUpperCase()} `;
  return `${new Date(atMs).toISOString()} ${grave}${event}${about === '' ? '' : ` ${about}`}: ${text}`;
}
