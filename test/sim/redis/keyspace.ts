import type { Reply } from '../../../src/supervisor/core/effect.ts';
import { DROP_KEYS, PULLED_SHUT, PUT_KEYS, READ_KEYS, SIZE_KEYS } from '../../../src/topology/pull.ts';
import type { Answer } from './commands.ts';
import type { ServerConnection } from './connection.ts';
import type { Change } from './data-set.ts';
import type { RedisProcess } from './process.ts';

/**
 * What is done to keys when they are moved: walks, the set of pulled keys, and the scripts of `topology/pull.ts`.
 *
 * There is one database, 0. A dump is the list itself as text; no key expires. Whatever a command or script changes goes
 * to the copies as one piece, as Redis does it.
 */
type Handler = (process: RedisProcess, connection: ServerConnection, words: readonly string[]) => Answer;

export const KEYSPACE_HANDLERS: Readonly<Record<string, Handler>> = {
  SELECT: () => ({ reply: 'OK' }),
  SCAN: (process, _connection, [cursor = '0', ...options]) => {
    return scanned(process.data.names(), cursor, options);
  },
  SSCAN: (process, _connection, [key = '', cursor = '0', ...options]) => {
    return scanned([...(process.data.sets.get(key) ?? [])].sort(), cursor, options);
  },
  EXISTS: (process, _connection, keys) => ({ reply: keys.filter(key => isThere(process, key)).length }),
  SCARD: (process, _connection, [key = '']) => ({ reply: process.data.sets.get(key)?.size ?? 0 }),
  SISMEMBER: (process, _connection, [key = '', member = '']) => {
    return { reply: process.data.sets.get(key)?.has(member) ? 1 : 0 };
  },
  SADD: (process, connection, [key = '', ...members]) => {
    const before = process.data.sets.get(key)?.size ?? 0;
    carryOut(process, connection, [{ op: 'add', key, values: members }]);
    return { reply: (process.data.sets.get(key)?.size ?? 0) - before };
  },
  DEL: (process, connection, keys) => ({ reply: dropped(process, connection, keys) }),
  UNLINK: (process, connection, keys) => ({ reply: dropped(process, connection, keys) }),
  EVAL: (process, connection, [script = '', count = '0', ...words]) => {
    const keys = words.slice(0, Number(count));
    const args = words.slice(Number(count));
    if (script === READ_KEYS) return { reply: readKeys(process, keys) };
    if (script === PUT_KEYS) return { reply: putKeys(process, connection, keys, args) };
    if (script === DROP_KEYS) return { reply: dropped(process, connection, keys) };
    if (script === SIZE_KEYS) return { reply: keys.map(key => (isThere(process, key) ? KEY_BYTES : null)) };
    return { reply: { error: 'ERR a script that the simulation does not know' } };
  },
};

export function isKeyspaceWrite(name: string, script = ''): boolean {
  if (name === 'EVAL') return script === PUT_KEYS || script === DROP_KEYS;
  return name === 'SADD' || name === 'DEL' || name === 'UNLINK';
}

const KEY_BYTES = 100;

/** A cursor is a place in the order of names: what is there all the while is met, whatever comes and goes. */
function scanned(names: readonly string[], cursor: string, options: readonly string[]): Answer {
  const from = cursor === '0' ? '' : Buffer.from(BigInt(cursor).toString(16), 'hex').toString();
  const at = options.findIndex(word => word.toUpperCase() === 'COUNT');
  const count = at < 0 ? 10 : Number(options[at + 1]);
  const left = names.filter(name => name >= from);
  const next = left[count];
  const place = next === undefined ? '0' : String(BigInt(`0x${Buffer.from(next || '\0').toString('hex')}`));
  return { reply: [place, left.slice(0, count)] };
}

function isThere({ data }: RedisProcess, key: string): boolean {
  return data.lists.has(key) || data.sets.has(key);
}

/** Here, and to the copies in one piece. */
function carryOut(process: RedisProcess, connection: ServerConnection, changes: readonly Change[]): void {
  if (changes.length === 0) return;
  for (const change of changes) process.data.change(change);
  connection.writtenTo = process.write(['CHANGES', JSON.stringify(changes)]);
}

function dropped(process: RedisProcess, connection: ServerConnection, keys: readonly string[]): number {
  const there = keys.filter(key => isThere(process, key));
  carryOut(
    process,
    connection,
    there.map(key => ({ op: 'delete', key, values: [] })),
  );
  return there.length;
}

function readKeys(process: RedisProcess, [there = '', ...keys]: readonly string[]): Reply {
  const pulled = process.data.sets.get(there);
  if (there !== '' && pulled?.has('') !== true) return null;
  return keys.flatMap((key): Reply[] => {
    if (there !== '' && pulled?.has(`0:${key}`) !== true) return [null, -4];
    const list = process.data.lists.get(key);
    return list === undefined ? [null, -2] : [JSON.stringify(list), -1];
  });
}

function putKeys(
  process: RedisProcess,
  connection: ServerConnection,
  [set = '', ...keys]: readonly string[],
  [, ...values]: readonly string[],
): Reply {
  const pulled = process.data.sets.get(set);
  if (pulled?.has('') !== true || pulled.has(PULLED_SHUT)) return null;
  const changes: Change[] = [];
  const out = keys.map((key, i): Reply => {
    if (pulled.has(`0:${key}`)) return 1;
    const [dump = '', expiry = ''] = values.slice(2 * i, 2 * i + 2);
    if (process.isFull && expiry !== '-4' && expiry !== '-2') return OUT_OF_MEMORY;
    if (expiry === '-2') changes.push({ op: 'delete', key, values: [] });
    else if (expiry !== '-4') changes.push({ op: 'restore', key, values: JSON.parse(dump) as string[] });
    changes.push({ op: 'add', key: set, values: [`0:${key}`] });
    return 0;
  });
  carryOut(process, connection, changes);
  return out;
}

const OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'.";
