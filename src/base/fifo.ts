/**
 * First in, first out, in a ring of slots: no element moves and nothing is allocated until it must grow.
 *
 * Capacity is a power of two, so that the index wraps by a mask. `empty` fills the slots that hold nothing: V8 keeps
 * one shape for the elements, and what was taken out can be collected.
 */
export class Fifo<T> {
  #slots: T[];
  #mask: number;
  #head = 0;
  #length = 0;
  readonly #empty: T;

  constructor(empty: T, capacity = 16) {
    let size = 2;
    while (size < capacity) size *= 2;
    this.#slots = new Array<T>(size).fill(empty);
    this.#mask = size - 1;
    this.#empty = empty;
  }

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    if (this.#length > this.#mask) this.#grow();
    this.#slots[(this.#head + this.#length) & this.#mask] = item;
    this.#length += 1;
  }

  /** The oldest, left where it is; `empty` when there is none. */
  peek(): T {
    return this.#slots[this.#head] as T;
  }

  /** The one that `index` others came before. */
  at(index: number): T {
    return this.#slots[(this.#head + index) & this.#mask] as T;
  }

  /** Takes out the oldest; `empty` when there is none. */
  shift(): T {
    const item = this.#slots[this.#head] as T;
    if (this.#length === 0) return item;
    this.#slots[this.#head] = this.#empty;
    this.#head = (this.#head + 1) & this.#mask;
    this.#length -= 1;
    return item;
  }

  #grow(): void {
    const old = this.#slots;
    const size = old.length;
    const slots = new Array<T>(size * 2).fill(this.#empty);
    for (let i = 0; i < size; i += 1) slots[i] = old[(this.#head + i) & this.#mask] as T;
    this.#slots = slots;
    this.#mask = size * 2 - 1;
    this.#head = 0;
  }
}
