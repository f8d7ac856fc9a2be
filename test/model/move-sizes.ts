import type { ModelFiles } from './explore.ts';

/**
 * The model of moving keys between two shards, and its sizes.
 */

/** By the names that move.pml reads. */
export interface MoveSizes {
  readonly PROXIES?: number;
  readonly LEADERS?: number;
  /** 0: what is left where the key does not belong is no fault by itself, only when it comes back. */
  readonly TIDY?: number;
  /** 1: a portion is prepared without a fence on its taker, but where it turns round. */
  readonly LAX?: number;
  /** 0: clients do not delete. */
  readonly DELETES?: number;
  /** How often each may happen. */
  readonly MOVES?: number;
  readonly ABORTS?: number;
  readonly TAKE_BACKS?: number;
  readonly FAIL_OVERS?: number;
  readonly WRITES?: number;
  readonly READS?: number;
  readonly REFUSALS?: number;
  readonly EVICTIONS?: number;
  /** What a proxy puts under a later epoch than it was made in, since it is sent, or sent again, after a new login. */
  readonly RESENT?: number;
  readonly LATE?: number;
}

const LEAST: Required<MoveSizes> = {
  PROXIES: 1,
  LEADERS: 1,
  TIDY: 1,
  LAX: 0,
  DELETES: 1,
  MOVES: 1,
  ABORTS: 0,
  TAKE_BACKS: 0,
  FAIL_OVERS: 0,
  WRITES: 1,
  READS: 0,
  REFUSALS: 0,
  EVICTIONS: 0,
  RESENT: 0,
  LATE: 0,
};

export const MOVE: ModelFiles<MoveSizes> = {
  main: 'move.pml',
  safeguards: 'move-safeguards.pml',
  least: LEAST,
  story: /^ *(leader|proxy|a command|the set)/,
};
