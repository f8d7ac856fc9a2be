import type { TopologyShard } from '../../topology/snapshot.ts';
import { createProxies, deleteUsers, otherUsers } from './acl.ts';
import { type ColdCopy, chooseColdCopy } from './choose-primary.ts';
import { type Mark, parseMark, readMark } from './mark.ts';
import { reportCommand } from './node-report.ts';
import { call, DONE, type Ending, gaveUp, note, type Procedure, publish, type Target, together } from './procedure.ts';
import { promote } from './replication.ts';
import { failureOf, isFailure, listOf, lookOf, replyAt } from './replies.ts';
import { shardOf, targetOf, type World } from './world.ts';

/**
 * R10: no recorded incarnation of a shard is left, so the marks tell which copy is the most advanced.
 *
 * The chosen one begins alone, as the only copy; the others join it as any node does (R3). Whether all have answered, or
 * a person has said to go on without, is for the shard machine to know.
 */
const LIMIT_MS = 1000;

export interface Gathered extends ColdCopy {
  readonly users: readonly string[];
  /** What it holds is another shard's of this cluster; null: it is not known to be. */
  readonly otherShard: string | null;
}

export function* gatherCopies(world: World, shardName: string, ids: readonly string[]): Procedure<(Gathered | null)[]> {
  return yield* together(ids.map(id => readCopy(world, shardName, targetOf(world, id))));
}

function* readCopy(world: World, shardName: string, target: Target): Procedure<Gathered | null> {
  const seen = yield* call(target, [['ACL', 'USERS'], readMark, reportCommand], LIMIT_MS);
  const [users, report] = [listOf(replyAt(seen, 0)), lookOf(replyAt(seen, 2))?.report];
  if (users === null || report === undefined || report.loading) return null;
  const { keys, usedMemoryBytes } = report;
  const mark = parseMark(replyAt(seen, 1));
  const otherShard = mark !== null && mark.shard !== shardName && keys > 0 ? mark.shard : null;
  return { target, users, keys, usedMemoryBytes, otherShard, mark: markOf(world, shardName, mark) };
}

/** Only this shard's own mark says anything about it. */
function markOf(world: World, shardName: string, mark: Mark | null): Mark | null {
  return mark !== null && mark.cluster === world.topology.cluster && mark.shard === shardName ? mark : null;
}

/** `acceptLoss`: go on with the best of what answers, even with nothing. */
export function* coldStart(
  world: World,
  shardName: string,
  ids: readonly string[],
  acceptLoss: boolean,
): Procedure<Ending> {
  const copies = yield* gatherCopies(world, shardName, ids);
  const present = copies.filter(one => one !== null);
  if (present.length < ids.length && !acceptLoss) return gaveUp('not every node of the shard says what it has');
  const chosen = chooseColdCopy(present);
  const winner = present.find(one => one.target === chosen?.target);
  if (winner === undefined) return gaveUp('no node answers');
  const lacking = whatLacks(shardOf(world, shardName), winner);
  if (lacking !== null && !acceptLoss) return gaveUp(lacking);
  const found = present.map(
    one =>
      `${one.target.nodeId}: ${one.mark === null ? 'no mark' : `epoch ${one.mark.epoch}, counter ${one.mark.counter}`}, ${one.keys} keys`,
  );
  yield* note('warn', 'start', `${shardName} begins again with ${winner.target.nodeId} (${found.join('; ')})`, {
    shard: shardName,
    nodeId: winner.target.nodeId,
  });
  return yield* beginWith(
    world,
    shardName,
    winner,
    acceptLoss ? 'what was left, as ordered' : 'the most advanced copy after all were restarted',
  );
}

/**
 * Why the best copy that is left is none to go on with, for a person to read, who alone can; null: it is.
 *
 * The mark is raised as soon as an epoch is published. So a copy of an earlier one is from before that, such as what a
 * node had on its disk from when it was last copied to in full. Only while writes are held may the mark be one behind.
 */
function whatLacks({ epoch, joining, paused }: TopologyShard, { target, mark }: Gathered): string | null {
  if (mark === null) return 'no node of the shard carries its mark: nothing is left of it';
  const least = joining !== null || paused ? epoch - 1 : epoch;
  if (mark.epoch >= least) return null;
  return `the newest copy that is left, on ${target.nodeId}, is of epoch ${mark.epoch}, and the shard was at ${epoch}: what was written since is not in it`;
}

/**
 * The one copy that there is becomes the primary of a new epoch, above every epoch that a mark speaks of.
 *
 * Without a mark the shard does not serve: none of its copies could be promoted. But until it is published that this one
 * is the shard, its mark says no more than before: a newer copy may come back, and another leader may have to choose.
 */
export function* beginWith(
  world: World,
  shardName: string,
  { target, users, mark }: Gathered,
  why: string,
): Procedure<Ending> {
  const epoch = Math.max(shardOf(world, shardName).epoch, mark?.epoch ?? 0) + 1;
  const outcome = yield* call(
    target,
    [
      ...deleteUsers(otherUsers(users)),
      promote,
      ...(mark === null ? [world.raiseMark(shardName, 0)] : []),
      createProxies(epoch, target.runId, world.credentials),
    ],
    LIMIT_MS,
  );
  if (!outcome.ok || outcome.replies.some(isFailure)) return gaveUp(`${target.nodeId}: ${failureOf(outcome)}`);
  const shard = {
    ...shardOf(world, shardName),
    epoch,
    primary: target.nodeId,
    inSync: [],
    joining: null,
    paused: false,
  };
  yield* publish(shard, `${target.nodeId} is primary: ${why}`, { [target.nodeId]: target.runId });
  return DONE;
}
