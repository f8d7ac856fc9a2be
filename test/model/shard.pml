/*
 * How a write survives, as a model: one shard, its nodes, the proxies that write to it and the supervisors that lead it.
 * `spin` walks through every order in which the steps of all of them can fall, and the assertions in `check` must hold
 * in each. What the rules (R0 … R9) and invariants (I1 … I3) mean is told in src/REPLICATION.md.
 *
 * What is left out, and why nothing is lost by it:
 * - Time. Whoever waits may wait for ever, and every time-out may fire at once; so nothing here rests on a clock, and a
 *   leader that stalls, dies or comes back late is one that is simply not scheduled for a while.
 * - Detection. A leader may hold any node for lost at any moment, rightly or not.
 * - Values. A write is a number (1 … 3); a log is the sequence of those that a node holds; an offset is its length.
 * - Delivery of an acknowledgement. A write counts as acknowledged when `WAIT` has counted enough, not when the client
 *   reads of it: earlier, so more is asked of what follows.
 * - Connections that are told apart: `proxy.pml` says which.
 * - Full syncs that fail, cold starts (R10) and moving keys: not modelled. Nor is what only real nodes can show, such as
 *   when `WAIT` covers a command that had blocked.
 * - What R8 deletes on a node that returns: whoever takes it over cleans it (R7).
 * - Steps of which nobody else could see the middle are one step; where that is not obvious, the step says why.
 *
 * Every safeguard can be taken out by its number in the environment (`WITHOUT=7`); spin then finds how a write is lost.
 * The sizes come from the environment as well, so that one build serves all runs (explore.ts).
 */

#define N 4 /* nodes at most; `nodes` are there */
#define B(n) (1 << (n))
#define ALL 15
#define NONE 7
/* What a node follows: another node's number, or one of these two. */
#define NOBODY 5 /* an address where nobody answers */
#define MASTER 6

/* The safeguards, by the rule that asks for them. */
#define WITHOUT(safeguard) (without == safeguard)
#include "safeguards.pml"

hidden byte without = 0;
hidden byte nodes = 3;
hidden byte members = 2;  /* the first so many replicas are in sync at the start */
hidden byte writes = 2;
hidden byte leaders = 2;
hidden byte proxies = 1;
hidden byte fresh = 0;       /* the first leader has not taken over any node yet */
hidden byte strictReads = 0; /* the last so many proxies read instead of writing */
hidden byte roles = 0;       /* leaders share the procedures out */
hidden byte primaryStands = 0; /* a primary that is held for lost may be a candidate itself */
/*
 * After a fail-over given up links are seen anew, but nodes are not cleaned anew. What the cleaning would have saved is
 * then saved by other words of R4 and R7, which so can be shown to be needed.
 */
hidden byte lax = 0;
hidden byte late = 0;        /* whether proxies may hear of old versions */
hidden byte undecided = 0;   /* whether proxies resolve writes that a fail-over left undecided */

/* What may still befall the shard. */
byte deaths;
byte restarts; /* each of a dead node, empty */
byte breaks;   /* links that break */
byte emptied;  /* copies that lose their data, and live on */
byte gone;     /* those that did; nobody but the model knows */
byte shrinks, grows, failOvers, switchOvers;

/* A node, as its own process knows it. */
bool alive[N];
byte inc[N];   /* incarnation */
byte log[N];   /* writes in order, two bits each */
bool mark[N];  /* carries the shard's mark */
byte fol[N];   /* what it follows */
bool up[N];    /* its link to what it follows is up */
bool syn[N];   /* and is in the middle of a full sync: emptied, not loaded */
byte hid[N];   /* replication id */
byte hid2[N];  /* the one before */
byte off2[N];  /* offset at which they parted: at its promotion, or when it resumed with another's */
byte uPrx[N];  /* users of proxies, a bit per epoch */
byte uRep[N];  /* users of replicas, a bit per node */
byte door[N];  /* those that may open a link */
byte uSup[N];  /* users of supervisors, a bit per term */
byte saved[N]; /* users of replicas that a careless node keeps on disk */
/* A link that is dead at the replica's end, and that the node has not noticed: what it confirmed, plus one; 0: none. */
byte ghost[N * N];
byte nextHid = 4;

/* The published topology. */
byte tE = 1;
byte tP;
byte tS;
byte tJ = NONE;
bool tH; /* paused */
byte tR; /* recorded incarnations, two bits each */
byte term = 1;
byte tV;
short past[12]; /* what proxies were told with each version */

byte nextWrite = 1;
byte acked; /* a bit per write */

#define LEN(l) ((l) == 0 -> 0 : ((l) < 4 -> 1 : ((l) < 16 -> 2 : ((l) < 64 -> 3 : 4))))
#define HAS(l, w) (((l) & 3) == (w) || (((l) >> 2) & 3) == (w) || (((l) >> 4) & 3) == (w) || ((l) >> 6) == (w))
#define HOLDS(l) ((!(acked & 2) || HAS(l, 1)) && (!(acked & 4) || HAS(l, 2)) && (!(acked & 8) || HAS(l, 3)))
#define REC(r, n) (((r) >> (2 * (n))) & 3)
#define SIZE(s) (((s) & 1) + (((s) >> 1) & 1) + (((s) >> 2) & 1) + (((s) >> 3) & 1))

/* Whether `n` is the process that the topology means; another has nothing that anybody counts on. */
#define LIVES(n) (alive[n] && inc[n] == REC(tR, n))

/*
 * I1: every acknowledged write is held by the primary and by every copy in sync. I3 follows, since whichever of them is
 * left has all. An emptied copy is a lost one, as is a dead one; but never is it the primary.
 */
#define COPY_HOLDS(n) (!(tS & B(n)) || !LIVES(n) || (gone & B(n)) || HOLDS(log[n]))
inline check() {
  assert(!LIVES(tP) || (mark[tP] && HOLDS(log[tP])));
  assert(COPY_HOLDS(0) && COPY_HOLDS(1) && COPY_HOLDS(2) && COPY_HOLDS(3))
}

#include "node.pml"
#include "proxy.pml"
#include "leader.pml"

c_code {
  static int size(char *name, int otherwise) {
    char *given = getenv(name);
    return given ? atoi(given) : otherwise;
  }
}

init {
  d_step {
    c_code {
      without = size("WITHOUT", 0);
      nodes = size("NODES", 3);
      members = size("MEMBERS", 2);
      writes = size("WRITES", 2);
      leaders = size("LEADERS", 2);
      proxies = size("PROXIES", 1);
      strictReads = size("STRICT_READS", 0);
      fresh = size("FRESH", 0);
      roles = size("ROLES", 0);
      primaryStands = size("PRIMARY_STANDS", 0);
      lax = size("LAX", 0);
      late = size("LATE", 0);
      undecided = size("UNDECIDED", 0);
      now.deaths = size("DEATHS", 1);
      now.restarts = size("RESTARTS", 0);
      now.breaks = size("BREAKS", 0);
      now.emptied = size("EMPTIED", 0);
      now.shrinks = size("SHRINKS", 0);
      now.grows = size("GROWS", 0);
      now.failOvers = size("FAIL_OVERS", 1);
      now.switchOvers = size("SWITCH_OVERS", 0);
    };
    alive[0] = 1; mark[0] = 1; fol[0] = MASTER; uPrx[0] = B(1);
    uSup[0] = (fresh -> 0 : 1);
    start(1); start(2); start(3);
    tS = uRep[0]
  };
  atomic {
    run World();
    if :: leaders > 0 -> run Leader(0) :: else fi;
    if :: leaders > 1 -> run Leader(1) :: else fi;
    if :: leaders > 2 -> run Leader(2) :: else fi;
    run Proxy(0, SIZE(tS), strictReads >= proxies);
    if :: proxies > 1 -> run Proxy(1, SIZE(tS), strictReads > 0) :: else fi
  }
}
