import { currentRoute, type TopologyMove } from '../../topology/move.ts';
import {
  DROP_KEYS,
  evalCommand,
  NO_ROOM,
  NO_SUCH_KEY,
  NOT_THERE,
  PUT_KEYS,
  READ_KEYS,
  TOO_LARGE,
} from '../../topology/pull.ts';
import { confirm } from './confirm.ts';
import type { Reply } from './effect.ts';
import { callBinary, type Procedure, type Target } from './procedure.ts';
import { failureOf, isFailure, replyAt } from './replies.ts';
import { nodeOf, shardOf, standingOf, targetOf, type World } from './world.ts';

/**
 * M2 for the supervisor: some keys of the portion under way are read from the giver, put to the taker, waited for on all
 * its copies, and only then dropped by the giver.
 *
 * M3: all steps are for the epochs and primaries with which they began. Nodes let the supervisor in whatever the epoch,
 * so that is looked at before each step; and a command that was left without an answer is lost, or carried out, before
 * the next one reaches that node (`call-desk.ts`), those of a deposed leader before its successor does anything (R7).
 */
export interface Bond {
  readonly giver: Side;
  readonly taker: Side;
  /** Number of the set of pulled keys. */
  readonly set: number;
  /** Of `return`: number of the set of the way there. */
  readonly thereSet: number | null;
}

export interface Side {
  readonly shard: string;
  readonly epoch: number;
  readonly target: Target;
}

/** Ties the portion under way to how things are now; a text: why nothing can be pulled now. */
export function bind(world: World): Bond | string {
  const { move } = world.topology;
  const route = currentRoute(move);
  const current = move?.current ?? null;
  if (route === null || current === null) return 'no portion is under way';
  const why = whyNotReady(world, route.giver) ?? whyNotReady(world, route.taker);
  if (why !== null) return why;
  const { joining } = shardOf(world, route.taker);
  if (joining !== null) return `${joining} is just joining ${route.taker}`;
  const { set, thereSet } = current;
  return { giver: sideNow(world, route.giver), taker: sideNow(world, route.taker), set, thereSet };
}

export function sideNow(world: World, shard: string): Side {
  const { epoch, primary } = shardOf(world, shard);
  return { shard, epoch, target: targetOf(world, primary) };
}

/** Why nothing can be changed on this shard now, in words; null: it can. */
export function whyNotReady(world: World, name: string): string | null {
  const { primary, paused } = shardOf(world, name);
  if (nodeOf(world, primary).runId === null) return `${name} is not formed yet`;
  const standing = standingOf(world, primary);
  if (standing !== 'there')
    return standing === 'unready' ? `${primary} is not taken over yet` : `${name} has lost its primary ${primary}`;
  const { unwellSinceMs, report } = world.node(primary);
  if (unwellSinceMs !== null) return `${primary} does not answer`;
  if (report?.role !== 'primary') return `${primary} is no primary any more`;
  return paused ? `${name} changes its primary` : null;
}

/** Whether everything is still as it was when it was tied. */
export function holds(world: World, bond: Bond): boolean {
  const now = bind(world);
  if (typeof now === 'string') return false;
  const isSame = (a: Side, b: Side): boolean => isSameHome(a, b) && a.epoch === b.epoch;
  return now.set === bond.set && isSame(now.giver, bond.giver) && isSame(now.taker, bond.taker);
}

/** On the same process, whatever the epoch. */
export function isSameHome(a: Side, b: Side): boolean {
  return a.shard === b.shard && a.target.nodeId === b.target.nodeId && a.target.runId === b.target.runId;
}

export type Pulled =
  | {
      readonly kind: 'pulled';
      readonly keys: number;
      /** Of their values as they were sent. */
      readonly bytes: number;
      /** Keys that were left as they were, since they are too large, and how much memory each takes. */
      readonly large: readonly { readonly key: string; readonly bytes: number }[];
      /** Keys that were left as they were, since the others had taken all the room. */
      readonly left: readonly string[];
      /** How long the giver took to read. */
      readonly readMs: number;
      /** How long the taker and its copies took. */
      readonly putMs: number;
    }
  /** Something has changed, or did not answer: to be begun anew. */
  | { readonly kind: 'again'; readonly why: string }
  /** A set is no longer there: it was closed, or lost. */
  | { readonly kind: 'closed' }
  /** The taker does not take it. */
  | { readonly kind: 'refused'; readonly why: string };

/** What a node says that is just changing its role, or is busy: it passes. */
const PASSING = /^(READONLY|LOADING|MASTERDOWN|BUSY|TRYAGAIN|UNBLOCKED|NOREPLICAS)/;

/** How much memory may be read at a time, in bytes; 0: any amount. */
export interface ReadBounds {
  /** A key that takes more is left as it is. */
  readonly ofKey: number;
  readonly ofAll: number;
}

/** Not more keys than `MOST_KEYS_PER_SCRIPT`; of those that are there, one at least is pulled or told to be too large. */
export function* pullKeys(
  world: World,
  bond: Bond,
  database: number,
  keys: readonly string[],
  most: ReadBounds,
  limitMs: number,
): Procedure<Pulled> {
  const { giver, taker } = bond;
  const pulledSet = (number: number): string => world.credentials.pulledSet(number);
  const there = bond.thereSet === null ? '' : pulledSet(bond.thereSet);
  const beganMs = world.nowMs;
  if (!holds(world, bond)) return CHANGED;
  const read = yield* callBinary(
    giver.target,
    [evalCommand(READ_KEYS, [there, ...keys], [database, most.ofKey, most.ofAll].map(String))],
    limitMs,
  );
  const values = replyAt(read, 0);
  if (values === null) return { kind: 'closed' };
  if (!Array.isArray(values)) return again(giver, failureOf(read));
  const readMs = world.nowMs - beganMs;
  const found = keys.map((key, i) => ({ key, value: values[2 * i] as Reply, expiry: Number(values[2 * i + 1]) }));
  const large = found
    .filter(({ expiry }) => expiry === TOO_LARGE)
    .map(({ key, value }) => ({ key, bytes: Number(value) }));
  const left = found.filter(({ expiry }) => expiry === NO_ROOM).map(({ key }) => key);
  const able = found.filter(({ expiry }) => expiry !== TOO_LARGE && expiry !== NO_ROOM);
  if (able.length === 0) return { kind: 'pulled', keys: 0, bytes: 0, large, left, readMs, putMs: 0 };
  const dumps = able.flatMap(({ value, expiry }) => [typeof value === 'string' ? value : '', String(expiry)]);
  if (!holds(world, bond)) return CHANGED;
  const putAtMs = world.nowMs;
  const put = yield* confirm(
    world,
    taker.shard,
    taker.target,
    [evalCommand(PUT_KEYS, [pulledSet(bond.set), ...able.map(({ key }) => key)], [String(database), ...dumps])],
    limitMs,
  );
  if (!put.ok) return { kind: 'again', why: put.why };
  const [results] = put.replies;
  if (results === null) return { kind: 'closed' };
  if (isFailure(results)) return refusal(taker, results.error);
  if (!Array.isArray(results)) return again(taker, null);
  const putMs = world.nowMs - putAtMs;
  const arrived = able.filter((_, i) => typeof results[i] === 'number');
  if (arrived.length > 0) {
    if (!holds(world, bond)) return CHANGED;
    const names = arrived.map(({ key }) => key);
    const dropped = yield* callBinary(giver.target, [evalCommand(DROP_KEYS, names, [String(database)])], limitMs);
    if (failureOf(dropped) !== null) return again(giver, failureOf(dropped));
  }
  const error = results.find(one => typeof one === 'string');
  if (typeof error === 'string') return refusal(taker, error);
  const moved = arrived.filter(({ expiry }) => expiry !== NO_SUCH_KEY && expiry !== NOT_THERE);
  const bytes = moved.reduce((sum, { value }) => sum + (typeof value === 'string' ? value.length : 0), 0);
  return { kind: 'pulled', keys: moved.length, bytes, large, left, readMs, putMs };
}

const CHANGED: Pulled = { kind: 'again', why: 'giver or taker has changed' };

function again({ target }: Side, failure: string | null): Pulled {
  return { kind: 'again', why: `${target.nodeId}: ${failure ?? 'it answers something else'}` };
}

function refusal({ shard, target }: Side, error: string): Pulled {
  if (PASSING.test(error)) return { kind: 'again', why: `${target.nodeId}: ${error}` };
  return { kind: 'refused', why: `${shard} takes no more keys: ${error} (${target.nodeId})` };
}

/** The move that is on; only asked where there is one. */
export function moveOf(world: World): TopologyMove {
  const { move } = world.topology;
  if (move === null) throw new Error('no keys are being moved');
  return move;
}
