/**
 * What a simulated node holds: lists of numbered writes, sets, and function libraries.
 *
 * Every write of a simulation has a number of its own and appends it to a key's list (`RPUSH key number`). So a node
 * tells by itself which writes it has, in which order, and whether one was applied twice, which a register would hide.
 */
export class DataSet {
  readonly lists = new Map<string, string[]>();
  /** Only what Ringside itself keeps: the sets of pulled keys. */
  readonly sets = new Map<string, Set<string>>();
  readonly libraries = new Map<string, string>();
  /** Every write that is in a list. */
  readonly writes = new Set<string>();
  /** Writes that were applied again; each one is a broken promise. */
  readonly twice: string[] = [];

  append(key: string, write: string): number {
    if (this.writes.has(write)) this.twice.push(write);
    this.writes.add(write);
    const list = this.lists.get(key);
    if (list === undefined) {
      this.lists.set(key, [write]);
      return 1;
    }
    return list.push(write);
  }

  /** Applies one command of a replication stream. */
  apply(command: readonly string[]): void {
    const [name = '', ...words] = command;
    if (name === 'RPUSH') this.append(words[0] as string, words[1] as string);
    else if (name === 'CHANGES') for (const change of JSON.parse(words[0] as string) as Change[]) this.change(change);
    else if (name === 'FLUSHALL') this.flush();
    else if (name === 'FUNCTION' && words[0] === 'FLUSH') this.libraries.clear();
    else if (name === 'FUNCTION' && words[0] === 'DELETE') this.libraries.delete(words[1] as string);
    else if (name === 'FUNCTION') this.load(words.at(-1) as string);
  }

  /** All keys; libraries stay. */
  flush(): void {
    this.lists.clear();
    this.sets.clear();
    this.writes.clear();
  }

  /** Applies what one command or script does to keys, all at once. */
  change({ op, key, values }: Change): void {
    if (op === 'add') {
      const set = this.sets.get(key) ?? new Set();
      this.sets.set(key, set);
      for (const value of values) set.add(value);
      return;
    }
    this.sets.delete(key);
    for (const write of this.lists.get(key) ?? []) this.writes.delete(write);
    this.lists.delete(key);
    if (op === 'delete') return;
    this.lists.set(key, [...values]);
    for (const write of values) {
      // Of one list no write can be in another.
      if (this.writes.has(write)) this.twice.push(write);
      this.writes.add(write);
    }
  }

  /** Names of all keys, in an order that tells nothing of when they came. */
  names(): string[] {
    return [...this.lists.keys(), ...this.sets.keys()].sort();
  }

  /** `FUNCTION LOAD`: the library's name stands in its first line. */
  load(code: string): string {
    const name = /\bname=([\w.-]+)/.exec(code)?.[1] ?? '';
    this.libraries.set(name, code);
    return name;
  }

  clone(): DataSet {
    const copy = new DataSet();
    for (const [key, list] of this.lists) copy.lists.set(key, [...list]);
    for (const [key, set] of this.sets) copy.sets.set(key, new Set(set));
    for (const [name, code] of this.libraries) copy.libraries.set(name, code);
    for (const write of this.writes) copy.writes.add(write);
    return copy;
  }

  get keys(): number {
    return this.lists.size + this.sets.size;
  }

  /** Two data sets are identical when this says the same of both. */
  digest(): string {
    const lists = [...this.lists].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, list]) => `${key}=${list.join(',')}`);
    const sets = [...this.sets].sort().map(([key, set]) => `${key}=${[...set].sort().join(',')}`);
    return [...lists, ...sets, ...[...this.libraries].sort().map(([name, code]) => `${name}:${code}`)].join('\n');
  }
}

/** What becomes of one key: members are added to a set, a list takes its place, or it is gone. */
export interface Change {
  readonly op: 'add' | 'restore' | 'delete';
  readonly key: string;
  readonly values: readonly string[];
}
