import type { Topology } from '../../topology/snapshot.ts';
import type { NodeReport } from './node-report.ts';

/**
 * What the engine is given when a leadership begins, what a person may order, and what it says about itself.
 */
export interface EngineSetup {
  /** The fencing number of this leadership. */
  readonly term: number;
  /** As read from the store by the new leader. */
  readonly topology: Topology;
  readonly settings: EngineSettings;
  readonly credentials: Credentials;
  /** Any clock that only goes forward; every later time is of the same clock. */
  readonly nowMs: number;
}

export interface EngineSettings {
  readonly detect: {
    /** Pace of the probes. */
    readonly everyMs: number;
    /** Refused or reset for so long: dead. */
    readonly crashedMs: number;
    /** Silent for so long: dead. */
    readonly hungMs: number;
  };
  readonly rebuild: {
    /** Copies that are rebuilt at the same time, over all shards. */
    readonly parallel: number;
    /** A copy that lags no more than this may join. */
    readonly maxLagBytes: number;
  };
  /** `CONFIG SET` values of the person's own, put on every node. */
  readonly nodeSettings: Readonly<Record<string, string>>;
  /** The nodes' default user stays on, without the right to replicate or to administrate. */
  readonly keepDefaultUser: boolean;
  /** Makes `ringside-inspect` on every node, for people and tools that only read. */
  readonly inspectUser: boolean;
  /** Some read is answered by replicas: in-sync replicas let reading proxies in. */
  readonly replicaReads: boolean;
  /** How many copies a shard is to have, the primary included; for a shard that is not named: as many as its members. */
  readonly copies: Readonly<Record<string, number>>;
}

/** Derives what users prove themselves with, so that the deciding half needs neither the secret nor cryptography. */
export interface Credentials {
  /** A user's password on one incarnation (for `ringside-admin` and `ringside-inspect`: the cluster's name). */
  password(user: string, incarnation: string): string;
  /** As `ACL SETUSER` takes a password without seeing it: `#` and its SHA-256. */
  hash(password: string): string;
}

/** What a person may ask for. */
export type Order =
  /** A planned change of primary; `to`: a node id, or null for whichever copy is best. */
  | { readonly kind: 'switchover'; readonly shard: string; readonly to: string | null }
  /** Go on with what is left, even with nothing; until the shard serves again. */
  | { readonly kind: 'recover'; readonly shard: string; readonly acceptLoss: true };

/** `accepted`: it was begun, which is not yet done; `status` tells how it goes on. */
export interface OrderAnswer {
  readonly accepted: boolean;
  readonly text: string;
}

export interface EngineStatus {
  readonly term: number;
  readonly shards: readonly ShardStatus[];
  readonly nodes: readonly NodeStatus[];
}

/**
 * `unformed`: never served; `healthy`: all copies in sync; `degraded`: serves with fewer copies; `failing over`,
 * `switching over`; `waiting`: its primary is lost and no copy can be promoted yet; `halted`: goes on only by order.
 */
export type ShardState = 'unformed' | 'healthy' | 'degraded' | 'failing over' | 'switching over' | 'waiting' | 'halted';

export interface ShardStatus {
  readonly name: string;
  readonly state: ShardState;
  /** A few words for what state and running procedure rest on. */
  readonly why: string;
  /** The procedure that is running (`failover`, `shrink`, `grow`, …); null: none. */
  readonly running: string | null;
  /** The copy that is being rebuilt; null: none. */
  readonly rebuild: RebuildStatus | null;
  /** What only a person can do, with the command where there is one; null: nothing. */
  readonly needs: string | null;
  /** The newest last; at most ten. */
  readonly changes: readonly PrimaryChange[];
}

export interface RebuildStatus {
  readonly nodeId: string;
  /** The copy that it copies from; null: a partial resync is enough. */
  readonly from: string | null;
  readonly sinceMs: number;
  /** Bytes of the full copy still to come; 0: done, or not known yet. */
  readonly leftBytes: number;
  /** Bytes of the stream behind the primary; null: not known yet. */
  readonly lagBytes: number | null;
}

/** A change of primary that was carried through. */
export interface PrimaryChange {
  readonly kind: 'failover' | 'switchover' | 'start';
  readonly cause: string;
  /** When it was published. */
  readonly atMs: number;
  /** From the decision to the publication. */
  readonly durationMs: number;
  readonly from: string;
  readonly to: string;
}

/** `suspect`: does not answer, but not for long enough; `unknown`: nothing was heard of it yet. */
export type HealthWord = 'unknown' | 'up' | 'suspect' | 'crashed' | 'hung' | 'busy' | 'denied';

export interface NodeStatus {
  readonly id: string;
  readonly health: HealthWord;
  /** Taken over and set up by this leader. */
  readonly ready: boolean;
  /** What it last said about itself; null: nothing yet. */
  readonly report: NodeReport | null;
  /** When that was. */
  readonly reportedAtMs: number | null;
  /** Bytes behind its shard's primary, by the last reports of both; null: none, or not of one history. */
  readonly lagBytes: number | null;
  /** Why it cannot be used, where a person must help; null: nothing. */
  readonly needs: string | null;
}
