/**
 * The settings of a node that its part in a shard hangs on: which Ringside puts on every node itself, and which nobody
 * may set for all nodes at once.
 *
 * They are set with `CONFIG SET`, checked again on every new incarnation, and never written to the node's own file.
 */

/** By name as `CONFIG SET` takes it, with the value that every node has. */
export const REQUIRED_NODE_SETTINGS: Readonly<Record<string, string>> = {
  // A write that a client makes on a copy would be on that copy alone.
  'replica-read-only': 'yes',
  // A copy that evicts by itself no longer holds what it has confirmed.
  'replica-ignore-maxmemory': 'yes',
  // Loading next to the old data, or into an emptied node: both give up the copy before its successor is whole.
  'repl-diskless-load': 'disabled',
  // A full sync would begin only after this pause (5 s by default).
  'repl-diskless-sync-delay': '0',
  // 256 MB: seconds of traffic. Redis's own 1 MB holds 35 ms of a busy stream, after which every return is a full sync.
  'repl-backlog-size': '268435456',
  // Without it a primary that was alone for an hour drops its backlog and takes another replication id.
  'repl-backlog-ttl': '0',
  // A copy that falls behind is judged by its lag; closing its link would make it begin anew, for ever.
  'client-output-buffer-limit': 'replica 0 0 0',
  // Replicas notice within a second that their primary is silent, and say so as witnesses.
  'repl-ping-replica-period': '1',
  // How long a link that is dead unseen keeps its socket; well above what forking or loading halts a node for.
  'repl-timeout': '20',
};

/**
 * The same for settings that only newer servers know: they are set where there are any. A full copy over a second
 * connection needs a right that no replica's user has, and gives a copy two links where one is counted.
 */
export const SETTINGS_WHERE_KNOWN: Readonly<Record<string, string>> = {
  // Valkey, from 8.0 on.
  'dual-channel-replication-enabled': 'no',
  // Redis, from 8.0 on.
  'repl-rdb-channel': 'no',
};

/** Names under which older servers know some of them; `CONFIG GET` of either gives the same setting. */
const OLD_NAMES: Readonly<Record<string, string>> = {
  'slave-read-only': 'replica-read-only',
  'slave-ignore-maxmemory': 'replica-ignore-maxmemory',
  'repl-ping-slave-period': 'repl-ping-replica-period',
};

const USERS = "lets users in, which is Ringside's own business: it makes a user per epoch, replica and term";
const ROLES = "gives a node its role, which is the supervisor's to decide";
const PLACE = "is each node's own, and cannot be one for all";
const COUNTS = 'makes nodes refuse writes by a count of their own; writes.minimumCopies does that';

const NOT_FOR_ALL: Readonly<Record<string, string>> = {
  requirepass: USERS,
  masterauth: USERS,
  masteruser: USERS,
  primaryauth: USERS,
  primaryuser: USERS,
  aclfile: USERS,
  user: USERS,
  'acl-pubsub-default': USERS,
  'rename-command': USERS,
  replicaof: ROLES,
  slaveof: ROLES,
  'cluster-enabled': ROLES,
  'replica-announce-ip': PLACE,
  'replica-announce-port': PLACE,
  'slave-announce-ip': PLACE,
  'slave-announce-port': PLACE,
  port: PLACE,
  'tls-port': PLACE,
  bind: PLACE,
  unixsocket: PLACE,
  dir: PLACE,
  dbfilename: PLACE,
  appendfilename: PLACE,
  appenddirname: PLACE,
  pidfile: PLACE,
  logfile: PLACE,
  'min-replicas-to-write': COUNTS,
  'min-replicas-max-lag': COUNTS,
  'min-slaves-to-write': COUNTS,
  'min-slaves-max-lag': COUNTS,
};

/** Why a person cannot set this one for all nodes, to be put after its name; null: they can. */
export function whyNotForAll(name: string): string | null {
  if (Object.hasOwn(NOT_FOR_ALL, name)) return NOT_FOR_ALL[name] ?? null;
  const required = Object.hasOwn(OLD_NAMES, name) ? (OLD_NAMES[name] ?? name) : name;
  for (const settings of [REQUIRED_NODE_SETTINGS, SETTINGS_WHERE_KNOWN]) {
    if (Object.hasOwn(settings, required)) return `is set by Ringside itself, to ${settings[required]}`;
  }
  return null;
}

/** Whether a node that reports `reported` for a setting (`CONFIG GET`) has what `CONFIG SET` of `wanted` leaves there. */
export function settingHolds(name: string, wanted: string, reported: string): boolean {
  if (name === 'client-output-buffer-limit') return holdsLimit(wanted, reported);
  if (reported === wanted || reported.toLowerCase() === wanted.toLowerCase()) return true;
  const bytes = sizeInBytes(wanted);
  return bytes !== null && sizeInBytes(reported) === bytes;
}

/** The limit of one class of clients, of which the node reports all; it calls a replica `slave`. */
function holdsLimit(wanted: string, reported: string): boolean {
  const words = (text: string) =>
    ` ${text.trim().toLowerCase().replaceAll('replica', 'slave').split(/\s+/).join(' ')} `;
  return words(reported).includes(words(wanted));
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1000,
  kb: 1024,
  m: 1000 ** 2,
  mb: 1024 ** 2,
  g: 1000 ** 3,
  gb: 1024 ** 3,
};

/** An amount as redis.conf writes it, such as `100mb`; null: it is none. */
export function sizeInBytes(text: string): number | null {
  const match = /^(\d+)([a-z]*)$/.exec(text.toLowerCase());
  const unit = match ? UNITS[match[2] ?? ''] : undefined;
  return match && unit !== undefined ? Number(match[1]) * unit : null;
}
