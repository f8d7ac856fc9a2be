import { findKeys, KeyPositions } from '../commands/keys.ts';
import { type CommandRow, Effect } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import type { Request } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { tooFewCopies } from './failures.ts';
import type { Proxy } from './proxy.ts';
import type { Terms } from './rules.ts';
import type { Shard } from './shard.ts';

/**
 * What the terms of a command mean for one that is about to be sent: is it refused, and does its reply wait for copies?
 */

/** The terms of a command by its keys. */
export function termsOf(proxy: Proxy, row: CommandRow, args: Arguments): Terms {
  const { rules } = proxy;
  if (rules.uniform !== null) return rules.uniform;
  const key = row.singleKeyAt;
  if (key > 0) return rules.ofKey(args.bytes, args.starts[key] as number, args.lengths[key] as number);
  if (!row.hasKeys) return rules.general;
  KEYS.count = 0;
  return rules.ofKeys(args, KEYS, findKeys(row, args, KEYS));
}

const KEYS = new KeyPositions();

/** The reply that refuses a write for want of copies; null: there are enough, or it is no write. */
export function refusalOfWrite(row: CommandRow, terms: Terms, shard: Shard): Buffer | null {
  if (terms.minimumCopies === 1 || !row.changesData || shard.copies >= terms.minimumCopies) return null;
  return tooFewCopies(shard.name, shard.copies, terms.minimumCopies);
}

/**
 * Puts the terms on a request: whether its reply waits for the copies, and how long.
 *
 * A write that does not wait is remembered: until this client goes away, no copy answers its reads of that shard, since
 * none is known to have the write.
 */
export function bind(request: Request, proxy: Proxy, client: Client, effect: number, terms: Terms, shard: Shard): void {
  const confirms = effect === Effect.Write ? terms.confirmWrites : effect === Effect.Read && terms.confirmReads;
  request.confirm = confirms ? 1 : 0;
  if (confirms) request.confirmMs = terms.timeoutMs;
  else if (effect === Effect.Write && proxy.rules.readsCopies) {
    client.unconfirmed ??= new Set();
    client.unconfirmed.add(shard);
  }
}

/** `Request.confirm` for what the proxy sends on its own account, or what leaves the stored data as it is. */
export const UNCONFIRMED = 0;
