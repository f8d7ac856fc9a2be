import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { sendDbSize, sendKeys, sendRandomKey } from './all-keys.ts';
import type { Client } from './client.ts';
import { refusalOfWrite } from './commitment.ts';
import { toEveryShard } from './every-shard.ts';
import { forward, refuse, Verdict } from './forward.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';
import { mergeOk } from './split.ts';

/**
 * Commands about all keys: FLUSHALL, FLUSHDB, KEYS, DBSIZE, RANDOMKEY.
 */
export function sendEverywhere(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  // What flushes would take keys that are on their way, and the set that knows which have arrived.
  const held = row.isWrite ? (proxy.moving?.awaitEnd(client) ?? null) : null;
  if (held !== null) return held;
  const { holders } = proxy;
  if (holders.length === 1 && proxy.moving === null) return forward(proxy, client, row, args, holders[0] as Shard);
  const { general } = proxy.rules;
  if (general.minimumCopies > 1) {
    for (const shard of holders) {
      const refusal = refusalOfWrite(row, general, shard);
      if (refusal !== null) return refuse(proxy, client, refusal);
    }
  }
  const bytes = args.bytes.subarray(args.from, args.to);
  switch (row.name) {
    case 'randomkey':
      return sendRandomKey(proxy, client);
    case 'keys':
      return sendKeys(proxy, client, Buffer.from(bytes));
    case 'dbsize':
      return sendDbSize(proxy, client);
    default:
      toEveryShard(proxy, client, bytes, row.isWrite, mergeOk, row.effect);
      return Verdict.Done;
  }
}
