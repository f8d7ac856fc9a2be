import type { Call } from '../../src/supervisor/core/effect.ts';
import { NOTHING_OMITTED, type Omissions } from './cluster.ts';
import type { Plan } from './plan.ts';

/**
 * The protocol with one word left out, by name: what is left out must show as a broken promise under some seed.
 *
 * Supervisors decide as they always do; what they order is not carried out, or too late, though it is answered. Words
 * whose absence chance meets too rarely are staged in `staged.test.ts`.
 */
export interface Trial {
  readonly omissions: Omissions;
  /** The trouble in which it shows soonest. */
  readonly leaning: Partial<Plan>;
}

const { habits } = NOTHING_OMITTED;

function skipping(skips: (command: readonly string[], call: Call) => boolean, leaning: Partial<Plan> = {}): Trial {
  return { omissions: { ...NOTHING_OMITTED, spoil: { skips, delays: null } }, leaning };
}

function behaving(change: Partial<Omissions['habits']>, leaning: Partial<Plan> = {}): Trial {
  return { omissions: { ...NOTHING_OMITTED, habits: { ...habits, ...change } }, leaning };
}

const deletes = (command: readonly string[], prefix: string): boolean => {
  return command[0] === 'ACL' && command[1] === 'DELUSER' && command.slice(2).some(user => user.startsWith(prefix));
};

/** A shrink raises the mark behind its deletions. */
const isShrink = ({ commands }: Call): boolean => commands.at(-1)?.[0] === 'FUNCTION';

/** One copy is slow, and another is dropped though it is well: whoever counts the one for the other is wrong. */
const SHRINKING: Partial<Plan> = {
  ...{ copies: 3, spares: 0, mood: 'careful', proxies: 2, writerRestMs: 15, faultEveryMs: 120, faultsForMs: 8000 },
  ...{ backlogBytes: 10_000_000, loadFailure: 0, atEffect: 0, only: ['slow a link', 'slow answers', 'blind'] },
};

export const TRIALS: Readonly<Record<string, Trial>> = {
  'R1: the word before WAIT': behaving({ withoutWord: true }),
  'R1: nothing is sent twice unless it did not survive': behaving({ sendsAgain: true }),
  'R2: DELUSER first, and answered': {
    omissions: {
      ...NOTHING_OMITTED,
      spoil: {
        skips: null,
        delays: (command, call) => (isShrink(call) && deletes(command, 'ringside-replica-') ? 400 : 0),
      },
    },
    leaning: SHRINKING,
  },
  'R3.2: the hold': behaving({ withoutHold: true }),
  'R4.1: the recorded incarnation': { omissions: { ...NOTHING_OMITTED, runIdKept: true }, leaning: {} },
  'R2, R3, R4.4: users of whoever no longer counts are deleted': skipping(
    command => deletes(command, 'ringside-replica-'),
    SHRINKING,
  ),
};
