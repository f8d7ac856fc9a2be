import { MOVE, type MoveSizes as Sizes } from './move-sizes.ts';
import { exploreAll, type Row } from './rows.ts';

/**
 * The model of moving keys between shards, explored: with every safeguard no order of steps loses, doubles or brings back
 * what a client was told of, aborting included; without any one of them some order does, in the same sizes.
 */
const ONE: Sizes = {};
const FAIL_OVER: Sizes = { FAIL_OVERS: 1 };
const ABORT: Sizes = { ABORTS: 1 };
const ABORT_AND_READ: Sizes = { ABORTS: 1, READS: 1 };
const ABORT_AND_FAIL_OVER: Sizes = { ABORTS: 1, FAIL_OVERS: 1 };
/** What is left behind is only a fault when it comes back. */
const THERE_AND_BACK: Sizes = { MOVES: 2, TIDY: 0, FAIL_OVERS: 1 };

const SAFEGUARDS: readonly Row<Sizes>[] = [
  { name: 'M1_SET_COPIES', what: "the taker's copies have the set", sizes: { ...FAIL_OVER, TIDY: 0 } },
  { name: 'M1_PREPARING', what: 'preparing', sizes: ONE },
  { name: 'M1_FENCE_GIVER', what: 'the fence on the giver', sizes: ONE },
  { name: 'M1_FENCE_TAKER', what: 'the fence on the taker', sizes: ABORT },
  { name: 'M1_READERS', what: "older readers on the giver's copies are gone", sizes: ONE },
  { name: 'M1_SETTLED', what: "the giver's copies have what was written before the fence", sizes: FAIL_OVER },
  { name: 'M1_SIEVE', what: 'what was queued is looked through', sizes: ONE },
  { name: 'M1_NEW_SET', what: 'of each begin another set', sizes: ABORT },
  { name: 'M2_SET', what: 'the set of pulled keys', sizes: ONE },
  { name: 'M2_FIRST', what: 'no first member, then nothing', sizes: ONE },
  { name: 'M2_AFTER', what: 'added only when it was restored', sizes: { REFUSALS: 1 } },
  { name: 'M2_COPIES', what: "waiting for the taker's copies", sizes: ONE },
  { name: 'M2_KNOWN', what: 'known as pulled while the portion is the same', sizes: ABORT },
  { name: 'M3_WAIT', what: 'confirmed by the primary that got it', sizes: FAIL_OVER },
  { name: 'M3_DROP', what: 'dropping travels on a connection of that epoch', sizes: ABORT },
  { name: 'M4_AGAIN', what: 'walking again after a fail-over of the giver', sizes: THERE_AND_BACK },
  { name: 'M5_DROPPED', what: "the giver's copies have lost what was dropped", sizes: THERE_AND_BACK },
  { name: 'M5_CLOSED', what: 'closed before the taker owns', sizes: { WRITES: 2, RESENT: 1, TIDY: 0 } },
  { name: 'M5_COPIES', what: 'closed on every copy: otherwise the set stays for ever', sizes: ONE },
  { name: 'M5_FENCE', what: 'the fence after the close', sizes: { MOVES: 2, WRITES: 2, PROXIES: 2, LAX: 1 } },
  { name: 'M6_SET', what: 'what the set of the way there says', sizes: ABORT },
  { name: 'M6_WALK', what: 'the walk through that set', sizes: ABORT_AND_FAIL_OVER },
  { name: 'M6_OPEN', what: 'turned round only while that set is there', sizes: ABORT },
  { name: 'M6_SHUT', what: 'that set takes no more keys', sizes: { ...ABORT, RESENT: 1 } },
  { name: 'M7_OLD_TERM', what: 'a leader commands what it has taken over', sizes: { ...ABORT, LEADERS: 2 } },
  { name: 'M7_SAME_TERM', what: "a leader's next connection ends the one before", sizes: { ...ABORT, LATE: 1 } },
];

/** Nobody should prove a move that never happens: what these runs must reach. */
const GOALS: readonly Row<Sizes>[] = [
  { name: 'GOAL_THERE', what: 'the taker confirms a write after the close', sizes: ONE },
  { name: 'GOAL_PULLED', what: 'a pulled key is written after a fail-over of the taker', sizes: FAIL_OVER },
  { name: 'GOAL_BACK', what: 'a write is confirmed after a move there and back', sizes: { MOVES: 2 } },
  { name: 'GOAL_RETURNED', what: 'what was written on the taker comes back', sizes: ABORT_AND_READ },
  { name: 'GOAL_REMAINED', what: 'what never left is read after an abort', sizes: ABORT_AND_READ },
  { name: 'GOAL_TAKEN_BACK', what: 'a write is confirmed after preparing was taken back', sizes: { TAKE_BACKS: 1 } },
  { name: 'GOAL_SUCCEEDED', what: 'a later leader closes what another began', sizes: { LEADERS: 2 } },
  { name: 'GOAL_REWALKED', what: 'a key is dropped again after a fail-over of the giver', sizes: FAIL_OVER },
];

/** Everything at once, in sizes that take seconds. */
const WHOLE: readonly Sizes[] = [
  { PROXIES: 2, WRITES: 2 },
  { MOVES: 2, READS: 1, REFUSALS: 1, TAKE_BACKS: 1 },
  { FAIL_OVERS: 2 },
  { MOVES: 2, FAIL_OVERS: 1, ABORTS: 1 },
  { ABORTS: 1, FAIL_OVERS: 1, RESENT: 1 },
  { ABORTS: 1, LATE: 1, RESENT: 1 },
  { FAIL_OVERS: 1, EVICTIONS: 1 },
  { LEADERS: 2, FAIL_OVERS: 1 },
];

/** The same, larger. */
const LARGE: readonly Sizes[] = [
  { PROXIES: 2, WRITES: 2, FAIL_OVERS: 1 },
  { PROXIES: 2, WRITES: 2, MOVES: 2, ABORTS: 1 },
  { PROXIES: 2, WRITES: 2, LEADERS: 2 },
  { LEADERS: 2, FAIL_OVERS: 1, ABORTS: 1 },
  { LEADERS: 2, ABORTS: 1, LATE: 1 },
  { MOVES: 2, TIDY: 0, ABORTS: 1, FAIL_OVERS: 1, LATE: 1, RESENT: 1 },
  { LEADERS: 3, ABORTS: 1 },
  { MOVES: 2, FAIL_OVERS: 2, ABORTS: 1 },
  { LEADERS: 2, FAIL_OVERS: 1, EVICTIONS: 1 },
  { MOVES: 2, TIDY: 0, FAIL_OVERS: 1, WRITES: 2, READS: 1 },
];

/** Too many states to remember each: three bits a state. */
const LARGEST: readonly Sizes[] = [
  {
    PROXIES: 2,
    WRITES: 3,
    READS: 1,
    LEADERS: 2,
    MOVES: 2,
    ABORTS: 1,
    FAIL_OVERS: 2,
    LATE: 1,
    REFUSALS: 1,
    TAKE_BACKS: 1,
  },
  { PROXIES: 2, WRITES: 2, LEADERS: 3, FAIL_OVERS: 1, ABORTS: 1, LATE: 1 },
];

exploreAll({
  files: MOVE,
  safeguards: SAFEGUARDS,
  goals: GOALS,
  whole: WHOLE,
  large: LARGE,
  largest: LARGEST,
});
