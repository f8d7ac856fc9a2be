import { blocks } from '../commands/blocking.ts';
import { isStrayedHttp, unknownError, wrongArityError } from '../commands/errors.ts';
import { Route, refusalOf } from '../commands/routes.ts';
import { type CommandRow, Flag } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { error } from '../resp/encoder.ts';
import { ON_THE_MOVE } from '../ring/ring.ts';
import { endBlock } from './block.ts';
import { type Client, ReplyMode } from './client.ts';
import { answerConnection } from './connection-commands.ts';
import { suitsCopies } from './copy-reads.ts';
import { sendEverywhere } from './everywhere.ts';
import { beginBlocking, dropWatch, refuseWatchInMulti, sendUnwatch, sendWatch } from './exclusive.ts';
import { CROSSSLOT, denied } from './failures.ts';
import {
  anyShard,
  forward,
  forwardByKeys,
  KEYS,
  KEYS_APART,
  keysOnTheMove,
  looksUpKeys,
  ownerOfKeys,
  owners,
  refuse,
  refuseOverload,
  sortCrossesShards,
  Verdict,
} from './forward.ts';
import { answerOwn } from './own-commands.ts';
import type { Proxy } from './proxy.ts';
import { sendScan } from './scan.ts';
import { sendEval, sendFunction, sendScript } from './scripts.ts';
import { answerServer } from './server-commands.ts';
import type { Shard } from './shard.ts';
import { sendSplit } from './split.ts';
import { answerTransaction, queueCommand } from './transaction.ts';

/**
 * Decides what becomes of one command: answered here, forwarded, split, or refused.
 *
 * The command's row decides, never its name; the quick way is for a command with one key at a known place, from a
 * client with nothing special about it. Everything else takes the careful way through `dispatchSlow`.
 */
export function dispatch(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const row = proxy.table.find(args);
  if (row !== null) client.lastCommand = row.name;
  if (
    row !== null &&
    row.singleKeyAt > 0 &&
    client.plain &&
    row.route === Route.Forward &&
    row.arityOk(args.count) &&
    proxy.config.proxy.deny.length === 0 &&
    proxy.pausedUntilMs === 0
  ) {
    const key = row.singleKeyAt;
    const start = args.starts[key] as number;
    const length = args.lengths[key] as number;
    const owner = proxy.ring.ownerOf(args.bytes, start, length);
    if (owner >= ON_THE_MOVE) {
      const verdict = proxy.gate.passKey(client, args.bytes, start, length);
      if (verdict !== null) return verdict;
    }
    return forward(proxy, client, row, args, proxy.shards[owner % ON_THE_MOVE] as Shard);
  }
  const { replyMode } = client;
  const verdict = dispatchSlow(proxy, client, args, row);
  if (replyMode === ReplyMode.SkipNext && verdict === Verdict.Done && client.replyMode === ReplyMode.SkipNext) {
    client.replyMode = ReplyMode.On;
    client.settle();
  }
  return verdict;
}

function dispatchSlow(proxy: Proxy, client: Client, args: Arguments, found: CommandRow | null): Verdict {
  if (client.ending) return Verdict.Done;
  if (client.settling) {
    if (client.inFlight > 0) return Verdict.Defer;
    client.settling = false;
    client.settle();
  }
  if (isStrayedHttp(args)) {
    client.port.end('protocol');
    return Verdict.Done;
  }
  const row = found === null || found.subcommands === null ? found : proxy.table.resolve(args);
  if (row === null) return refuse(proxy, client, error(unknownError(found, args)));
  if (!row.arityOk(args.count)) return refuseArity(proxy, client, row);
  if (!client.authenticated && !row.has(Flag.no_auth)) return refuse(proxy, client, NOAUTH);
  if (isDenied(proxy, row)) return refuse(proxy, client, denied(row.name));
  if (row.route === Route.Refused) return refuse(proxy, client, error(refusalOf(row)));
  if (client.protocol === 2 && client.subscriptions > 0 && !WHILE_SUBSCRIBED.has(row.name)) {
    return refuse(
      proxy,
      client,
      error(
        `ERR Can't execute '${row.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`,
      ),
    );
  }
  if (client.transaction !== null && !NOT_QUEUED.has(row.name)) return queueCommand(proxy, client, row, args);
  if (isPaused(proxy, client, row)) {
    proxy.holdPaused(client);
    return Verdict.Defer;
  }
  if (row !== found) client.lastCommand = row.name;
  return carryOut(proxy, client, row, args);
}

function refuseArity(proxy: Proxy, client: Client, row: CommandRow): Verdict {
  if (row.name === 'exec' && client.transaction !== null) {
    // Redis ends the transaction here, and says so.
    endBlock(client, proxy.pool);
    dropWatch(client);
    client.settle();
  }
  return refuse(proxy, client, error(wrongArityError(row)));
}

function carryOut(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  // What copies owe an answer to came first; only reads that may go to copies as well know how to follow it.
  if (client.copyReads > 0 && row.route !== Route.Connection && !suitsCopies(row)) return Verdict.Defer;
  switch (row.route) {
    case Route.Forward:
    case Route.ShardPublish:
      return forwardByKeys(proxy, client, row, args);
    case Route.Sort:
      return forwardSort(proxy, client, row, args);
    case Route.Split:
      return splitByKeys(proxy, client, row, args);
    case Route.Blocking:
      return blocks(row, args) ? blockByKeys(proxy, client, row, args) : forwardByKeys(proxy, client, row, args);
    case Route.AnyNode:
      return forward(proxy, client, row, args, anyShard(proxy));
    case Route.Publish:
      return publish(proxy, client, row, args);
    case Route.Everywhere:
      return sendEverywhere(proxy, client, row, args);
    case Route.Scan:
      return sendScan(proxy, client, args);
    case Route.Eval:
      return sendEval(proxy, client, row, args);
    case Route.Script:
      return sendScript(proxy, client, row, args);
    case Route.Function:
      return sendFunction(proxy, client, row, args);
    case Route.Transaction:
      return answerTransaction(proxy, client, row);
    case Route.Watch:
      return row.name === 'watch' ? watchKeys(proxy, client, row, args) : sendUnwatch(client);
    case Route.Subscribe:
    case Route.ShardSubscribe:
    case Route.PubSub:
      return proxy.subscriptions.carryOut(client, row, args);
    case Route.Connection:
      return answerConnection(proxy, client, row, args);
    case Route.Own:
      return answerOwn(proxy, client, row, args);
    default:
      return answerServer(proxy, client, row, args);
  }
}

function splitByKeys(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  const owner = ownerOfKeys(proxy, row, args);
  const verdict = keysOnTheMove > 0 ? proxy.gate.passKeys(client, row, args) : null;
  if (verdict !== null) return verdict;
  if (owner !== KEYS_APART) {
    return forward(proxy, client, row, args, owner < 0 ? anyShard(proxy) : (proxy.shards[owner] as Shard));
  }
  if (client.copyReads > 0) return Verdict.Defer;
  if (row.step > 1 && (args.count - 1) % row.step !== 0) return refuse(proxy, client, error(wrongArityError(row)));
  if (!proxy.pool.admitsSmall()) {
    return refuseOverload(proxy, client, 'heldBytes');
  }
  return sendSplit(proxy, client, row, args, KEYS, owners);
}

function forwardSort(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  if (sortCrossesShards(proxy, args)) return refuse(proxy, client, CROSSSLOT);
  if (proxy.moving !== null && looksUpKeys(args)) {
    // What it looks up has its key's hash tag, so it is of the portion as well; which keys that are only the node knows.
    ownerOfKeys(proxy, row, args);
    const verdict = keysOnTheMove > 0 ? proxy.gate.awaitEnd(client) : null;
    if (verdict !== null) return verdict;
  }
  return forwardByKeys(proxy, client, row, args);
}

function blockByKeys(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  const owner = ownerOfKeys(proxy, row, args);
  if (owner === KEYS_APART) return refuse(proxy, client, CROSSSLOT);
  const verdict = keysOnTheMove > 0 ? proxy.gate.passKeys(client, row, args) : null;
  if (verdict !== null) return verdict;
  if (client.inFlight > 0) return Verdict.Defer;
  return beginBlocking(proxy, client, row, args, owner < 0 ? anyShard(proxy) : (proxy.shards[owner] as Shard));
}

function watchKeys(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  if (client.transaction !== null) return refuseWatchInMulti(client);
  const owner = ownerOfKeys(proxy, row, args);
  if (owner === KEYS_APART) return refuse(proxy, client, CROSSSLOT);
  if (client.watch !== null && !client.watch.lane.closed && client.watch.shard !== owner)
    return refuse(proxy, client, CROSSSLOT);
  const verdict = keysOnTheMove > 0 ? proxy.gate.passKeys(client, row, args) : null;
  if (verdict !== null) return verdict;
  if (client.inFlight > 0) return Verdict.Defer;
  return sendWatch(proxy, client, args, proxy.shards[owner] as Shard);
}

/**
 * To the shard that owns the channel's name, so that the messages of a channel keep their order. It tells others of what
 * this client did before, so it must not overtake that on another shard: it waits, unless all that is in flight is
 * messages to the same shard.
 */
function publish(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  const owner = proxy.ring.ownerOf(args.bytes, args.starts[1] as number, args.lengths[1] as number) % ON_THE_MOVE;
  const continues = client.publishedTo === owner && client.publishedAs === client.commands - 1;
  if (client.inFlight > 0 && !continues && proxy.shards.length > 1) return Verdict.Defer;
  client.publishedTo = owner;
  client.publishedAs = client.commands;
  return forward(proxy, client, row, args, proxy.shards[owner] as Shard);
}

function isDenied(proxy: Proxy, row: CommandRow): boolean {
  const { deny } = proxy.config.proxy;
  if (deny.length === 0) return false;
  const name = row.name.toUpperCase();
  return deny.includes(name) || deny.includes(name.replace('|', ' ')) || deny.includes(name.split('|')[0] as string);
}

function isPaused(proxy: Proxy, client: Client, row: CommandRow): boolean {
  if (proxy.pausedUntilMs === 0 || row.name.startsWith('client|')) return false;
  if (!proxy.pausedWritesOnly || mayReplicate(row)) return true;
  return row.name === 'exec' && client.transaction?.commands.some(queued => mayReplicate(queued.row)) === true;
}

/** What CLIENT PAUSE WRITE holds: Redis's `write` and `may_replicate`. */
function mayReplicate(row: CommandRow): boolean {
  if (row.has(Flag.write) || row.name === 'pfcount') return true;
  return row.route === Route.Publish || row.route === Route.ShardPublish || (row.route === Route.Eval && row.isWrite);
}

const NOAUTH = error('NOAUTH Authentication required.');

/** Allowed to a RESP2 client that has subscriptions. */
const WHILE_SUBSCRIBED = new Set([
  'subscribe',
  'psubscribe',
  'ssubscribe',
  'unsubscribe',
  'punsubscribe',
  'sunsubscribe',
  'ping',
  'quit',
  'reset',
]);

/** Carried out at once inside MULTI, as in Redis. */
const NOT_QUEUED = new Set(['exec', 'discard', 'multi', 'watch', 'quit', 'reset']);
