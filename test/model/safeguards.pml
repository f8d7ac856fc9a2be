/*
 * The safeguards that can be taken out, one number each. The text behind each is its name in the test's table.
 */
#define R0_FOREIGN 1      /* R0: nobody else replicates */
#define R0_SAVED 2        /* R0: users are never saved */
#define R1_WORD 3         /* R1: the word before WAIT */
#define R1_KNOWN 4        /* R1: judged by the requirement known when WAIT was sent */
#define R1_EPOCH 5        /* R1: judged by a requirement of the same epoch */
#define R1_CONNECTION 6   /* R1: nothing changes who a connection is */
#define R1_REPLIED 7      /* R1: the barrier is asked after the reply was received */
#define R1_HISTORY 8      /* R1: a later epoch's barrier covers what was written in the same unbroken history */
#define R1_LOWER 9        /* R1: sent again only when cut off before it */
#define R1_UPPER 10       /* R1: survived only when cut off behind it */
#define R1_LINEAGE 11     /* R1: offsets are compared within one history */
#define R1_AGAIN 12       /* R1: what survived is confirmed by a barrier of the new epoch */
#define R2_FIRST 13       /* R2: the user is deleted first */
#define R3_HOLD 14        /* R3.2: the hold */
#define R3_FENCE 15       /* R3.3: the fence */
#define R3_HAS 16         /* R3.4: has the offset */
#define R3_LOOK 17        /* R3.4: close, then look */
#define R3_GIVE_UP 18     /* R3: given up by deleting the user first */
#define R4_RECORDED 19    /* R4.1: the recorded incarnation */
#define R4_MARK 20        /* R4.1: carrying the mark */
#define R4_STAND 21       /* R4.1: stand still, then read */
#define R4_OLD_USERS 22   /* R4.2: old users deleted */
#define R4_CLOSE 23       /* R4.4: close, then look */
#define R4_DROPPED 24     /* R4.4: users of the dropped deleted */
#define R4_RESUME 31      /* R4.2: who resumes is judged by the history that the promotion leaves behind */
#define R6_PROOF 25       /* R6: proof of leadership in the same transaction */
#define R7_CREATE 26      /* R7: create, then list */
#define R7_OWN 27         /* R7: clean over the term's own connection */
#define R7_CLEAN 28       /* R7: clean at all */
#define R7_SEEN 29        /* R7: seen, after both ends were taken over */
#define R7_ANEW 30        /* R7: begun anew after a fail-over given up */

/* No safeguards: runs that must end at a goal, so that nobody proves a shard in which nothing happens. */
#define GOAL_REGROWN 40   /* a write is confirmed after a copy was dropped and joined again */
#define GOAL_MOVED 41     /* a write is confirmed by the new primary and a copy that followed it */
#define GOAL_AGAIN 42     /* a write that did not survive is sent again and confirmed */
#define GOAL_SURVIVED 43  /* a write that survived undecided is confirmed */
#define GOAL_LATER 44     /* a write is confirmed by a later epoch's barrier on the same primary */
#define GOAL_READ 45      /* a strict read is answered after a fail-over */
#define GOAL_SWITCHED 46  /* a planned change of primary keeps every copy */
