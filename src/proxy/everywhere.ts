import { type CommandRow, Effect } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { encodeCommand, nil } from '../resp/encoder.ts';
import { CR, SHARED } from '../resp/protocol.ts';
import { acquireRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { bind, refusalOfWrite } from './commitment.ts';
import { overloaded } from './failures.ts';
import { anyShard, forward, refuse, Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';
import { mergeOk, mergeSum } from './split.ts';

/**
 * Commands about all keys: sent to every primary, the replies made one.
 *
 * They travel on the client's own lanes, behind its earlier commands and before its later ones on every shard.
 */
export function sendEverywhere(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  if (proxy.shards.length === 1) {
    return forward(proxy, client, row, args, anyShard(proxy));
  }
  const { general } = proxy.rules;
  if (general.minimumCopies > 1) {
    for (const shard of proxy.shards) {
      const refusal = refusalOfWrite(row, general, shard);
      if (refusal !== null) return refuse(proxy, client, refusal);
    }
  }
  if (row.name === 'randomkey') return sendRandomKey(proxy, client);
  const merge = row.name === 'keys' ? mergeArrays : row.name === 'dbsize' ? mergeSum : mergeOk;
  toEveryShard(proxy, client, args.bytes.subarray(args.from, args.to), row.isWrite, merge, row.effect);
  return Verdict.Done;
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
): void {
  const gather = new Gather(client, client.reserve(), merge);
  proxy.metrics.commands.split += 1;
  sendParts(proxy, gather, proxy.shards, bytes, isWrite, effect);
}

/** Sends the same bytes to each of these shards as one part of the gathering each. */
export function sendParts(
  proxy: Proxy,
  gather: Gather,
  shards: readonly Shard[],
  bytes: Buffer,
  isWrite: boolean,
  effect: number = Effect.None,
): void {
  const { client } = gather;
  for (const _ of shards) gather.addPart();
  shards.forEach((shard, tag) => {
    const lane = shard.lane(client.database, client.protocol);
    if (lane.full) {
      proxy.metrics.overloaded.laneQueue += 1;
      gather.fail(tag, overloaded('proxy.limits.laneQueue'));
      return;
    }
    const request = acquireRequest(gather, client, isWrite, proxy.nowMs);
    request.tag = tag;
    bind(request, proxy, client, effect, proxy.rules.general, shard);
    lane.send(request, bytes, 0, bytes.length);
  });
}

/** KEYS: all elements, one array. */
function mergeArrays(gather: Gather): void {
  const failed = gather.error;
  if (failed !== null) return gather.client.fulfil(gather.slot, failed);
  let count = 0;
  const bodies: Buffer[] = [];
  for (const part of gather.parts) {
    const lineEnd = part.indexOf(CR);
    count += Number(part.toString('latin1', 1, lineEnd));
    bodies.push(part.subarray(lineEnd + 2));
  }
  gather.client.fulfil(gather.slot, Buffer.concat([Buffer.from(`*${count}\r\n`), ...bodies]));
}

/**
 * RANDOMKEY: a shard drawn in proportion to its number of keys, then a key of it. The nodes are asked twice, so the
 * client's next command waits: it must not come in between.
 */
function sendRandomKey(proxy: Proxy, client: Client): Verdict {
  const slot = client.reserve();
  client.held = true;
  const answer = (reply: Buffer): void => {
    client.fulfil(slot, reply);
    client.release();
  };
  const draw = (sizes: Gather): void => {
    const failed = sizes.error;
    if (failed !== null) return answer(failed);
    const counts = sizes.parts.map(part => Number(part.toString('latin1', 1, part.length - 2)));
    let place = proxy.random() * counts.reduce((sum, count) => sum + count, 0);
    const index = counts.findIndex(count => {
      place -= count;
      return place < 0;
    });
    if (index < 0 || client.gone) return answer(nil(client.protocol));
    const drawn = new Gather(client, slot, one => answer(one.parts[0] as Buffer));
    sendParts(proxy, drawn, [proxy.shards[index] as Shard], RANDOMKEY, false, Effect.Read);
  };
  sendParts(proxy, new Gather(client, slot, draw), proxy.shards, DBSIZE, false);
  return Verdict.Done;
}

const DBSIZE = encodeCommand(['DBSIZE']);
const RANDOMKEY = encodeCommand(['RANDOMKEY']);

/** For commands that every shard answers alike: the first error, or the first reply. */
export function mergeFirst(gather: Gather): void {
  gather.client.fulfil(gather.slot, gather.error ?? gather.parts[0] ?? SHARED.ok);
}
