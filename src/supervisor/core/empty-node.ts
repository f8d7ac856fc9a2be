import { deleteUsers, otherUsers } from './acl.ts';
import { askHoldings, type Found, foundOf, isNothing, keysOf } from './holdings.ts';
import { call, type Procedure, rest, type Target } from './procedure.ts';
import { promote } from './replication.ts';
import { failureOf } from './replies.ts';
import type { World } from './world.ts';

/**
 * Discards all that a spare holds, by order of a person: it is then as a process that was started for the first time.
 *
 *   look ─► may it be? ─► discard, in one step ─► look again ─► … ─► nothing left: have its disk say so, too
 *
 * Before each try it is asked anew whether the node is still nobody's, and holds no more than was shown. From there to the
 * discarding nobody can make it a member: not this leader, which remembers (`World.isEmptying`); and no other, since a
 * later leader puts a node to use only after it has deleted this term's user there (R7), which closes the connection over
 * which the discarding comes, however late. A lost answer is no matter: each later call of this term begins with closing
 * what may still hold the last one (`CallDesk`).
 */
const LOOK_MS = 1000;
/** Memory is freed beside; but a node that saves itself to disk writes that before it answers. */
const DISCARD_MS = 10_000;
/** One that holds data which was never ours is taken over first; any may be taken over anew meanwhile. */
const READY_MS = 5000;
const LOOK_AGAIN_MS = 20;
const TRIES = 3;
const RETRY_MS = 200;

export interface Leave {
  readonly target: Target;
  /** Why it may not be done, by what the node says now; null: it may. */
  readonly objection: (found: Found) => string | null;
}

export interface Emptied {
  /** What kept it from being done; null: it is empty. */
  readonly why: string | null;
  /** Keys that are gone. */
  readonly keys: number;
  /** Why the dump on its disk could not be replaced: started again, it may come back with what it held. Null: it was. */
  readonly disk: string | null;
}

export function* emptyNode(world: World, { target, objection }: Leave): Procedure<Emptied> {
  let keys = 0;
  const kept = (why: string): Emptied => ({ why, keys, disk: null });
  let trouble: string | null = null;
  for (let left = TRIES; ; left--) {
    // Who was shut out there may have been so by a later leader: only a whole take-over tells (R7).
    const untaken = yield* untilReady(world, target);
    if (untaken !== null) return kept(untaken);
    const seen = yield* call(target, askHoldings, LOOK_MS);
    const found = foundOf(seen);
    if (found !== null) {
      const why = objection(found);
      if (why !== null) return kept(why);
      if (isNothing(found.holdings)) return { why: null, keys, disk: yield* saveNothing(target) };
    }
    if (left === 0) return kept(trouble ?? 'somebody goes on writing to it');
    if (found !== null) {
      keys = Math.max(keys, keysOf(found.holdings));
      trouble = failureOf(yield* call(target, discard(found), DISCARD_MS));
    } else trouble = failureOf(seen) ?? 'it does not say what it holds';
    if (trouble !== null) yield* rest(RETRY_MS);
  }
}

/** Null: it is. */
function* untilReady(world: World, { nodeId, runId }: Target): Procedure<string | null> {
  const beganMs = world.nowMs;
  for (;;) {
    const { ready, needs } = world.node(nodeId);
    if (ready?.runId === runId) return null;
    if (world.nowMs - beganMs >= READY_MS) return `it was not taken over${needs === null ? '' : `: ${needs}`}`;
    yield* rest(LOOK_AGAIN_MS);
  }
}

/**
 * The mark goes with the data, in one step: without them it would speak for an empty copy (R10). A node that follows takes
 * no such command, so it follows nobody from here on; and nobody whom we have let in follows it.
 */
function discard({ users }: Found): string[][] {
  return [
    [...promote],
    ...deleteUsers(otherUsers(users)),
    ['MULTI'],
    ['FUNCTION', 'FLUSH', 'ASYNC'],
    ['FLUSHALL', 'ASYNC'],
    ['EXEC'],
  ];
}

/** What a full sync or an earlier life has left on its disk would come back with the next start. */
function* saveNothing(target: Target): Procedure<string | null> {
  return failureOf(yield* call(target, [['SAVE']], DISCARD_MS));
}
