import {
  ADMIN_USER,
  INSPECT_USER,
  PROXY_PREFIX,
  proxyUser,
  REPLICA_PREFIX,
  replicaUser,
  SUPERVISOR_PREFIX,
  supervisorUser,
} from '../../topology/credentials.ts';
import { PROXY_RIGHTS, READER_RIGHTS } from '../../topology/proxy-rights.ts';
import type { Credentials } from './setup.ts';

/**
 * The commands that make and take away users: the authorities of the protocol (R0).
 *
 * Whoever may replicate is a replica's user and nobody else; passwords go to a node as hashes only.
 */

/** Everything but replicating: that is for replicas' users alone. */
const ALL_BUT_REPLICATE = ['~*', '&*', '+@all', '-psync', '-sync', '-replconf'];
const OPEN_DOOR = ['+psync', '+replconf', '+ping'];
const INSPECT_RIGHTS = [
  '~*',
  '&*',
  '+@read',
  '+@connection',
  '+info',
  '+role',
  '+dbsize',
  '-@write',
  '-@admin',
  '+select',
];

/** Made anew, whatever it was before. */
function createUser(user: string, incarnation: string, rights: readonly string[], credentials: Credentials): string[] {
  const hash = credentials.hash(credentials.password(user, incarnation));
  return ['ACL', 'SETUSER', user, 'reset', 'on', hash, ...rights];
}

export function createAdmin(cluster: string, credentials: Credentials): string[] {
  return createUser(ADMIN_USER, cluster, ALL_BUT_REPLICATE, credentials);
}

export function createInspector(cluster: string, credentials: Credentials): string[] {
  return createUser(INSPECT_USER, cluster, INSPECT_RIGHTS, credentials);
}

export function createSupervisor(term: number, runId: string, credentials: Credentials): string[] {
  return createUser(supervisorUser(term), runId, ALL_BUT_REPLICATE, credentials);
}

/** Lets in the proxies that know this epoch, on the primary. */
export function createProxies(epoch: number, runId: string, credentials: Credentials): string[] {
  return createUser(proxyUser(epoch), runId, PROXY_RIGHTS, credentials);
}

/** Lets in the reading proxies of this epoch, on a replica. */
export function createReaders(epoch: number, runId: string, credentials: Credentials): string[] {
  return createUser(proxyUser(epoch), runId, READER_RIGHTS, credentials);
}

/** Lets one replica in, with an open door, on the incarnation that it is to follow. */
export function createReplica(nodeId: string, runId: string, credentials: Credentials): string[] {
  return createUser(replicaUser(nodeId), runId, OPEN_DOOR, credentials);
}

/** The link that it has lives on; another is refused. */
export function closeDoor(user: string): string[] {
  return ['ACL', 'SETUSER', user, '-psync'];
}

/** Closes every connection of theirs before the next round of the node's event loop. None: no command. */
export function deleteUsers(users: readonly string[]): string[][] {
  return users.length === 0 ? [] : [['ACL', 'DELUSER', ...users]];
}

export function isProxyUser(user: string): boolean {
  return user.startsWith(PROXY_PREFIX);
}

export function isReplicaUser(user: string): boolean {
  return user.startsWith(REPLICA_PREFIX);
}

/** The term that a user's name speaks of; null: it is no supervisor's. */
export function termOf(user: string): number | null {
  if (!user.startsWith(SUPERVISOR_PREFIX)) return null;
  const term = Number(user.slice(SUPERVISOR_PREFIX.length));
  return Number.isSafeInteger(term) ? term : null;
}

/** Users of proxies and replicas, other than those named. */
export function otherUsers(users: readonly string[], calledFor: readonly string[] = []): string[] {
  return users.filter(user => (isProxyUser(user) || isReplicaUser(user)) && !calledFor.includes(user));
}

/** Users of proxies of an epoch before this one. */
export function olderProxies(users: readonly string[], epoch: number): string[] {
  return users.filter(user => isProxyUser(user) && !(Number(user.slice(PROXY_PREFIX.length)) >= epoch));
}
