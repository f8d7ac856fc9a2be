import { currentRoute, type TopologyMove } from '../../topology/move.ts';
import { confirm } from './confirm.ts';
import { fence, LONG_GRACE_MS } from './fence.ts';
import { nextEpoch, openNext } from './prepare-portion.ts';
import { DONE, type Ending, gaveUp, note, type Procedure, publishChange, together } from './procedure.ts';
import { moveOf, type Side, sideNow, whyNotReady } from './pull-keys.ts';
import { isFailure } from './replies.ts';
import type { World } from './world.ts';

/**
 * M5: a whole walk has found none left, so the taker owns the portion.
 *
 *   the giver's copies have given them away too ─► the sets go, on all copies ─► publish the owner, with new epochs ─► fence
 *
 * From the moment the set is gone nothing is pulled any more, however late. A leader that ends between that and the
 * publication leaves *moving* with nothing left to move: the next one walks, finds none, and comes here again.
 */
export function* closePortion(world: World, walked: Side): Procedure<Ending> {
  const move = moveOf(world);
  const { current } = move;
  const route = currentRoute(move);
  if (route === null || current === null) return DONE;
  const { giver, taker } = route;
  const why = whyNotReady(world, giver) ?? whyNotReady(world, taker);
  if (why !== null) return gaveUp(why);
  const from = sideNow(world, giver);
  if (from.target.runId !== walked.target.runId)
    return gaveUp(`${giver} has another primary since it was walked through`);
  // A copy of the giver that still has such a key would bring it back one day.
  const gone = yield* confirm(world, giver, from.target, []);
  if (!gone.ok) return gaveUp(gone.why);
  const opened = yield* together([openNext(world, giver), openNext(world, taker)]);
  const failed = opened.find(one => one !== null);
  if (typeof failed === 'string') return gaveUp(failed);
  // The one by which is judged what is right comes first: as long as the other is there, nothing is lost by asking again.
  const { thereSet, set } = current;
  const unset =
    (thereSet === null ? null : yield* deleteSet(world, giver, thereSet)) ?? (yield* deleteSet(world, taker, set));
  if (unset !== null) return gaveUp(unset);
  const epochs = [giver, taker].map(name => nextEpoch(world, name));
  yield* publishChange(
    { shards: epochs, runIds: {}, move: arrived(moveOf(world)) },
    `${taker} owns the keys that came from ${giver}`,
  );
  const open = yield* together([giver, taker].map(name => leaveBehind(world, name)));
  const unclosed = open.find(one => one !== null);
  // Before these keys move again both are fenced once more, so that a late proxy can do nothing but wait.
  if (typeof unclosed === 'string') yield* note('warn', 'move', `a fence is not closed: ${unclosed}`, { shard: taker });
  return DONE;
}

function* leaveBehind(world: World, name: string): Procedure<string | null> {
  let open: string | null = null;
  for (let tried = 0; tried < FENCE_TRIES; tried++) {
    const { target, epoch } = sideNow(world, name);
    open = yield* fence(world, target, epoch, LONG_GRACE_MS);
    if (open === null) return null;
  }
  return open;
}

const FENCE_TRIES = 3;

function* deleteSet(world: World, shard: string, set: number): Procedure<string | null> {
  const { target } = sideNow(world, shard);
  const deleted = yield* confirm(world, shard, target, [['UNLINK', world.credentials.pulledSet(set)]]);
  if (!deleted.ok) return deleted.why;
  const [reply] = deleted.replies;
  return isFailure(reply) ? `${shard}: ${reply.error}` : null;
}

function arrived(move: TopologyMove): TopologyMove {
  const way = move.current?.way;
  const moved = move.moved + (way === 'there' ? 1 : way === 'back' ? -1 : 0);
  return { ...move, moved, current: null };
}
