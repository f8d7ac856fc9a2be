import type { Mark } from './mark.ts';
import { compareMarks } from './mark.ts';
import type { Target } from './procedure.ts';
import { canContinue } from './replication.ts';
import type { Look } from './replies.ts';

/**
 * Which copy becomes the primary: after a loss (R4.2) by offset, after a cold start (R10) by mark.
 */
export interface Candidate extends Look {
  readonly target: Target;
  /** Users of ours that the node has. */
  readonly users: readonly string[];
}

export interface Choice {
  readonly winner: Candidate;
  /** Those that can go on behind the winner by a partial resync. */
  readonly followers: readonly Candidate[];
  /** Those that would have to be copied to in full. */
  readonly dropped: readonly Candidate[];
}

/**
 * The one with the greatest offset, of candidates that stand still and all hold every acknowledged write. Of equal ones
 * that which most others can follow, then the first in the order given. Null: there is none.
 */
export function choosePrimary(candidates: readonly Candidate[]): Choice | null {
  let best: Choice | null = null;
  for (const winner of candidates) {
    const others = candidates.filter(one => one !== winner);
    const followers = others.filter(one => canContinue(one.stream, winner.stream));
    const dropped = others.filter(one => !followers.includes(one));
    if (best === null || isBetter(winner, followers, best)) best = { winner, followers, dropped };
  }
  return best;
}

function isBetter(winner: Candidate, followers: readonly Candidate[], best: Choice): boolean {
  const ahead = winner.stream.offset - best.winner.stream.offset;
  return ahead > 0 || (ahead === 0 && followers.length > best.followers.length);
}

/** A copy of a shard of which no recorded incarnation is left. */
export interface ColdCopy {
  readonly target: Target;
  readonly mark: Mark | null;
  readonly keys: number;
  readonly usedMemoryBytes: number;
}

/**
 * The most advanced one: by mark, and among equal marks, which leave up to one interval undecided, the one with more
 * data. A copy without a mark never wins over one with it.
 */
export function chooseColdCopy(copies: readonly ColdCopy[]): ColdCopy | null {
  const [best = null] = [...copies].sort(
    (a, b) => compareMarks(b.mark, a.mark) || b.keys - a.keys || b.usedMemoryBytes - a.usedMemoryBytes,
  );
  return best;
}
