import { replicaUser } from '../../topology/credentials.ts';
import type { TopologyNode } from '../../topology/snapshot.ts';
import type { NodeReport } from './node-report.ts';
import { reportCommand } from './node-report.ts';
import { call, type Procedure, rest, type Target } from './procedure.ts';
import { type ClientLine, type Look, lookOf, replyAt, type Stream } from './replies.ts';
import type { Credentials } from './setup.ts';
import type { World } from './world.ts';

/**
 * How a replica stands to its primary, and the commands that turn one.
 */

/**
 * An address where nobody answers, to which a node is pointed so that it stands still: it keeps its data, offset and
 * replication id there. The node's own loopback, on a port below 1024: refused at once, so that the next `REPLICAOF` finds
 * no connection half made; no Redis listens there, since it would have to run as root on a port that is tcpmux's.
 */
const NOBODY = ['127.0.0.1', '1'] as const;
export const standStill: readonly string[] = ['REPLICAOF', ...NOBODY];
export const promote: readonly string[] = ['REPLICAOF', 'NO', 'ONE'];

/**
 * Turns a node to `to`, as the user that it has there. It must stand still or follow another: `REPLICAOF` to the address
 * that is followed already does nothing, and a refused link is tried again only after a second.
 */
export function follow(nodeId: string, to: Target, address: TopologyNode, credentials: Credentials): string[][] {
  const user = replicaUser(nodeId);
  return [
    ['CONFIG', 'SET', 'masteruser', user, 'masterauth', credentials.password(user, to.runId)],
    ['REPLICAOF', address.host, String(address.port)],
  ];
}

/** Whether a replica says of itself that it is at one with this primary: nothing else proves that (see *attached*). */
export function isAttached(replica: NodeReport, primary: NodeReport, address: TopologyNode): boolean {
  return whyNotAttached(replica, primary, address) === null;
}

/** In words; null: it is attached. */
export function whyNotAttached(replica: NodeReport, primary: NodeReport, address: TopologyNode): string | null {
  if (replica.following === null) return 'it follows nobody';
  const { host, port, linkUp, syncing } = replica.following;
  if (host !== address.host || port !== address.port) return `it follows ${host}:${port}`;
  if (syncing) return 'it is being copied to in full';
  if (!linkUp) return 'its link is down';
  if (replica.loading) return 'it is loading';
  if (replica.replicationId !== primary.replicationId) return 'it has another history';
  return null;
}

/** Whether a node that has `mine` can go on from there behind one that has `theirs`, without a full copy. */
export function canContinue(mine: Stream, theirs: Stream): boolean {
  if (mine.id !== theirs.id || mine.offset > theirs.offset) return false;
  return theirs.keptFrom !== null && mine.offset + 1 >= theirs.keptFrom;
}

/** Asks a node about itself, over a connection that is bound to this incarnation; null: it does not say. */
export function* look(target: Target, limitMs: number): Procedure<Look | null> {
  const found = lookOf(replyAt(yield* call(target, [reportCommand], limitMs), 0));
  return found !== null && found.report.runId === target.runId ? found : null;
}

export interface Attachment {
  readonly primary: NodeReport;
  readonly address: TopologyNode;
  /** Bytes that the replica must have. */
  readonly offset: number;
  readonly withinMs: number;
  /** Give up at once when it turns out to be a full copy. */
  readonly refuseFull: boolean;
}

/** Asks again and again until the replica is attached and has the offset; else says what was missing at the end. */
export function* awaitAttached(world: World, replica: Target, goal: Attachment): Procedure<string | null> {
  const beganMs = world.nowMs;
  for (let asked = 0; ; asked++) {
    const found = yield* look(replica, Math.max(20, goal.withinMs));
    if (found === null) return 'it does not answer';
    const { report } = found;
    const missing = whyNotAttached(report, goal.primary, goal.address);
    if (missing === null && report.offset >= goal.offset) return null;
    if (goal.refuseFull && report.following?.syncing === true) return 'it would have to be copied in full';
    if (world.nowMs - beganMs >= goal.withinMs) return missing ?? `it has ${report.offset} of ${goal.offset} bytes`;
    // A partial resync takes a millisecond or two: only after some questions is there time to rest.
    if (asked >= 8) yield* rest(5);
  }
}

/** What is wrong with the links that a primary has; null: one for each of these replicas, and none besides. */
export interface LinkCheck {
  /** Replicas without exactly one link. */
  readonly unsound: readonly string[];
  /** Users of other links. */
  readonly strangers: readonly string[];
}

export function checkLinks(
  clients: readonly ClientLine[],
  replicas: readonly string[],
  others: readonly string[] = [],
): LinkCheck {
  const links = clients.filter(client => client.isReplica);
  const users = replicas.map(replicaUser);
  const allowed = new Set([...users, ...others.map(replicaUser)]);
  return {
    unsound: replicas.filter((_, index) => links.filter(link => link.user === users[index]).length !== 1),
    strangers: [...new Set(links.map(link => link.user))].filter(user => !allowed.has(user)),
  };
}

/** Closes the replica links of users that should have none. */
export function killLinks(users: readonly string[]): string[][] {
  return users.map(user => ['CLIENT', 'KILL', 'TYPE', 'replica', 'USER', user]);
}
