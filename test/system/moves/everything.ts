/**
 * Data of every type, with and without an expiry, in several databases: what a cluster may hold before its keys move.
 */
import { Random } from '../../../src/base/random.ts';
import { until } from '../faults/stand.ts';
import { type Content, type Contents, contentsOf, differences } from '../safety/copies.ts';
import { ErrorReply, type RespConnection } from '../safety/resp.ts';

const DATABASES = [0, 1, 9] as const;

/** Every key begins so. */
const PREFIX = 'old:';

/** Expires only long after a test. */
const LATE_S = '1000000';
/** Expires within most tests: whether it was moved before or after, it must be gone when its time is over. */
const SOON_MS = 4_000;

/** Writes so many keys, types and expiries in turn, into each of `DATABASES`. */
export async function fillWithEverything(target: RespConnection, perDatabase: number, seed: number): Promise<void> {
  const random = new Random(seed);
  for (const database of DATABASES) {
    await mustAll(target, [['SELECT', `${database}`]]);
    for (let first = 0; first < perDatabase; first += 100) {
      const count = Math.min(100, perDatabase - first);
      const commands = Array.from({ length: count }, (_, i) => commandsFor(first + i, random)).flat();
      await mustAll(target, commands);
    }
  }
  await mustAll(target, [['SELECT', '0']]);
}

async function mustAll(target: RespConnection, commands: readonly string[][]): Promise<void> {
  const replies = await target.pipeline(...commands);
  const at = replies.findIndex(reply => reply instanceof ErrorReply);
  if (at >= 0) throw new Error(`${commands[at]?.slice(0, 3).join(' ')}: ${(replies[at] as ErrorReply).text}`);
}

type Maker = (key: string, random: Random) => string[][];

/** Small and large values of a type are kept in different encodings; all must arrive. */
const MAKERS: readonly Maker[] = [
  (key, random) => [['SET', key, `${random.below(1_000_000)}`]],
  (key, random) => [['SET', key, `${bytes(random)}${'x'.repeat(random.below(3_000))}`]],
  (key, random) => [['RPUSH', key, ...list(random, 5)]],
  (key, random) => [['RPUSH', key, ...list(random, 400)]],
  (key, random) => [['SADD', key, ...list(random, 20).map((_, i) => `${i}`)]],
  (key, random) => [['SADD', key, ...list(random, 300)]],
  (key, random) => [['HSET', key, ...list(random, 6).flatMap(text => [text, text])]],
  (key, random) => [['HSET', key, ...list(random, 200).flatMap(text => [text, `${text}${text}`])]],
  (key, random) => [['ZADD', key, ...list(random, 8).flatMap(text => [`${random.below(100)}.5`, text])]],
  (key, random) => [['ZADD', key, ...list(random, 250).flatMap((text, i) => [`${i}`, text])]],
  (key, random) => [['PFADD', key, ...list(random, 50)]],
  key => [['GEOADD', key, '13.361389', '38.115556', 'Palermo', '15.087269', '37.502669', 'Catania']],
  key => [
    ['SETBIT', key, '7', '1'],
    ['SETBIT', key, '5000', '1'],
  ],
  (key, random) => [
    ...list(random, 12).map((text, i) => ['XADD', key, `${i + 1}-0`, 'field', text]),
    ['XGROUP', 'CREATE', key, 'workers', '0'],
    ['XREADGROUP', 'GROUP', 'workers', 'one', 'COUNT', '5', 'STREAMS', key, '>'],
    ['XACK', key, 'workers', '1-0'],
    ['XDEL', key, '12-0'],
  ],
];

function commandsFor(number: number, random: Random): string[][] {
  const maker = MAKERS[number % MAKERS.length] as Maker;
  const key = keyOf(number);
  const expiry = number % 5;
  const last = expiry === 0 ? [['EXPIRE', key, LATE_S]] : expiry === 1 ? [['PEXPIRE', key, `${SOON_MS}`]] : [];
  return [...maker(key, random), ...last];
}

/** Every third one shares its hash tag with others. */
function keyOf(number: number): string {
  return number % 3 === 0 ? `${PREFIX}{tag${number % 30}}:${number}` : `${PREFIX}${number}`;
}

function bytes(random: Random): string {
  return String.fromCharCode(...Array.from({ length: 20 }, () => random.below(128)));
}

function list(random: Random, length: number): string[] {
  return Array.from({ length }, (_, i) => `item ${i} ${random.below(1_000_000)}`);
}

/** What a cluster, or a Redis that is to become one, holds. */
export interface Before {
  readonly contents: Contents;
  /** By stream: its groups, consumers, and what is pending. */
  readonly groups: ReadonlyMap<string, string>;
}

/** Through the proxy, or from a node that is alone. */
export async function everythingOf(target: RespConnection): Promise<Before> {
  const contents = lasting(await contentsOf(target), 0);
  return { contents, groups: await groupsOf(target, contents) };
}

/** What is lost or changed of it, in words; and what has expired since and is back. Waits for what expires soon. */
export async function changedSince({ contents, groups }: Before, target: RespConnection): Promise<string[]> {
  const expired = lastOfSoon(contents);
  await until('what expires soon is gone', () => Date.now() > expired);
  const atMs = Date.now();
  const now = await everythingOf(target);
  const problems = differences('before', lasting(contents, atMs), 'now', lasting(now.contents, atMs));
  for (const name of now.groups.keys())
    if (now.groups.get(name) !== groups.get(name)) problems.push(`the groups of ${name}`);
  return problems;
}

/** What `contentsOf` does not read of streams. */
async function groupsOf(target: RespConnection, contents: Contents): Promise<Map<string, string>> {
  const groups = new Map<string, string>();
  for (const [name, { type }] of contents) {
    if (type !== 'stream') continue;
    const [database, key] = split(name);
    await target.must('SELECT', database);
    const reply = await target.call('XINFO', 'STREAM', key, 'FULL');
    // Its time was over.
    if (reply instanceof ErrorReply) continue;
    groups.set(name, JSON.stringify(withoutLayout(reply)));
  }
  await target.must('SELECT', '0');
  return groups;
}

/**
 * How Redis keeps it in memory is no content, nor is when a consumer was last seen; and the number of entries that a group
 * has read is not always the same on a replica as on its primary (Redis 7.0 replicates a read as claims, without it).
 */
const LAYOUT: ReadonlySet<unknown> = new Set([
  'radix-tree-keys',
  'radix-tree-nodes',
  'seen-time',
  'active-time',
  'entries-read',
  'lag',
]);

function withoutLayout(reply: unknown): unknown {
  if (!Array.isArray(reply)) return reply;
  return reply.filter((item, i) => !LAYOUT.has(item) && !LAYOUT.has(reply[i - 1])).map(withoutLayout);
}

/** `database:key` */
function split(name: string): [database: string, key: string] {
  const colon = name.indexOf(':');
  return [name.slice(0, colon), name.slice(colon + 1)];
}

/** Those of the keys made here that are still to be there at this time; no other key counts. */
function lasting(contents: Contents, atMs: number): Contents {
  const isOurs = ([name, { expiresAtMs }]: [string, Content]) =>
    split(name)[1].startsWith(PREFIX) && (expiresAtMs < 0 || expiresAtMs > atMs);
  return new Map([...contents].filter(isOurs));
}

/** When the last of the keys that expire soon has gone: milliseconds since 1970. */
function lastOfSoon(contents: Contents): number {
  const soon = [...contents.values()].map(({ expiresAtMs }) => expiresAtMs).filter(ms => ms < Date.now() + 60_000);
  return Math.max(...soon);
}
