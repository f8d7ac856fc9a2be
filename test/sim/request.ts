import type { Reply } from '../../src/supervisor/core/effect.ts';
import type { Era } from '../../src/upstream/guard.ts';
import type { PrimaryLink } from './barrier.ts';

/** What a simulated proxy is asked for, what it answers, and which of its habits can be left out. */
export interface Request {
  readonly command: readonly string[];
  readonly untilMs: number;
  readonly onDone: (answer: Answer) => void;
  /** An offset below which it cannot stand. */
  lower: number;
  /** Its place among the answers that are kept; 0: it has no answer. */
  number: number;
  era: Era | null;
  reply: Reply;
  saidMs: number;
  lane?: PrimaryLink;
}

/**
 * What a client hears. `uncertain`: nobody knows whether it was done. `refused`: surely not done. An acknowledgement
 * carries what it stands on: who said so when (an incarnation may be primary again later: one reign is one history), and
 * how many copies were required.
 */
export type Answer =
  | { readonly kind: 'uncertain' | 'refused' }
  | {
      readonly kind: 'acknowledged';
      readonly reply: Reply;
      readonly reign: string;
      readonly saidMs: number;
      readonly required: number;
    };

/** What a proxy leaves out: only for trying out what happens then. */
export interface ProxyHabits {
  readonly withoutHold: boolean;
  readonly withoutWord: boolean;
  readonly judgesByPresent: boolean;
  readonly sendsAgain: boolean;
}
