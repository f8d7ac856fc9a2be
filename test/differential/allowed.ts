/**
 * The written list of what two right servers may answer differently, each with its reason.
 *
 * A difference that no entry here allows is a failure. An entry is looked at only when the bytes differ, or (those with
 * `follow`) when the subject was free to choose and the reference must be told what it chose. The run counts how often
 * each was needed, so that one which is needed no longer shows.
 */
import type { Command } from './generator.ts';
import type { Reply } from './reader.ts';

export interface Allowed {
  readonly name: string;
  readonly reason: string;
  /** Upper-case names; a subcommand as `CLIENT ID`. */
  readonly commands: readonly string[];
  /** Only where the subject is Ringside: two stock servers must not need it. */
  readonly proxyOnly?: boolean;
  /** What the reference is asked in place of the command, as the subject has chosen already; null: the same. */
  readonly follow?: (args: readonly Buffer[], subject: Reply) => readonly (Buffer | string)[] | null;
  /** True when these two replies may stand side by side. */
  readonly agree: (subject: Reply, reference: Reply, args: readonly Buffer[]) => boolean;
}

/** How far clocks and the pace of a run may move a time, in milliseconds. */
const CLOCK_MS = 30_000;

/** The command's upper-case name, and with its subcommand. */
export function namesOf(command: Pick<Command, 'args'>): [string, string] {
  const name = (command.args[0] ?? Buffer.alloc(0)).toString('latin1').toUpperCase();
  const second = (command.args[1] ?? Buffer.alloc(0)).toString('latin1').toUpperCase();
  return [name, `${name} ${second}`];
}

const isError = (reply: Reply): boolean => reply.type === '-' || reply.type === '!';
const isInteger = (reply: Reply): boolean => reply.type === ':';
const number = (reply: Reply): number => Number(reply.text.toString('latin1'));
const keyOf = (reply: Reply): string => reply.raw.toString('latin1');
const sorted = (replies: readonly Reply[]): string => replies.map(keyOf).sort().join('');

/** Elements two by two, as one string each. */
function pairs(items: readonly Reply[]): string[] {
  const list: string[] = [];
  for (let i = 0; i < items.length; i += 2) {
    list.push(keyOf(items[i] as Reply) + (i + 1 < items.length ? keyOf(items[i + 1] as Reply) : ''));
  }
  return list;
}

/** Same kind of aggregate, same elements, any order. */
export function sameMembers(a: Reply, b: Reply): boolean {
  return (
    a.items.length > 0 && a.type === b.type && a.items.length === b.items.length && sorted(a.items) === sorted(b.items)
  );
}

function samePairs(a: Reply, b: Reply): boolean {
  if (a.items.length === 0 || a.type !== b.type || a.items.length !== b.items.length) return false;
  return pairs(a.items).sort().join('') === pairs(b.items).sort().join('');
}

/** The reply with the order of every aggregate in it taken away. */
function orderless(reply: Reply): string {
  if (reply.items.length === 0) return keyOf(reply);
  const parts = reply.items.map(orderless);
  const units =
    reply.type === '%' ? parts.filter((_, i) => i % 2 === 0).map((key, i) => key + parts[2 * i + 1]) : parts;
  return `${reply.type}${units.sort().join('')}`;
}

/** Both whole numbers, and close. */
function close(a: Reply, b: Reply, most: number): boolean {
  return isInteger(a) && isInteger(b) && number(a) >= 0 && number(b) >= 0 && Math.abs(number(a) - number(b)) <= most;
}

/** The same but for whole numbers where `mayDiffer` says that they are times; the path holds positions and map keys. */
function alike(
  a: Reply,
  b: Reply,
  mayDiffer: (path: readonly string[]) => boolean,
  path: readonly string[] = [],
): boolean {
  if (a.raw.equals(b.raw)) return true;
  if (a.items.length === 0 || a.type !== b.type || a.items.length !== b.items.length) {
    return mayDiffer(path) && close(a, b, CLOCK_MS);
  }
  return a.items.every((item, i) => {
    const before = i % 2 === 1 ? (a.items[i - 1] as Reply).text.toString('latin1') : '';
    return alike(item, b.items[i] as Reply, mayDiffer, [...path, /^[a-z-]+$/.test(before) ? before : String(i)]);
  });
}

/** The chosen ones all come from the whole, none oftener than it is there, unless repeats were asked for. */
function drawnFrom(chosen: readonly string[], whole: readonly string[], count: number): boolean {
  const known = new Set(whole);
  if (!chosen.every(one => known.has(one))) return false;
  if (count < 0) return chosen.length === (whole.length === 0 ? 0 : -count);
  return new Set(chosen).size === chosen.length && chosen.length === Math.min(count, whole.length);
}

/** The judge of `SRANDMEMBER` and its like against the whole collection. */
function isDraw(subject: Reply, whole: Reply, args: readonly Buffer[], valued: boolean): boolean {
  if (isError(subject) || isError(whole)) return subject.raw.equals(whole.raw);
  const count = args.length > 2 ? Number(String(args[2])) : null;
  const nested = (whole.items[0]?.items.length ?? 0) > 0;
  const withValues = args.length > 3;
  const all = valued && !nested ? pairs(whole.items) : whole.items.map(keyOf);
  const bare = valued ? names(whole) : all;
  if (count === null) return subject.isNull ? bare.length === 0 : bare.includes(keyOf(subject));
  if (!withValues) return drawnFrom(subject.items.map(keyOf), bare, count);
  return drawnFrom(nested ? subject.items.map(keyOf) : flatOrNested(subject), all, count);
}

function flatOrNested(reply: Reply): string[] {
  if ((reply.items[0]?.items.length ?? 0) > 0) return reply.items.map(item => item.items.map(keyOf).join(''));
  return pairs(reply.items);
}

/** The first of each pair, whether pairs are nested (RESP3) or flat. */
function names(whole: Reply): string[] {
  if ((whole.items[0]?.items.length ?? 0) > 0) return whole.items.map(item => keyOf(item.items[0] as Reply));
  return whole.items.filter((_, i) => i % 2 === 0).map(keyOf);
}

/** Both an error, or both no error and of one type. */
const sameShape = (a: Reply, b: Reply): boolean => !isError(a) && a.type === b.type && a.isNull === b.isNull;

/** The names in the first line of `CLIENT INFO` or `CLIENT LIST`. */
function fieldsOf(reply: Reply): string[] {
  const [line = ''] = reply.text.toString('latin1').replace(/^txt:/, '').split('\n');
  return [...line.matchAll(/(?:^| )([a-z-]+)=/g)].map(match => match[1] as string);
}

export const ALLOWED: readonly Allowed[] = [
  {
    name: 'unordered-members',
    reason: 'Redis keeps large sets and its own tables in hash tables whose seed is drawn by each process.',
    commands: [
      'SMEMBERS',
      'SINTER',
      'SUNION',
      'SDIFF',
      'KEYS',
      'HKEYS',
      'HVALS',
      'PUBSUB CHANNELS',
      'PUBSUB SHARDCHANNELS',
    ],
    agree: sameMembers,
  },
  {
    name: 'unordered-sort',
    reason: 'SORT by a constant, and by equal strings, keeps the order in which a set happens to be stored.',
    commands: ['SORT', 'SORT_RO'],
    agree: (a, b, args) => {
      const words = args.map(arg => arg.toString('latin1').toUpperCase());
      return words.includes('BY') && !words.includes('LIMIT') && sameMembers(a, b);
    },
  },
  {
    name: 'unordered-pairs',
    reason: 'As unordered-members, for fields with their values.',
    commands: ['HGETALL', 'CONFIG GET'],
    agree: samePairs,
  },
  {
    name: 'unordered-scan',
    reason: 'As unordered-members; the whole of the collection is asked for in one page, so both cursors are 0.',
    commands: ['HSCAN', 'SSCAN', 'ZSCAN'],
    agree: (a, b, args) => {
      const [cursorA, pageA] = a.items;
      const [cursorB, pageB] = b.items;
      if (!cursorA || !pageA || !cursorB || !pageB || !cursorA.raw.equals(cursorB.raw)) return false;
      return namesOf({ args })[0] === 'SSCAN' ? sameMembers(pageA, pageB) : samePairs(pageA, pageB);
    },
  },
  {
    name: 'unordered-listing',
    reason:
      'Listings of commands, categories and libraries come from hash tables; everything in them must still be there.',
    commands: ['COMMAND LIST', 'COMMAND INFO', 'COMMAND DOCS', 'ACL CAT', 'FUNCTION LIST', 'FUNCTION STATS'],
    agree: (a, b) => orderless(a) === orderless(b),
  },
  {
    name: 'first-library',
    reason: 'FUNCTION RESTORE names the first library that exists already; which one that is depends on a hash table.',
    commands: ['FUNCTION RESTORE'],
    agree: (a, b) => [a, b].every(reply => /^-ERR Library \w+ already exists\r\n$/.test(reply.raw.toString('latin1'))),
  },
  {
    name: 'random-member',
    reason: 'The server draws; what it drew must be in the collection, as often as asked.',
    commands: ['SRANDMEMBER'],
    follow: (args, subject) => (isError(subject) ? null : ['SMEMBERS', args[1] as Buffer]),
    agree: (a, b, args) => isDraw(a, b, args, false),
  },
  {
    name: 'random-field',
    reason: 'As random-member.',
    commands: ['HRANDFIELD'],
    follow: (args, subject) => (isError(subject) ? null : ['HGETALL', args[1] as Buffer]),
    agree: (a, b, args) => isDraw(a, b, args, true),
  },
  {
    name: 'random-element',
    reason: 'As random-member.',
    commands: ['ZRANDMEMBER'],
    follow: (args, subject) => (isError(subject) ? null : ['ZRANGE', args[1] as Buffer, '0', '-1', 'WITHSCORES']),
    agree: (a, b, args) => isDraw(a, b, args, true),
  },
  {
    name: 'random-pop',
    reason:
      'The server draws what it takes away; the reference is told to remove just that, and must have had all of it.',
    commands: ['SPOP'],
    follow: (args, subject) => {
      if (isError(subject) || subject.isNull) return null;
      const popped = args.length === 2 ? [subject] : subject.items;
      return popped.length === 0 ? null : ['SREM', args[1] as Buffer, ...popped.map(item => item.text)];
    },
    agree: (a, b) => isInteger(b) && number(b) === Math.max(1, a.items.length),
  },
  {
    name: 'random-key',
    reason: 'The server draws; the key must exist.',
    commands: ['RANDOMKEY'],
    follow: () => ['KEYS', '*'],
    agree: (a, b) => (a.isNull ? b.items.length === 0 : b.items.some(item => item.raw.equals(a.raw))),
  },
  {
    name: 'stream-clock',
    reason: "XADD with * takes the id from the server's clock; the reference is given the id that the subject chose.",
    commands: ['XADD'],
    follow: (args, subject) => {
      const at = args[2]?.toString() === 'NOMKSTREAM' ? 3 : 2;
      if (args[at]?.toString() !== '*' || subject.type !== '$' || subject.isNull) return null;
      return args.map((arg, i) => (i === at ? subject.text : arg));
    },
    agree: () => false,
  },
  {
    name: 'clock-seconds',
    reason: 'A time that is left, or that lies relative to now, differs by the time between the two runs.',
    commands: ['TTL', 'EXPIRETIME'],
    agree: (a, b) => close(a, b, CLOCK_MS / 1000),
  },
  {
    name: 'idle-time',
    reason: 'Small whole numbers are one shared object in Redis, whose idle time may be as old as the process.',
    commands: ['OBJECT IDLETIME'],
    agree: (a, b) => isInteger(a) && isInteger(b) && number(a) >= 0 && number(b) >= 0,
  },
  {
    name: 'clock-milliseconds',
    reason: 'As clock-seconds.',
    commands: ['PTTL', 'PEXPIRETIME'],
    agree: (a, b) => close(a, b, CLOCK_MS),
  },
  {
    name: 'clock',
    reason: 'The time itself.',
    commands: ['TIME'],
    agree: (a, b) => sameShape(a, b) && a.items.length === 2 && b.items.length === 2,
  },
  {
    name: 'stream-idle',
    reason: 'Pending entries and consumers tell when they were last seen, or how long ago.',
    commands: ['XPENDING', 'XINFO STREAM', 'XINFO CONSUMERS'],
    agree: (a, b, args) => {
      const times = ['idle', 'inactive', 'seen-time', 'active-time'];
      const extended = namesOf({ args })[0] === 'XPENDING';
      return alike(a, b, path => {
        const last = path[path.length - 1] ?? '';
        return times.includes(last) || path.includes('pel') || path.includes('pending') || (extended && last === '2');
      });
    },
  },
  {
    name: 'memory',
    reason: 'The bytes of a value depend on its allocation history.',
    commands: ['MEMORY USAGE'],
    agree: (a, b) => isInteger(a) && isInteger(b) && number(a) > 0 && number(b) > 0,
  },
  {
    name: 'dump-order',
    reason: 'A serialised hash table holds its members in the order of its own seed, and its checksum follows.',
    commands: ['DUMP', 'FUNCTION DUMP'],
    agree: (a, b) => a.type === '$' && b.type === '$' && !a.isNull && !b.isNull && a.text[0] === b.text[0],
  },
  {
    name: 'connection-identity',
    reason: 'A connection has a number, an address and an age of its own.',
    commands: ['CLIENT ID', 'CLIENT INFO', 'CLIENT LIST', 'HELLO'],
    agree: (a, b, args) => {
      if (namesOf({ args })[0] === 'HELLO') return alike(a, b, path => path[path.length - 1] === 'id');
      if (isInteger(a)) return isInteger(b) && number(a) > 0;
      // Ringside tells the fields of Redis 7.2 too, lib-name and lib-ver.
      const known = fieldsOf(a);
      return sameShape(a, b) && fieldsOf(b).every(field => known.includes(field));
    },
  },
  {
    name: 'server-report',
    reason: 'Reports about a server speak of that server: its process, load, history and settings.',
    commands: ['INFO', 'ROLE', 'LASTSAVE', 'SLOWLOG LEN', 'SLOWLOG GET', 'LOLWUT'],
    agree: sameShape,
  },
  {
    name: 'receivers',
    reason: 'PUBLISH answers the receivers that the node counts, which are proxies and not their clients.',
    commands: ['PUBLISH', 'SPUBLISH'],
    proxyOnly: true,
    agree: (a, b) => isInteger(a) && isInteger(b) && number(a) > 0 === number(b) > 0,
  },
  {
    name: 'newer-client-commands',
    reason: 'Ringside knows CLIENT SETINFO and NO-TOUCH of Redis 7.2, which client libraries send unasked.',
    commands: ['CLIENT SETINFO', 'CLIENT NO-TOUCH'],
    proxyOnly: true,
    agree: (a, b) => a.raw.toString() === '+OK\r\n' && isError(b),
  },
];

/** A difference in what the reference is sent, or in when replies come. */
export const CROSS_SHARD = {
  name: 'cross-shard',
  reason: 'Keys on several shards are refused with CROSSSLOT; one server would obey, so it is not asked.',
} as const;
export const PUSH_ORDER = {
  name: 'push-order',
  reason: 'Messages of different channels come over different shards; only those of one channel keep their order.',
} as const;

/** A command that Ringside refuses and one server would obey: the reference is not asked. */
export interface Refusal {
  readonly name: string;
  readonly reason: string;
  readonly commands: readonly string[];
  /** The error that must be given. */
  readonly says: RegExp;
  /** Where it is refused: anywhere, or only with a transaction or a watch open. */
  readonly within: 'anything' | 'transaction' | 'watch';
}

export const REFUSALS: readonly Refusal[] = [
  {
    name: 'refused',
    reason: 'Commands that would act on a node behind the proxy are refused by name.',
    // biome-ignore format: one list
    commands: [
      'REPLICAOF', 'SLAVEOF', 'FAILOVER', 'CLUSTER INFO', 'PSYNC', 'SYNC', 'MIGRATE', 'MODULE LIST', 'MONITOR',
      'ACL LIST', 'ACL SETUSER', 'BGREWRITEAOF', 'SAVE', 'BGSAVE', 'SHUTDOWN', 'SWAPDB', 'MOVE', 'DEBUG SLEEP',
      'CONFIG SET', 'CLIENT TRACKING',
    ],
    says: /^-ERR [A-Z ]+ is refused by Ringside: /,
    within: 'anything',
  },
  {
    name: 'everywhere-in-transaction',
    reason:
      'A transaction is one block on one shard and one shared connection; what concerns more cannot be a part of it.',
    // biome-ignore format: one list
    commands: [
      'KEYS', 'SCAN', 'DBSIZE', 'RANDOMKEY', 'FLUSHALL', 'FLUSHDB', 'SCRIPT', 'FUNCTION', 'PUBSUB', 'SUBSCRIBE',
      'PSUBSCRIBE', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'SSUBSCRIBE', 'SUNSUBSCRIBE', 'CONFIG GET',
    ],
    says: /^-ERR [A-Z ]+ (concerns every shard|walks every shard|is answered for the whole|would turn .*) and cannot be part of /,
    within: 'transaction',
  },
  {
    name: 'settings-while-watching',
    reason: 'A watch lives on one connection to one shard, in one database and protocol.',
    commands: ['SELECT', 'HELLO'],
    says: /^-ERR (SELECT|HELLO) of another|^-ERR HELLO with another/,
    within: 'watch',
  },
];

/** Why the reference is not asked what the subject refused to do; null: it is. */
export function refusalOf(
  command: Pick<Command, 'args'>,
  reply: Reply,
  open: boolean,
  watching: boolean,
): Refusal | null {
  if (reply.type !== '-') return null;
  const [name, both] = namesOf(command);
  const text = reply.raw.toString('latin1');
  const here = { anything: true, transaction: open, watch: watching };
  const known = REFUSALS.filter(
    one => here[one.within] && (one.commands.includes(name) || one.commands.includes(both)),
  );
  return known.find(one => one.says.test(text)) ?? null;
}

/** Every name and reason of the list. */
export function allowedNames(proxy: boolean): string[] {
  const names = ALLOWED.filter(one => proxy || one.proxyOnly !== true).map(one => one.name);
  return proxy ? [...names, ...REFUSALS.map(one => one.name), CROSS_SHARD.name, PUSH_ORDER.name] : names;
}

const BY_NAME = new Map<string, Allowed>();
for (const allowed of ALLOWED) for (const name of allowed.commands) BY_NAME.set(name, allowed);

/** The entry for a command, if it has one. */
export function allowedFor(command: Pick<Command, 'args'>): Allowed | null {
  const [name, both] = namesOf(command);
  return BY_NAME.get(both) ?? BY_NAME.get(name) ?? null;
}
