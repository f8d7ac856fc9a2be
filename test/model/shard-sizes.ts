import type { ModelFiles } from './explore.ts';

/**
 * The model of one shard, and its sizes.
 */

/** By the names that shard.pml reads. */
export interface ShardSizes {
  /** Nodes; `MEMBERS` of them are in sync replicas at the start. */
  readonly NODES?: number;
  readonly MEMBERS?: number;
  readonly WRITES?: number;
  readonly LEADERS?: number;
  readonly PROXIES?: number;
  /** So many of the proxies read instead of writing. */
  readonly STRICT_READS?: number;
  /** 1: the first leader begins with taking over. */
  readonly FRESH?: number;
  /** 1: only the first leader fails over, only later ones shrink and grow. */
  readonly ROLES?: number;
  /** 1: a primary held for lost may be a candidate itself. */
  readonly PRIMARY_STANDS?: number;
  /** 1: a leader that gave up a fail-over sees links anew, but does not clean nodes anew. */
  readonly LAX?: number;
  /** 1: proxies hear of old versions too. */
  readonly LATE?: number;
  /** 1: proxies resolve writes that a fail-over left undecided. */
  readonly UNDECIDED?: number;
  /** How often each may happen. */
  readonly DEATHS?: number;
  readonly RESTARTS?: number;
  readonly BREAKS?: number;
  readonly EMPTIED?: number;
  readonly SHRINKS?: number;
  readonly GROWS?: number;
  readonly FAIL_OVERS?: number;
  readonly SWITCH_OVERS?: number;
}

const LEAST: Required<ShardSizes> = {
  NODES: 3,
  MEMBERS: 2,
  WRITES: 1,
  LEADERS: 1,
  PROXIES: 1,
  STRICT_READS: 0,
  FRESH: 0,
  ROLES: 0,
  PRIMARY_STANDS: 0,
  LAX: 0,
  LATE: 0,
  UNDECIDED: 0,
  DEATHS: 0,
  RESTARTS: 0,
  BREAKS: 0,
  EMPTIED: 0,
  SHRINKS: 0,
  GROWS: 0,
  FAIL_OVERS: 0,
  SWITCH_OVERS: 0,
};

export const SHARD: ModelFiles<ShardSizes> = {
  main: 'shard.pml',
  safeguards: 'safeguards.pml',
  least: LEAST,
  story: /^(leader|node|proxy|the link)/,
};
