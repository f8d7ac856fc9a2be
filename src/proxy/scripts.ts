import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { encodeCommand, error } from '../resp/encoder.ts';
import { COLON, MINUS, SHARED } from '../resp/protocol.ts';
import { decodeReply } from '../resp/reply-value.ts';
import type { Lane } from '../upstream/lane.ts';
import { acquireRequest, type Failure, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { mergeFirst, toEveryShard } from './everywhere.ts';
import { CROSSSLOT } from './failures.ts';
import { anyShard, forward, KEYS_APART, ownerOfKeys, refuse, Verdict } from './forward.ts';
import type { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';
import { mergeOk } from './split.ts';

/**
 * Scripts and functions: run on the shard of their keys, loaded on every shard.
 *
 * One Redis that was given a script knows it. So a digest that this proxy has the body of is given to a primary that is
 * not known to hold it, in front of the EVALSHA and in the same piece; should a node have lost it unseen, its NOSCRIPT is
 * repaired the same way.
 */

/** EVAL, EVALSHA, FCALL and their _RO forms. */
export function sendEval(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  if (findsSetRepl(row, args)) return refuse(proxy, client, SET_REPL);
  const owner = ownerOfKeys(proxy, row, args);
  if (owner === KEYS_APART) return refuse(proxy, client, CROSSSLOT);
  const shard = owner < 0 ? anyShard(proxy) : (proxy.shards[owner] as Shard);
  if (!row.name.startsWith('evalsha')) {
    if (row.name.startsWith('eval')) shard.scripts.add(proxy.scripts.add(args.copy(1)));
    forward(proxy, client, row, args, shard);
    return Verdict.Done;
  }
  const load = prepareScript(proxy, shard, row, args);
  const lane = shard.lane(client.database, client.protocol);
  const known = proxy.scripts.get(digestOf(args)) !== undefined;
  if (lane.full || !known) {
    forward(proxy, client, row, args, shard);
    return Verdict.Done;
  }
  proxy.metrics.commands.write += 1;
  sendDigest(proxy, client, new DigestCall(proxy, client, shard, args), lane, load, args);
  return Verdict.Done;
}

/** What must precede an EVALSHA on this shard; null when the primary knows the script, or nobody does. */
export function prepareScript(proxy: Proxy, shard: Shard, row: CommandRow, args: Arguments): Buffer | null {
  if (!row.name.startsWith('evalsha')) return null;
  const digest = digestOf(args);
  if (shard.scripts.has(digest)) return null;
  const body = proxy.scripts.get(digest);
  if (body === undefined) return null;
  shard.scripts.add(digest);
  return encodeCommand(['SCRIPT', 'LOAD', body]);
}

function sendDigest(
  proxy: Proxy,
  client: Client,
  call: DigestCall,
  lane: Lane,
  load: Buffer | null,
  args: Arguments,
): void {
  const request = acquireRequest(call, client, true, proxy.nowMs);
  if (load === null) return lane.send(request, args.bytes, args.from, args.to);
  request.skip = 1;
  const bytes = Buffer.concat([load, args.bytes.subarray(args.from, args.to)]);
  lane.send(request, bytes, 0, bytes.length);
}

/** One EVALSHA whose script the proxy could load again. */
class DigestCall implements ReplyReceiver {
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #shard: Shard;
  readonly #digest: string;
  readonly #slot: Request;
  #repaired = false;

  constructor(proxy: Proxy, client: Client, shard: Shard, args: Arguments) {
    this.#proxy = proxy;
    this.#client = client;
    this.#shard = shard;
    this.#digest = digestOf(args);
    this.#slot = client.request(true, proxy.nowMs);
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    if (last && bytes[from] === MINUS && this.#repair(request, bytes, from, to)) return;
    this.#client.onReply(this.#slot, bytes, from, to, last);
    if (last) releaseRequest(request);
  }

  onSkipped(): void {}

  onFailure(request: Request, failure: Failure, detail: string): void {
    releaseRequest(request);
    if (!this.#client.gone) this.#client.onFailure(this.#slot, failure, detail);
  }

  /** Later commands of the client may be on their way already: then it is left to the client, as with one Redis. */
  #repair(request: Request, bytes: Buffer, from: number, to: number): boolean {
    const client = this.#client;
    if (this.#repaired || client.gone || client.inFlight > 1) return false;
    if (!bytes.toString('latin1', from, Math.min(to, from + 10)).startsWith('-NOSCRIPT')) return false;
    const body = this.#proxy.scripts.get(this.#digest);
    if (body === undefined || request.segment === null) return false;
    this.#repaired = true;
    const command = request.segment.buffer.subarray(request.from, request.to);
    const again = Buffer.concat([encodeCommand(['SCRIPT', 'LOAD', body]), command]);
    const retry = acquireRequest(this, client, true, this.#proxy.nowMs);
    retry.skip = 1;
    this.#shard.lane(client.database, client.protocol).send(retry, again, 0, again.length);
    releaseRequest(request);
    return true;
  }
}

/** SCRIPT and its subcommands. */
export function sendScript(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  const bytes = args.bytes.subarray(args.from, args.to);
  switch (row.name) {
    case 'script|load': {
      if (includesSetRepl(args.copy(2))) return refuse(proxy, client, SET_REPL);
      const body = args.copy(2);
      toEveryShard(proxy, client, bytes, true, gather => onLoaded(proxy, gather, body));
      return Verdict.Done;
    }
    case 'script|exists': {
      const digests = args
        .copyAll()
        .slice(2)
        .map(digest => digest.toString('latin1').toLowerCase());
      toEveryShard(proxy, client, bytes, false, gather => mergeExists(proxy, gather, digests));
      return Verdict.Done;
    }
    case 'script|flush':
      toEveryShard(proxy, client, bytes, true, gather => onFlushed(proxy, gather));
      return Verdict.Done;
    case 'script|kill':
      toEveryShard(proxy, client, bytes, true, mergeKilled);
      return Verdict.Done;
    default:
      return refuse(
        proxy,
        client,
        error('ERR SCRIPT DEBUG is refused by Ringside: it would stop a node for its other clients'),
      );
  }
}

/** FUNCTION and its subcommands. */
export function sendFunction(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  switch (row.name) {
    case 'function|load':
      if (includesSetRepl(args.copy(args.count - 1))) return refuse(proxy, client, SET_REPL);
      break;
    case 'function|list':
    case 'function|dump':
    case 'function|stats':
      forward(proxy, client, row, args, anyShard(proxy));
      return Verdict.Done;
    default:
      break;
  }
  const merge = row.name === 'function|kill' ? mergeKilled : row.name === 'function|load' ? mergeFirst : mergeOk;
  toEveryShard(proxy, client, args.bytes.subarray(args.from, args.to), true, merge);
  return Verdict.Done;
}

function onLoaded(proxy: Proxy, gather: Gather, body: Buffer): void {
  if (gather.error === null) {
    const digest = proxy.scripts.add(body);
    for (const shard of proxy.shards) shard.scripts.add(digest);
  }
  mergeFirst(gather);
}

/** A script counts as existing when every shard has it, or the proxy could give it to those that lack it. */
function mergeExists(proxy: Proxy, gather: Gather, digests: readonly string[]): void {
  const failed = gather.error;
  if (failed !== null) return gather.client.fulfil(gather.slot, failed);
  const answers = gather.parts.map(part => decodeReply(part) as number[]);
  const pieces = digests.map((digest, i) =>
    proxy.scripts.get(digest) !== undefined || answers.every(answer => answer[i] === 1) ? SHARED.one : SHARED.zero,
  );
  gather.client.fulfil(gather.slot, Buffer.concat([Buffer.from(`*${pieces.length}\r\n`), ...pieces]));
}

function onFlushed(proxy: Proxy, gather: Gather): void {
  if (gather.error === null) {
    proxy.scripts.clear();
    for (const shard of proxy.shards) shard.scripts.clear();
  }
  mergeOk(gather);
}

/** A script runs on one shard; the others say that none does. */
function mergeKilled(gather: Gather): void {
  const well = gather.parts.find(part => part[0] !== MINUS && part[0] !== COLON);
  const odd = gather.parts.find(part => !part.toString('latin1', 0, 9).startsWith('-NOTBUSY'));
  gather.client.fulfil(gather.slot, well ?? odd ?? (gather.parts[0] as Buffer));
}

/** Whether an EVAL names `redis.set_repl`, by which a script decides that its writes reach no replica. */
export function findsSetRepl(row: CommandRow, args: Arguments): boolean {
  return (row.name === 'eval' || row.name === 'eval_ro') && includesSetRepl(args.copy(1));
}

function includesSetRepl(body: Buffer): boolean {
  return body.includes('set_repl');
}

function digestOf(args: Arguments): string {
  return args.text(1).toLowerCase();
}

const SET_REPL = error('ERR scripts that use redis.set_repl are refused by Ringside: no replica gets what they write');
