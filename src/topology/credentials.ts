import { createHash, createHmac } from 'node:crypto';

/**
 * What the parts of one cluster prove themselves with, derived from the one secret that they share.
 *
 * Every derivation names its purpose in the message, so that a value that leaks opens one door and no other.
 */

/** The bearer token for a supervisor's HTTP interface: 64 hexadecimal characters. */
export function feedToken(secret: string, cluster: string): string {
  return createHmac('sha256', secret).update(`ringside supervisor-http 1\0${cluster}`).digest('hex');
}

/**
 * The users of the nodes. Each exists only in the memory of one incarnation of one node, and is an authority that is
 * taken away by deleting it.
 */
export const ADMIN_USER = 'ringside-admin';
/** Reads, for people and tools; only where the default user is switched off. */
export const INSPECT_USER = 'ringside-inspect';
/** What the names of all users of Ringside begin with. */
export const USER_PREFIX = 'ringside-';
export const PROXY_PREFIX = 'ringside-proxy-';
export const REPLICA_PREFIX = 'ringside-replica-';
export const SUPERVISOR_PREFIX = 'ringside-supervisor-';

/** Lets in the proxies that know this epoch of the node's shard. */
export function proxyUser(epoch: number): string {
  return `${PROXY_PREFIX}${epoch}`;
}

/** Lets in one replica, named by its node id, on the node that it follows. */
export function replicaUser(nodeId: string): string {
  return `${REPLICA_PREFIX}${nodeId}`;
}

/** Lets in the leader of a term. */
export function supervisorUser(term: number): string {
  return `${SUPERVISOR_PREFIX}${term}`;
}

/**
 * A user's password on one incarnation of a node: 64 hexadecimal characters.
 *
 * `incarnation` is the node's `run_id`; for `ringside-admin` and `ringside-inspect` the cluster's name, since whoever
 * takes over must get in before it can know the `run_id`.
 */
export function userPassword(secret: string, user: string, incarnation: string): string {
  return createHmac('sha256', secret).update(`ringside node-user 1\0${user}\0${incarnation}`).digest('hex');
}

/** A password as `ACL SETUSER` takes it without ever seeing it: `#` and its SHA-256 in hexadecimal characters. */
export function passwordHash(password: string): string {
  return `#${createHash('sha256').update(password).digest('hex')}`;
}

/**
 * The key of the set of pulled keys of one portion on its way (`TopologyMove`, `CurrentPortion.set`), in database 0 of the
 * node that takes them. No client can name it, since none knows the secret.
 */
export function pulledSetName(secret: string, cluster: string, number: number): string {
  const digest = createHmac('sha256', secret).update(`ringside pulled-set 1\0${cluster}\0${number}`).digest('hex');
  return `ringside:pulled:${digest.slice(0, 32)}`;
}
