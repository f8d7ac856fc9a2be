import { Route } from '../commands/routes.ts';
import { type CommandRow, Flag } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { encodeCommand, error, nilArray } from '../resp/encoder.ts';
import { MINUS, SHARED } from '../resp/protocol.ts';
import { endOfReply } from '../resp/reply-decoder.ts';
import type { Lane } from '../upstream/lane.ts';
import { acquireRequest, type Failure, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import { type Queued, Transaction } from './block.ts';
import type { Client } from './client.ts';
import { answerConnection } from './connection-commands.ts';
import { dropWatch, lendFor } from './exclusive.ts';
import { CROSSSLOT, failureReply, overloaded } from './failures.ts';
import { anyShard, KEYS_APART, KEYS_NONE, ownerOfKeys, refuse, sortCrossesShards, Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import { findsSetRepl, prepareScript } from './scripts.ts';
import type { Shard } from './shard.ts';

/**
 * MULTI … EXEC: commands are collected here and sent as one uninterrupted block when EXEC comes.
 *
 *   client   MULTI   SET a   INCR b          EXEC
 *   answer   OK      QUEUED  QUEUED          ◄─ reply of EXEC
 *   node                                     MULTI SET a INCR b EXEC   (one piece, on one lane)
 *
 * What Redis would refuse when it is queued is refused here, in the same words, and spoils the block.
 */

/** Takes a command into the block, or refuses it. */
export function queueCommand(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  const transaction = client.transaction as Transaction;
  if (row.has(Flag.no_multi)) return refuse(proxy, client, error('ERR Command not allowed inside a transaction'));
  if (proxy.shards.length > 1 && NOT_IN_A_BLOCK.has(row.route)) {
    return refuse(proxy, client, error(`ERR ${spoken(row)} concerns every shard and cannot be part of a transaction`));
  }
  if (row.route === Route.Sort && sortCrossesShards(proxy, args)) return refuse(proxy, client, CROSSSLOT);
  if (row.route === Route.Eval && findsSetRepl(row, args)) {
    return refuse(
      proxy,
      client,
      error('ERR scripts that use redis.set_repl are refused: no replica gets what they write'),
    );
  }
  if (transaction.bytes > proxy.config.proxy.limits.bulkBytes || !proxy.pool.admitsSmall()) {
    proxy.metrics.overloaded.heldBytes += 1;
    return refuse(proxy, client, overloaded('proxy.limits.heldBytes'));
  }
  const owner = row.hasKeys ? ownerOfKeys(proxy, row, args) : KEYS_NONE;
  const mayDiffer = proxy.config.proxy.transactions === 'split' && client.watch === null;
  if (owner === KEYS_APART) return refuse(proxy, client, CROSSSLOT);
  if (owner >= 0) {
    const fixed = client.watch?.shard ?? transaction.shard;
    if (fixed >= 0 && fixed !== owner) {
      if (!mayDiffer) return refuse(proxy, client, CROSSSLOT);
      transaction.split = true;
    }
    if (transaction.shard < 0) transaction.shard = owner;
  }
  if (row.name === 'select') transaction.selects = true;
  const local = row.route === Route.Connection && !FORWARDED_IN_A_BLOCK.has(row.name);
  transaction.commands.push({ args: args.clone(), row, shard: Math.max(owner, -1), local });
  transaction.bytes += args.to - args.from;
  client.reply(SHARED.queued);
  return Verdict.Done;
}

/** MULTI, EXEC, DISCARD. */
export function answerTransaction(proxy: Proxy, client: Client, row: CommandRow): Verdict {
  const { transaction } = client;
  if (row.name === 'multi') {
    if (transaction !== null) {
      client.reply(error('ERR MULTI calls can not be nested'));
      return Verdict.Done;
    }
    client.transaction = new Transaction();
    client.plain = false;
    client.reply(SHARED.ok);
    return Verdict.Done;
  }
  if (transaction === null) {
    client.reply(error(`ERR ${row.name.toUpperCase()} without MULTI`));
    return Verdict.Done;
  }
  if (row.name === 'exec') return execute(proxy, client, transaction);
  if (client.watch !== null && client.inFlight > 0) return Verdict.Defer;
  endTransaction(client);
  dropWatch(client);
  client.reply(SHARED.ok);
  return Verdict.Done;
}

function execute(proxy: Proxy, client: Client, transaction: Transaction): Verdict {
  const needsOwn = client.watch !== null || transaction.selects;
  const hasLocal = transaction.commands.some(queued => queued.local);
  if ((needsOwn || hasLocal) && client.inFlight > 0) return Verdict.Defer;
  endTransaction(client);
  if (transaction.spoiled) {
    dropWatch(client);
    client.reply(EXECABORT);
    return Verdict.Done;
  }
  if (client.watch?.lane.closed) {
    dropWatch(client);
    client.reply(nilArray(client.protocol));
    return Verdict.Done;
  }
  if (transaction.commands.length === 0 && client.watch === null) {
    client.reply(SHARED.emptyArray);
    return Verdict.Done;
  }
  if (transaction.split) return executeSplit(proxy, client, transaction);
  const shard = proxy.shards[client.watch?.shard ?? transaction.shard] ?? anyShard(proxy);
  if (needsOwn || hasLocal) return executeAlone(proxy, client, transaction, shard);
  const lane = shard.lane(client.database, client.protocol);
  if (lane.full) {
    proxy.metrics.overloaded.laneQueue += 1;
    return refuse(proxy, client, overloaded('proxy.limits.laneQueue'));
  }
  const request = client.request(true, proxy.nowMs);
  sendBlock(proxy, shard, lane, request, transaction.commands);
  proxy.metrics.commands.write += 1;
  return Verdict.Done;
}

/** The block on a connection lent to this client, or one whose reply must be composed; the client is held meanwhile. */
function executeAlone(proxy: Proxy, client: Client, transaction: Transaction, shard: Shard): Verdict {
  const { watch } = client;
  const database = selectedDatabase(transaction);
  const compose = new BlockReply(proxy, client, transaction);
  let lane: Lane;
  if (watch !== null || transaction.selects) {
    const lent = lendFor(proxy, client, shard, watch);
    if (lent === null) return refuse(proxy, client, overloaded('proxy.limits.exclusive'));
    compose.onDone = (executed: boolean): void => {
      lent.giveBack(executed && !transaction.selects);
      if (executed && database >= 0) client.database = database;
      client.release();
    };
    lane = lent.lane;
  } else {
    lane = shard.lane(client.database, client.protocol);
    compose.onDone = (): void => client.release();
  }
  client.held = true;
  proxy.metrics.commands.exclusive += 1;
  const request = acquireRequest(compose, client, true, proxy.nowMs);
  sendBlock(
    proxy,
    shard,
    lane,
    request,
    transaction.commands.filter(queued => !queued.local),
  );
  return Verdict.Done;
}

/** One block per shard, for clients that use MULTI only to pipeline. */
function executeSplit(proxy: Proxy, client: Client, transaction: Transaction): Verdict {
  if (client.inFlight > 0) return Verdict.Defer;
  const groups = new Map<number, Queued[]>();
  const places: { shard: number; index: number }[] = [];
  for (const queued of transaction.commands) {
    const shard = queued.shard >= 0 ? queued.shard : transaction.shard;
    const group = groups.get(shard) ?? [];
    groups.set(shard, group);
    places.push({ shard, index: group.length });
    group.push(queued);
  }
  const tags = new Map<number, number>();
  const gather = new Gather(client, client.reserve(), () => mergeBlocks(gather, tags, places));
  for (const shard of groups.keys()) tags.set(shard, gather.addPart());
  for (const [index, group] of groups) {
    const shard = proxy.shards[index] as Shard;
    const request = acquireRequest(gather, client, true, proxy.nowMs);
    request.tag = tags.get(index) as number;
    sendBlock(proxy, shard, shard.lane(client.database, client.protocol), request, group);
  }
  proxy.metrics.commands.split += 1;
  return Verdict.Done;
}

function mergeBlocks(
  gather: Gather,
  tags: ReadonlyMap<number, number>,
  places: readonly { shard: number; index: number }[],
): void {
  const failed = gather.error;
  if (failed !== null) return gather.client.fulfil(gather.slot, failed);
  const elements = gather.parts.map(elementsOf);
  const pieces = places.map(place => elements[tags.get(place.shard) as number]?.[place.index] ?? SHARED.nullBulk);
  gather.client.fulfil(gather.slot, Buffer.concat([Buffer.from(`*${places.length}\r\n`), ...pieces]));
}

/** The elements of an array reply, still encoded. */
export function elementsOf(reply: Buffer): Buffer[] {
  const elements: Buffer[] = [];
  let at = reply.indexOf('\r\n') + 2;
  while (at < reply.length) {
    const end = endOfReply(reply, at, reply.length);
    elements.push(reply.subarray(at, end));
    at = end;
  }
  return elements;
}

function sendBlock(proxy: Proxy, shard: Shard, lane: Lane, request: Request, commands: readonly Queued[]): void {
  const pieces: Buffer[] = [];
  for (const { row, args } of commands) {
    if (row.route !== Route.Eval) continue;
    const load = prepareScript(proxy, shard, row, args);
    if (load !== null) pieces.push(load);
  }
  request.skip = pieces.length + commands.length + 1;
  pieces.push(MULTI);
  for (const { args } of commands) pieces.push(args.bytes);
  pieces.push(EXEC);
  const block = Buffer.concat(pieces);
  lane.send(request, block, 0, block.length);
}

/** The reply of a block of which the proxy answers some commands itself. */
class BlockReply implements ReplyReceiver {
  onDone: (executed: boolean) => void = () => {};
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #transaction: Transaction;
  readonly #slot: Request;
  readonly #pieces: Buffer[] = [];

  constructor(proxy: Proxy, client: Client, transaction: Transaction) {
    this.#proxy = proxy;
    this.#client = client;
    this.#transaction = transaction;
    this.#slot = client.reserve();
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    this.#pieces.push(Buffer.from(bytes.subarray(from, to)));
    if (!last) return;
    releaseRequest(request);
    const reply = Buffer.concat(this.#pieces);
    const executed = reply[0] !== MINUS && !reply.equals(SHARED.nullArray) && !reply.equals(SHARED.null3);
    this.#finish(executed ? this.#compose(reply) : reply, executed);
  }

  onSkipped(): void {}

  onFailure(request: Request, failure: Failure, detail: string): void {
    releaseRequest(request);
    const reply = failureReply(failure, detail);
    this.#client.port.onError(reply);
    this.#finish(reply, false);
  }

  #finish(reply: Buffer, executed: boolean): void {
    this.#client.fulfil(this.#slot, reply);
    this.onDone(executed);
  }

  #compose(reply: Buffer): Buffer {
    const { commands } = this.#transaction;
    if (!commands.some(queued => queued.local)) return reply;
    const answered = elementsOf(reply);
    const pieces: Buffer[] = [Buffer.from(`*${commands.length}\r\n`)];
    let next = 0;
    for (const { local, row, args } of commands) {
      if (local) {
        this.#client.capture = [];
        answerConnection(this.#proxy, this.#client, row, args);
        pieces.push(...this.#client.capture);
        this.#client.capture = null;
      } else {
        pieces.push(answered[next] as Buffer);
        next += 1;
      }
    }
    return Buffer.concat(pieces);
  }
}

function endTransaction(client: Client): void {
  client.transaction = null;
  client.settle();
}

/** The database that the last SELECT of the block names; -1: none that is valid. */
function selectedDatabase(transaction: Transaction): number {
  let database = -1;
  for (const { row, args } of transaction.commands) {
    if (row.name !== 'select') continue;
    const text = args.text(1);
    if (/^(0|[1-9]|1[0-5])$/.test(text)) database = Number(text);
  }
  return database;
}

function spoken(row: CommandRow): string {
  return row.name.toUpperCase().replace('|', ' ');
}

const MULTI = encodeCommand(['MULTI']);
const EXEC = encodeCommand(['EXEC']);
const EXECABORT = error('EXECABORT Transaction discarded because of previous errors.');
const FORWARDED_IN_A_BLOCK = new Set(['ping', 'echo', 'select']);
const NOT_IN_A_BLOCK: ReadonlySet<number> = new Set([
  Route.Everywhere,
  Route.Scan,
  Route.Script,
  Route.Function,
  Route.Subscribe,
  Route.ShardSubscribe,
  Route.PubSub,
]);
