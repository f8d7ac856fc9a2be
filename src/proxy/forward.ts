import { databaseOfKey, findChannels, findKeys, KeyPositions } from '../commands/keys.ts';
import { Route } from '../commands/routes.ts';
import type { CommandRow } from '../commands/row.ts';
import { patternFollowsKey, sortPatterns } from '../commands/sort-patterns.ts';
import { MOST_LANES } from '../config/budget.ts';
import type { Arguments } from '../resp/arguments.ts';
import { LARGE_BYTES } from '../resp/command-decoder.ts';
import { ON_THE_MOVE } from '../ring/ring.ts';
import type { Lane } from '../upstream/lane.ts';
import type { Client } from './client.ts';
import { bind, refusalOfWrite, termsOf } from './commitment.ts';
import { copyLane, sendToCopy } from './copy-reads.ts';
import { CROSSSLOT, overloaded } from './failures.ts';
import type { Proxy } from './proxy.ts';
import { ReadFrom } from './rules.ts';
import type { Shard } from './shard.ts';

/**
 * Finds the shard of a command's keys and sends the command there: what every way of carrying one out needs.
 */
export const Verdict = {
  /** Carried out, or on its way. */
  Done: 0,
  /** It must wait until all earlier commands of this client are answered: present it again then. */
  Defer: 1,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/**
 * Sends the command to a shard, byte for byte: to its primary, or where its terms allow it to a copy.
 *
 * `Defer`: a copy owes this client answers, and this command is the primary's.
 */
export function forward(proxy: Proxy, client: Client, row: CommandRow, args: Arguments, shard: Shard): Verdict {
  const terms = proxy.rules.uniform ?? termsOf(proxy, row, args);
  if (terms.readFrom !== ReadFrom.Primary) {
    const copy = copyLane(proxy, client, row, terms, shard);
    if (copy !== null && proxy.pool.admitsSmall()) {
      proxy.metrics.commands.read += 1;
      sendToCopy(proxy, client, args, copy);
      return Verdict.Done;
    }
  }
  if (client.copyReads > 0) return Verdict.Defer;
  if (terms.minimumCopies > 1) {
    const refusal = refusalOfWrite(row, terms, shard);
    if (refusal !== null) return refuse(proxy, client, refusal);
  }
  const lane = shard.lane(client.database, client.protocol);
  if (lane.full) return refuseOverload(proxy, client, 'laneQueue');
  if (!proxy.pool.admitsSmall() || isCrowded(proxy, lane)) return refuseOverload(proxy, client, 'heldBytes');
  if (row.isWrite) proxy.metrics.commands.write += 1;
  else proxy.metrics.commands.read += 1;
  const request = client.request(row.isWrite, proxy.nowMs);
  bind(request, proxy, client, row.effect, terms, shard);
  const length = args.to - args.from;
  if (length > LARGE_BYTES) {
    const { from, to } = args;
    const owned = client.port.takeOwned();
    if (owned !== null) {
      lane.sendOwned(request, owned, from, to);
      return Verdict.Done;
    }
  }
  lane.send(request, args.bytes, args.from, args.to);
  return Verdict.Done;
}

/** A shard that is away may hold half of what may be held in all: the others need the rest. */
function isCrowded(proxy: Proxy, lane: Lane): boolean {
  return !lane.ready && lane.heldBytes > proxy.pool.boundBytes / 2;
}

/** Answers with an error of Ringside's own, or in Redis's words, and counts it. */
export function refuse(proxy: Proxy, client: Client, reply: Buffer): Verdict {
  proxy.metrics.commands.refused += 1;
  client.port.onError(reply);
  client.transaction?.spoil();
  client.reply(reply);
  return Verdict.Done;
}

/** Answers that a bound is reached, and counts it. */
export function refuseOverload(proxy: Proxy, client: Client, bound: 'laneQueue' | 'heldBytes'): Verdict {
  proxy.metrics.overloaded[bound] += 1;
  return refuse(proxy, client, overloaded(`proxy.limits.${bound}`));
}

/**
 * Index of the shard that owns all keys of the command; a negative code otherwise. Leaves the keys in `KEYS`, and in
 * `keysOnTheMove` how many of them must pass the gate first.
 */
export function ownerOfKeys(proxy: Proxy, row: CommandRow, args: Arguments): number {
  KEYS.count = 0;
  keysOnTheMove = 0;
  const count =
    row.route === Route.ShardPublish || row.route === Route.ShardSubscribe
      ? findChannels(row, args, KEYS)
      : findKeys(row, args, KEYS);
  if (count < 0) return KEYS_WRONG;
  if (count === 0) return KEYS_NONE;
  if (owners.length < count) owners = new Uint16Array(count * 2);
  let same = true;
  for (let i = 0; i < count; i += 1) {
    const key = KEYS.at[i] as number;
    const owner = proxy.ring.ownerOf(args.bytes, args.starts[key] as number, args.lengths[key] as number);
    if (owner >= ON_THE_MOVE) keysOnTheMove += 1;
    // Sixteen bits: the shard alone.
    owners[i] = owner;
    if (owners[i] !== owners[0]) same = false;
  }
  return same ? (owners[0] as number) : KEYS_APART;
}

/** Its keys lie on several shards. */
export const KEYS_APART = -1;
/** It has no keys. */
export const KEYS_NONE = -2;
/** Its arguments are wrong, so that its keys are unknown; every node refuses it in Redis's words. */
export const KEYS_WRONG = -3;

/** The keys of the command that `ownerOfKeys` looked at last, and the shard of each. */
export const KEYS = new KeyPositions();
export let owners = new Uint16Array(64);
/** How many of them are of the portion on the move: they may not be used before the gate lets the command pass. */
export let keysOnTheMove = 0;

/** A key and the database in which it lies; its bytes are its own. */
export interface PlacedKey {
  readonly database: number;
  readonly key: Buffer;
}

/**
 * Where a key of the command may lie, for a client that has selected `database`: what COPY makes lies where it says; a
 * script that selects databases, or that nobody knows, may mean the key in any of them.
 */
export function databasesOf(
  proxy: Proxy,
  row: CommandRow,
  args: Arguments,
  at: number,
  database: number,
): readonly number[] {
  if (row.route === Route.Eval && proxy.scripts.maySelect(row, args)) return ALL_DATABASES;
  const named = databaseOfKey(row, args, at, database);
  return [named < ALL_DATABASES.length ? named : database];
}

/** A lane for each database and protocol. */
const ALL_DATABASES = Array.from({ length: MOST_LANES / 2 }, (_, i) => i);

/** Copies of the keys that `ownerOfKeys` looked at last, of a client that has selected this database. */
export function copyKeys(proxy: Proxy, row: CommandRow, args: Arguments, database: number): PlacedKey[] {
  const keys: PlacedKey[] = [];
  for (let i = 0; i < KEYS.count; i += 1) {
    const at = KEYS.at[i] as number;
    for (const where of databasesOf(proxy, row, args, at, database)) keys.push({ database: where, key: args.copy(at) });
  }
  return keys;
}

/** The shard for what has no key: always the same one, so that what such commands leave behind is found again. */
export function anyShard(proxy: Proxy): Shard {
  return proxy.home;
}

export function forwardByKeys(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  const owner = ownerOfKeys(proxy, row, args);
  if (owner === KEYS_APART) return refuse(proxy, client, CROSSSLOT);
  if (keysOnTheMove > 0) {
    const verdict =
      row.route === Route.ShardPublish ? proxy.gate.passChannels(client) : proxy.gate.passKeys(client, row, args);
    if (verdict !== null) return verdict;
  }
  return forward(proxy, client, row, args, owner < 0 ? anyShard(proxy) : (proxy.shards[owner] as Shard));
}

/** Whether a BY or GET pattern of SORT may look up keys of another shard. */
export function sortCrossesShards(proxy: Proxy, args: Arguments): boolean {
  if (proxy.holders.length === 1) return false;
  KEYS.count = 0;
  const count = sortPatterns(args, KEYS);
  for (let i = 0; i < count; i += 1) {
    if (!patternFollowsKey(args, 1, KEYS.at[i] as number, proxy.topology.ring.hashTag)) return true;
  }
  return false;
}

/** Whether it looks up keys that it does not name: by a BY or GET pattern of SORT. */
export function looksUpKeys(args: Arguments): boolean {
  KEYS.count = 0;
  return sortPatterns(args, KEYS) > 0;
}
