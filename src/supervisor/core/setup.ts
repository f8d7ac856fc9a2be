import type { Topology } from '../../topology/snapshot.ts';
import type { Holdings } from './holdings.ts';
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
  readonly move: MoveSettings;
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

export interface MoveSettings {
  /** At most so many keys are moved in a second. */
  readonly keysPerSecond: number;
  /** For so many percent of the time, at most, nodes are busy with moving keys. */
  readonly workPercent: number;
  /** About so many keys are in one portion. */
  readonly portionKeys: number;
  /** Keys of more memory than this are moved one at a time. */
  readonly bigKeyBytes: number;
  /** A key that would hold its shard up for longer than this is moved only where a person has accepted that. */
  readonly stallMs: number;
  /** What the giver's answers may take longer while keys are read from it: moving slows down to keep that. */
  readonly addedLatencyMs: number;
}

/** Derives what users prove themselves with, so that the deciding half needs neither the secret nor cryptography. */
export interface Credentials {
  /** A user's password on one incarnation (for `ringside-admin` and `ringside-inspect`: the cluster's name). */
  password(user: string, incarnation: string): string;
  /** As `ACL SETUSER` takes a password without seeing it: `#` and its SHA-256. */
  hash(password: string): string;
  /** The key of the set of pulled keys that has this number (`CurrentPortion.set`). */
  pulledSet(number: number): string;
}

/** What a person may ask for. */
export type Order =
  /** A planned change of primary; `to`: a node id, or null for whichever copy is best. */
  | { readonly kind: 'switchover'; readonly shard: string; readonly to: string | null }
  /** Go on with what is left, even with nothing; until the shard serves again. */
  | { readonly kind: 'recover'; readonly shard: string; readonly acceptLoss: true }
  /**
   * About the move of keys that is on. `throttle`: `keysPerSecond` from now on (null: as the settings say); `abort`: what
   * was moved goes back. With `resume` a person may accept that large keys hold their shards up (`allowStalls`).
   */
  | {
      readonly kind: 'move';
      readonly what: 'pause' | 'resume' | 'abort' | 'throttle';
      readonly keysPerSecond: number | null;
      readonly allowStalls?: boolean;
    }
  /**
   * A node is to be free: what it has goes elsewhere, to `to` or into `zone` where those are named, and it is given no
   * copy. `undrain`: it may have one again.
   */
  | { readonly kind: 'drain'; readonly node: string; readonly to: string | null; readonly zone: string | null }
  | { readonly kind: 'undrain'; readonly node: string }
  /**
   * A spare is to lose all that it holds. `holds`: what it has just said that this is (null: it was not asked yet);
   * `confirmed`: how much of it a person has seen and gives up (null: nothing is done, but told whether it could be).
   * `acceptLoss`: also where that may be all that is left of a shard.
   */
  | {
      readonly kind: 'empty';
      readonly node: string;
      readonly holds: Holdings | null;
      readonly confirmed: Confirmed | null;
      readonly acceptLoss: boolean;
    };

/** What a person has seen that a node holds, all databases together. */
export interface Confirmed {
  readonly runId: string;
  readonly keys: number;
}

/** About one shard. */
export type ShardOrder = Extract<Order, { readonly shard: string }>;

/** About one node's place. */
export type NodeOrder = Extract<Order, { readonly kind: 'drain' | 'undrain' }>;

/** About what one node holds. */
export type EmptyOrder = Extract<Order, { readonly kind: 'empty' }>;

/** `accepted`: it was begun, which is not yet done; `status` tells how it goes on. */
export interface OrderAnswer {
  readonly accepted: boolean;
  readonly text: string;
}

export interface EngineStatus {
  readonly term: number;
  readonly shards: readonly ShardStatus[];
  readonly nodes: readonly NodeStatus[];
  /** How far keys have been moved; null: no move is on. */
  readonly move: MoveStatus | null;
}

/**
 * `waits`: for a shard that is being formed, or failed over; `inspects`: looks through the keys of the next portion before
 * any of them moves; `prepares`, `moves`, `closes`: the portion under way; `ends`: everything has arrived (or is back);
 * `paused`: see `paused`.
 */
export type MovePhase = 'waits' | 'inspects' | 'prepares' | 'moves' | 'closes' | 'ends' | 'paused';

/** Scripts read it as it is (`ClusterStatus.move`): fields are added, none is renamed or taken away. */
export interface MoveStatus {
  readonly phase: MovePhase;
  /** A sentence: what is going on, or what it waits for. */
  readonly why: string;
  /** Portion n, from 1, of so many; the number of portions once all have arrived. */
  readonly portion: number;
  readonly portions: number;
  /** Of the portion under way, or next; null: none is left. */
  readonly giver: string | null;
  readonly taker: string | null;
  readonly way: 'there' | 'back' | 'return' | null;
  /** Keys that were moved so far by this leader's count and by what was estimated of portions that arrived before. */
  readonly keysMoved: number;
  /** Of all portions, as they were estimated or, once looked through, counted. */
  readonly keysInAll: number;
  /** Bytes of values as they were sent, by this leader. */
  readonly bytesMoved: number;
  /** Over the last seconds. */
  readonly keysPerSecond: number;
  /** The bound in force: of the settings or of a person. */
  readonly mostKeysPerSecond: number;
  /** What the giver's answers take longer than undisturbed ones, milliseconds, over the last seconds; null: not measured yet. */
  readonly addedLatencyMs: number | null;
  readonly mostAddedLatencyMs: number;
  /** At the present pace; null: not known yet, or it stands still. */
  readonly leftMs: number | null;
  /** Why it stands still, in words; null: it goes on. */
  readonly paused: string | null;
  readonly aborting: boolean;
  /** What only a person can do, with the command; null: nothing. */
  readonly needs: string | null;
  /** Keys of more than `supervisor.move.bigKey` that this leader has found, the largest first; at most twenty. */
  readonly largeKeys: readonly LargeKey[];
  /** Keys that were given up since the set of pulled keys had been evicted. */
  readonly evicted: number;
}

export interface LargeKey {
  readonly shard: string;
  readonly database: number;
  /** What is not printable stands as `\xHH`. */
  readonly key: string;
  readonly bytes: number;
  /** For how long its shard is expected to be held up, or was. */
  readonly stallMs: number;
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
  /** Spares that it is to be given, or soon will be; null: it needs none. */
  readonly shortage: Shortage | null;
  /** What only a person can do, with the command where there is one; null: nothing. */
  readonly needs: string | null;
  /** The newest last; at most ten. */
  readonly changes: readonly PrimaryChange[];
}

/** What a shard lacks that only another node can give. */
export interface Shortage {
  /** How many copies it is to have. */
  readonly wanted: number;
  /** How many spares it would take, at once or when members that are away have been so for long. */
  readonly spares: number;
  /** A few words: how many copies are in sync, and which members are none. */
  readonly why: string;
  /** Members that stay: spares in other zones than theirs come first. */
  readonly stay: readonly string[];
  /** Spares that can be used, in the order of the topology. */
  readonly fit: readonly string[];
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
  /** How far a node has come that a person wants free; null: nobody does. */
  readonly drain: DrainStatus | null;
  /** How far a node has come that a person wanted empty; null: nobody did, as far as this leader knows. */
  readonly emptying: EmptyingStatus | null;
}

/** `empties`: it is being done; `empty`: it was; `kept`: it was not (`why`), the order is over. */
export interface EmptyingStatus {
  readonly step: 'empties' | 'empty' | 'kept';
  /** A sentence. */
  readonly why: string;
}

/**
 * `waits`: nothing can be done just now (`why`), perhaps without a person (`needs`); `copies`: another node is made a copy
 * in its place; `switches over`: it is still the primary; `leaves`: its copy is no longer needed; `free`: it holds
 * nothing that counts, and may be stopped.
 */
export interface DrainStatus {
  readonly step: 'waits' | 'copies' | 'switches over' | 'leaves' | 'free';
  /** A sentence. */
  readonly why: string;
  /** What only a person can do; null: nothing. */
  readonly needs: string | null;
}
