/**
 * Tells of a store's trouble: each cause once, however often it is met, and once when all is over.
 *
 * Who works with a store in several ways, such as following it and campaigning for it, may have trouble with one of them
 * only: then it is not over because the other succeeds.
 */
export class StoreProblem<Way extends string> {
  readonly #tell: (problem: string | null) => void;
  /** By way, what was told since it last worked. Several causes may take turns, such as the members of one etcd. */
  readonly #told = new Map<Way, Set<string>>();

  constructor(tell: (problem: string | null) => void) {
    this.#tell = tell;
  }

  /** `problem`: what is wrong and what to do, without what changes from try to try. */
  met(way: Way, problem: string): void {
    const isNew = [...this.#told.values()].every(told => !told.has(problem));
    const told = this.#told.get(way) ?? new Set();
    this.#told.set(way, told.add(problem));
    if (isNew) this.#tell(problem);
  }

  over(way: Way): void {
    if (this.#told.delete(way) && this.#told.size === 0) this.#tell(null);
  }
}
