import { replicaUser } from '../../topology/credentials.ts';
import type { TopologyShard } from '../../topology/snapshot.ts';
import { closeDoor, createProxies, createReplica, deleteUsers, isReplicaUser } from './acl.ts';
import { fence, GRACE_MS } from './fence.ts';
import { reportCommand } from './node-report.ts';
import { call, DONE, type Ending, gaveUp, note, type Procedure, publish, type Target } from './procedure.ts';
import { giveUpJoining } from './renew.ts';
import { awaitAttached, checkLinks, follow, isAttached, killLinks, look, standStill } from './replication.ts';
import { clientsOf, failureOf, isFailure, listOf, lookOf, replyAt } from './replies.ts';
import { nodeOf, shardOf, targetOf, type World } from './world.ts';

/**
 * R3.2 to R3.5: a copy whose lag is small begins to count.
 *
 * While its door is open it may have two links, and its confirmations mean nothing; so acknowledgements are held from
 * the publication of `joining` to the last one. That is why every wait in here is short.
 */
const LIMIT_MS = 300;
/** A partial resync takes milliseconds; what takes longer is no small lag, and writes are being held. */
const ATTACH_MS = 1000;
/** Each try opens a new link; that a third one fails for the same chance is not to be expected. */
const TRIES = 3;

export function* grow(world: World, shardName: string, nodeId: string): Procedure<Ending> {
  const { primary, epoch } = shardOf(world, shardName);
  const target = targetOf(world, primary);
  const node = targetOf(world, nodeId);
  const created = yield* call(
    target,
    [createProxies(epoch + 1, target.runId, world.credentials), ['ACL', 'USERS'], reportCommand],
    LIMIT_MS,
  );
  const users = listOf(replyAt(created, 1));
  if (users === null || failureOf(created) !== null) return gaveUp(`${primary}: ${failureOf(created)}`);
  // A fail-over that was given up may have made a replica of it.
  if (lookOf(replyAt(created, 2))?.report.role !== 'primary') return gaveUp(`${primary} is no primary any more`);
  yield* publish({ ...shardOf(world, shardName), epoch: epoch + 1, joining: nodeId }, `${nodeId} is about to join`);
  const open = yield* fence(world, target, epoch + 1, GRACE_MS);
  const missing = open ?? (yield* join(world, shardName, target, node, strayCopies(users, shardOf(world, shardName))));
  if (missing !== null) {
    yield* note('warn', 'grow', `${nodeId} does not join: ${missing}`, { shard: shardName, nodeId });
    yield* giveUpJoining(world, shardName, `${nodeId} did not join: ${missing}`);
    return gaveUp(missing);
  }
  const shard = shardOf(world, shardName);
  const inSync = [...shard.inSync.filter(id => id !== nodeId), nodeId];
  yield* publish({ ...shard, inSync, joining: null }, `${nodeId} is in sync`, { [nodeId]: node.runId });
  return DONE;
}

/**
 * Copies that the primary lets in and that do not count: one that was copied from it while nobody else was in sync, and
 * was given up. It may be about to link only now, and from here on its confirmations would stand in for one that counts.
 */
function strayCopies(users: readonly string[], { inSync }: TopologyShard): string[] {
  const counted = inSync.map(replicaUser);
  return users.filter(user => isReplicaUser(user) && !counted.includes(user));
}

/** R3.4, until the look finds nothing amiss. */
function* join(
  world: World,
  shardName: string,
  primary: Target,
  node: Target,
  strays: readonly string[],
): Procedure<string | null> {
  let amiss = '';
  for (let tried = 0; tried < TRIES; tried++) {
    const attached = yield* attach(world, primary, node, strays);
    if (attached !== null) return attached;
    const found = yield* closeThenLook(world, shardName, primary, node);
    if (found === null) return null;
    amiss = found;
  }
  return amiss;
}

/** With a new user and an open door, until it *has* what the primary had when the door was opened. */
function* attach(world: World, primary: Target, node: Target, strays: readonly string[]): Procedure<string | null> {
  const { nodeId } = node;
  const gone = [...new Set([replicaUser(nodeId), ...strays])];
  const address = nodeOf(world, primary.nodeId);
  const opened = yield* call(
    primary,
    [...deleteUsers(gone), createReplica(nodeId, primary.runId, world.credentials), reportCommand],
    LIMIT_MS,
  );
  const seen = lookOf(replyAt(opened, 2));
  if (seen === null || failureOf(opened) !== null)
    return `${primary.nodeId}: ${failureOf(opened) ?? 'INFO cannot be read'}`;
  const turned = yield* call(node, [standStill, ...follow(nodeId, primary, address, world.credentials)], LIMIT_MS);
  if (failureOf(turned) !== null) return `${nodeId}: ${failureOf(turned)}`;
  const { report, stream } = seen;
  const goal = { primary: report, address, offset: stream.offset, withinMs: ATTACH_MS, refuseFull: true };
  return yield* awaitAttached(world, node, goal);
}

/**
 * Close, then look: a replica comes back by itself while its old link, dead but unseen, still counts. With the door
 * closed there is one link or none, and it can only become fewer.
 */
function* closeThenLook(world: World, shardName: string, primary: Target, node: Target): Procedure<string | null> {
  const { nodeId } = node;
  const closed = yield* call(
    primary,
    [closeDoor(replicaUser(nodeId)), ['CLIENT', 'LIST', 'TYPE', 'replica'], reportCommand],
    LIMIT_MS,
  );
  const [clients, seen] = [clientsOf(replyAt(closed, 1)), lookOf(replyAt(closed, 2))];
  if (clients === null || seen === null || isFailure(replyAt(closed, 0)))
    return `${primary.nodeId}: ${failureOf(closed)}`;
  const { unsound, strangers } = checkLinks(clients, [nodeId], shardOf(world, shardName).inSync);
  if (strangers.length > 0) {
    const users = strangers.filter(isReplicaUser);
    yield* call(
      primary,
      [...deleteUsers(users), ...killLinks(strangers.filter(user => !users.includes(user)))],
      LIMIT_MS,
    );
    return `${primary.nodeId} has links of ${strangers.join(', ')}`;
  }
  if (unsound.length > 0) return `${primary.nodeId} has not exactly one link of ${nodeId}`;
  const found = yield* look(node, LIMIT_MS);
  if (found === null) return `${nodeId} does not answer`;
  return isAttached(found.report, seen.report, nodeOf(world, primary.nodeId)) ? null : `${nodeId} is not attached`;
}
