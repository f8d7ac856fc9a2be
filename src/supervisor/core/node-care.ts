import { createReaders, deleteUsers, isProxyUser } from './acl.ts';
import type { CallOutcome } from './effect.ts';
import { call, type Procedure, type Target } from './procedure.ts';
import { failureOf, isFailure, listOf, replyAt } from './replies.ts';
import { shardOf, targetOf, type World } from './world.ts';

/**
 * Small things that are done to one node beside the procedures of its shard.
 */
const LIMIT_MS = 1000;

/**
 * Lets in the reading proxies of this epoch on a replica, and nobody of another; `epoch` null: nobody at all. Returns why
 * not. `isWanted` is asked again before users are changed: meanwhile the node may have been chosen as a primary.
 */
export function* letReadersIn(
  world: World,
  target: Target,
  epoch: number | null,
  isWanted: () => boolean,
): Procedure<string | null> {
  const seen = yield* call(target, [['ACL', 'USERS']], LIMIT_MS);
  const users = listOf(replyAt(seen, 0));
  if (users === null) return failureOf(seen) ?? 'it lists no users';
  if (!isWanted()) return 'no longer wanted';
  const create = epoch === null ? [] : [createReaders(epoch, target.runId, world.credentials)];
  const kept = epoch === null ? '' : (create[0]?.[2] ?? '');
  const commands = [...deleteUsers(users.filter(user => isProxyUser(user) && user !== kept)), ...create];
  return commands.length === 0 ? null : failureOf(yield* call(target, commands, LIMIT_MS));
}

/** What came of ending a script that keeps a node from everything else (R7). */
export type Killed = 'killed' | 'unkillable' | 'unanswered';

export function* killScript(target: Target): Procedure<Killed> {
  const outcome: CallOutcome = yield* call(
    target,
    [
      ['SCRIPT', 'KILL'],
      ['FUNCTION', 'KILL'],
    ],
    LIMIT_MS,
  );
  if (!outcome.ok) return 'unanswered';
  const errors = outcome.replies.filter(isFailure);
  return errors.some(({ error }) => error.startsWith('UNKILLABLE')) ? 'unkillable' : 'killed';
}

/**
 * Ends a node that nobody counts on any more, and whose script cannot be ended; it saves nothing half-written. At once:
 * without NOW a busy node waits for a replica that lags, and looks at the time of that wait only when it is busy no more.
 */
export function* shutDown(target: Target): Procedure<string | null> {
  return failureOf(yield* call(target, [['SHUTDOWN', 'NOSAVE', 'NOW']], LIMIT_MS));
}

/**
 * Raises the mark to an epoch that was just published, so that a cold start can tell what is older. Not before: of an
 * epoch that never was no copy may speak. Where it is refused it is tried again, and told, every few seconds.
 */
export function* markPublished(world: World, shardName: string): Procedure<void> {
  const { primary, epoch } = shardOf(world, shardName);
  yield* call(targetOf(world, primary), [world.raiseMark(shardName, epoch)], LIMIT_MS);
}

export interface Raised {
  /** Null: the mark is raised, or nothing is known. */
  readonly refusal: string | null;
  /** Users that the node has now; null: not known. */
  readonly users: readonly string[] | null;
}

/** Raises a shard's mark, and looks by the way whom its primary lets in. */
export function* raiseMark(world: World, primary: Target, shard: string, epoch: number): Procedure<Raised> {
  const outcome = yield* call(primary, [world.raiseMark(shard, epoch), ['ACL', 'USERS']], LIMIT_MS);
  // Without an answer nothing is known; the detector judges that.
  return { refusal: outcome.ok ? failureOf(outcome) : null, users: listOf(replyAt(outcome, 1)) };
}
