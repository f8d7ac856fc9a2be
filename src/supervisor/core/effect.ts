import type { TopologyMove } from '../../topology/move.ts';
import type { Topology, TopologyShard } from '../../topology/snapshot.ts';
import type { NodeReport } from './node-report.ts';

/**
 * What the deciding half asks of the acting half, and what it is told.
 *
 * The deciding half (this folder) is pure: it touches no socket and no clock. The engine is told observations, outcomes
 * and the time; it answers with effects, which somebody else carries out: real connections in a supervisor, a simulated
 * world in the simulator.
 */
export type Effect = Call | Publish | Note;

/** Commands to one node, sent in one piece and in this order over one connection. */
export interface Call {
  readonly kind: 'call';
  readonly nodeId: string;
  /** The incarnation that must be at the other end; whoever carries this out has compared it before anything was sent. */
  readonly runId: string;
  readonly as: Login;
  readonly commands: readonly (readonly string[])[];
  /** Bound of all of it, the login included. */
  readonly limitMs: number;
  /** Words and replies are bytes, a character each (latin1), since they hold keys or payloads; else they are text. */
  readonly binary?: boolean;
}

/**
 * Who the connection is logged in as: `access` is what the settings name (`nodeAccess`), used once, on an incarnation
 * that has no admin yet; `admin` is `ringside-admin`, used to take a node over; `term` is `ringside-supervisor-<term>`,
 * which never falls back to another and never repeats a command.
 */
export type Login = 'access' | 'admin' | 'term';

/** What is new of some shards, or of the cluster; becomes the next version of the topology, all at once. */
export interface Publish extends Change {
  readonly kind: 'publish';
  /** For log and events: what was decided and why. */
  readonly why: string;
}

/** What a publication changes; what it does not name stays as it is. */
export interface Change {
  /** The new state of these; no shard comes or goes. */
  readonly shards: readonly TopologyShard[];
  /** Recorded incarnations that change with it, by node id. */
  readonly runIds: Readonly<Record<string, string>>;
  /** How far keys have been moved; null: no move is on any more. */
  readonly move?: TopologyMove | null;
  /** The last portion has arrived (or is back): the ring in force, with the weights in `shards`. */
  readonly ring?: Topology['ring'];
  /** Nodes that a person wants free, or no longer. */
  readonly draining?: Readonly<Record<string, boolean>>;
}

/** A line for log and events; needs no outcome. */
export interface Note {
  readonly kind: 'note';
  readonly level: 'info' | 'warn' | 'error';
  readonly shard: string | null;
  readonly nodeId: string | null;
  /** A short word for machines: `failover`, `shrink`, `grow`, … */
  readonly event: string;
  /** A sentence: what was decided and why. */
  readonly text: string;
}

/** What became of a `Call` or `Publish`. */
export type Outcome = CallOutcome | PublishOutcome;

export type CallOutcome =
  | { readonly ok: true; readonly replies: readonly Reply[] }
  | { readonly ok: false; readonly why: CallFailure; readonly text: string };

/**
 * `unreachable`: refused, reset, broken off; `silent`: no answer within the limit; `stranger`: another incarnation
 * answers; `denied`: the login was refused. After `unreachable` and `silent` the commands may have been carried out.
 */
export type CallFailure = 'unreachable' | 'silent' | 'stranger' | 'denied';

/** A node's reply, as RESP2 gives it; an error reply is one of the replies, not a failure of the call. */
export type Reply = string | number | null | ReplyFailure | readonly Reply[];

export interface ReplyFailure {
  /** The whole text, as in `NOAUTH Authentication required.` */
  readonly error: string;
}

/** After `ok: false` this leadership is over: whoever drives the engine throws it away and campaigns anew. */
export type PublishOutcome = { readonly ok: true } | { readonly ok: false; readonly text: string };

/** One look at one node; from which nothing has been concluded. */
export type Observation =
  | { readonly kind: 'report'; readonly report: NodeReport }
  /** Connection refused or reset, or closed by the node: its process is likely gone. */
  | { readonly kind: 'refused'; readonly text: string }
  /** No answer within the limit of a probe. */
  | { readonly kind: 'silent'; readonly text: string }
  /** It answers `-BUSY`: a script runs and runs. */
  | { readonly kind: 'busy'; readonly text: string }
  /** It lets none of our users in. */
  | { readonly kind: 'denied'; readonly text: string };
