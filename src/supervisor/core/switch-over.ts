import { replicaUser } from '../../topology/credentials.ts';
import { deleteUsers } from './acl.ts';
import { choosePrimary } from './choose-primary.ts';
import { promoteChosen, readCandidate, standAndRead } from './fail-over.ts';
import { fence } from './fence.ts';
import { parseMark, readMark } from './mark.ts';
import { reportCommand } from './node-report.ts';
import { call, type Ending, gaveUp, note, type Procedure, publish, rest, type Target } from './procedure.ts';
import { isAttached, look } from './replication.ts';
import { failureOf, listOf, lookOf, replyAt } from './replies.ts';
import { nodeOf, shardOf, standingOf, targetOf, type World } from './world.ts';

/**
 * R5: a planned change of primary, in which no write errs.
 *
 * Proxies are told to finish what is under way, hold the rest and leave; then the primary is made to stand as still as
 * the others, and one of them takes over as after a loss, with the old primary as one that follows. Whatever goes wrong
 * before the promotion, the shard machine gives service back by a new epoch on the old primary.
 */
const LIMIT_MS = 500;
/** How long proxies may take to finish what is under way; longer than in a fail-over, since nothing is lost yet. */
const LEAVE_MS = 500;
/** Writes of the old primary are paused for no longer than this, should this leader end half-way. */
const PAUSE_MS = 3000;
const CATCH_UP_MS = 1000;

export function* switchOver(
  world: World,
  shardName: string,
  to: string,
  why: string = 'as ordered',
): Procedure<Ending> {
  const { primary, epoch } = shardOf(world, shardName);
  const old = targetOf(world, primary);
  yield* note('info', 'switchover', `${to} is to replace ${primary}, ${why}`, { shard: shardName, nodeId: to });
  yield* publish(
    { ...shardOf(world, shardName), epoch: epoch + 1, paused: true },
    `switch over to ${to}: proxies leave ${primary}`,
  );
  const open = yield* fence(world, old, epoch + 1, LEAVE_MS);
  if (open !== null) return gaveUp(`the fence is not closed: ${open}`);
  // Expiry would go on moving the offset.
  const paused = yield* call(old, [['CLIENT', 'PAUSE', String(PAUSE_MS), 'WRITE']], LIMIT_MS);
  if (failureOf(paused) !== null) return gaveUp(`${primary}: ${failureOf(paused)}`);
  const behind = yield* catchUp(world, shardName, to, old);
  if (behind !== null) return gaveUp(behind);
  return yield* handOver(world, shardName, to, old, why);
}

/** Until the chosen one has all that the primary has. */
function* catchUp(world: World, shardName: string, to: string, old: Target): Procedure<string | null> {
  const beganMs = world.nowMs;
  const address = nodeOf(world, shardOf(world, shardName).primary);
  for (;;) {
    const primary = yield* look(old, LIMIT_MS);
    const chosen = yield* look(targetOf(world, to), LIMIT_MS);
    if (primary === null || chosen === null) return `${primary === null ? old.nodeId : to} does not answer`;
    if (!isAttached(chosen.report, primary.report, address)) return `${to} is not attached`;
    if (chosen.report.offset >= primary.stream.offset) return null;
    if (world.nowMs - beganMs >= CATCH_UP_MS)
      return `${to} has ${chosen.report.offset} of ${primary.stream.offset} bytes`;
    yield* rest(2);
  }
}

/**
 * Without replicas the old primary sends no more pings, so that its offset stands; and without proxies nothing can be
 * acknowledged. It is read, but keeps its role until the others follow the new one.
 */
function* handOver(world: World, shardName: string, to: string, old: Target, why: string): Procedure<Ending> {
  const { inSync } = shardOf(world, shardName);
  const cut = yield* call(
    old,
    [...deleteUsers(inSync.map(replicaUser)), ['ACL', 'USERS'], readMark, reportCommand],
    LIMIT_MS,
  );
  const [users, mark, found] = [listOf(replyAt(cut, -3)), parseMark(replyAt(cut, -2)), lookOf(replyAt(cut, -1))];
  const last = readCandidate(world, shardName, old, users, mark, found);
  if (last === null || failureOf(cut) !== null)
    return gaveUp(`${old.nodeId}: ${failureOf(cut) ?? 'it cannot be a candidate'}`);
  const standing = yield* standAndRead(
    world,
    shardName,
    inSync.filter(id => standingOf(world, id) === 'there'),
  );
  const chosen = standing.find(one => one.target.nodeId === to);
  if (chosen === undefined) return gaveUp(`${to} does not stand still`);
  if (chosen.stream.offset < last.stream.offset || chosen.stream.id !== last.stream.id) {
    return gaveUp(`${to} has ${chosen.stream.offset} of ${last.stream.offset} bytes`);
  }
  // The chosen one comes first among equals.
  const choice = choosePrimary([chosen, ...standing.filter(one => one !== chosen), last]);
  if (choice?.winner !== chosen) return gaveUp(`another copy is ahead of ${to}`);
  return yield* promoteChosen(world, shardName, choice, `switched over from ${old.nodeId}, ${why}`, old.nodeId);
}
