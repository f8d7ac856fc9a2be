import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { array, bulk, integer } from '../resp/encoder.ts';
import { COLON, SHARED } from '../resp/protocol.ts';
import { integerArgument } from './argument-values.ts';
import type { Client } from './client.ts';
import { sendConfigGet } from './config-get.ts';
import { toEveryShard } from './every-shard.ts';
import { forward, Verdict } from './forward.ts';
import type { Gather } from './gather.ts';
import { sendInfo } from './info.ts';
import { answer, answerError, answerSubcommandError } from './local-answer.ts';
import type { Proxy } from './proxy.ts';
import { reachableShard } from './shard-choice.ts';
import type { SlowlogEntry } from './slowlog.ts';
import { mergeOk, mergeSum } from './split.ts';
import { answerWait } from './wait.ts';

/**
 * What a client asks the server about: the proxy answers for the whole, asks every shard, or one that stands for all.
 */
export function answerServer(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  switch (row.name) {
    case 'time':
      return answer(proxy, client, array(timeOfDay().map(part => bulk(String(part)))));
    case 'info':
      return sendInfo(proxy, client, args);
    case 'role':
      return answer(proxy, client, ROLE);
    case 'lastsave':
      return askEveryShard(proxy, client, row, args, mergeOldest);
    case 'wait':
      return answerWait(proxy, client, args);
    case 'slowlog|get':
    case 'slowlog|len':
    case 'slowlog|reset':
      return answerSlowlog(proxy, client, row, args);
    case 'latency|reset':
      return askEveryShard(proxy, client, row, args, mergeSum);
    case 'memory|purge':
    case 'config|resetstat':
      return askEveryShard(proxy, client, row, args, mergeOk);
    case 'config|get':
      return sendConfigGet(proxy, client, args);
    case 'acl|whoami':
      return answer(proxy, client, bulk(client.user));
    default:
      // Reports of one process, or the same of all: LATENCY, MEMORY, ACL CAT.
      return forward(proxy, client, row, args, reachableShard(proxy));
  }
}

function askEveryShard(
  proxy: Proxy,
  client: Client,
  row: CommandRow,
  args: Arguments,
  merge: (gather: Gather) => void,
): Verdict {
  toEveryShard(proxy, client, args.bytes.subarray(args.from, args.to), row.isWrite, merge);
  return Verdict.Done;
}

/** LASTSAVE: everything written before this moment (seconds since 1970) is on every primary's disk. */
function mergeOldest(gather: Gather): void {
  const failed = gather.error;
  if (failed !== null) return gather.client.fulfil(gather.slot, failed);
  const moments = gather.parts.filter(part => part[0] === COLON);
  const oldest = Math.min(...moments.map(part => Number(part.toString('latin1', 1, part.length - 2))));
  gather.client.fulfil(gather.slot, integer(oldest));
}

function answerSlowlog(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  const { slowlog } = proxy;
  if (row.name === 'slowlog|len') return answer(proxy, client, integer(slowlog.length));
  if (row.name === 'slowlog|reset') {
    slowlog.reset();
    return answer(proxy, client, SHARED.ok);
  }
  if (args.count > 3) return answerSubcommandError(proxy, client, args);
  const count = args.count === 3 ? integerArgument(args, 2) : 10n;
  if (count === null || count < -1n) {
    return answerError(proxy, client, 'ERR count should be greater than or equal to -1');
  }
  return answer(proxy, client, array(slowlog.newest(Number(count)).map(slowlogReply)));
}

/** One entry with Redis's six fields: id, time (s), duration (µs), arguments, address, name of the client. */
function slowlogReply(entry: SlowlogEntry): Buffer {
  return array([
    integer(entry.id),
    integer(Math.floor(entry.wallMs / 1000)),
    integer(Math.round(entry.tookMs * 1000)),
    array(entry.words.map(bulk)),
    bulk(entry.clientAddress),
    bulk(entry.clientName),
  ]);
}

/** Seconds since 1970, and microseconds within the second. */
function timeOfDay(): [number, number] {
  const monotonicMs = performance.now();
  const wallMs = Date.now();
  // The wall clock counts whole milliseconds; the monotonic one fills them in, until the two drift apart.
  if (Math.abs(anchorMs + monotonicMs - wallMs) > 1) anchorMs = wallMs - monotonicMs;
  const micros = Math.floor((anchorMs + monotonicMs) * 1000);
  return [Math.floor(micros / 1e6), micros % 1e6];
}

let anchorMs = Number.NEGATIVE_INFINITY;

/**
 * A primary with no replicas to show: those behind the proxy are not for clients to talk to. Offsets are each shard's
 * own, so there is none for the whole.
 */
const ROLE = array([bulk('master'), SHARED.zero, SHARED.emptyArray]);
