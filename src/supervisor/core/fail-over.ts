import { replicaUser } from '../../topology/credentials.ts';
import { closeDoor, createProxies, createReplica, deleteUsers, isReplicaUser, otherUsers } from './acl.ts';
import { type Candidate, type Choice, choosePrimary } from './choose-primary.ts';
import { parseMark, readMark } from './mark.ts';
import { reportCommand } from './node-report.ts';
import { call, DONE, type Ending, gaveUp, note, type Procedure, publish, type Target, together } from './procedure.ts';
import { awaitAttached, checkLinks, follow, isAttached, killLinks, look, promote, standStill } from './replication.ts';
import { clientsOf, failureOf, isFailure, type Look, listOf, lookOf, replyAt } from './replies.ts';
import { membersOf, nodeOf, shardOf, standingOf, stayingOf, targetOf, type World } from './world.ts';

/**
 * R4: one of the copies that hold every acknowledged write becomes the primary.
 *
 *   stand still ─► read ─► promote the one that is furthest ─► the others follow ─► close, look, publish
 *
 * From the moment the first candidate stands still, the lost primary can have nothing acknowledged, wherever it is: each
 * acknowledgement needs every in-sync copy. So there is no hurry that could lose a write, and all of it is hurried.
 */
const LIMIT_MS = 250;
/** A partial resync behind the promoted one takes milliseconds; who needs longer is made a copy again afterwards. */
const ATTACH_MS = 150;
/** Links that are none of ours are closed; that they are still there so often means that somebody lets them in. */
const STRANGER_TRIES = 3;

export function* failOver(world: World, shardName: string, cause: string): Procedure<Ending> {
  const shard = shardOf(world, shardName);
  const able = membersOf(shard).filter(id => standingOf(world, id) === 'there' && world.node(id).health !== 'busy');
  // Of equal ones the first is promoted: one that is drained would have to hand over again.
  const asked = [...new Set([...stayingOf(world, able), ...able])];
  const candidates = yield* standAndRead(world, shardName, asked);
  const choice = choosePrimary(candidates);
  if (choice === null) return gaveUp(`no copy can be promoted (asked: ${asked.join(', ') || 'none'})`);
  yield* note('warn', 'failover', describe(shard.primary, cause, choice), {
    shard: shardName,
    nodeId: choice.winner.target.nodeId,
  });
  return yield* promoteChosen(world, shardName, choice, cause);
}

/**
 * R4.1: recorded incarnations that are not loading and carry the shard's mark, pointed at nobody and read when they stand.
 * Whoever does not answer in time is no candidate.
 */
export function* standAndRead(world: World, shardName: string, ids: readonly string[]): Procedure<Candidate[]> {
  const found = yield* together(ids.map(id => standStillAndRead(world, shardName, id)));
  return found.filter(one => one !== null);
}

function* standStillAndRead(world: World, shardName: string, id: string): Procedure<Candidate | null> {
  const target = targetOf(world, id);
  const seen = yield* call(target, [standStill, ['ACL', 'USERS'], readMark, reportCommand], LIMIT_MS);
  if (isFailure(replyAt(seen, 0))) return null;
  return readCandidate(
    world,
    shardName,
    target,
    listOf(replyAt(seen, 1)),
    parseMark(replyAt(seen, 2)),
    lookOf(replyAt(seen, 3)),
  );
}

export function readCandidate(
  world: World,
  shardName: string,
  target: Target,
  users: readonly string[] | null,
  mark: ReturnType<typeof parseMark>,
  found: Look | null,
): Candidate | null {
  if (found === null || users === null) return null;
  const isRight = found.report.runId === target.runId && !found.report.loading;
  const isMarked = mark !== null && mark.cluster === world.topology.cluster && mark.shard === shardName;
  return isRight && isMarked ? { ...found, target, users } : null;
}

/** R4.2 to R4.4. `last`: turned to the new primary after all others (R5: the old primary). */
export function* promoteChosen(
  world: World,
  shardName: string,
  { winner, followers }: Choice,
  cause: string,
  last: string | null = null,
): Procedure<Ending> {
  const { target } = winner;
  const promoted = yield* promoteOne(world, winner, followers);
  if (typeof promoted === 'string') return gaveUp(promoted);
  const first = followers.filter(one => one.target.nodeId !== last);
  const then = followers.filter(one => one.target.nodeId === last);
  const attached = [
    ...(yield* turnAll(world, target, promoted, first)),
    ...(yield* turnAll(world, target, promoted, then)),
  ];
  const kept = yield* closeAndLook(
    world,
    target,
    followers.map(({ target: { nodeId } }) => nodeId),
    attached,
  );
  if (kept === null) return gaveUp(`${target.nodeId} no longer answers, or has links that cannot be closed`);
  return yield* open(world, shardName, target, kept, cause);
}

/**
 * R4.2: users of an earlier life as a primary are deleted, doors opened for those that can follow, and only then is it
 * promoted: nobody finds it a primary with other users than these.
 */
function* promoteOne(world: World, winner: Candidate, followers: readonly Candidate[]): Procedure<Look | string> {
  const { target, users } = winner;
  const outcome = yield* call(
    target,
    [
      ...deleteUsers(otherUsers(users)),
      ...followers.map(one => createReplica(one.target.nodeId, target.runId, world.credentials)),
      promote,
      // It may be the old primary of a switch-over that was given up, and its writes still paused.
      ['CLIENT', 'UNPAUSE'],
      reportCommand,
    ],
    LIMIT_MS,
  );
  const found = lookOf(replyAt(outcome, -1));
  const failure = failureOf(outcome);
  if (failure !== null || found === null)
    return `${target.nodeId} is not promoted: ${failure ?? 'INFO cannot be read'}`;
  return found.report.role === 'primary' ? found : `${target.nodeId} is not promoted: it is still a replica`;
}

/** R4.3: returns those attached within the bound. */
function* turnAll(world: World, primary: Target, promoted: Look, others: readonly Candidate[]): Procedure<string[]> {
  const turned = yield* together(others.map(one => turn(world, primary, promoted, one)));
  return others.filter((_, index) => turned[index] === true).map(one => one.target.nodeId);
}

function* turn(world: World, primary: Target, promoted: Look, { target }: Candidate): Procedure<boolean> {
  const address = nodeOf(world, primary.nodeId);
  // It may be the old primary of a switch-over, whose writes are paused: its new primary's would be as well.
  const commands = [...follow(target.nodeId, primary, address, world.credentials), ['CLIENT', 'UNPAUSE']];
  if (failureOf(yield* call(target, commands, LIMIT_MS)) !== null) return false;
  const goal = {
    primary: promoted.report,
    address,
    offset: promoted.stream.offset,
    withinMs: ATTACH_MS,
    refuseFull: true,
  };
  return (yield* awaitAttached(world, target, goal)) === null;
}

/**
 * R4.4: every door closed, the users of the dropped deleted, and *then* a look at who is attached by exactly one link.
 * Returns those; null: the promoted one itself does not answer.
 */
function* closeAndLook(
  world: World,
  primary: Target,
  invited: readonly string[],
  attached: readonly string[],
): Procedure<string[] | null> {
  let kept = [...attached];
  let dropped = invited.filter(id => !attached.includes(id));
  let commands = [...kept.map(id => closeDoor(replicaUser(id))), ...deleteUsers(dropped.map(replicaUser))];
  for (let tried = 0; tried <= invited.length + STRANGER_TRIES; tried++) {
    const closed = yield* call(primary, [...commands, ['CLIENT', 'LIST', 'TYPE', 'replica'], reportCommand], LIMIT_MS);
    const [clients, seen] = [clientsOf(replyAt(closed, -2)), lookOf(replyAt(closed, -1))];
    if (clients === null || seen === null || failureOf(closed) !== null) return null;
    const { unsound, strangers } = checkLinks(clients, kept);
    const looks = yield* together(kept.map(id => look(targetOf(world, id), LIMIT_MS)));
    const address = nodeOf(world, primary.nodeId);
    dropped = kept.filter((id, index) => {
      const found = looks[index] ?? null;
      return unsound.includes(id) || found === null || !isAttached(found.report, seen.report, address);
    });
    // A link that was just closed may still be listed; it is gone after the next round of the node's event loop.
    if (dropped.length === 0 && strangers.length === 0) return kept;
    kept = kept.filter(id => !dropped.includes(id));
    const known = strangers.filter(isReplicaUser);
    commands = [
      ...deleteUsers([...new Set([...dropped.map(replicaUser), ...known])]),
      ...killLinks(strangers.filter(user => !known.includes(user))),
    ];
  }
  return null;
}

/** The new epoch's user and mark on the new primary, then the word to all. */
function* open(
  world: World,
  shardName: string,
  primary: Target,
  kept: readonly string[],
  cause: string,
): Procedure<Ending> {
  const { epoch: published } = shardOf(world, shardName);
  const epoch = published + 1;
  // The mark rises above that of every copy that is dropped, but does not yet speak of an epoch that may never be
  // published: should the old primary serve on after all, its own mark has to stay the newer one.
  const opened = yield* call(
    primary,
    [createProxies(epoch, primary.runId, world.credentials), world.raiseMark(shardName, published)],
    LIMIT_MS,
  );
  if (!opened.ok || isFailure(opened.replies[0])) return gaveUp(`${primary.nodeId}: ${failureOf(opened)}`);
  const refusal = opened.replies[1];
  if (isFailure(refusal)) {
    yield* note('error', 'mark', `the mark of ${shardName} cannot be raised: ${refusal.error}`, { shard: shardName });
  }
  const shard = shardOf(world, shardName);
  const next = { ...shard, epoch, primary: primary.nodeId, inSync: [...kept], joining: null, paused: false };
  yield* publish(next, `${primary.nodeId} is primary: ${cause}`, { [primary.nodeId]: primary.runId });
  return DONE;
}

function describe(from: string, cause: string, { winner, followers, dropped }: Choice): string {
  const names = (list: readonly Candidate[]): string =>
    list.map(one => `${one.target.nodeId} at ${one.stream.offset}`).join(', ') || 'nobody';
  const { target, stream } = winner;
  return `${target.nodeId} (at ${stream.offset}) replaces ${from}: ${cause}; it is followed by ${names(followers)}; to be copied to in full: ${names(dropped)}`;
}
