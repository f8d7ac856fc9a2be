import type { CommandRow } from '../commands/row.ts';
import { Effect } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { elementsOf } from '../resp/elements.ts';
import { encodeCommand } from '../resp/encoder.ts';
import { SHARED } from '../resp/protocol.ts';
import { acquireRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { bind } from './commitment.ts';
import { everyShard, sendParts, toEveryShard } from './every-shard.ts';
import { anyShard, forward, refuse, Verdict } from './forward.ts';
import { clientLibraries, isError, refusalOfPayload } from './function-mark.ts';
import { readPayload } from './function-payload.ts';
import { Gather } from './gather.ts';
import { answerError, answerSubcommandError } from './local-answer.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';
import { mergeOk } from './split.ts';

/**
 * FUNCTION FLUSH and FUNCTION RESTORE, which in Redis replace all libraries at once: here all but the mark.
 *
 * The mark must not be missing for an instant, on no copy: whoever is promoted in that instant would be nobody. Nor may an
 * old text of it be put back, as flushing and loading it anew in one block could do while the leader raises it. So the
 * clients' libraries are deleted one by one, in one block, which replicas carry out as one; the mark is never touched.
 */
export function sendFunctionFlush(proxy: Proxy, client: Client, args: Arguments): Verdict {
  if (args.count > 3) return answerSubcommandError(proxy, client, args);
  if (args.count === 3 && !/^a?sync$/i.test(args.text(2))) {
    return answerError(proxy, client, 'ERR FUNCTION FLUSH only supports SYNC|ASYNC option');
  }
  // What this client sends next may load a library, which must not be deleted.
  client.held = true;
  const slot = client.reserve();
  const shards = everyShard(proxy);
  list(proxy, client, slot, shards, lists => {
    const blocks = lists.map(list => (isList(list) ? clientLibraries(list).map(deletion) : []));
    sendBlocks(proxy, client, slot, shards, lists, blocks, replies => finish(client, slot, replies));
  });
  return Verdict.Done;
}

/** FUNCTION RESTORE payload [FLUSH|APPEND|REPLACE]. */
export function sendFunctionRestore(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  const policy = args.count === 4 ? args.text(3).toUpperCase() : 'APPEND';
  if (args.count > 4 || !/^(FLUSH|APPEND|REPLACE)$/.test(policy)) {
    return forward(proxy, client, row, args, anyShard(proxy));
  }
  const payload = args.copy(2);
  const refusal = refusalOfPayload(payload);
  if (refusal !== null) return refuse(proxy, client, refusal);
  if (policy === 'FLUSH') return restoreAndFlush(proxy, client, payload);
  toEveryShard(proxy, client, args.bytes.subarray(args.from, args.to), true, mergeOk, Effect.Write);
  return Verdict.Done;
}

/**
 * First the new libraries, which shows whether nodes take them; then the others are deleted. A new one may register a
 * function of an old one that is to go: then both are done in one block, the deletions first.
 */
function restoreAndFlush(proxy: Proxy, client: Client, payload: Buffer): Verdict {
  client.held = true;
  const slot = client.reserve();
  const content = readPayload(payload);
  const shards = everyShard(proxy);
  const brought = new Set(typeof content === 'string' ? [] : content.libraries.map(({ name }) => name));
  const restored = new Gather(client, slot, ({ parts: outcomes }) => {
    const failed = outcomes.find(outcome => isError(outcome) && !collides(outcome));
    if (failed !== undefined) return finish(client, slot, [failed]);
    list(proxy, client, slot, shards, lists => {
      const blocks = lists.map((list, i) => {
        if (!isList(list)) return [];
        const names = clientLibraries(list);
        if (isError(outcomes[i])) return [...names.map(deletion), encodeCommand(['FUNCTION', 'RESTORE', payload])];
        return names.filter(name => !brought.has(name)).map(deletion);
      });
      sendBlocks(proxy, client, slot, shards, lists, blocks, replies => finish(client, slot, replies));
    });
  });
  sendParts(proxy, restored, shards, encodeCommand(['FUNCTION', 'RESTORE', payload, 'REPLACE']), true, Effect.Write);
  return Verdict.Done;
}

/** `Function … already exists`: another library, which is to be deleted, has registered it. */
function collides(outcome: Buffer): boolean {
  return /^-ERR Function \S+ already exists/.test(outcome.toString('latin1', 0, 512));
}

function deletion(library: string): Buffer {
  return encodeCommand(['FUNCTION', 'DELETE', library]);
}

/** Not one that is an error, or that nobody owed any more. */
function isList(list: Buffer): boolean {
  return list.length > 0 && !isError(list);
}

function list(
  proxy: Proxy,
  client: Client,
  slot: Gather['slot'],
  shards: readonly Shard[],
  onLists: (lists: readonly Buffer[]) => void,
): void {
  sendParts(proxy, new Gather(client, slot, ({ parts }) => onLists(parts)), shards, LIST, false);
}

const LIST = encodeCommand(['FUNCTION', 'LIST']);
const MULTI = encodeCommand(['MULTI']);
const EXEC = encodeCommand(['EXEC']);

/** Sends each shard its commands as one block; a shard whose list is an error keeps that as its reply. */
function sendBlocks(
  proxy: Proxy,
  client: Client,
  slot: Gather['slot'],
  shards: readonly Shard[],
  lists: readonly Buffer[],
  blocks: readonly (readonly Buffer[])[],
  onDone: (replies: readonly Buffer[]) => void,
): void {
  if (client.gone) return;
  const gather = new Gather(client, slot, ({ parts }) => onDone(parts));
  gather.isExcused = tag => !proxy.holders.includes(shards[tag] as Shard);
  for (const _ of blocks) gather.addPart();
  blocks.forEach((commands, tag) => {
    const shard = shards[tag] as Shard;
    const list = lists[tag] as Buffer;
    if (shard.retired || !isList(list) || commands.length === 0) {
      gather.settle(tag, isError(list) ? list : SHARED.ok);
      return;
    }
    const request = acquireRequest(gather, client, true, proxy.nowMs);
    request.tag = tag;
    request.skip = commands.length + 1;
    request.fixed = true;
    bind(request, proxy, client, Effect.Write, proxy.rules.general, shard);
    const bytes = Buffer.concat([MULTI, ...commands, EXEC]);
    shard.lane(client.database, client.protocol).send(request, bytes, 0, bytes.length);
  });
}

/** OK, unless a shard failed. A library that somebody else has deleted meanwhile is gone, as it should be. */
function finish(client: Client, slot: Gather['slot'], replies: readonly Buffer[]): void {
  const failures = replies.flatMap(reply => {
    if (isError(reply)) return [reply];
    if (reply.length === 0 || reply.equals(SHARED.ok)) return [];
    return elementsOf(reply).filter(
      one => isError(one) && !one.toString('latin1').startsWith('-ERR Library not found'),
    );
  });
  client.fulfil(slot, failures[0] ?? SHARED.ok);
  client.release();
}
