import { encodeCommand } from '../resp/encoder.ts';
import { decodeReply } from '../resp/reply-value.ts';
import { pulledMember } from '../topology/pull.ts';
import { acquireRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { UNCONFIRMED } from './commitment.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';

/**
 * What must not be taken for a key of clients while a portion is on the move, by whoever lists, counts or draws keys: the
 * sets of pulled keys, and what is left on the giver of keys that were pulled already.
 *
 * A giver that has failed over may hold such keys again until the supervisor has walked through it; on the taker they may
 * have been changed or deleted since. Whether a key was pulled, the set on the taker knows.
 */

/** The key of Ringside's own that lies in this database of a shard; empty: none does. */
export function ownKeyIn(proxy: Proxy, shard: Shard, database: number): string {
  const { moving } = proxy;
  if (moving === null || database !== 0) return '';
  if (shard === moving.taker) return moving.setName;
  return shard === moving.giver ? (moving.thereSetName ?? '') : '';
}

/** Whether a key that was found on this shard may be a remainder: it is of the portion, and its shard gives it away. */
export function mayBeRemainder(proxy: Proxy, shard: Shard, key: Buffer): boolean {
  const { moving } = proxy;
  return moving !== null && moving.phase === 'moving' && shard === moving.giver && moving.owns(key, 0, key.length);
}

/**
 * Asks the taker which of these keys of a database were pulled; tells by key, or null when it cannot be known. Keys that
 * were not pulled at that time may be by now.
 */
export function askPulled(
  proxy: Proxy,
  client: Client,
  slot: Gather['slot'],
  keys: readonly Buffer[],
  onKnown: (pulled: readonly boolean[] | null) => void,
): void {
  const { moving } = proxy;
  if (moving === null || keys.length === 0) return onKnown(keys.map(() => false));
  const database = client.database;
  const gather = new Gather(client, slot, ({ parts, error }) => {
    if (error !== null) return onKnown(null);
    onKnown(parts.flatMap(part => (decodeReply(part) as number[]).map(found => found === 1)));
  });
  const lane = moving.taker.lane(0, 2);
  const commands: Buffer[] = [];
  for (let i = 0; i < keys.length; i += MOST_IN_ONE) {
    const members = keys
      .slice(i, i + MOST_IN_ONE)
      .map(key => Buffer.from(pulledMember(database, key.toString('latin1')), 'latin1'));
    commands.push(encodeCommand(['SMISMEMBER', moving.setName, ...members]));
    gather.addPart();
  }
  commands.forEach((command, tag) => {
    const request = acquireRequest(gather, client, false, proxy.nowMs);
    request.tag = tag;
    request.fixed = true;
    request.confirm = UNCONFIRMED;
    lane.send(request, command, 0, command.length);
  });
}

const MOST_IN_ONE = 5000;
