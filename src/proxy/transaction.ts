import { Route } from '../commands/routes.ts';
import { type CommandRow, Flag } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { elementsOf } from '../resp/elements.ts';
import { array, encodeCommand, error, nilArray } from '../resp/encoder.ts';
import { SHARED } from '../resp/protocol.ts';
import type { Lane } from '../upstream/lane.ts';
import { acquireRequest, type Request } from '../upstream/request.ts';
import { endBlock, type Queued, Transaction } from './block.ts';
import { answerHere, BlockReply, teaches } from './block-reply.ts';
import type { Client } from './client.ts';
import { bind, refusalOfWrite, termsOf } from './commitment.ts';
import { dropWatch, lendFor } from './exclusive.ts';
import { CROSSSLOT, overloaded } from './failures.ts';
import {
  anyShard,
  KEYS_APART,
  KEYS_NONE,
  keysOnTheMove,
  looksUpKeys,
  ownerOfKeys,
  type PlacedKey,
  refuse,
  sortCrossesShards,
  Verdict,
} from './forward.ts';
import { SET_REPL } from './function-mark.ts';
import { Gather } from './gather.ts';
import { argumentsOf, ownCall } from './own-commands.ts';
import type { Proxy } from './proxy.ts';
import { callsMark, findsSetRepl, loadsFor } from './scripts.ts';
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
  takeOwners(proxy, client, transaction);
  if (row.has(Flag.no_multi)) return refuse(proxy, client, error('ERR Command not allowed inside a transaction'));
  const obstacle = obstacleOf(proxy, row);
  if (obstacle !== null) {
    return refuse(proxy, client, error(`ERR ${spoken(row)} ${obstacle} and cannot be part of a transaction`));
  }
  const command = commandInBlock(row, args);
  if (command === null) return refuse(proxy, client, error('ERR syntax error'));
  if (row.route === Route.Sort && sortCrossesShards(proxy, args)) return refuse(proxy, client, CROSSSLOT);
  if (row.route === Route.Eval && findsSetRepl(row, args)) return refuse(proxy, client, SET_REPL);
  if (transaction.bytes > proxy.config.proxy.limits.bulkBytes || !proxy.pool.admitsSmall()) {
    proxy.metrics.overloaded.heldBytes += 1;
    return refuse(proxy, client, overloaded('proxy.limits.heldBytes'));
  }
  const owner = row.hasKeys || row.route === Route.ShardPublish ? ownerOfKeys(proxy, row, args) : KEYS_NONE;
  const mayDiffer = proxy.config.proxy.transactions === 'split' && client.watch === null;
  if (owner === KEYS_APART) return refuse(proxy, client, CROSSSLOT);
  if (owner >= 0) {
    // A lost watch holds to no shard: EXEC will answer nil whatever is queued.
    const watched = client.watch !== null && !client.watch.lane.closed ? client.watch.shard : -1;
    const fixed = watched >= 0 ? watched : transaction.shard;
    if (fixed >= 0 && fixed !== owner) {
      if (!mayDiffer) return refuse(proxy, client, CROSSSLOT);
      if (transaction.selects) return refuse(proxy, client, SELECT_IN_SPLIT);
      transaction.split = true;
    }
    if (transaction.shard < 0) transaction.shard = owner;
  }
  if (row.name === 'select') {
    // A block for each shard runs on shared lanes, whose database must never change.
    if (transaction.split) return refuse(proxy, client, SELECT_IN_SPLIT);
    transaction.selects = true;
  }
  const terms = termsOf(proxy, row, args);
  const refusal = owner >= 0 ? refusalOfWrite(row, terms, proxy.shards[owner] as Shard) : null;
  if (refusal !== null) return refuse(proxy, client, refusal);
  transaction.take(row, terms);
  const local =
    ANSWERED_IN_A_BLOCK.has(row.name) || (row.route === Route.Connection && !FORWARDED_IN_A_BLOCK.has(row.name));
  transaction.commands.push({ args: command, row, shard: Math.max(owner, -1), local });
  transaction.bytes += command.to;
  proxy.pool.heldBytes += command.to;
  client.reply(SHARED.queued);
  return Verdict.Done;
}

/** The command as the node will get it; null: its options are wrong. */
function commandInBlock(row: CommandRow, args: Arguments): Arguments | null {
  if (row.route === Route.Own) return ownCall(row, args);
  // A function of the mark is none to clients: no function can have the name that is asked for instead.
  if (callsMark(row, args)) return argumentsOf([row.name, '-', ...args.copyAll().slice(2)]);
  return args.clone();
}

/** Why a command cannot be carried out by one shard's node in the midst of a block; null: it can. */
function obstacleOf(proxy: Proxy, row: CommandRow): string | null {
  if (SUBSCRIBES.has(row.route)) return 'would turn a shared connection into one that only listens';
  // Its cursor is the proxy's own, which no node understands.
  if (row.route === Route.Scan) return 'walks every shard';
  if (row.name === 'config|get') return 'is answered for the whole';
  // Even with a single shard: its mark must be neither shown nor touched.
  if (row.route === Route.Function) return 'concerns every shard';
  return proxy.holders.length > 1 && EVERY_SHARD.has(row.route) ? 'concerns every shard' : null;
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
    client.transaction.ownersVersion = proxy.ownersVersion;
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
  endTransaction(proxy, client);
  dropWatch(client);
  client.reply(SHARED.ok);
  return Verdict.Done;
}

function execute(proxy: Proxy, client: Client, transaction: Transaction): Verdict {
  const needsOwn = client.watch !== null || transaction.selects;
  const hasLocal = transaction.commands.some(queued => queued.local || teaches(queued));
  if ((needsOwn || hasLocal) && client.inFlight > 0) return Verdict.Defer;
  takeOwners(proxy, client, transaction);
  const isDoomed = transaction.spoiled || transaction.apart || client.watch?.lane.closed === true;
  const verdict = isDoomed ? null : passBlock(proxy, client, transaction);
  if (verdict === Verdict.Defer) return verdict;
  endTransaction(proxy, client);
  if (verdict !== null) {
    dropWatch(client);
    return verdict;
  }
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
  if (transaction.apart) {
    dropWatch(client);
    return refuse(proxy, client, CROSSSLOT);
  }
  if (transaction.commands.length === 0 && client.watch === null) {
    client.reply(SHARED.emptyArray);
    return Verdict.Done;
  }
  const refusal = refusalOfBlock(proxy, client, transaction);
  if (refusal !== null) {
    dropWatch(client);
    return refuse(proxy, client, refusal);
  }
  if (transaction.split) return executeSplit(proxy, client, transaction);
  const shard = proxy.shards[client.watch?.shard ?? transaction.shard] ?? anyShard(proxy);
  if (needsOwn) return executeLent(proxy, client, transaction, shard);
  const lane = shard.lane(client.database, client.protocol);
  if (lane.full) return refuseFull(proxy, client);
  if (hasLocal) {
    client.held = true;
    proxy.metrics.commands.write += 1;
    const compose = new BlockReply(proxy, client, transaction, false, () => client.release());
    const request = acquireRequest(compose, client, true, proxy.nowMs);
    bindBlock(request, proxy, client, transaction, shard);
    sendBlock(proxy, shard, lane, request, transaction.commands);
    return Verdict.Done;
  }
  const request = client.request(true, proxy.nowMs);
  bindBlock(request, proxy, client, transaction, shard);
  sendBlock(proxy, shard, lane, request, transaction.commands);
  proxy.metrics.commands.write += 1;
  return Verdict.Done;
}

/** Looks up the owners of the block's keys again, where some keys have got others since they were queued. */
function takeOwners(proxy: Proxy, client: Client, transaction: Transaction): void {
  if (transaction.ownersVersion === proxy.ownersVersion) return;
  transaction.ownersVersion = proxy.ownersVersion;
  const mayDiffer = proxy.config.proxy.transactions === 'split' && client.watch === null && !transaction.selects;
  const { watch } = client;
  let first = watch !== null && !watch.lane.closed ? watch.shard : -1;
  for (const queued of transaction.commands) {
    const { args, row } = queued;
    // What was allowed on a single shard.
    if (obstacleOf(proxy, row) !== null) transaction.spoil();
    // The command as it is sent: GETS and CAS go as scripts.
    const owner = ownerOfKeys(proxy, proxy.table.resolve(args) ?? row, args);
    if (owner === KEYS_APART) transaction.apart = true;
    if (owner < 0) continue;
    queued.shard = owner;
    if (first < 0) first = owner;
    else if (owner !== first && mayDiffer) transaction.split = true;
    else if (owner !== first) transaction.apart = true;
  }
  transaction.shard = transaction.commands.find(({ shard }) => shard >= 0)?.shard ?? -1;
}

/** Whether all keys of the block may be used now; null: they may. */
function passBlock(proxy: Proxy, client: Client, transaction: Transaction): Verdict | null {
  const { gate, moving } = proxy;
  if (moving === null) return null;
  const missing: PlacedKey[] = [];
  let { database } = client;
  let needsEnd = false;
  let needsListeners = false;
  for (const { args, row } of transaction.commands) {
    if (row.name === 'select') {
      database = databaseOf(args, database);
      continue;
    }
    const sent = proxy.table.resolve(args) ?? row;
    ownerOfKeys(proxy, sent, args);
    if (keysOnTheMove === 0) continue;
    if (row.route === Route.ShardPublish) {
      needsListeners ||= moving.phase === 'preparing';
      continue;
    }
    for (const key of gate.missingKeys(database, sent, args)) missing.push(key);
    needsEnd ||= row.route === Route.Sort && looksUpKeys(args);
  }
  if (needsEnd) return gate.awaitEnd(client);
  return missing.length > 0 || needsListeners ? gate.hold(client, missing) : null;
}

/** The copies may have become too few since a command was queued. */
function refusalOfBlock(proxy: Proxy, client: Client, transaction: Transaction): Buffer | null {
  const { terms, changer } = transaction;
  if (terms === null || changer === null || terms.minimumCopies === 1) return null;
  const own = transaction.commands.map(queued => (queued.shard >= 0 ? queued.shard : transaction.shard));
  for (const index of new Set([...own, client.watch?.shard ?? transaction.shard])) {
    const refusal = refusalOfWrite(changer, terms, proxy.shards[index] ?? anyShard(proxy));
    if (refusal !== null) return refusal;
  }
  return null;
}

function bindBlock(request: Request, proxy: Proxy, client: Client, transaction: Transaction, shard: Shard): void {
  bind(request, proxy, client, transaction.effect, transaction.terms ?? proxy.rules.general, shard);
}

/** The block on a connection lent to this client, which is held meanwhile. */
function executeLent(proxy: Proxy, client: Client, transaction: Transaction, shard: Shard): Verdict {
  const { watch } = client;
  const lent = lendFor(proxy, client, shard, watch);
  if (lent === null) return refuse(proxy, client, overloaded('proxy.limits.exclusive'));
  const database = selectedDatabase(transaction);
  client.held = true;
  proxy.metrics.commands.exclusive += 1;
  // EXEC has ended every watch, whatever it answered: only another database spoils the connection for the next client.
  const compose = new BlockReply(proxy, client, transaction, watch !== null, outcome => {
    lent.giveBack(outcome !== 'lost' && !transaction.selects);
    if (outcome === 'executed' && database >= 0) client.database = database;
    client.release();
  });
  const request = acquireRequest(compose, client, true, proxy.nowMs);
  bindBlock(request, proxy, client, transaction, shard);
  sendBlock(proxy, shard, lent.lane, request, transaction.commands);
  return Verdict.Done;
}

/** One block per shard, for clients that use MULTI only to pipeline. */
function executeSplit(proxy: Proxy, client: Client, transaction: Transaction): Verdict {
  const groups = new Map<number, Queued[]>();
  const places: Place[] = [];
  let hasLocal = false;
  for (const queued of transaction.commands) {
    if (queued.local) {
      hasLocal = true;
      places.push(queued);
      continue;
    }
    const shard = queued.shard >= 0 ? queued.shard : transaction.shard;
    const group = groups.get(shard) ?? [];
    groups.set(shard, group);
    places.push({ shard, index: group.length });
    group.push(queued);
  }
  for (const shard of groups.keys()) {
    const lane = (proxy.shards[shard] as Shard).lane(client.database, client.protocol);
    if (lane.full) return refuseFull(proxy, client);
  }
  client.held = hasLocal;
  const tags = new Map<number, number>();
  const gather = new Gather(client, client.reserve(), () => {
    mergeBlocks(proxy, gather, tags, places);
    if (hasLocal) client.release();
  });
  for (const shard of groups.keys()) tags.set(shard, gather.addPart());
  for (const [index, group] of groups) {
    const shard = proxy.shards[index] as Shard;
    const request = acquireRequest(gather, client, true, proxy.nowMs);
    request.tag = tags.get(index) as number;
    bindBlock(request, proxy, client, transaction, shard);
    sendBlock(proxy, shard, shard.lane(client.database, client.protocol), request, group);
  }
  proxy.metrics.commands.split += 1;
  return Verdict.Done;
}

function refuseFull(proxy: Proxy, client: Client): Verdict {
  proxy.metrics.overloaded.laneQueue += 1;
  return refuse(proxy, client, overloaded('proxy.limits.laneQueue'));
}

/** Where the reply of one command of a split block comes from: a shard's reply, or the proxy itself. */
type Place = { readonly shard: number; readonly index: number } | Queued;

function mergeBlocks(proxy: Proxy, gather: Gather, tags: ReadonlyMap<number, number>, places: readonly Place[]): void {
  const { client, slot } = gather;
  const failed = gather.error;
  if (failed !== null) return client.fulfil(slot, failed);
  const elements = gather.parts.map(elementsOf);
  const pieces = places.map(place =>
    'local' in place
      ? answerHere(proxy, client, place)
      : (elements[tags.get(place.shard) as number]?.[place.index] ?? SHARED.nullBulk),
  );
  client.fulfil(slot, array(pieces));
}

/** Those of the commands that are a node's, between MULTI and EXEC, behind the scripts that they need. */
function sendBlock(proxy: Proxy, shard: Shard, lane: Lane, request: Request, commands: readonly Queued[]): void {
  const bodies = commands.filter(queued => !queued.local);
  const loads = loadsFor(
    proxy,
    shard,
    bodies.filter(queued => queued.row.route === Route.Eval),
  );
  request.skip = loads.length + bodies.length + 1;
  const block = Buffer.concat([...loads, MULTI, ...bodies.map(({ args }) => args.bytes), EXEC]);
  lane.send(request, block, 0, block.length);
}

function endTransaction(proxy: Proxy, client: Client): void {
  endBlock(client, proxy.pool);
  client.settle();
}

/** The database that the last SELECT of the block names; -1: none that is valid. */
function selectedDatabase(transaction: Transaction): number {
  let database = -1;
  for (const { row, args } of transaction.commands) {
    if (row.name === 'select') database = databaseOf(args, database);
  }
  return database;
}

/** The database that a SELECT names; where it names none, the one that was selected before. */
function databaseOf(args: Arguments, before: number): number {
  const text = args.text(1);
  return /^(0|[1-9]|1[0-5])$/.test(text) ? Number(text) : before;
}

function spoken(row: CommandRow): string {
  return row.name.toUpperCase().replace('|', ' ');
}

const MULTI = encodeCommand(['MULTI']);
const EXEC = encodeCommand(['EXEC']);
const EXECABORT = error('EXECABORT Transaction discarded because of previous errors.');
const FORWARDED_IN_A_BLOCK = new Set(['ping', 'echo', 'select']);
/** What would show the node behind the proxy, its replicas or its users; and the proxy's own slow log. */
const ANSWERED_IN_A_BLOCK: ReadonlySet<string> = new Set([
  'wait',
  'role',
  'acl|whoami',
  'slowlog|get',
  'slowlog|len',
  'slowlog|reset',
]);
const SELECT_IN_SPLIT = error('ERR SELECT cannot be part of a transaction over several shards; send it before MULTI');
const SUBSCRIBES: ReadonlySet<number> = new Set([Route.Subscribe, Route.ShardSubscribe]);
const EVERY_SHARD: ReadonlySet<number> = new Set([Route.Everywhere, Route.Script, Route.PubSub]);
