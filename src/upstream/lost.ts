import type { Fate } from './guard.ts';
import type { Request } from './request.ts';

/**
 * What becomes of requests that were sent on a connection which is lost, in the order in which they were sent.
 *
 * A read is sent again, unless a later write of the same client took effect, or may have: it could then answer what
 * only came after it. A write is sent again only where it is proven that it did not survive (rule R1).
 */
export const Outcome = {
  /** It is sent again. */
  Again: 0,
  /** The new primary has it: its answer waits for a confirmation there. */
  Confirm: 1,
  /** It answers with an error. */
  Fail: 2,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/** The outcome of each; `fateOf` is asked for writes, and for reads whose answer is kept. */
export function judgeLost(lost: readonly Request[], fateOf: (request: Request) => Fate): Outcome[] {
  lastMark += 1;
  const outcomes = new Array<Outcome>(lost.length).fill(Outcome.Fail);
  for (let i = lost.length - 1; i >= 0; i -= 1) {
    const request = lost[i] as Request;
    const outcome = request.isWrite ? ofWrite(request, fateOf(request)) : ofRead(request, fateOf);
    outcomes[i] = outcome;
    if (request.isWrite && outcome !== Outcome.Again && request.origin !== null) request.origin.lostMark = lastMark;
  }
  return outcomes;
}

function ofWrite(request: Request, fate: Fate): Outcome {
  if (request.started) return Outcome.Fail;
  if (fate === 'gone') return Outcome.Again;
  return fate === 'survived' ? Outcome.Confirm : Outcome.Fail;
}

function ofRead(request: Request, fateOf: (request: Request) => Fate): Outcome {
  // A strict read that was answered: what it saw has survived.
  if (request.number > 0 && fateOf(request) === 'survived') return Outcome.Confirm;
  if (request.started || request.skip > 0) return Outcome.Fail;
  const { origin } = request;
  return origin === null || origin.lostMark !== lastMark ? Outcome.Again : Outcome.Fail;
}

let lastMark = 0;
