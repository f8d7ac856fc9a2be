/**
 * The commands that took long, newest first, as SLOWLOG shows them.
 *
 * The time is what the client waited for inside the proxy: from the command's arrival to its reply leaving the line.
 */
export class Slowlog {
  #settings: { readonly overMs: number; readonly keep: number };
  #entries: SlowlogEntry[] = [];
  #nextId = 0;

  constructor(settings: { readonly overMs: number; readonly keep: number }) {
    this.#settings = settings;
  }

  get settings(): { readonly overMs: number; readonly keep: number } {
    return this.#settings;
  }

  /** Fewer to keep: the oldest go at once. */
  set settings(settings: { readonly overMs: number; readonly keep: number }) {
    this.#settings = settings;
    if (this.#entries.length > settings.keep) this.#entries.length = settings.keep;
  }

  add(tookMs: number, words: Buffer[], clientAddress: string, clientName: string): void {
    const { keep } = this.#settings;
    const entry = { id: this.#nextId, wallMs: Date.now(), tookMs, words, clientAddress, clientName };
    this.#nextId += 1;
    this.#entries.unshift(entry);
    if (this.#entries.length > keep) this.#entries.length = keep;
  }

  /** The newest `count`; -1: all. */
  newest(count: number): readonly SlowlogEntry[] {
    return count < 0 ? this.#entries : this.#entries.slice(0, count);
  }

  get length(): number {
    return this.#entries.length;
  }

  reset(): void {
    this.#entries = [];
  }
}

export interface SlowlogEntry {
  readonly id: number;
  readonly wallMs: number;
  readonly tookMs: number;
  /** The command's arguments, shortened as Redis shortens them. */
  readonly words: readonly Buffer[];
  readonly clientAddress: string;
  readonly clientName: string;
}
