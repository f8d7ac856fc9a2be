/**
 * Compares what the copies of a shard hold: every key of every database, its type, its value, and when it expires.
 */
import type { Found } from './ledger.ts';
import { ErrorReply, type Reply, type RespConnection } from './resp.ts';

/** By `database:key`. */
export type Contents = ReadonlyMap<string, Content>;

export interface Content {
  readonly type: string;
  /** A string as it is; a list's elements; sets, hashes and sorted sets in an order of their own. */
  readonly value: string | readonly string[];
  /** Milliseconds since 1970; -1: never. */
  readonly expiresAtMs: number;
}

/** How a whole value is read, by the type of it. */
const READERS: Readonly<Record<string, (key: string) => string[]>> = {
  string: key => ['GET', key],
  list: key => ['LRANGE', key, '0', '-1'],
  set: key => ['SMEMBERS', key],
  hash: key => ['HGETALL', key],
  zset: key => ['ZRANGE', key, '0', '-1', 'WITHSCORES'],
  stream: key => ['XRANGE', key, '-', '+'],
};

/** Everything that a node holds. Keys that change meanwhile are read as they are at some moment. */
export async function contentsOf(node: RespConnection): Promise<Contents> {
  const contents = new Map<string, Content>();
  const keyspace = String(await node.must('INFO', 'keyspace'));
  for (const [, database] of keyspace.matchAll(/^db(\d+):/gm)) {
    await node.must('SELECT', database as string);
    let cursor = '0';
    do {
      const [next, keys] = (await node.must('SCAN', cursor, 'COUNT', '1000')) as [string, string[]];
      cursor = next;
      await readKeys(node, database as string, keys, contents);
    } while (cursor !== '0');
  }
  return contents;
}

async function readKeys(
  node: RespConnection,
  database: string,
  keys: readonly string[],
  contents: Map<string, Content>,
): Promise<void> {
  if (keys.length === 0) return;
  const facts = await node.pipeline(
    ...keys.flatMap(key => [
      ['TYPE', key],
      ['PEXPIRETIME', key],
    ]),
  );
  const present = keys.flatMap((key, i) => {
    const [type, expiresAtMs] = [String(facts[2 * i]), Number(facts[2 * i + 1])];
    return type === 'none' ? [] : [{ key, type, expiresAtMs }];
  });
  const values = await node.pipeline(...present.map(({ key, type }) => readerOf(type)(key)));
  for (const [i, { key, type, expiresAtMs }] of present.entries()) {
    const value = inOneOrder(type, values[i] as Reply);
    contents.set(`${database}:${key}`, { type, value, expiresAtMs });
  }
}

function readerOf(type: string): (key: string) => string[] {
  const reader = READERS[type];
  if (reader === undefined) throw new Error(`nobody knows how to read a ${type}`);
  return reader;
}

/** Copies may keep the members of a set or a hash in different orders. */
function inOneOrder(type: string, reply: Reply): string | string[] {
  if (reply instanceof ErrorReply) throw new Error(reply.text);
  if (!Array.isArray(reply)) return String(reply);
  const items = reply.map(item => (Array.isArray(item) ? JSON.stringify(item) : String(item)));
  if (type === 'set') return items.sort();
  if (type !== 'hash') return items;
  return items.flatMap((item, i) => (i % 2 === 0 ? [`${item}\0${items[i + 1]}`] : [])).sort();
}

/** The differences between two copies, in words; at most ten. */
export function differences(nameA: string, a: Contents, nameB: string, b: Contents): string[] {
  const problems: string[] = [];
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const [onA, onB] = [textOf(a.get(key)), textOf(b.get(key))];
    if (onA !== onB) problems.push(`${key} is ${shortened(onA)} on ${nameA}, and ${shortened(onB)} on ${nameB}`);
    if (problems.length === 10) break;
  }
  return problems;
}

function textOf(content: Content | undefined): string {
  return content === undefined ? 'absent' : JSON.stringify([content.type, content.value, content.expiresAtMs]);
}

function shortened(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}

/** The keys of database 0 of several shards together, as the ledger judges them. Throws when two shards hold a key. */
export function together(shards: readonly Contents[]): Found {
  const found = new Map<string, string | readonly string[]>();
  for (const contents of shards)
    for (const [name, { value }] of contents) {
      if (!name.startsWith('0:')) continue;
      const key = name.slice('0:'.length);
      if (found.has(key)) throw new Error(`${key} is on two shards`);
      found.set(key, value);
    }
  return found;
}
