import { exploreAll, type Row } from './rows.ts';
import { SHARD, type ShardSizes as Sizes } from './shard-sizes.ts';

/**
 * The protocol's model, explored: with every safeguard no order of steps loses an acknowledged write; without any one of
 * them some order does, in the same sizes. So each word of the rules is there for a reason that can be shown.
 */
const ONE_FAIL_OVER: Sizes = { FAIL_OVERS: 1 };
const REGROW: Sizes = { SHRINKS: 1, GROWS: 1 };
const REGROW_WITH_BREAK: Sizes = { SHRINKS: 1, GROWS: 1, BREAKS: 1 };
const UNDECIDED: Sizes = { FAIL_OVERS: 1, UNDECIDED: 1 };
const TWO_WRITERS: Sizes = { FAIL_OVERS: 1, PROXIES: 2, WRITES: 2 };
const READER: Sizes = { FAIL_OVERS: 1, PROXIES: 2, WRITES: 2, STRICT_READS: 1 };
const FOUR_NODES: Sizes = { FAIL_OVERS: 1, NODES: 4, MEMBERS: 3, BREAKS: 1 };
const NEW_LEADERS: Sizes = { FAIL_OVERS: 1, LEADERS: 2, FRESH: 1 };
const GIVEN_UP: Sizes = { FAIL_OVERS: 1, SHRINKS: 1, GROWS: 1 };

const SAFEGUARDS: readonly Row<Sizes>[] = [
  { name: 'R0_FOREIGN', what: 'nobody else replicates', sizes: ONE_FAIL_OVER },
  { name: 'R0_SAVED', what: 'users are never saved', sizes: { DEATHS: 1, RESTARTS: 1 } },
  { name: 'R1_WORD', what: 'the word before WAIT', sizes: ONE_FAIL_OVER },
  { name: 'R1_WORD', what: 'the word before WAIT, for a strict read', sizes: READER },
  { name: 'R1_KNOWN', what: 'judged by the requirement known when WAIT was sent', sizes: { SHRINKS: 1 } },
  { name: 'R1_EPOCH', what: 'judged by a requirement of the same epoch', sizes: ONE_FAIL_OVER },
  { name: 'R1_CONNECTION', what: 'nothing changes who a connection is', sizes: REGROW },
  { name: 'R1_REPLIED', what: 'the barrier is asked after the reply', sizes: ONE_FAIL_OVER },
  { name: 'R1_HISTORY', what: 'a later epoch confirms within one history only', sizes: { FAIL_OVERS: 2, GROWS: 1 } },
  { name: 'R1_LOWER', what: 'sent again only when cut off before it', sizes: UNDECIDED },
  { name: 'R1_UPPER', what: 'survived only when cut off behind it', sizes: { ...TWO_WRITERS, UNDECIDED: 1 } },
  {
    name: 'R1_LINEAGE',
    what: 'offsets of one history only',
    sizes: { ...TWO_WRITERS, UNDECIDED: 1, FAIL_OVERS: 2 },
    isLarge: true,
  },
  { name: 'R1_AGAIN', what: 'what survived is confirmed by a barrier of the new epoch', sizes: UNDECIDED },
  { name: 'R2_FIRST', what: 'the user is deleted first', sizes: { SHRINKS: 1 } },
  { name: 'R3_HOLD', what: 'the hold', sizes: REGROW_WITH_BREAK },
  { name: 'R3_FENCE', what: 'the fence', sizes: REGROW },
  { name: 'R3_HAS', what: 'has the offset', sizes: REGROW },
  { name: 'R3_LOOK', what: 'close, then look', sizes: REGROW_WITH_BREAK },
  { name: 'R3_GIVE_UP', what: 'given up by deleting the user first', sizes: REGROW },
  { name: 'R4_RECORDED', what: 'the recorded incarnation', sizes: { FAIL_OVERS: 1, DEATHS: 1, RESTARTS: 1 } },
  { name: 'R4_MARK', what: 'carrying the mark', sizes: { FAIL_OVERS: 1, DEATHS: 1, EMPTIED: 1 } },
  { name: 'R4_STAND', what: 'stand still, then read', sizes: TWO_WRITERS },
  { name: 'R4_OLD_USERS', what: 'old users deleted', sizes: { FAIL_OVERS: 2, LAX: 1 } },
  { name: 'R4_RESUME', what: 'who resumes is judged by the history left behind', sizes: { FAIL_OVERS: 2 } },
  { name: 'R4_CLOSE', what: 'close, then look', sizes: FOUR_NODES },
  { name: 'R4_DROPPED', what: 'users of the dropped deleted', sizes: FOUR_NODES },
  {
    name: 'R6_PROOF',
    what: 'proof of leadership in the same transaction',
    sizes: { FAIL_OVERS: 1, SHRINKS: 1, LEADERS: 2, ROLES: 1 },
  },
  { name: 'R7_CREATE', what: 'create, then list', sizes: NEW_LEADERS },
  { name: 'R7_OWN', what: "clean over the term's own connection", sizes: NEW_LEADERS },
  { name: 'R7_CLEAN', what: 'clean at all', sizes: { SHRINKS: 1, GROWS: 1, LEADERS: 2 } },
  { name: 'R7_SEEN', what: 'seen, after both ends were taken over', sizes: { ...GIVEN_UP, LAX: 1 } },
  { name: 'R7_ANEW', what: 'begun anew after a fail-over given up', sizes: GIVEN_UP },
  {
    name: 'R7_ANEW',
    what: 'cleaned anew after a fail-over given up',
    sizes: { FAIL_OVERS: 2, PRIMARY_STANDS: 1 },
    isLarge: true,
  },
];

/** Nobody should prove a shard in which nothing happens: what these runs must reach. */
const GOALS: readonly Row<Sizes>[] = [
  { name: 'GOAL_REGROWN', what: 'a write is confirmed after a copy joined again', sizes: { ...REGROW, WRITES: 2 } },
  { name: 'GOAL_MOVED', what: 'a write is confirmed by a new primary', sizes: ONE_FAIL_OVER },
  { name: 'GOAL_AGAIN', what: 'what did not survive is sent again and confirmed', sizes: UNDECIDED },
  { name: 'GOAL_SURVIVED', what: 'what survived undecided is confirmed', sizes: UNDECIDED },
  { name: 'GOAL_LATER', what: 'a later epoch confirms on the same primary', sizes: REGROW },
  { name: 'GOAL_READ', what: 'a strict read is answered after a fail-over', sizes: READER },
  { name: 'GOAL_SWITCHED', what: 'a planned change keeps every copy', sizes: { SWITCH_OVERS: 1 } },
];

/** Everything at once, in sizes that take seconds. */
const WHOLE: readonly Sizes[] = [
  { SHRINKS: 1, GROWS: 1, BREAKS: 1, WRITES: 2 },
  { FAIL_OVERS: 1, SHRINKS: 1, GROWS: 1, LATE: 1, UNDECIDED: 1 },
  { SWITCH_OVERS: 1, FAIL_OVERS: 1, UNDECIDED: 1 },
  { FAIL_OVERS: 1, SHRINKS: 1, LEADERS: 2, LATE: 1, ROLES: 1 },
];

/** The same, larger. */
const LARGE: readonly Sizes[] = [
  ...SAFEGUARDS.filter(row => row.isLarge).map(row => row.sizes),
  { FAIL_OVERS: 1, PRIMARY_STANDS: 1, UNDECIDED: 1, PROXIES: 2, WRITES: 2 },
  { FAIL_OVERS: 1, LEADERS: 2, DEATHS: 1, RESTARTS: 1, ROLES: 1 },
  { FAIL_OVERS: 1, SHRINKS: 1, GROWS: 1, PRIMARY_STANDS: 1 },
  { FAIL_OVERS: 1, LEADERS: 2, PRIMARY_STANDS: 1 },
  { FAIL_OVERS: 1, SHRINKS: 1, GROWS: 1, LEADERS: 2 },
  { FAIL_OVERS: 1, GROWS: 1, LEADERS: 2, DEATHS: 1, RESTARTS: 1 },
  { FAIL_OVERS: 1, LEADERS: 2, PROXIES: 2, WRITES: 2, UNDECIDED: 1 },
  { SWITCH_OVERS: 1, FAIL_OVERS: 1, LEADERS: 2 },
  { FAIL_OVERS: 2, GROWS: 2, WRITES: 2, UNDECIDED: 1, LATE: 1 },
  { FAIL_OVERS: 1, SHRINKS: 1, LEADERS: 3 },
];

/** Too many states to remember each: three bits a state. A violation is one, its absence proves less. */
const LARGEST: readonly Sizes[] = [
  {
    FAIL_OVERS: 2,
    SHRINKS: 1,
    GROWS: 2,
    LEADERS: 3,
    PROXIES: 2,
    WRITES: 3,
    DEATHS: 2,
    RESTARTS: 2,
    BREAKS: 1,
    UNDECIDED: 1,
  },
  {
    FAIL_OVERS: 2,
    GROWS: 3,
    NODES: 4,
    MEMBERS: 2,
    LEADERS: 2,
    PROXIES: 2,
    WRITES: 2,
    BREAKS: 1,
    SWITCH_OVERS: 1,
    LATE: 1,
  },
];

exploreAll({
  files: SHARD,
  safeguards: SAFEGUARDS,
  goals: GOALS,
  whole: WHOLE,
  large: LARGE,
  largest: LARGEST,
});
