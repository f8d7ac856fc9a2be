import { Effect } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { encodeCommand, error } from '../resp/encoder.ts';
import { MINUS } from '../resp/protocol.ts';
import { decodeReply, textOf } from '../resp/reply-value.ts';
import type { Client } from './client.ts';
import { everyShard, sendParts, toEveryShard } from './every-shard.ts';
import { Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';

/**
 * FUNCTION LOAD: on every shard, or on none where that is possible.
 *
 * Without REPLACE a node loads only what it did not have, so where it went well while another shard failed, the library
 * is deleted again. Not so where a shard has it already: two clients that load the same at one time, as instances of a
 * program do when they start, would each undo the other's, and both believe that it is there. With REPLACE what was
 * there before is gone. Then the error says where it is, and that a repetition with REPLACE mends it.
 */
export function sendFunctionLoad(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const replaces = args.count > 3;
  const shards = everyShard(proxy);
  // What this client sends next may load the library anew, and that must not be undone.
  client.held = true;
  const take = (gather: Gather): void => {
    const { parts } = gather;
    const loaded = shards.filter((_, tag) => !isError(parts[tag]));
    if (loaded.length === 0 || loaded.length === shards.length) {
      client.fulfil(
        gather.slot,
        parts.find(part => isError(part) && !isPresent(part)) ?? (parts.find(part => part.length > 0) as Buffer),
      );
      return client.release();
    }
    if (replaces || parts.some(isPresent)) return answerHalf(gather, shards, KEPT);
    const library = textOf(decodeReply(parts.find(part => part.length > 0 && !isError(part)) as Buffer));
    const undo = new Gather(client, gather.slot, one => answerHalf(gather, shards, one.error === null ? UNDONE : KEPT));
    sendParts(proxy, undo, loaded, encodeCommand(['FUNCTION', 'DELETE', library]), true, Effect.Write);
  };
  toEveryShard(proxy, client, args.bytes.subarray(args.from, args.to), true, take, Effect.Write);
  return Verdict.Done;
}

/** Answers with what went wrong, on which shards, and what has become of the others. */
function answerHalf({ client, slot, parts }: Gather, shards: readonly Shard[], outcome: string): void {
  const wrong = parts.find(part => isError(part) && !isPresent(part)) ?? (parts.find(isError) as Buffer);
  const failed = shards.filter((_, tag) => isError(parts[tag])).map(shard => shard.name);
  const line = wrong.toString('utf8', 1, wrong.length - 2);
  client.fulfil(slot, error(`${line} (not loaded on ${failed.join(', ')}; ${outcome}; ${REMEDY})`));
  client.release();
}

const UNDONE = 'deleted again on the other shards';
const KEPT = 'the other shards may have it now';
const REMEDY = 'once every shard answers, FUNCTION LOAD REPLACE makes them alike';

function isError(part: Buffer | undefined): boolean {
  return part?.[0] === MINUS;
}

/** Whether the node had a library of this name before. */
function isPresent(part: Buffer): boolean {
  return /^-ERR Library '.*' already exists/.test(part.toString('latin1'));
}
