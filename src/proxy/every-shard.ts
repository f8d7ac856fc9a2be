import { Effect } from '../commands/row.ts';
import { SHARED } from '../resp/protocol.ts';
import { acquireRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { bind } from './commitment.ts';
import { overloaded } from './failures.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';

/**
 * Sends what concerns every shard to every primary, and makes one reply of theirs.
 *
 * It travels on the client's own lanes, behind its earlier commands and before its later ones on every shard.
 */

/**
 * The shards that a command is sent to which concerns all of them: those that may hold keys, whether they can be reached
 * or not, and of the others, which are yet to be given some, those that can.
 */
export function everyShard(proxy: Proxy): readonly Shard[] {
  return proxy.shards.filter(shard => shard.up || proxy.holders.includes(shard));
}

/**
 * Sends the same bytes to every shard; the merged reply takes the client's next place in line.
 *
 * `isWrite`: it must not be repeated when a connection is lost; `effect`: what the reply waits for.
 */
export function toEveryShard(
  proxy: Proxy,
  client: Client,
  bytes: Buffer,
  isWrite: boolean,
  merge: (gather: Gather) => void,
  effect: number = Effect.None,
  shards: readonly Shard[] = everyShard(proxy),
): void {
  const gather = new Gather(client, client.reserve(), merge);
  proxy.metrics.commands.split += 1;
  sendParts(proxy, gather, shards, bytes, isWrite, effect);
}

/**
 * Sends the same bytes, or those that are made for it, to each of these shards as one part of the gathering each.
 *
 * Of several, one that has left the cluster meanwhile, or holds no keys yet, need not answer: its part is then empty.
 */
export function sendParts(
  proxy: Proxy,
  gather: Gather,
  shards: readonly Shard[],
  bytes: Buffer | ((shard: Shard) => Buffer),
  isWrite: boolean,
  effect: number = Effect.None,
): void {
  const { client } = gather;
  for (const _ of shards) gather.addPart();
  if (shards.length > 1) gather.isExcused = tag => !proxy.holders.includes(shards[tag] as Shard);
  shards.forEach((shard, tag) => {
    const lane = shard.lane(client.database, client.protocol);
    if (lane.full) {
      proxy.metrics.overloaded.laneQueue += 1;
      gather.fail(tag, overloaded('proxy.limits.laneQueue'));
      return;
    }
    const request = acquireRequest(gather, client, isWrite, proxy.nowMs);
    request.tag = tag;
    request.fixed = true;
    bind(request, proxy, client, effect, proxy.rules.general, shard);
    const command = typeof bytes === 'function' ? bytes(shard) : bytes;
    lane.send(request, command, 0, command.length);
  });
}

/** For commands that every shard answers alike: the first error, or the first reply. */
export function mergeFirst(gather: Gather): void {
  gather.client.fulfil(gather.slot, gather.error ?? gather.parts.find(part => part.length > 0) ?? SHARED.ok);
}
