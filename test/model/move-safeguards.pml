/*
 * The safeguards of moving that can be taken out, one number each. The text behind each is its name in the test's table.
 */
#define M1_SET_COPIES 1    /* M1: the taker's copies have the first member before anything else */
#define M1_PREPARING 2     /* M1: preparing: nobody pulls before everybody knows */
#define M1_FENCE_GIVER 3   /* M1: the fence on the giver */
#define M1_FENCE_TAKER 4   /* M1: the fence on the taker */
#define M1_READERS 5       /* M1: older readers on the giver's copies are gone */
#define M1_SETTLED 6       /* M1: the giver's copies have what was written before the fence */
#define M1_SIEVE 7         /* M1: what was queued is not sent under the new epoch */
#define M1_NEW_SET 8       /* M1: of each begin another set */
#define M2_SET 9           /* M2: the set of pulled keys */
#define M2_FIRST 10        /* M2: no first member, then nothing */
#define M2_AFTER 11        /* M2: added to the set only when that went well */
#define M2_COPIES 12       /* M2: dropped when every copy of the taker has it */
#define M2_KNOWN 13        /* M2: known as pulled while the portion is the same */
#define M3_WAIT 14         /* M3: what was put is confirmed by the primary that got it */
#define M3_DROP 15         /* M3: dropping travels on a connection of that epoch */
#define M4_AGAIN 16        /* M4: a walk holds for the primary on which it ran */
#define M5_DROPPED 17      /* M5: the giver's copies have lost what was dropped */
#define M5_CLOSED 18       /* M5: the set is deleted before the taker owns */
#define M5_COPIES 19       /* M5: the taker's copies have that before the taker owns */
#define M5_FENCE 20        /* M5: fenced before those keys may move again */
#define M6_SET 21          /* M6: the set of the way there says which side is right */
#define M6_WALK 22         /* M6: the walk back goes through that set */
#define M6_OPEN 23         /* M6: turned round only while that set is there */
#define M6_SHUT 24         /* M6: that set takes no more keys */
#define M7_OLD_TERM 25     /* R7: a leader commands nodes that it has taken over */
#define M7_SAME_TERM 26    /* R7: a leader's next connection to a node ends the one before */

/* No safeguards: runs that must end at a goal, so that nobody proves a move that never happens. */
#define GOAL_THERE 40      /* a write is confirmed by the taker after the close */
#define GOAL_PULLED 41     /* a key that a proxy has pulled is written, and goes on after a fail-over of the taker */
#define GOAL_BACK 42       /* after a move there and back a write is confirmed where the key began */
#define GOAL_RETURNED 43   /* a key that was changed on the taker comes back by an abort */
#define GOAL_REMAINED 44   /* a key that never left is confirmed after an abort */
#define GOAL_TAKEN_BACK 45 /* a portion is taken back while it is prepared */
#define GOAL_SUCCEEDED 46  /* a later leader closes what another began */
#define GOAL_REWALKED 47   /* after a fail-over of the giver a key is dropped again */
