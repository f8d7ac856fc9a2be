import type { Era, Fate } from '../upstream/guard.ts';
import type { History } from '../upstream/login.ts';

/**
 * The judgements on which an acknowledgement stands (rule R1), as plain functions: no socket, no clock.
 */

/** What the topology asks of an acknowledgement of one shard. */
export interface Requirement {
  readonly epoch: number;
  /** How many replicas must have a write. */
  readonly required: number;
  /** A replica is joining: no number suffices. */
  readonly held: boolean;
}

/** One asking of `WAIT`: what was known of the shard when it was sent. */
export interface Asked {
  readonly epoch: number;
  readonly required: number;
}

/** Whether a barrier may be sent at all: while a replica is joining no count says anything, and without copies none is needed. */
export function mayAsk({ required, held }: Requirement): boolean {
  return required > 0 && !held;
}

/**
 * Whether a count confirms. It is held against what was required when its `WAIT` was sent, on a connection of that
 * epoch: never against what a newer topology asks, for the count may hold a replica that has left since.
 */
export function confirms(asked: Asked, count: number): boolean {
  return asked.required > 0 && count >= asked.required;
}

/**
 * Whether a write needs no confirmation: no copy is in sync, none is joining, and it was answered on a connection of
 * this very epoch.
 */
export function needsNone({ epoch, required, held }: Requirement, connectionEpoch: number): boolean {
  return required === 0 && !held && connectionEpoch === epoch;
}

/**
 * Whether both tell of one history without a break: the process has been primary all the time in between.
 *
 * Its first replica gives it another replication id, and that is no break: had it followed anybody since, it would have
 * kept a backlog, or would name that history as its previous one.
 */
export function isSameHistory(one: History, other: History): boolean {
  if (one.runId !== other.runId) return false;
  if (one.replicationId === other.replicationId) return true;
  const [earlier, later] = one.hasBacklog ? [other, one] : [one, other];
  return !earlier.hasBacklog && later.hasBacklog && later.previousId === '';
}

export function newEra(history: History): Era {
  return { history, known: knownOf(history), readings: [] };
}

/** Takes what a login has told into the era; false: it is of another history. */
export function goOn(era: Era, history: History): boolean {
  if (!isSameHistory(era.history, history)) return false;
  if (history.hasBacklog) era.history = history;
  era.known = Math.max(era.known, knownOf(history));
  return true;
}

/** An offset that stands still bounds nothing. */
function knownOf({ hasBacklog, offset }: History): number {
  return hasBacklog ? offset : -1;
}

/**
 * What became of a write whose place in the history `was` lies above `lower` and, where known, not above `upper` (-1:
 * not known), under a primary that tells `now` of itself. Offsets compare only where that one was promoted out of the
 * same history.
 */
export function fateUnder(lower: number, upper: number, was: History, now: History): Fate {
  if (now.previousId === '' || now.previousId !== was.replicationId) return 'open';
  if (upper >= 0 && now.promotedAt >= upper) return 'survived';
  if (now.promotedAt <= lower) return 'gone';
  return 'open';
}

/** The offset by which a kept answer's write was in the history; -1: none was read since. */
export function upperBound(era: Era, seq: number): number {
  for (const { seq: covered, offset } of era.readings) if (covered >= seq) return offset;
  return -1;
}

/**
 * Notes an offset that was read after all answers up to `seq` had come; the first reading for an answer is the closest.
 *
 * While no copy confirms anything, readings come without end. Then every other one goes: what it was the closest for has
 * a later one for its bound, which is as true.
 */
export function noteReading(era: Era, seq: number, offset: number): void {
  if (era.history.hasBacklog && offset > era.known) era.known = offset;
  const { readings } = era;
  const last = readings[readings.length - 1];
  if (last !== undefined && last.seq >= seq) return;
  readings.push({ seq, offset });
  if (readings.length <= MOST_READINGS) return;
  readings.splice(0, readings.length, ...readings.filter((_, i) => i % 2 === MOST_READINGS % 2));
}

const MOST_READINGS = 256;

/** Lets go of readings that no answer above `seq` needs. */
export function dropReadings(era: Era, seq: number): void {
  while (era.readings.length > 0 && (era.readings[0] as { seq: number }).seq <= seq) era.readings.shift();
}
