import { ADMIN_USER, proxyUser, replicaUser } from '../../topology/credentials.ts';
import { closeDoor, createAdmin, createSupervisor, deleteUsers, isReplicaUser, otherUsers, termOf } from './acl.ts';
import type { CallOutcome } from './effect.ts';
import { type Mark, parseMark, readMark } from './mark.ts';
import { call, type Procedure, type Target } from './procedure.ts';
import { type ClientLine, clientsOf, failureOf, isFailure, listOf, replyAt } from './replies.ts';
import { setUpNode } from './set-up-node.ts';
import { nodeOf, type Ready, type World } from './world.ts';

/**
 * R7: a leader takes over a node, before it does or believes anything there.
 *
 * Create the user of this term, *then* list the users: of two leaders at least one sees the other. A higher term there
 * ends this leadership. Everything after that goes over connections of the term's own user, so that a leader which has
 * been deposed on this node can no longer clean up after its successor.
 */
export type Taking =
  | { readonly kind: 'ready'; readonly ready: Ready }
  /** Not this time; to be tried again. */
  | { readonly kind: 'again'; readonly why: string }
  /** Not without a person. */
  | { readonly kind: 'refused'; readonly why: string; readonly isForeign?: true }
  | { readonly kind: 'superseded'; readonly term: number };

const LIMIT_MS = 1000;

/** `mayBeForeign`: also where it holds data that was never of this cluster, which a person gives up. */
export function* takeOver(world: World, target: Target, mayBeForeign = false): Procedure<Taking> {
  let outcome = yield* createThenList(world, target);
  if (!outcome.ok && outcome.why === 'denied') {
    const refused = yield* makeAdmin(world, target, mayBeForeign);
    if (refused !== null) return refused;
    outcome = yield* createThenList(world, target);
  }
  const users = listOf(replyAt(outcome, 1));
  if (users === null) return { kind: 'again', why: failureOf(outcome) ?? 'it lists no users' };
  const higher = Math.max(0, ...users.map(user => termOf(user) ?? 0));
  if (higher > world.term) return { kind: 'superseded', term: higher };
  const stranger = strangerThan(world, target, parseMark(replyAt(outcome, 2)), clientsOf(replyAt(outcome, 3)));
  if (stranger !== null) return { kind: 'refused', why: stranger };
  const cleaned = yield* clean(world, target, users);
  if (cleaned !== null) return { kind: 'again', why: cleaned };
  return yield* setUpNode(world, target, users);
}

function* createThenList(world: World, target: Target): Procedure<CallOutcome> {
  const create = createSupervisor(world.term, target.runId, world.credentials);
  return yield* call(target, [create, ['ACL', 'USERS'], readMark, ['CLIENT', 'LIST']], LIMIT_MS, 'admin');
}

/**
 * Deletes each older leader's user, which closes its connections, and each user that the topology does not call for;
 * closes every door. This also holds for a node that comes back with users which it had saved (R8): it is called for
 * nothing.
 */
function* clean(world: World, target: Target, users: readonly string[]): Procedure<string | null> {
  const olderTerms = users.filter(user => (termOf(user) ?? world.term) < world.term);
  const calledFor = usersCalledFor(world, target);
  const doors = users.filter(user => isReplicaUser(user) && calledFor.includes(user));
  const commands = [
    ...deleteUsers(olderTerms),
    ...deleteUsers(otherUsers(users, calledFor)),
    ...doors.map(closeDoor),
    ['ACL', 'USERS'],
  ];
  return failureOf(yield* call(target, commands, LIMIT_MS));
}

/**
 * On the primary's recorded incarnation: its epoch's proxies and the in-sync replicas, not the joining one. On an in-sync
 * replica's: this epoch's reading proxies. On every other: nobody.
 */
export function usersCalledFor(world: World, { nodeId, runId }: Target): string[] {
  if (nodeOf(world, nodeId).runId !== runId) return [];
  for (const shard of world.topology.shards) {
    if (shard.primary === nodeId) return [proxyUser(shard.epoch), ...shard.inSync.map(replicaUser)];
    if (shard.inSync.includes(nodeId)) return world.settings.replicaReads ? [proxyUser(shard.epoch)] : [];
  }
  return [];
}

/** Enters an incarnation that has no admin yet as the settings say, looks whose it is, and makes the admin. */
function* makeAdmin(world: World, target: Target, mayBeForeign: boolean): Procedure<Taking | null> {
  const seen = yield* call(target, [['ACL', 'USERS'], readMark, ['CLIENT', 'LIST']], LIMIT_MS, 'access');
  if (!seen.ok && seen.why === 'denied') {
    return {
      kind: 'refused',
      why: `it lets in neither ${ADMIN_USER} nor nodeAccess: is the secret, or nodeAccess, another one?`,
    };
  }
  const [users, marks, clients] = [listOf(replyAt(seen, 0)), replyAt(seen, 1), clientsOf(replyAt(seen, 2))];
  if (isFailure(marks) && /unknown command/i.test(marks.error)) {
    return { kind: 'refused', why: 'it has no functions: Ringside needs Redis 7.0 or newer' };
  }
  const mark = parseMark(marks);
  if (isFailure(replyAt(seen, 0))) {
    const why =
      strangerThan(world, target, mark, null) ??
      'either another cluster, or one with another secret, has set it up, or nodeAccess names a user that may not administrate';
    return { kind: 'refused', why: `${why} (${failureOf(seen)})` };
  }
  if (users === null || clients === null) return { kind: 'again', why: failureOf(seen) ?? 'it lists no users' };
  if (users.includes(ADMIN_USER)) {
    return {
      kind: 'refused',
      why: `it has a ${ADMIN_USER} with another password: it belongs to another cluster, or the secret was changed`,
    };
  }
  const why = strangerThan(world, target, mark, clients);
  if (why !== null) return { kind: 'refused', why };
  const foreign = mayBeForeign ? null : foreignData(world, target, mark);
  if (foreign !== null) return { kind: 'refused', why: foreign, isForeign: true };
  const made = yield* call(target, [createAdmin(world.topology.cluster, world.credentials)], LIMIT_MS, 'access');
  const failure = failureOf(made);
  return failure === null ? null : { kind: 'again', why: failure };
}

/** Why this node is not ours to manage; null: it is. */
function strangerThan(
  world: World,
  target: Target,
  mark: Mark | null,
  clients: readonly ClientLine[] | null,
): string | null {
  const { cluster } = world.topology;
  if (mark !== null && mark.cluster !== cluster) {
    return `it holds shard ${mark.shard} of cluster ${mark.cluster}, and this is ${cluster}: correct its address under nodes`;
  }
  const isServing = nodeOf(world, target.nodeId).runId === target.runId;
  if (!isServing && clients?.some(client => client.name.startsWith('sentinel-'))) {
    return 'a Redis Sentinel manages it: take it out of the Sentinel (SENTINEL REMOVE) first';
  }
  return null;
}

/**
 * What a node holds is discarded when it becomes a copy. So data that was never ours is not touched, unless its shard has
 * yet to be formed and may be meant to begin with it.
 */
function foreignData(world: World, target: Target, mark: Mark | null): string | null {
  const { report } = world.node(target.nodeId);
  if (mark !== null || report === null || report.keys === 0 || nodeOf(world, target.nodeId).runId !== null) return null;
  const shard = world.topology.shards.find(one => one.nodes.includes(target.nodeId));
  const isUnformed = shard !== undefined && nodeOf(world, shard.primary).runId === null;
  if (isUnformed) return null;
  const empty = shard === undefined ? `empty it (ringside node empty ${target.nodeId})` : 'empty it';
  return `it holds ${report.keys} keys that are not of this cluster, which becoming a copy would discard: ${empty}, or correct its address`;
}
