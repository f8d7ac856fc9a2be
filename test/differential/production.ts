/** One rule of the grammar: how often it is drawn, what it writes and where it may stand. */
import type { Draw, Word } from './keyspace.ts';

export interface Production {
  readonly weight: number;
  readonly write: (draw: Draw) => Word[];
  /** Its words are never spoilt on purpose: spoilt, it could block for ever, change the framing or answer gigabytes. */
  readonly exact: boolean;
  /** Never inside a transaction: the reference follows the subject's choice, which `EXEC` would hide. */
  readonly alone: boolean;
}

/** A rule whose words may be spoilt to provoke errors. */
export function rule(weight: number, write: (draw: Draw) => Word[]): Production {
  return { weight, write, exact: false, alone: false };
}

/** A rule whose words are sent as they are. */
export function exactRule(weight: number, write: (draw: Draw) => Word[]): Production {
  return { weight, write, exact: true, alone: false };
}

/** A rule that stands outside of transactions only, its words as they are. */
export function aloneRule(weight: number, write: (draw: Draw) => Word[]): Production {
  return { weight, write, exact: true, alone: true };
}
