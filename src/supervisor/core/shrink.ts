import { replicaUser } from '../../topology/credentials.ts';
import { deleteUsers } from './acl.ts';
import { reportCommand } from './node-report.ts';
import { call, DONE, type Ending, gaveUp, type Procedure, publish, together } from './procedure.ts';
import { isAttached, look } from './replication.ts';
import { failureOf, isFailure, type Look, lookOf, replyAt } from './replies.ts';
import { nodeOf, shardOf, standingOf, targetOf, type World } from './world.ts';

/**
 * R2: copies that have lost their link no longer count.
 *
 * On the primary their users are deleted, and only when that is answered is the smaller set published: from then on
 * nothing that such a copy confirms can stand in for one that counts. Since fewer copies are published, every one that
 * stays has been seen attached after this leader took over both ends (R7); what fails that is dropped with the rest.
 */
const LIMIT_MS = 300;

export interface Suspicion {
  readonly nodeId: string;
  readonly why: string;
  /** Not even asked: it does not answer, or another incarnation does. */
  readonly isLost: boolean;
}

export function* shrink(world: World, shardName: string, suspicions: readonly Suspicion[]): Procedure<Ending> {
  const { primary, epoch } = shardOf(world, shardName);
  const target = targetOf(world, primary);
  const dropped = new Map(suspicions.filter(one => one.isLost).map(one => [one.nodeId, one.why]));
  const first = yield* look(target, LIMIT_MS);
  if (first === null) return gaveUp(`the primary ${primary} does not answer`);
  // A fail-over that was given up may have made a replica of it: what is attached to it then proves nothing.
  if (first.report.role !== 'primary') return gaveUp(`${primary} is no primary any more`);
  const unsound = yield* unattached(world, shardName, first, [...dropped.keys()]);
  for (const id of unsound) dropped.set(id, suspicions.find(one => one.nodeId === id)?.why ?? 'it is not attached');
  if (dropped.size === 0) return DONE;
  for (;;) {
    const { inSync, joining } = shardOf(world, shardName);
    const users = [...dropped.keys(), ...(joining === null ? [] : [joining])].map(replicaUser);
    // The mark is raised, so that after a cold start what was dropped is older than what stays.
    const cut = yield* call(
      target,
      [...deleteUsers(users), reportCommand, world.raiseMark(shardName, epoch)],
      LIMIT_MS,
    );
    if (!cut.ok || isFailure(cut.replies[0])) return gaveUp(`${primary}: ${failureOf(cut)}`);
    const seen = lookOf(replyAt(cut, 1));
    if (seen === null) return gaveUp(`the primary ${primary} does not say how it is`);
    const more = yield* unattached(world, shardName, seen, [...dropped.keys()]);
    if (more.length === 0) {
      const stay = inSync.filter(id => !dropped.has(id));
      yield* publish({ ...shardOf(world, shardName), inSync: stay, joining: null }, reason(dropped));
      return DONE;
    }
    for (const id of more) dropped.set(id, 'it is not attached either');
  }
}

/** Which in-sync replicas, besides those named, are not attached to the primary as it is now. */
export function* unattached(
  world: World,
  shardName: string,
  primary: Look,
  besides: readonly string[],
): Procedure<string[]> {
  const shard = shardOf(world, shardName);
  const asked = shard.inSync.filter(id => !besides.includes(id));
  const address = nodeOf(world, shard.primary);
  const looks = yield* together(asked.map(id => lookIfThere(world, id)));
  return asked.filter((_, index) => {
    const found = looks[index] ?? null;
    return found === null || !isAttached(found.report, primary.report, address);
  });
}

/** What this term has not taken over cannot be seen attached *then*. */
function* lookIfThere(world: World, id: string): Procedure<Look | null> {
  return standingOf(world, id) === 'there' ? yield* look(targetOf(world, id), LIMIT_MS) : null;
}

function reason(dropped: ReadonlyMap<string, string>): string {
  return `no longer in sync: ${[...dropped].map(([id, why]) => `${id} (${why})`).join(', ')}`;
}
