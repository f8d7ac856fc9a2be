import { Effect } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { elementsOf } from '../resp/elements.ts';
import { array, bulk, encodeCommand, error } from '../resp/encoder.ts';
import { MINUS } from '../resp/protocol.ts';
import { decodeReply } from '../resp/reply-value.ts';
import { MARK_LIBRARY } from '../topology/mark-library.ts';
import { acquireRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { bind } from './commitment.ts';
import { anyShard, Verdict } from './forward.ts';
import { libraryName, readPayload, writePayload } from './function-payload.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';

/**
 * Keeps the mark out of clients' sight: the library by which Ringside tells how recent a shard's data is.
 *
 * It is on every node and not the clients': FUNCTION LIST, STATS and DUMP answer as if it were not there, and what would
 * load, delete or call it is answered as Redis answers for what does not exist.
 */

/** FUNCTION LIST. */
export function sendFunctionList(proxy: Proxy, client: Client, args: Arguments): Verdict {
  return askOne(proxy, client, [args.bytes.subarray(args.from, args.to)], ([list]) => withoutMark(list as Buffer));
}

/** FUNCTION DUMP. */
export function sendFunctionDump(proxy: Proxy, client: Client, args: Arguments): Verdict {
  return askOne(proxy, client, [args.bytes.subarray(args.from, args.to)], ([dump]) => strippedDump(dump as Buffer));
}

/** FUNCTION STATS: of a node that carries the mark there is one library less, with what it registers. */
export function sendFunctionStats(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const commands = [LIST_MARK, args.bytes.subarray(args.from, args.to)];
  return askOne(proxy, client, commands, ([mark, stats]) => lessened(mark as Buffer, stats as Buffer));
}

const LIST_MARK = encodeCommand(['FUNCTION', 'LIST', 'LIBRARYNAME', MARK_LIBRARY]);

/** Asks the shard that answers for all; `answer` makes one reply of the replies, the last of which may be an error. */
function askOne(
  proxy: Proxy,
  client: Client,
  commands: readonly Buffer[],
  answer: (replies: readonly Buffer[]) => Buffer,
): Verdict {
  const gather = new Gather(client, client.reserve(), ({ parts }) => {
    const last = parts[parts.length - 1] as Buffer;
    client.fulfil(gather.slot, isError(last) ? last : answer(parts));
  });
  const shard = anyShard(proxy);
  const lane = shard.lane(client.database, client.protocol);
  for (const _ of commands) gather.addPart();
  commands.forEach((command, tag) => {
    const request = acquireRequest(gather, client, false, proxy.nowMs);
    request.tag = tag;
    bind(request, proxy, client, Effect.Read, proxy.rules.general, shard);
    lane.send(request, command, 0, command.length);
  });
  proxy.metrics.commands.read += 1;
  return Verdict.Done;
}

/** A FUNCTION LIST without the mark. */
export function withoutMark(list: Buffer): Buffer {
  const libraries = elementsOf(list);
  const kept = libraries.filter(library => nameInList(library) !== MARK_LIBRARY);
  return kept.length === libraries.length ? list : array(kept);
}

/** The names in a FUNCTION LIST, but for the mark's. */
export function clientLibraries(list: Buffer): string[] {
  return elementsOf(list)
    .map(nameInList)
    .filter(name => name !== MARK_LIBRARY);
}

/** The value of `library_name`, which comes first in both protocols. */
function nameInList(library: Buffer): string {
  return String(decodeReply(elementsOf(library)[1] as Buffer));
}

function strippedDump(dump: Buffer): Buffer {
  const body = dump.subarray(dump.indexOf('\r\n') + 2, dump.length - 2);
  const payload = readPayload(body);
  if (typeof payload === 'string') return UNREADABLE;
  const kept = payload.libraries.filter(({ name }) => name !== MARK_LIBRARY);
  return kept.length === payload.libraries.length ? dump : bulk(writePayload(kept, payload.footer));
}

function lessened(mark: Buffer, stats: Buffer): Buffer {
  // While a script runs too long, a node tells of it but lists nothing; it carries the mark all the same.
  const [library] = isError(mark) ? [null] : elementsOf(mark);
  if (library === undefined) return stats;
  const functions = library === null ? 1 : elementsOf(elementsOf(library)[5] as Buffer).length;
  const text = stats.toString('latin1');
  const less = (name: string, by: number, from: string): string =>
    from.replace(
      new RegExp(`(${name}\\r\\n:)(\\d+)`),
      (_, head: string, count: string) => `${head}${Number(count) - by}`,
    );
  return Buffer.from(less('functions_count', functions, less('libraries_count', 1, text)), 'latin1');
}

/** The reply to a FUNCTION LOAD that clients may not do; null: they may. */
export function refusalOfLibrary(code: Buffer): Buffer | null {
  if (code.includes('set_repl')) return SET_REPL;
  return libraryName(code) === MARK_LIBRARY ? MARK_IS_TAKEN : null;
}

/** The reply to a FUNCTION RESTORE that clients may not do; null: they may, or every node refuses it. */
export function refusalOfPayload(bytes: Buffer): Buffer | null {
  const payload = readPayload(bytes);
  if (payload === 'damaged') return null;
  if (payload === 'unreadable') return UNREADABLE;
  for (const { code } of payload.libraries) {
    const refusal = refusalOfLibrary(code);
    if (refusal !== null) return refusal;
  }
  return null;
}

/** Whether it is the function that the mark registers, which has the library's name. */
export function isOfMark(functionName: string): boolean {
  return functionName === MARK_LIBRARY;
}

/** Whether a reply is an error. */
export function isError(reply: Buffer | undefined): boolean {
  return reply?.[0] === MINUS;
}

export const SET_REPL = error(
  'ERR scripts that use redis.set_repl are refused by Ringside: no replica gets what they write',
);
const MARK_IS_TAKEN = error(`ERR Library '${MARK_LIBRARY}' is refused by Ringside: it keeps one of that name itself`);
const UNREADABLE = error(
  'ERR the payload is refused by Ringside: it is in a format that this version cannot look into',
);
export const NO_SUCH_LIBRARY = error('ERR Library not found');
export const NO_SUCH_FUNCTION = error('ERR Function not found');
