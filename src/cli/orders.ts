/**
 * `ringside switchover` and `ringside recover`: what only a person may want, asked of the supervisor that leads.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterStatus, ShardStatus } from '../supervisor/status.ts';
import { askSupervisors, type ClusterSource, clusterSource, orderSupervisors } from './cluster-source.ts';
import { CommandFailure, NOT_NOW, USAGE } from './failure.ts';

/** A planned change takes well under a second; a copy that lags is waited for. */
const CHANGE_LIMIT_MS = 30_000;
const LOOK_EVERY_MS = 100;
/** An order may not have begun yet when it is looked for. */
const BEGIN_MS = 2000;

/** Resolves once the shard has its new primary. */
export async function switchover(shard: string, to: string | null, options: { config: string }): Promise<number> {
  const source = clusterSource(options.config);
  const before = await shardOf(source, shard);
  await orderSupervisors(source, pathOf(shard, 'switchover'), to === null ? {} : { to });
  const beganMs = performance.now();
  for (;;) {
    const now = await shardOf(source, shard).catch(() => null);
    if (now !== null && now.epoch > before.epoch && now.primary !== before.primary && !now.paused) {
      process.stdout.write(`${shard}: the primary is ${now.primary}, was ${before.primary} (epoch ${now.epoch})\n`);
      return 0;
    }
    const waitedMs = performance.now() - beganMs;
    const isGivenUp = now !== null && now.running === null && waitedMs > BEGIN_MS;
    if (isGivenUp || waitedMs > CHANGE_LIMIT_MS) {
      const why = now === null ? 'no supervisor answers' : now.why;
      throw new CommandFailure(
        `the primary of ${shard} is still ${before.primary} (${why}); ringside events says why`,
        NOT_NOW,
      );
    }
    await sleep(LOOK_EVERY_MS);
  }
}

/** Resolves once the order was taken; `status` shows how it goes on. */
export async function recover(shard: string, options: { config: string; acceptLoss?: boolean }): Promise<number> {
  if (options.acceptLoss !== true) {
    throw new CommandFailure(
      `recover goes on without the nodes of ${shard} that do not answer: acknowledged writes that only they hold are lost for good. Say so with --accept-loss`,
      USAGE,
    );
  }
  const source = clusterSource(options.config);
  const text = await orderSupervisors(source, pathOf(shard, 'recover'), { acceptLoss: true });
  process.stdout.write(`${text}\n`);
  return 0;
}

function pathOf(shard: string, order: string): string {
  return `/v1/shards/${encodeURIComponent(shard)}/${order}`;
}

async function shardOf(source: ClusterSource, name: string): Promise<ShardStatus> {
  const { shards } = (await askSupervisors(source, '/v1/status')).body as ClusterStatus;
  const found = shards.find(shard => shard.name === name);
  if (found !== undefined) return found;
  const names = shards.map(shard => shard.name).join(', ');
  throw new CommandFailure(`there is no shard ${name}; there are ${names}`, USAGE);
}
