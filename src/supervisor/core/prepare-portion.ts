import { type CurrentPortion, currentRoute, type Portion, routeOf } from '../../topology/move.ts';
import { PULLED_FIRST, PULLED_SHUT } from '../../topology/pull.ts';
import { createProxies, deleteUsers, olderProxies } from './acl.ts';
import { confirm, whyNoPrimary } from './confirm.ts';
import { fence, LONG_GRACE_MS } from './fence.ts';
import { call, DONE, type Ending, gaveUp, type Procedure, publishChange, together } from './procedure.ts';
import { moveOf, sideNow, whyNotReady } from './pull-keys.ts';
import { failureOf, isFailure, listOf, replyAt } from './replies.ts';
import { shardOf, standingOf, targetOf, type World } from './world.ts';

/**
 * M1: the keys of one portion are on their way, and nobody touches them who does not know it.
 *
 *   users of the next epochs ─► publish *preparing* ─► fences, the set, the giver's copies ─► publish *moving*
 *
 * The set is made after *preparing* is published, when its number stands in the topology: a set that was made before, by a
 * leader that then ended, nobody would know of. Nobody pulls anything until *moving* is published, so that comes to the
 * same. Whatever is done after *preparing* may be done again, by this leader or the next.
 */
const LIMIT_MS = 500;

/** How a portion's journey begins. */
export interface Departure {
  readonly index: number;
  readonly way: CurrentPortion['way'];
  readonly set: number;
  readonly thereSet: number | null;
}

/** Ends with `closed` where the set of the way there is gone, so that it cannot be turned round (M6). */
export function* preparePortion(world: World, departure: Departure): Procedure<Ending> {
  const { index, way, set, thereSet } = departure;
  const { giver, taker } = routeOf(moveOf(world).portions[index] as Portion, way);
  const why = whyNotReady(world, giver) ?? whyNotReady(world, taker);
  if (why !== null) return gaveUp(why);
  const opened = yield* together([openNext(world, giver), openNext(world, taker)]);
  const failed = opened.find(one => one !== null);
  if (typeof failed === 'string') return gaveUp(failed);
  if (thereSet !== null) {
    // As late as can be. Whatever was to close it has been answered, or ends with this: a node is asked one thing at a time.
    const isThere = yield* hasSet(world, giver, thereSet);
    if (isThere !== true) return gaveUp(isThere === false ? SET_IS_GONE : `${giver} does not answer`);
  }
  const current: CurrentPortion = { index, way, set, thereSet, phase: 'preparing' };
  yield* publishChange(
    { shards: [giver, taker].map(name => nextEpoch(world, name)), runIds: {}, move: { ...moveOf(world), current } },
    `keys go from ${giver} to ${taker}: nobody may touch them before that is known`,
  );
  return yield* startMoving(world);
}

export const SET_IS_GONE = 'the set of pulled keys is gone';

export function nextEpoch(world: World, name: string): ReturnType<typeof shardOf> {
  const shard = shardOf(world, name);
  return { ...shard, epoch: shard.epoch + 1 };
}

/** Lets in proxies of a shard's next epoch, on what is still its primary; null: done. */
export function* openNext(world: World, name: string): Procedure<string | null> {
  const { target, epoch } = sideNow(world, name);
  const created = yield* call(target, [createProxies(epoch + 1, target.runId, world.credentials)], LIMIT_MS);
  const failure = failureOf(created);
  if (failure !== null) return `${target.nodeId}: ${failure}`;
  return yield* whyNoPrimary(target, LIMIT_MS);
}

/** Whether a set of pulled keys has its first member; null: that is not known. */
export function* hasSet(world: World, shard: string, set: number): Procedure<boolean | null> {
  const { target } = sideNow(world, shard);
  const seen = yield* call(target, [['SISMEMBER', world.credentials.pulledSet(set), PULLED_FIRST]], LIMIT_MS);
  const reply = replyAt(seen, 0);
  return typeof reply === 'number' ? reply === 1 : null;
}

/** From *preparing* to *moving*. */
export function* startMoving(world: World): Procedure<Ending> {
  const move = moveOf(world);
  const route = currentRoute(move);
  if (route === null || move.current === null) return DONE;
  const { giver, taker } = route;
  const why = whyNotReady(world, giver) ?? whyNotReady(world, taker);
  if (why !== null) return gaveUp(why);
  const { thereSet } = move.current;
  // A late put of the way there would otherwise bring back what was pulled back and changed since.
  const shut = thereSet === null ? [] : [['SADD', world.credentials.pulledSet(thereSet), PULLED_SHUT]];
  const failures = yield* together([
    leave(world, giver, shut),
    leave(world, taker, [['SADD', world.credentials.pulledSet(move.current.set), PULLED_FIRST]]),
    ...shardOf(world, giver).inSync.map(id => readersLeave(world, giver, id)),
  ]);
  const failed = failures.find(one => one !== null);
  if (typeof failed === 'string') return gaveUp(failed);
  yield* publishChange(
    { shards: [], runIds: {}, move: { ...moveOf(world), current: { ...move.current, phase: 'moving' } } },
    `keys go from ${giver} to ${taker}: each is pulled before it is touched`,
  );
  return DONE;
}

/**
 * Fences the older epochs; then every in-sync copy must have what was written until then, and these commands of ours. Else
 * a write that no copy has could be pulled, its shard fail over, and its proxy see that it has not survived, and send it
 * again. And before the fence a FLUSHALL of a proxy that knows nothing could take the set away.
 */
function* leave(world: World, name: string, commands: readonly (readonly string[])[]): Procedure<string | null> {
  const { target, epoch } = sideNow(world, name);
  const open = yield* fence(world, target, epoch, LONG_GRACE_MS);
  if (open !== null) return `the fence of ${name} is not closed: ${open}`;
  const confirmed = yield* confirm(world, name, target, commands);
  if (!confirmed.ok) return confirmed.why;
  const refused = confirmed.replies.find(isFailure);
  return isFailure(refused) ? `${REFUSED}${name}: ${refused.error}` : null;
}

/** What is said where the taker takes nothing. */
export const REFUSED = 'no set of pulled keys can be made on ';

/** Proxies that read from this copy as if nothing moved would find keys as they were. */
function* readersLeave(world: World, giver: string, id: string): Procedure<string | null> {
  // A copy that is lost is dropped by its shard in a moment, and then is none.
  if (standingOf(world, id) !== 'there') return `${id} is not taken over`;
  const target = targetOf(world, id);
  const seen = yield* call(target, [['ACL', 'USERS']], LIMIT_MS);
  const users = listOf(replyAt(seen, 0));
  if (users === null) return `${id}: ${failureOf(seen)}`;
  const older = olderProxies(users, shardOf(world, giver).epoch);
  return older.length === 0 ? null : failureOf(yield* call(target, deleteUsers(older), LIMIT_MS));
}

/** A portion that is *preparing* has moved nothing: it stays where it is, and the set, should there be one, goes. */
export function* takeBack(world: World, why: string): Procedure<Ending> {
  const move = moveOf(world);
  const route = currentRoute(move);
  if (route === null || move.current?.phase !== 'preparing') return DONE;
  const { taker } = route;
  const notReady = whyNotReady(world, taker);
  if (notReady !== null) return gaveUp(notReady);
  const { target } = sideNow(world, taker);
  const deleted = yield* confirm(world, taker, target, [['UNLINK', world.credentials.pulledSet(move.current.set)]]);
  if (!deleted.ok) return gaveUp(deleted.why);
  yield* publishChange({ shards: [], runIds: {}, move: { ...moveOf(world), current: null } }, why);
  return DONE;
}
