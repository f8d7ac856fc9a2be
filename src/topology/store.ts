import type { Topology } from './snapshot.ts';

/**
 * Where the topology is kept, and who may change it.
 *
 * One document, replaced whole by compare-and-swap, in one transaction with the proof of leadership (rule R6): a leader
 * that was deposed unseen can write nothing. A file serves one supervisor, etcd serves several; one contract test runs
 * over both.
 */
export interface TopologyStore {
  /** What is kept; null: nothing yet. Throws `StoreError` when it cannot be read or is no topology. */
  read(): Promise<Topology | null>;
  /**
   * Waits until this supervisor leads, `advertise` (its URL) being shown to the others; at once for a file.
   *
   * The term of the leadership is higher than every one before it, and than `aboveTerm`: a term that was met on a node
   * and that this store knows nothing of. Rejects with `StoreError` when the store fails for good; tries on while it
   * cannot be reached. `signal` gives up: it rejects with the signal's reason. Not while a leadership of this store is
   * still on, nor twice at a time.
   */
  campaign(advertise: string, signal: AbortSignal, aboveTerm?: number): Promise<Leadership>;
  /** The URL of whoever leads, as far as is known; null: nobody, or the store cannot be reached. Never rejects. */
  leader(): Promise<string | null>;
  /** Calls with every version that anybody writes, for followers; until `close`. What is there already comes first. */
  watch(onTopology: (topology: Topology) => void): void;
  /** Ends everything; a leadership is given up. Never rejects. */
  close(): Promise<void>;
}

/** One term of leading, from `campaign` until `lost` is aborted. */
export interface Leadership {
  /** The fencing number: higher than that of every earlier leadership of this cluster. */
  readonly term: number;
  /** Aborted, with the reason as an `Error`, once this leadership has ended or can no longer be proven. */
  readonly lost: AbortSignal;
  /**
   * Writes the successor of `expectedVersion` (0: of nothing), whose version must be the next one, if this leadership
   * holds. Throws `StoreConflict` when another version is there, `StoreError` when it was not, or may not have been,
   * written: either ends the leadership (`lost`). A topology that contradicts itself is refused with `TopologyError`,
   * and ends nothing.
   */
  write(topology: Topology, expectedVersion: number): Promise<void>;
  /** Gives the leadership up, so that another may have it at once. Never rejects. */
  resign(): Promise<void>;
}

export class StoreError extends Error {
  override readonly name: string = 'StoreError';
}

/** Somebody else has written in between: read again and decide anew. */
export class StoreConflict extends StoreError {
  override readonly name = 'StoreConflict';
  /** The version that is there; 0: nothing. */
  readonly present: number;

  /** `where`: the file or key. */
  constructor(where: string, expected: number, present: number) {
    super(`${where} holds version ${present}, not ${expected}, on which the change was based`);
    this.present = present;
  }
}
