/**
 * One key of a portion that somebody waits for, until it has arrived (`pull-batch.ts`) or cannot be had.
 */
export class Pull {
  readonly database: number;
  readonly key: Buffer;
  /** The key as the set of pulled keys has it (`pulledMember`), in latin1. */
  readonly name: string;
  /** Who is told when it is here. */
  waiters: Waiter[] = [];
  /** When it was wanted first (milliseconds of the monotonic clock, as coarse as one read). */
  readonly begunMs: number;
  #pruneAt = 32;

  constructor(database: number, key: Buffer, name: string, nowMs: number) {
    this.database = database;
    this.key = key;
    this.name = name;
    this.begunMs = nowMs;
  }

  /** Somebody still waits for it. */
  get isWanted(): boolean {
    return this.waiters.some(waiter => !waiter.over);
  }

  /** Those who waited and are gone are forgotten now and then, however long it takes. */
  join(waiter: Waiter): void {
    this.waiters.push(waiter);
    if (this.waiters.length < this.#pruneAt) return;
    this.waiters = this.waiters.filter(({ over }) => !over);
    this.#pruneAt = Math.max(32, this.waiters.length * 2);
  }
}

/** Who waits for keys of a portion. */
export interface Waiter {
  /** How many of its keys are not here yet. */
  left: number;
  /** It waits no more, and must not be told anything. */
  over: boolean;
  /** All its keys are here, or (`problem` not empty) one of them cannot be had. */
  onArrived(problem: string): void;
}
