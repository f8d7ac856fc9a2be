import { replicaUser } from '../../topology/credentials.ts';
import { createReplica, deleteUsers, otherUsers } from './acl.ts';
import { parseMark, readMark } from './mark.ts';
import { type NodeReport, reportCommand } from './node-report.ts';
import { call, note, type Procedure, rest, type Target } from './procedure.ts';
import { canContinue, follow, look, standStill } from './replication.ts';
import { failureOf, isFailure, type Look, listOf, lookOf, replyAt } from './replies.ts';
import { whyNoCopy } from './set-up-node.ts';
import { nodeOf, shardOf, standingOf, targetOf, type World } from './world.ts';

/**
 * R3.1: a node becomes a copy, away from the primary's links, until its lag is small enough to join.
 *
 * It copies from an in-sync replica, whose own replicas the primary does not count. A node that can go on from what it
 * has by a partial resync skips the copying. Only a node that is not in sync is ever copied to in full (R9).
 */
const LIMIT_MS = 1000;
/** A copy on which nothing moves for so long is begun anew, from another source if there is one. */
const STALLED_MS = 20_000;

export type Rebuilt =
  | { readonly kind: 'ready' }
  /** It needs a full copy, for which there was no leave. */
  | { readonly kind: 'needs copy' }
  | { readonly kind: 'gave up'; readonly why: string };

/** Told while it goes on. */
export interface Progress {
  from: string | null;
  leftBytes: number;
  lagBytes: number | null;
}

export function* rebuild(
  world: World,
  shardName: string,
  nodeId: string,
  mayCopy: () => boolean,
  progress: Progress,
): Procedure<Rebuilt> {
  const node = targetOf(world, nodeId);
  const { primary } = shardOf(world, shardName);
  const misfit = unfit(world, primary, nodeId);
  if (misfit !== null) return { kind: 'gave up', why: misfit };
  const own = yield* standApart(shardName, node);
  if (typeof own === 'string') return { kind: 'gave up', why: own };
  const theirs = yield* look(targetOf(world, primary), LIMIT_MS);
  if (theirs === null) return { kind: 'gave up', why: `the primary ${primary} does not answer` };
  if (own.hasMark && canGoOn(own.look, theirs)) {
    yield* note(
      'info',
      'rebuild',
      `${nodeId} goes on from what it has, ${theirs.stream.offset - own.look.stream.offset} bytes behind`,
      { shard: shardName, nodeId },
    );
    return { kind: 'ready' };
  }
  if (foreign(world, nodeId, own, theirs)) {
    return {
      kind: 'gave up',
      why: `${nodeId} holds ${own.look.report.keys} keys that are not of this shard: empty it, or correct its address`,
    };
  }
  const source = sourceOf(world, shardName);
  // Asked only now, as others may have begun to copy since; and `from` says so to them at once.
  if (!mayCopy()) return { kind: 'needs copy' };
  if (source === null) return { kind: 'gave up', why: 'no in-sync copy to copy from can be reached' };
  progress.from = source;
  yield* note('info', 'rebuild', `${nodeId} copies from ${source}`, { shard: shardName, nodeId });
  return yield* copy(world, shardName, node, source, progress);
}

/** What the checks of R0 say against this copy. */
export function unfit(world: World, primary: string, nodeId: string): string | null {
  const [ours, theirs] = [world.node(nodeId).ready, world.node(primary).ready];
  if (ours === null || theirs === null) return 'not taken over';
  return whyNoCopy(ours, theirs);
}

interface Own {
  readonly look: Look;
  readonly hasMark: boolean;
}

/** R8: whatever it was, it is nobody now: no user of ours, and following nobody. */
export function* standApart(shardName: string, node: Target): Procedure<Own | string> {
  const seen = yield* call(node, [['ACL', 'USERS']], LIMIT_MS);
  const users = listOf(replyAt(seen, 0));
  if (users === null) return failureOf(seen) ?? 'it lists no users';
  const apart = yield* call(node, [standStill, readMark, reportCommand, ...deleteUsers(otherUsers(users))], LIMIT_MS);
  const found = lookOf(replyAt(apart, 2));
  if (found === null || isFailure(replyAt(apart, 0))) return failureOf(apart) ?? 'INFO cannot be read';
  const mark = parseMark(replyAt(apart, 1));
  // A copy that was emptied by a sync that failed half-way keeps its old offset; but not the mark.
  return { look: found, hasMark: mark !== null && mark.shard === shardName && !found.report.loading };
}

/** Either it is of the primary's history, or of the one that the primary had before it was promoted. */
function canGoOn(own: Look, primary: Look): boolean {
  const { previousReplicationId, promotedAtOffset } = primary.report;
  const isOfEarlier = own.stream.id === previousReplicationId && own.stream.offset <= promotedAtOffset;
  return canContinue(isOfEarlier ? { ...own.stream, id: primary.stream.id } : own.stream, primary.stream);
}

/** Data that was never ours: nothing was recorded for this node, it has no mark, and it shares no history. */
function foreign(world: World, nodeId: string, own: Own, primary: Look): boolean {
  const isKnown = nodeOf(world, nodeId).runId !== null || own.hasMark || own.look.report.keys === 0;
  const shared = [primary.stream.id, primary.report.previousReplicationId].includes(own.look.stream.id);
  return !isKnown && !shared;
}

/**
 * An in-sync replica; the primary only when none is published. Not when none can be reached just now: a copy's link to
 * the primary would be counted by `WAIT` in the place of the in-sync copy that does not answer. Null: wait for that one,
 * or until it is out of the count.
 */
function sourceOf(world: World, shardName: string): string | null {
  const { primary, inSync } = shardOf(world, shardName);
  if (inSync.length === 0) return primary;
  return inSync.find(id => standingOf(world, id) === 'there') ?? null;
}

function* copy(world: World, shardName: string, node: Target, source: string, progress: Progress): Procedure<Rebuilt> {
  const { nodeId } = node;
  const from = targetOf(world, source);
  const opened = yield* call(
    from,
    [...deleteUsers([replicaUser(nodeId)]), createReplica(nodeId, from.runId, world.credentials)],
    LIMIT_MS,
  );
  if (failureOf(opened) !== null) return gaveUpCopy(`${source}: ${failureOf(opened)}`);
  const turned = yield* call(node, follow(nodeId, from, nodeOf(world, source), world.credentials), LIMIT_MS);
  if (failureOf(turned) !== null) return gaveUpCopy(`${nodeId}: ${failureOf(turned)}`);
  return yield* awaitSmallLag(world, shardName, node, source, progress);
}

function* awaitSmallLag(
  world: World,
  shardName: string,
  node: Target,
  source: string,
  progress: Progress,
): Procedure<Rebuilt> {
  let moved = { text: '', atMs: world.nowMs };
  const { ready } = world.node(source);
  for (let asked = 0; ; asked++) {
    // Taking it over has deleted the user by which this copy is let in.
    if (world.node(source).ready !== ready) return gaveUpCopy(`${source} was taken over anew`);
    const { primary } = shardOf(world, shardName);
    const own = yield* look(node, LIMIT_MS);
    const theirs = world.node(primary).report;
    if (own !== null) {
      const { following, offset, loading, replicationId } = own.report;
      progress.leftBytes = following?.syncLeftBytes ?? 0;
      const isCopied = following?.linkUp === true && !following.syncing && !loading;
      progress.lagBytes =
        isCopied && theirs !== null && theirs.replicationId === replicationId
          ? Math.max(0, theirs.offset - offset)
          : null;
      if (progress.lagBytes !== null && progress.lagBytes <= world.settings.rebuild.maxLagBytes)
        return { kind: 'ready' };
    }
    // A node that loads a large copy answers late; that alone is no reason to begin anew.
    const text = own === null ? 'silent' : progressOf(own.report);
    if (text !== moved.text) moved = { text, atMs: world.nowMs };
    if (world.nowMs - moved.atMs >= STALLED_MS) return gaveUpCopy('nothing has moved for 20 s');
    yield* rest(asked < 20 ? 10 : 100);
  }
}

/** What changes as long as a copy goes on. Memory moves by itself, and speaks only of a copy that is being read in. */
function progressOf({ following, offset, loading, usedMemoryBytes }: NodeReport): string {
  const isFilling = following?.syncing === true || loading;
  return `${following?.linkUp} ${following?.syncLeftBytes} ${offset} ${isFilling ? usedMemoryBytes : 'not filling'}`;
}

function gaveUpCopy(why: string): Rebuilt {
  return { kind: 'gave up', why };
}
