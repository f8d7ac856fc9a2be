/**
 * What a simulated node holds: lists of numbered writes, and function libraries.
 *
 * Every write of a simulation has a number of its own and appends it to a key's list (`RPUSH key number`). So a node
 * tells by itself which writes it has, in which order, and whether one was applied twice, which a register would hide.
 */
export class DataSet {
  readonly lists = new Map<string, string[]>();
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
    else if (name === 'FUNCTION') this.load(words.at(-1) as string);
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
    for (const [name, code] of this.libraries) copy.libraries.set(name, code);
    for (const write of this.writes) copy.writes.add(write);
    return copy;
  }

  get keys(): number {
    return this.lists.size;
  }

  /** Two data sets are identical when this says the same of both. */
  digest(): string {
    const lists = [...this.lists].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, list]) => `${key}=${list.join(',')}`);
    return [...lists, ...[...this.libraries].sort().map(([name, code]) => `${name}:${code}`)].join('\n');
  }
}
