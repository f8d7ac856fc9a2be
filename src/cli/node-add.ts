/**
 * `ringside node add`: further redis-servers for a cluster that `ringside up` runs on this machine.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { addLocalNodes } from '../local/added-nodes.ts';
import type { ClusterStatus } from '../supervisor/status.ts';
import { askSupervisors, clusterSource } from './cluster-source.ts';
import { CommandFailure, NOT_NOW, USAGE } from './failure.ts';
import { requireSettingsFile } from './settings-file.ts';

const LIMIT_MS = 20_000;
const LOOK_EVERY_MS = 100;

/** Resolves once they run and a supervisor has them as spares. */
export async function addNodes(count: string, { config: file }: { config: string }): Promise<number> {
  requireSettingsFile(file);
  if (!/^[1-9]\d?$/.test(count)) throw new CommandFailure(`${count}: expected how many nodes, such as 3`, USAGE);
  const nodes = await addLocalNodes(file, Number(count));
  const ids = nodes.map(({ id }) => id);
  for (const { id, host, port, zone } of nodes) process.stdout.write(`${id}: ${host}:${port}, zone ${zone}\n`);
  const source = clusterSource(file);
  const endMs = performance.now() + LIMIT_MS;
  for (;;) {
    const status = await askSupervisors(source, '/v1/status').catch(() => null);
    const spares = (status?.body as ClusterStatus | undefined)?.spares ?? [];
    if (ids.every(id => spares.some(node => node.id === id && node.up))) break;
    if (performance.now() > endMs)
      throw new CommandFailure(
        `${ids.join(', ')} stand in ${file}, and do not run yet: is "ringside up" running, and what does it say?`,
        NOT_NOW,
      );
    await sleep(LOOK_EVERY_MS);
  }
  process.stdout.write(
    `${ids.length === 1 ? 'it runs as a spare' : 'they run as spares'}, for \`ringside plan add-shard NAME\`\n`,
  );
  return 0;
}
