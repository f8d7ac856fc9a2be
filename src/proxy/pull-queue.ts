import type { Pull } from './pull.ts';

/**
 * Keys that wait to be pulled: first in, first out within a database, and the databases in turn, since the scripts that
 * pull take keys of one database at a time.
 */
export class PullQueue {
  /** Those with keys that wait, in the order of their turns. */
  readonly #lines = new Map<number, Pull[]>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(pull: Pull): void {
    this.#length += 1;
    const line = this.#lines.get(pull.database);
    if (line === undefined) this.#lines.set(pull.database, [pull]);
    else line.push(pull);
  }

  /** Puts keys of one database, that were taken out, in front of those that wait. */
  putBack(pulls: readonly Pull[]): void {
    const [first] = pulls;
    if (first === undefined) return;
    this.#length += pulls.length;
    this.#lines.set(first.database, [...pulls, ...(this.#lines.get(first.database) ?? [])]);
  }

  /** Takes out keys of the database whose turn it is: at most so many, whose names take at most so many bytes (or one). */
  take(mostKeys: number, mostBytes: number): Pull[] {
    for (const [database, line] of this.#lines) {
      let count = 0;
      for (let bytes = 0; count < mostKeys && count < line.length; count += 1) {
        bytes += (line[count] as Pull).key.length;
        if (count > 0 && bytes > mostBytes) break;
      }
      const taken = line.splice(0, count);
      this.#lines.delete(database);
      if (line.length > 0) this.#lines.set(database, line);
      this.#length -= taken.length;
      return taken;
    }
    return [];
  }

  /** Takes out all that nobody wants any more. */
  prune(): Pull[] {
    const all = [...this.#lines.values()].flat();
    this.#lines.clear();
    this.#length = 0;
    for (const pull of all) if (pull.isWanted) this.push(pull);
    return all.filter(({ isWanted }) => !isWanted);
  }
}
