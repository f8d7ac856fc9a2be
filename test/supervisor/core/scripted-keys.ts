import type { Reply } from '../../../src/supervisor/core/effect.ts';
import { DROP_KEYS, PULLED_SHUT, PUT_KEYS, READ_KEYS, SIZE_KEYS } from '../../../src/topology/pull.ts';

/**
 * The keys of a scripted node, as far as moving them asks: databases of texts, sets in database 0, walks of a few keys a
 * page, and the four scripts of `topology/pull.ts`, told by their text. A text of digits and `B` has that many bytes.
 */
const PAGE_KEYS = 3;

export class ScriptedKeys {
  databases = new Map<number, Map<string, string>>();
  sets = new Map<string, Set<string>>();
  /** It takes nothing more. */
  isFull = false;
  #selected = 0;

  copyOf(other: ScriptedKeys): void {
    this.databases = new Map([...other.databases].map(([database, keys]) => [database, new Map(keys)]));
    this.sets = new Map([...other.sets].map(([name, members]) => [name, new Set(members)]));
  }

  clear(): void {
    this.databases.clear();
    this.sets.clear();
  }

  set(database: number, key: string, value: string): void {
    const keys = this.databases.get(database) ?? new Map<string, string>();
    this.databases.set(database, keys.set(key, value));
  }

  get(database: number, key: string): string | null {
    return this.databases.get(database)?.get(key) ?? null;
  }

  /** By `<database>:<key>`. */
  all(): Map<string, string> {
    const found = new Map<string, string>();
    for (const [database, keys] of this.databases) {
      for (const [key, value] of keys) found.set(`${database}:${key}`, value);
    }
    return found;
  }

  /** Lines of `INFO keyspace`. */
  info(): string[] {
    const sizes = [...this.databases].map(([database, keys]) => [
      database,
      keys.size + (database === 0 ? this.sets.size : 0),
    ]);
    return sizes
      .filter(([, size]) => size !== 0)
      .map(([database, size]) => `db${database}:keys=${size},expires=0,avg_ttl=0`);
  }

  /** Undefined: it is none of these commands. The second value: whether something was written. */
  run(words: readonly string[]): readonly [Reply, boolean] | undefined {
    const [name = '', first = '', ...rest] = words;
    if (name === 'PING') return ['PONG', false];
    if (name === 'SPUBLISH') return [0, true];
    if (name === 'SELECT') {
      this.#selected = Number(first);
      return ['OK', false];
    }
    if (name === 'SCAN') {
      const own = this.#selected === 0 ? [...this.sets.keys()] : [];
      return [page([...(this.databases.get(this.#selected)?.keys() ?? []), ...own], first), false];
    }
    if (name === 'SSCAN') return [page([...(this.sets.get(first) ?? [])], rest[0] ?? '0'), false];
    if (name === 'SISMEMBER') return [this.sets.get(first)?.has(rest[0] ?? '') === true ? 1 : 0, false];
    if (name === 'SADD') {
      if (this.isFull) return [{ error: OUT_OF_MEMORY }, false];
      this.sets.set(first, new Set([...(this.sets.get(first) ?? []), ...rest]));
      return [1, true];
    }
    if (name === 'UNLINK') return [this.sets.delete(first) ? 1 : 0, true];
    if (name !== 'EVAL') return undefined;
    const count = Number(rest[0]);
    return this.#eval(first, rest.slice(1, 1 + count), rest.slice(1 + count));
  }

  #eval(script: string, keys: readonly string[], args: readonly string[]): readonly [Reply, boolean] {
    const database = Number(args[0]);
    if (script === SIZE_KEYS) return [keys.map(key => sizeOf(this.get(database, key))), false];
    if (script === READ_KEYS) return [this.#read(database, keys, Number(args[1]), Number(args[2])), false];
    if (script === PUT_KEYS) return [this.#put(database, keys, args.slice(1)), true];
    if (script !== DROP_KEYS) return [{ error: 'ERR a script that nobody knows' }, false];
    for (const key of keys) this.databases.get(database)?.delete(key);
    return [keys.length, true];
  }

  #read(database: number, [there = '', ...keys]: readonly string[], most: number, room: number): Reply {
    const pulled = this.sets.get(there);
    if (there !== '' && pulled?.has('') !== true) return null;
    let left = room;
    return keys.flatMap((key): Reply[] => {
      if (there !== '' && pulled?.has(`${database}:${key}`) !== true) return [null, -4];
      const value = this.get(database, key);
      if (value === null) return [null, -2];
      const size = sizeOf(value) ?? 0;
      if (most > 0 && size > most) return [size, -3];
      if (room > 0 && size > left && left < room) return [null, -5];
      left -= size;
      return [value, -1];
    });
  }

  #put(database: number, [name = '', ...keys]: readonly string[], values: readonly string[]): Reply {
    const pulled = this.sets.get(name);
    if (pulled?.has('') !== true || pulled.has(PULLED_SHUT)) return null;
    return keys.map((key, i): Reply => {
      if (pulled.has(`${database}:${key}`)) return 1;
      const [dump = '', expiry = ''] = values.slice(2 * i, 2 * i + 2);
      if (this.isFull && expiry === '-1') return OUT_OF_MEMORY;
      if (expiry === '-2') this.databases.get(database)?.delete(key);
      else if (expiry !== '-4') this.set(database, key, dump);
      pulled.add(`${database}:${key}`);
      return 0;
    });
  }
}

const OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'.";

function sizeOf(value: string | null): number | null {
  if (value === null) return null;
  return Number(/^(\d+)B$/.exec(value)?.[1] ?? 100);
}

/** A cursor is a place in the order of names: what is there all the while is met, whatever comes and goes. */
function page(names: readonly string[], cursor: string): Reply {
  const sorted = [...names].sort();
  const last = cursor === '0' ? null : Buffer.from(BigInt(cursor).toString(16), 'hex').toString().slice(1);
  const left = last === null ? sorted : sorted.filter(name => name > last);
  const keys = left.slice(0, PAGE_KEYS);
  if (left.length <= PAGE_KEYS) return ['0', keys];
  return [String(BigInt(`0x${Buffer.from(`x${keys.at(-1)}`).toString('hex')}`)), keys];
}
