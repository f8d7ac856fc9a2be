import type { Connection } from './connection.ts';
import type { History } from './login.ts';
import type { Request } from './request.ts';

/**
 * What a lane needs of whoever confirms its writes (rule R1): the meeting place of lanes and barriers.
 *
 * An answer that must be confirmed is kept by its lane under a number that grows over all lanes of the shard; a barrier
 * that was sent later covers every number given out before it.
 */
export interface Guard {
  /** Whether the fate of a write that was lost with its connection may yet be told. */
  readonly provable: boolean;
  /** Whether an answer on a connection of this epoch is passed on as it comes. */
  passes(epoch: number): boolean;
  /** A login by this lane (null: by nobody's): the era of the shard's history that its connection belongs to. */
  eraOf(connection: Connection, lane: Guarded | null): Era;
  /** The number of an answer that the lane is about to keep; 0: the lane's era has ended, nothing will confirm it. */
  number(lane: Guarded): number;
  /** The lane has writes whose fate is open, without an answer. */
  watch(lane: Guarded): void;
  /** The lane was barred, and has left its connection: no answer is due there any more. */
  onLeft(): void;
  /** What became of a request of era `was` under `now`; its answer was kept, or (`number` 0) never came. */
  fateOf(request: Request, was: Era, now: Era): Fate;
}

/** A lane as its guard sees it. */
export interface Guarded {
  /** The era in which its kept answers were given; null: none yet. */
  readonly era: Era | null;
  /** Answers kept, and writes whose fate is open. */
  readonly unsettled: number;
  /** Passes on what is kept under numbers up to `number`. Returns how many answers that were. */
  confirm(number: number): number;
  /** Another era has begun: what is unsettled is judged, unless the lane's own connection will tell. */
  learn(era: Era): void;
}

/** One unbroken time of one process as a shard's primary. */
export interface Era {
  /** As its process told of itself last. */
  history: History;
  /** The highest offset that was read: what is sent from now on stands behind it. -1: the process counts nothing yet. */
  known: number;
  /** Offsets read by barriers, and the answers that each of them covers. */
  readonly readings: { readonly seq: number; readonly offset: number }[];
}

/** `survived`: the new primary has it. `gone`: it surely has not. `open`: nobody can tell. */
export type Fate = 'survived' | 'gone' | 'open';
