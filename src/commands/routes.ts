/**
 * What no flag of Redis's command table tells: how each command is carried out behind the proxy.
 *
 * Whatever has keys and is not named here is forwarded to the shard of its keys, on a connection of its own when Redis
 * flags it as blocking. What has neither keys nor a line here is refused: an unknown keyless command of a newer Redis
 * or of a module could mean one node or all of them.
 */
export const Route = {
  /** To the one shard that owns all keys; `CommandRow.singleKeyAt` marks those with exactly one fixed key. */
  Forward: 0,
  /** No key, no state, every node answers alike: to any node. */
  AnyNode: 1,
  /** Many keys, divided by shard, the replies merged; `CommandRow.step` arguments belong to each key. */
  Split: 2,
  /** May wait for data (see `blocks`): a connection of its own while it does; by keys like Forward otherwise. */
  Blocking: 3,
  /** To every primary, the replies merged. */
  Everywhere: 4,
  /** SCAN: shard after shard, the cursor translated. */
  Scan: 5,
  /** SORT and SORT_RO: by key, once its patterns are known to stay on the key's shard (see `sortPatterns`). */
  Sort: 6,
  /** SCRIPT and its subcommands. */
  Script: 7,
  /** FUNCTION and its subcommands. */
  Function: 8,
  /** EVAL, EVALSHA, FCALL and their _RO forms: by keys; without any, a fixed shard. */
  Eval: 9,
  /** MULTI, EXEC, DISCARD. */
  Transaction: 10,
  /** WATCH, UNWATCH. */
  Watch: 11,
  /** SUBSCRIBE, PSUBSCRIBE and their opposites. */
  Subscribe: 12,
  /** PUBLISH. */
  Publish: 13,
  /** PUBSUB and its subcommands. */
  PubSub: 14,
  /** SSUBSCRIBE, SUNSUBSCRIBE: by channel (see `findChannels`). */
  ShardSubscribe: 15,
  /** SPUBLISH: forwarded by channel (see `findChannels`). */
  ShardPublish: 16,
  /** About the client's own connection: HELLO, AUTH, SELECT, CLIENT and the like. */
  Connection: 17,
  /** About the server: the proxy answers for the whole: INFO, TIME, CONFIG GET, WAIT and the like. */
  Server: 18,
  /** Not carried out (see `refusalOf`). */
  Refused: 19,
  /** Ringside's own: GETS, CAS. */
  Own: 20,
} as const;

/**
 * How the keys of a command are found, where its key specifications do not say or can be misled.
 *
 * SORT's are declared `unknown`. XREAD's and GEORADIUS's search for a keyword, and find it in a group named `streams`
 * or stop at the first of two STORE options where the command obeys the last: these follow the command's own parser.
 */
export const KeyFinder = { Specifications: 0, Sort: 1, SortReadOnly: 2, Streams: 3, GeoStore: 4 } as const;

const ROUTES = new Map<string, number>();

function add(route: number, names: string): void {
  for (const name of names.split(' ')) ROUTES.set(name, route);
}

add(Route.AnyNode, 'command lolwut pfselftest');
// A node that is no member of a Redis Cluster refuses them itself.
add(Route.AnyNode, 'readonly readwrite asking');
add(Route.AnyNode, 'acl|help client|help config|help function|help latency|help memory|help object|help');
add(Route.AnyNode, 'pubsub|help script|help slowlog|help xgroup|help xinfo|help');
add(Route.Split, 'mget mset del unlink exists touch');
add(Route.Everywhere, 'keys dbsize flushall flushdb randomkey');
add(Route.Scan, 'scan');
add(Route.Sort, 'sort sort_ro');
add(Route.Script, 'script');
add(Route.Function, 'function');
add(Route.Eval, 'eval evalsha eval_ro evalsha_ro fcall fcall_ro');
add(Route.Transaction, 'multi exec discard');
add(Route.Watch, 'watch unwatch');
add(Route.Subscribe, 'subscribe unsubscribe psubscribe punsubscribe');
add(Route.Publish, 'publish');
add(Route.PubSub, 'pubsub');
add(Route.ShardSubscribe, 'ssubscribe sunsubscribe');
add(Route.ShardPublish, 'spublish');
add(Route.Connection, 'hello auth reset quit ping echo select client');
add(Route.Server, 'time info role lastsave wait slowlog latency memory config acl|whoami acl|cat');
add(Route.Own, 'gets cas');

const REFUSALS = new Map<string, string>();

function refuse(names: string, reason: string): void {
  add(Route.Refused, names);
  for (const name of names.split(' ')) REFUSALS.set(name, reason);
}

refuse('shutdown', 'it would end a node that serves other clients; end nodes where they run');
refuse('replicaof slaveof failover', 'who is primary is set by the configuration, not by a client');
refuse('psync sync replconf', 'a replica must follow a node, not the proxy');
refuse('cluster', 'behind the proxy there is one Redis, not Redis Cluster; use the client without cluster mode');
refuse('migrate', 'it would take keys to where the ring does not look for them; DUMP and RESTORE work');
refuse('module', 'modules are loaded by the configuration of the nodes, so that every copy has them');
refuse('acl', 'users are set up in the configuration; ACL WHOAMI and ACL CAT work');
refuse('bgrewriteaof save bgsave', 'how nodes persist is set in their configuration, not by a client');
refuse('swapdb', 'it cannot be done on all shards at one moment');
refuse('move', 'it would cross databases on one node, unseen by the others; COPY or DUMP and RESTORE work');
refuse('debug', 'it can stop or crash a node that serves other clients');
refuse('monitor', 'it would have to merge the streams of all nodes; run it on one node');
refuse('config|set config|rewrite', 'every node of the cluster must be set alike; change the settings at the nodes');
refuse('client|tracking client|caching client|trackinginfo', 'client-side caching is not supported');

const UNROUTABLE = 'it names no key, and where it should run is not known';

/**
 * The route of a command by its full name ("get", "config|set"): its own line, else its container's when that is
 * refused, else by keys when it has any, else its container's.
 */
export function routeOf(name: string, hasKeys: boolean, blocking: boolean): number {
  const own = ROUTES.get(name);
  if (own !== undefined) return own;
  const container = ROUTES.get(containerOf(name));
  if (hasKeys && container !== Route.Refused) return blocking ? Route.Blocking : Route.Forward;
  return container ?? Route.Refused;
}

/** "config" of "config|set"; "get" of "get". */
export function containerOf(name: string): string {
  const bar = name.indexOf('|');
  return bar < 0 ? name : name.slice(0, bar);
}

/** The error line (no leading "-", no CRLF) for a command whose route is Refused. */
export function refusalOf(row: { readonly name: string }): string {
  const { name } = row;
  const reason = REFUSALS.get(name) ?? REFUSALS.get(containerOf(name)) ?? UNROUTABLE;
  return `ERR ${name.toUpperCase().replace('|', ' ')} is refused by Ringside: ${reason}`;
}

/** Flagged `readonly`, yet it may change what is stored: PFCOUNT writes its cached cardinality into the key. */
export function writesUnseen(name: string): boolean {
  return name === 'pfcount';
}

/** Whether commands of this route leave the stored data as it is and show none of it, whatever their flags say. */
export function storesNothing(route: number): boolean {
  return STORE_NOTHING.has(route);
}

/** Its cursor is a position in one process's hash table: reads of it must stay on the primary. */
export function needsPrimary(name: string): boolean {
  return name === 'scan' || name === 'hscan' || name === 'sscan' || name === 'zscan';
}

const STORE_NOTHING: ReadonlySet<number> = new Set([
  Route.AnyNode,
  Route.Script,
  Route.Transaction,
  Route.Watch,
  Route.Subscribe,
  Route.Publish,
  Route.PubSub,
  Route.ShardSubscribe,
  Route.ShardPublish,
  Route.Connection,
  Route.Server,
  Route.Refused,
]);

/** Which `KeyFinder` the command needs. */
export function finderOf(name: string): number {
  switch (name) {
    case 'sort':
      return KeyFinder.Sort;
    case 'sort_ro':
      return KeyFinder.SortReadOnly;
    case 'xread':
    case 'xreadgroup':
      return KeyFinder.Streams;
    case 'georadius':
    case 'georadiusbymember':
      return KeyFinder.GeoStore;
    default:
      return KeyFinder.Specifications;
  }
}
