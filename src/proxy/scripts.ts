import { type CommandRow, Effect } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { encodeCommand, error } from '../resp/encoder.ts';
import { MINUS, SHARED } from '../resp/protocol.ts';
import { decodeReply } from '../resp/reply-value.ts';
import { MARK_LIBRARY } from '../topology/mark-library.ts';
import type { Lane } from '../upstream/lane.ts';
import { acquireRequest, type Failure, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { bind, refusalOfWrite, termsOf } from './commitment.ts';
import { mergeFirst, toEveryShard } from './every-shard.ts';
import { CROSSSLOT } from './failures.ts';
import { anyShard, forward, KEYS_APART, keysOnTheMove, ownerOfKeys, refuse, Verdict } from './forward.ts';
import { sendFunctionFlush, sendFunctionRestore } from './function-flush.ts';
import { sendFunctionLoad } from './function-load.ts';
import {
  isOfMark,
  NO_SUCH_FUNCTION,
  NO_SUCH_LIBRARY,
  refusalOfLibrary,
  SET_REPL,
  sendFunctionDump,
  sendFunctionList,
  sendFunctionStats,
} from './function-mark.ts';
import type { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Terms } from './rules.ts';
import { digestOfBody } from './script-cache.ts';
import { sendKill } from './script-kill.ts';
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
  if (callsMark(row, args)) return refuse(proxy, client, NO_SUCH_FUNCTION);
  const owner = ownerOfKeys(proxy, row, args);
  if (owner === KEYS_APART) return refuse(proxy, client, CROSSSLOT);
  const verdict = keysOnTheMove > 0 ? proxy.gate.passKeys(client, row, args) : null;
  if (verdict !== null) return verdict;
  const shard = owner < 0 ? anyShard(proxy) : (proxy.shards[owner] as Shard);
  const terms = termsOf(proxy, row, args);
  const refusal = refusalOfWrite(row, terms, shard);
  if (refusal !== null) return refuse(proxy, client, refusal);
  const lane = shard.lane(client.database, client.protocol);
  // Redis looks at the number of keys first: a call that is wrong in that teaches it no script.
  if (lane.full || !row.name.startsWith('eval') || !keyCountOk(args) || !proxy.pool.admitsSmall()) {
    return forward(proxy, client, row, args, shard);
  }
  const isDigest = namesDigest(row);
  const body = isDigest ? null : args.copy(1);
  const digest = body === null ? digestOf(args) : digestOfBody(body);
  const known = proxy.scripts.get(digest) !== undefined;
  if (known !== isDigest) {
    // Nothing to be learned and nothing to be repaired: a script that is known already, or a digest that nobody knows.
    if (known) shard.scripts.add(digest);
    return forward(proxy, client, row, args, shard);
  }
  const load = body === null ? loadFor(proxy, shard, digest) : null;
  if (body !== null) proxy.scripts.add(body);
  if (row.isWrite) proxy.metrics.commands.write += 1;
  else proxy.metrics.commands.read += 1;
  const call = new ScriptCall(proxy, client, shard, digest, row, terms);
  call.send(lane, load, args.bytes.subarray(args.from, args.to));
  return Verdict.Done;
}

/** Remembers the script of an EVAL that ran in a block, if its reply shows that it is one. */
export function learnScript(proxy: Proxy, args: Arguments, reply: Buffer): void {
  if (keyCountOk(args) && !NO_SCRIPT_AT_ALL.test(reply.toString('latin1', 0, 64))) proxy.scripts.add(args.copy(1));
}

/** Whether the number of keys is one, and not larger than what follows it. */
function keyCountOk(args: Arguments): boolean {
  const text = args.text(2);
  return /^(0|[1-9]\d{0,9})$/.test(text) && Number(text) <= args.count - 3;
}

/** The SCRIPT LOADs that must precede a block: for every digest whose body is known, since a block cannot be repaired. */
export function loadsFor(proxy: Proxy, shard: Shard, commands: readonly ScriptCommand[]): Buffer[] {
  const loads = new Map<string, Buffer>();
  for (const { row, args } of commands) {
    if (!namesDigest(row)) continue;
    const digest = digestOf(args);
    const body = proxy.scripts.get(digest);
    if (body === undefined || loads.has(digest)) continue;
    loads.set(digest, encodeCommand(['SCRIPT', 'LOAD', body]));
    shard.scripts.add(digest);
  }
  return [...loads.values()];
}

interface ScriptCommand {
  readonly row: CommandRow;
  readonly args: Arguments;
}

/** What must precede an EVALSHA on this shard; null when the primary knows the script. */
function loadFor(proxy: Proxy, shard: Shard, digest: string): Buffer | null {
  const body = proxy.scripts.get(digest);
  if (body === undefined || shard.scripts.has(digest)) return null;
  shard.scripts.add(digest);
  return encodeCommand(['SCRIPT', 'LOAD', body]);
}

/** An EVALSHA whose script the proxy could load again, or the first EVAL of a script, which shows if it is one. */
class ScriptCall implements ReplyReceiver {
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #shard: Shard;
  readonly #digest: string;
  readonly #row: CommandRow;
  readonly #terms: Terms;
  readonly #slot: Request;
  /** Bytes before the call itself: the SCRIPT LOAD that went with it. */
  #loadBytes = 0;
  #repaired = false;
  /** The first part of an error that was cut. */
  #cut: Buffer | null = null;

  constructor(proxy: Proxy, client: Client, shard: Shard, digest: string, row: CommandRow, terms: Terms) {
    this.#proxy = proxy;
    this.#client = client;
    this.#shard = shard;
    this.#digest = digest;
    this.#row = row;
    this.#terms = terms;
    this.#slot = client.request(row.isWrite, proxy.nowMs);
  }

  send(lane: Lane, load: Buffer | null, call: Buffer): void {
    const request = acquireRequest(this, this.#client, this.#row.isWrite, this.#proxy.nowMs);
    bind(request, this.#proxy, this.#client, this.#row.effect, this.#terms, this.#shard);
    if (load === null) return lane.send(request, call, 0, call.length);
    this.#loadBytes = load.length;
    request.skip = 1;
    const bytes = Buffer.concat([load, call]);
    lane.send(request, bytes, 0, bytes.length);
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    if (this.#cut !== null || (bytes[from] === MINUS && !this.#slot.started)) {
      this.#onError(request, bytes.subarray(from, to), last);
      return;
    }
    if (!last) this.#slot.started = true;
    this.#client.onReply(this.#slot, bytes, from, to, last);
    if (last) releaseRequest(request);
  }

  onSkipped(): void {}

  onFailure(request: Request, failure: Failure, detail: string): void {
    releaseRequest(request);
    if (!this.#client.gone) this.#client.onFailure(this.#slot, failure, detail);
  }

  #onError(request: Request, part: Buffer, last: boolean): void {
    const reply = this.#cut === null ? Buffer.from(part) : Buffer.concat([this.#cut, part]);
    this.#cut = last ? null : reply;
    if (!last) return;
    const text = reply.toString('latin1', 0, 64);
    if (text.startsWith('-NOSCRIPT')) {
      // Whatever else the node was given it has probably lost as well.
      this.#shard.scripts.clear();
      if (this.#repair(request)) return;
    } else if (NO_SCRIPT_AT_ALL.test(text)) {
      this.#proxy.scripts.delete(this.#digest);
    }
    releaseRequest(request);
    if (!this.#client.gone) this.#client.fulfil(this.#slot, reply);
  }

  /** Later commands of the client may be on their way already: then it is left to the client, as with one Redis. */
  #repair(request: Request): boolean {
    const client = this.#client;
    if (this.#repaired || client.gone || client.inFlight > 1) return false;
    const body = this.#proxy.scripts.get(this.#digest);
    if (body === undefined || request.segment === null) return false;
    this.#repaired = true;
    const call = Buffer.from(request.segment.buffer.subarray(request.from + this.#loadBytes, request.to));
    releaseRequest(request);
    const load = encodeCommand(['SCRIPT', 'LOAD', body]);
    const again = acquireRequest(this, client, this.#row.isWrite, this.#proxy.nowMs);
    bind(again, this.#proxy, client, this.#row.effect, this.#terms, this.#shard);
    again.skip = 1;
    this.#loadBytes = load.length;
    const bytes = Buffer.concat([load, call]);
    // Its keys may have gone to another shard since, which may be the one that lacks the script.
    this.#proxy.gate.reroute(again, bytes, 0, bytes.length, client.database, client.protocol);
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
      // An EVAL whose reply is due may yet show that its body is no script.
      if (client.inFlight > 0) return Verdict.Defer;
      // As of now: a FLUSH behind it in the same pipeline must not be seen.
      const known = args
        .copyAll()
        .slice(2)
        .map(digest => proxy.scripts.get(digest.toString('latin1').toLowerCase()) !== undefined);
      // A shard that is yet to be given keys is taught what the others know.
      toEveryShard(proxy, client, bytes, false, one => mergeExists(one, known), Effect.None, proxy.holders);
      return Verdict.Done;
    }
    case 'script|flush':
      if (args.count > 3 || (args.count === 3 && !/^a?sync$/i.test(args.text(2)))) {
        // It flushes nothing: a node says so, in Redis's words.
        return forward(proxy, client, row, args, anyShard(proxy));
      }
      // A LOAD or an EVAL whose reply is due would be learned behind it, though it came before.
      if (client.inFlight > 0) return Verdict.Defer;
      // What is sent from here on comes behind the FLUSH; what another client has on its way may come before it.
      forgetScripts(proxy);
      toEveryShard(proxy, client, bytes, true, gather => onFlushed(proxy, gather));
      return Verdict.Done;
    case 'script|kill':
      return sendKill(proxy, client, 'SCRIPT');
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
    case 'function|load': {
      const refusal = refusalOfLibrary(args.copy(args.count - 1));
      return refusal === null ? sendFunctionLoad(proxy, client, args) : refuse(proxy, client, refusal);
    }
    case 'function|kill':
      return sendKill(proxy, client, 'FUNCTION');
    case 'function|list':
      return sendFunctionList(proxy, client, args);
    case 'function|dump':
      return sendFunctionDump(proxy, client, args);
    case 'function|stats':
      return sendFunctionStats(proxy, client, args);
    case 'function|flush':
      return sendFunctionFlush(proxy, client, args);
    case 'function|restore':
      return sendFunctionRestore(proxy, client, row, args);
    case 'function|delete':
      if (args.text(2) === MARK_LIBRARY) return refuse(proxy, client, NO_SUCH_LIBRARY);
      toEveryShard(proxy, client, args.bytes.subarray(args.from, args.to), true, mergeDeleted, Effect.Write);
      return Verdict.Done;
    default:
      // A word that a newer Redis has, or none: what it does to the mark is not known.
      return refuse(proxy, client, error(`ERR ${row.name.toUpperCase().replace('|', ' ')} is refused by Ringside`));
  }
}

/** A shard that keys have just begun to come to may not have had the library yet. */
function mergeDeleted(gather: Gather): void {
  const isMissing = (part: Buffer): boolean => part.toString('latin1').startsWith('-ERR Library not found');
  const failed = gather.parts.find(part => part[0] === MINUS && !isMissing(part));
  const isDeleted = gather.parts.some(part => part.equals(SHARED.ok));
  gather.client.fulfil(gather.slot, failed ?? (isDeleted ? SHARED.ok : (gather.error ?? SHARED.ok)));
}

function onLoaded(proxy: Proxy, gather: Gather, body: Buffer): void {
  if (gather.error === null) {
    const digest = proxy.scripts.add(body);
    for (const shard of proxy.holders) shard.scripts.add(digest);
  }
  mergeFirst(gather);
}

/** A script counts as existing when every shard has it, or the proxy could give it to those that lack it. */
function mergeExists(gather: Gather, known: readonly boolean[]): void {
  const failed = gather.error;
  if (failed !== null) return gather.client.fulfil(gather.slot, failed);
  const answers = gather.parts.flatMap(part => (part.length > 0 ? [decodeReply(part) as number[]] : []));
  const pieces = known.map((isKnown, i) =>
    isKnown || answers.every(answer => answer[i] === 1) ? SHARED.one : SHARED.zero,
  );
  gather.client.fulfil(gather.slot, Buffer.concat([Buffer.from(`*${pieces.length}\r\n`), ...pieces]));
}

function onFlushed(proxy: Proxy, gather: Gather): void {
  for (const shard of proxy.shards) shard.scripts.clear();
  mergeOk(gather);
}

function forgetScripts(proxy: Proxy): void {
  proxy.scripts.clear();
  for (const shard of proxy.shards) shard.scripts.clear();
}

/** Whether an FCALL names a function of the mark, which clients are not to know of. */
export function callsMark(row: CommandRow, args: Arguments): boolean {
  return row.name.startsWith('fcall') && isOfMark(args.text(1));
}

/** Whether an EVAL names `redis.set_repl`, by which a script decides that its writes reach no replica. */
export function findsSetRepl(row: CommandRow, args: Arguments): boolean {
  return (row.name === 'eval' || row.name === 'eval_ro') && includesSetRepl(args.copy(1));
}

function includesSetRepl(body: Buffer): boolean {
  return body.includes('set_repl');
}

/** Whether it is called by the digest of its script. */
function namesDigest(row: CommandRow): boolean {
  return row.name.startsWith('evalsha');
}

function digestOf(args: Arguments): string {
  return args.text(1).toLowerCase();
}

/** What a node says of a body that does not become a script (Redis's `luaCreateFunction`, `evalExtractShebangFlags`). */
const NO_SCRIPT_AT_ALL =
  /^-ERR (Error compiling script|Unexpected (flag|engine) in script shebang|Invalid script shebang|Unknown lua shebang option)/;
