import { replicaUser } from '../../topology/credentials.ts';
import { createProxies, deleteUsers } from './acl.ts';
import { fence, GRACE_MS } from './fence.ts';
import { call, DONE, type Ending, gaveUp, type Procedure, publish } from './procedure.ts';
import { failureOf, isFailure, replyAt } from './replies.ts';
import { shardOf, targetOf, type World } from './world.ts';

/**
 * A new epoch on the same primary: gives service back after a switch-over that was given up, or when a primary was found
 * without the user of its epoch.
 */
const LIMIT_MS = 500;

export function* renew(world: World, shardName: string, why: string): Procedure<Ending> {
  const { primary, epoch, joining } = shardOf(world, shardName);
  const target = targetOf(world, primary);
  const opened = yield* call(
    target,
    [
      ['CLIENT', 'UNPAUSE'],
      createProxies(epoch + 1, target.runId, world.credentials),
      ...deleteUsers(joining === null ? [] : [replicaUser(joining)]),
    ],
    LIMIT_MS,
  );
  if (!opened.ok || opened.replies.some(isFailure)) return gaveUp(`${primary}: ${failureOf(opened)}`);
  yield* publish({ ...shardOf(world, shardName), epoch: epoch + 1, paused: false, joining: null }, why);
  const open = yield* fence(world, target, epoch + 1, GRACE_MS);
  return open === null ? DONE : gaveUp(`the fence is not closed: ${open}`);
}

/** R3, giving up: the door of the joining copy first, then the word that nobody is joining. */
export function* giveUpJoining(world: World, shardName: string, why: string): Procedure<Ending> {
  const { primary, joining } = shardOf(world, shardName);
  if (joining === null) return DONE;
  const cut = yield* call(targetOf(world, primary), deleteUsers([replicaUser(joining)]), LIMIT_MS);
  if (isFailure(replyAt(cut, 0)) || !cut.ok) return gaveUp(`${primary}: ${failureOf(cut)}`);
  yield* publish({ ...shardOf(world, shardName), joining: null }, why);
  return DONE;
}
