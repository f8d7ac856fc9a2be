/**
 * A node's place in a history of writes: which history, how far, and the piece of it that it can still give to others.
 */
export class History {
  id: string;
  /** Bytes of the history: written by a primary, applied by a replica. */
  offset = 0;
  /** The history before the last promotion, and the first byte that is not of it. */
  previousId = NOWHERE;
  previousEnd = -1;
  /** Null until a first replica asks, as in Redis. */
  #kept: Entry[] | null = null;
  /** The offset of the first byte that is kept, minus one. */
  #keptFrom = 0;
  #keptBytes = 0;

  constructor(id: string) {
    this.id = id;
  }

  get hasBacklog(): boolean {
    return this.#kept !== null;
  }

  /** The first byte that is still kept. */
  get firstKept(): number {
    return this.#keptFrom + 1;
  }

  /** Begins to keep what passes, from here. */
  openBacklog(): void {
    this.dropBacklog();
    this.#kept = [];
  }

  dropBacklog(): void {
    this.#kept = null;
    this.#keptFrom = this.offset;
    this.#keptBytes = 0;
  }

  /** A command that moves the history; null when there is nobody whom it could concern, as in Redis 7.0. */
  write(command: readonly string[]): Entry | null {
    if (this.#kept === null) return null;
    return { end: this.offset + bytesOf(command), command };
  }

  /** Takes one command of the history in, which must be the next one. */
  take(entry: Entry, limitBytes: number): void {
    const bytes = entry.end - this.offset;
    this.offset = entry.end;
    if (this.#kept === null) return;
    this.#kept.push(entry);
    this.#keptBytes += bytes;
    while (this.#keptBytes > limitBytes && this.#kept.length > 1) {
      const first = this.#kept.shift() as Entry;
      this.#keptBytes -= first.end - this.#keptFrom;
      this.#keptFrom = first.end;
    }
  }

  /**
   * What somebody lacks who has `have` bytes of the history `id`; null: it must copy everything.
   */
  since(id: string, have: number): Entry[] | null {
    const isKnown = id === this.id || (id === this.previousId && have + 1 <= this.previousEnd);
    if (!isKnown || this.#kept === null) return null;
    if (have < this.#keptFrom || have > this.offset) return null;
    return this.#kept.filter(entry => entry.end > have);
  }

  /** Promotion: what was is remembered as the previous history, a new one begins here. */
  shift(newId: string): void {
    this.previousId = this.id;
    this.previousEnd = this.offset + 1;
    this.id = newId;
  }

  /** Another history from its very beginning, or from a full copy. */
  restart(id: string, offset: number): void {
    this.id = id;
    this.offset = offset;
    this.forgetPrevious();
  }

  forgetPrevious(): void {
    this.previousId = NOWHERE;
    this.previousEnd = -1;
  }
}

/** One command of a replication stream and the offset after it. */
export interface Entry {
  readonly end: number;
  readonly command: readonly string[];
}

const NOWHERE = '0'.repeat(40);

/** Length in RESP, as Redis counts it. */
export function bytesOf(command: readonly string[]): number {
  const head = `*${command.length}\r\n`.length;
  return command.reduce((sum, word) => sum + `$${word.length}\r\n`.length + word.length + 2, head);
}
