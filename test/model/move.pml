/*
 * Moving a key between two shards while it is written and read, as a model: giver and taker, the proxies that pull, the
 * supervisors that walk. What M1 … M6 mean is told in src/REPLICATION.md; how one shard keeps its promises is checked by
 * shard.pml and taken as given here:
 *
 * - A shard is its primary, one copy in sync, and, after a fail-over, the process that was primary before. The copy has
 *   some earlier state of the primary; it catches up at any time. What was confirmed is on both.
 * - A fail-over makes the copy the primary of the next epoch, whatever the old one had besides. The old one still answers
 *   on connections of its own epochs, and nothing that it does from then on is ever confirmed.
 * - A connection is open as long as the user of its epoch is there.
 *
 * What is left out, and why nothing is lost by it:
 * - Time: as in shard.pml, everybody may wait for ever, and give up at once.
 * - Databases, types, expiry: one key stands for all. Keys do not meet in any step but in SCAN, of which no more is asked
 *   than that it finds what is there all the while.
 * - What a proxy sends again. Of a write that a fail-over has cut off its proxy can prove that, and sends it again: so
 *   such a write must never be seen again by itself (`dead`).
 * - A second step of one proxy that is under way on an older connection, after it has begun anew: that is another proxy
 *   that has heard of nothing.
 * - Other copies, joining and shrinking: R1 to R4.
 * - That a value may be older where a set is evicted on a way back (M6 says so): runs have evictions, or turn round, not
 *   both.
 */

#define B(n) (1 << (n))
#define WITHOUT(safeguard) (without == safeguard)
#include "move-safeguards.pml"

hidden byte without = 0;
hidden byte proxies = 1;
hidden byte leaders = 1;
hidden byte tidy = 1;    /* 1: what is left where the key does not belong is a fault at once, not only when it comes back */
hidden byte lax = 0;     /* 1: the taker is fenced when a portion is prepared only where it turns round */
hidden byte deletes = 1; /* 1: clients delete as well */

/* What may still befall. */
byte moves;     /* begun from rest, there or back */
byte aborts;    /* a portion that is under way is turned round */
byte takeBacks; /* a portion that is prepared is taken back */
byte failOvers;
byte writes;    /* by clients */
byte reads;
byte refusals;  /* payloads that the taker does not take */
byte evictions; /* of the set of pulled keys */
byte resent;    /* of a proxy, under another epoch than it was made in */
byte late;      /* commands of a leader that it holds for lost, and that are not */

/*
 * A process: 3 * shard, plus 0: primary, 1: the copy, 2: the primary before. What it has of the key, as the number of the
 * write that made it so; 0: it was dropped, or never was. And the sets of pulled keys: for each number a bit for the
 * first member, one for the key, and one that shuts it, so that nothing is added any more.
 */
#define NOWHERE 9
byte v[6];
short sets[6];
#define FIRST(n) (1 << (3 * (n)))
#define KEY(n) (2 << (3 * (n)))
#define SHUT(n) (4 << (3 * (n)))
#define ALL_OF(n) (7 << (3 * (n)))
#define WITH_OUT(members, some) ((members) & (4095 - (some)))
#define P(s) (3 * (s))
#define C(s) (3 * (s) + 1)
#define D(s) (3 * (s) + 2)

/* Users of proxies, a bit per epoch: on the primary, on the copy (for reading), on the primary before. */
short uPrx[2];
short uRead[2];
short uOld[2];
short owned[2]; /* epochs in which all knew that this shard is the owner, and nothing moves */
/* The term that has taken over the primary, and the one that had the primary before. */
byte lead[2];
byte leadOld[2];
byte since[2]; /* the epoch in which the primary became it */

/* Who waits for the copy to catch up, a bit each; and who waits in vain. */
byte pend[2];
byte fresh[2]; /* writes that only the primary has */
byte stuck;
#define LEADER(t) (4 + t)

/* The published topology, in one number: a proxy knows an old one. */
#define REST 0
#define PREPARING 1
#define MOVING 2
#define PHASE(d) ((d) & 3)
#define TAKER(d) (((d) >> 2) & 1) /* at rest: the owner */
#define GIVER(d) (1 - TAKER(d))
#define SET(d) (((d) >> 3) & 3)   /* at rest: the last one used */
#define THERE(d) (((d) >> 5) & 3) /* the set of the way there, with the giver; 0: this is no return */
#define EPOCH(d, s) (((d) >> (8 + 4 * (s))) & 15)
#define DOC(phase, taker, set, there, e0, e1) ((phase) | ((taker) << 2) | ((set) << 3) | ((there) << 5) | ((e0) << 8) | ((e1) << 12))
int doc;
byte term = 1;

byte at; /* a process, within one step */

/* A command that is under way, though whoever sent it does not count on it any more: a leader, or a proxy. */
#define Z_NONE 0
#define Z_DROP 1
#define Z_OPEN 2
#define Z_CLOSE 3
#define Z_PUT 4
#define A_PROXY 7
byte zWhat, zShard, zTerm, zSet, zValue;

/* What the model alone knows: writes by number, those that delete, those proven lost; the last that a client was told of. */
byte writ = 1;
byte dels;
byte dead;
byte last = 1;
byte far; /* the last one that was written on the taker of the way there */
bool evicted;
#define PRESENT(w) ((w) && !(dels & B(w)))
#define ABSENT_IS_RIGHT ((((dels & (255 - dead)) >> last) != 0) || evicted)
#define RIGHT(w) (PRESENT(w) -> ((w) >= last && !(dead & B(w))) : ABSENT_IS_RIGHT)

/* Which process is right about the key, should `t` be the taker's primary and `g` the giver's. */
#define BACK_IS_RIGHT(g) (THERE(doc) == 0 || (sets[g] & KEY(THERE(doc))))
#define PULLED(t) (!(sets[t] & FIRST(SET(doc))) || (sets[t] & KEY(SET(doc))))
#define RIGHT_ONE(t, g) (PHASE(doc) == REST -> (t) : (PHASE(doc) == MOVING && PULLED(t) -> (t) : (BACK_IS_RIGHT(g) -> (g) : (t))))
#define HOLDS(t, g) RIGHT(v[RIGHT_ONE(t, g)])

/* At rest: no key but at its owner, and no set. */
#define NOTHING_LEFT(p) (((p) / 3 == TAKER(doc) || !PRESENT(v[p])) && !sets[p])
/* Who reads from a copy, and knows of no move, may see what is old, but never that the key is missing. */
#define READABLE(s) (!(uRead[s] & owned[s]) || v[C(s)] || dels || evicted)

/*
 * The key is whole on one side, whoever is primary next; and at rest there is nothing of it on the other side. With the
 * set evicted it is for the leader to say who is right, and nobody reads before.
 */
inline check() {
  at = 0;
  if
  :: evicted && PHASE(doc) != REST
  :: else ->
    assert(HOLDS(P(TAKER(doc)), P(GIVER(doc))));
    assert(HOLDS(P(TAKER(doc)), C(GIVER(doc))));
    assert(HOLDS(C(TAKER(doc)), P(GIVER(doc))));
    assert(HOLDS(C(TAKER(doc)), C(GIVER(doc))))
  fi;
  assert(READABLE(0) && READABLE(1));
  assert(!tidy || PHASE(doc) != REST || NOTHING_LEFT(0) && NOTHING_LEFT(1) && NOTHING_LEFT(3) && NOTHING_LEFT(4))
}

/* `who` waits until the copy has all that its primary has now; `process`: the one that was asked. */
inline await(who, shard, process) {
  if
  :: (process) == P(shard) -> pend[shard] = pend[shard] | B(who)
  :: else -> stuck = stuck | B(who)
  fi;
  at = 0
}
inline settle(who) {
  pend[0] = pend[0] & (255 - B(who));
  pend[1] = pend[1] & (255 - B(who));
  stuck = stuck & (255 - B(who))
}
#define CONFIRMED(w) (!((pend[0] | pend[1] | stuck) & B(w)))

/* The scripts. READ_KEYS says 0, or whether the key was not pulled on the way there, or that nobody can tell. */
#define IS_THERE 0
#define NOT_THERE 1
#define UNKNOWN 2
inline readKey(process, topology, found, how) {
  found = v[process];
  how = IS_THERE;
  if
  :: THERE(topology) == 0 || WITHOUT(M6_SET)
  :: else ->
    if
    :: !(sets[process] & FIRST(THERE(topology))) -> how = UNKNOWN; found = 0
    :: (sets[process] & FIRST(THERE(topology))) && !(sets[process] & KEY(THERE(topology))) -> how = NOT_THERE; found = 0
    :: else
    fi
  fi
}

/* PUT_KEYS: whether it was closed, refused, or done, now or before. */
#define DONE 0
#define CLOSED 1
#define REFUSED 2
#define TAKES(p, n) (((sets[p] & FIRST(n)) || WITHOUT(M2_FIRST)) && (!(sets[p] & SHUT(n)) || WITHOUT(M6_SHUT)))
inline putKey(process, number, given, how, result) {
  result = DONE;
  if
  :: !TAKES(process, number) -> result = CLOSED
  :: TAKES(process, number) && (sets[process] & KEY(number)) && !WITHOUT(M2_SET)
  :: else ->
    if
    :: if :: (how) == NOT_THERE :: else -> v[process] = given fi;
       sets[process] = sets[process] | KEY(number)
    :: refusals > 0 ->
       refusals--;
       if
       :: WITHOUT(M2_AFTER) -> sets[process] = sets[process] | KEY(number)
       :: else -> result = REFUSED
       fi
    fi
  fi
}

inline dropKey(process) { v[process] = 0 }

/* Of no use any more, or ended with its connection. */
inline noCommand() { zWhat = Z_NONE; zShard = 0; zTerm = 0; zSet = 0; zValue = 0 }

#include "move-proxy.pml"
#include "move-leader.pml"

#define BEHIND(s) (pend[s] || fresh[s] || v[P(s)] != v[C(s)] || sets[P(s)] != sets[C(s)])
inline catchUp(shard) { v[C(shard)] = v[P(shard)]; sets[C(shard)] = sets[P(shard)]; pend[shard] = 0; fresh[shard] = 0; check() }

#define CAN_BE_EVICTED (evictions && PHASE(doc) == MOVING && (sets[P(TAKER(doc))] & FIRST(SET(doc))))
#define CAN_ARRIVE (zWhat && (lead[zShard] == zTerm || zTerm == A_PROXY || WITHOUT(M7_OLD_TERM)))

proctype World() {
  byte said;
end:
  do
  :: d_step { BEHIND(0) -> catchUp(0) }
  :: d_step { BEHIND(1) -> catchUp(1) }
  :: d_step { CAN_BE_EVICTED ->
       printf("the set %d is evicted on shard %d\n", SET(doc), TAKER(doc));
       evictions--; evicted = 1; sets[P(TAKER(doc))] = WITH_OUT(sets[P(TAKER(doc))], ALL_OF(SET(doc))); check() }
  :: atomic { CAN_ARRIVE ->
       printf("a command arrives late on shard %d: %d for set %d, value %d\n", zShard, zWhat, zSet, zValue);
       if
       :: zWhat == Z_DROP -> at = P(zShard); dropKey(at)
       :: zWhat == Z_OPEN -> sets[P(zShard)] = sets[P(zShard)] | FIRST(zSet)
       :: zWhat == Z_CLOSE -> sets[P(zShard)] = WITH_OUT(sets[P(zShard)], ALL_OF(zSet))
       :: zWhat == Z_PUT -> at = P(zShard); putKey(at, zSet, zValue, IS_THERE, said); said = 0
       fi;
       noCommand();
       check() }
  od
}

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
      proxies = size("PROXIES", 1);
      leaders = size("LEADERS", 1);
      tidy = size("TIDY", 1);
      lax = size("LAX", 0);
      deletes = size("DELETES", 1);
      now.moves = size("MOVES", 1);
      now.aborts = size("ABORTS", 0);
      now.takeBacks = size("TAKE_BACKS", 0);
      now.failOvers = size("FAIL_OVERS", 0);
      now.writes = size("WRITES", 1);
      now.reads = size("READS", 0);
      now.refusals = size("REFUSALS", 0);
      now.evictions = size("EVICTIONS", 0);
      now.late = size("LATE", 0);
      now.resent = size("RESENT", 0);
    };
    v[P(0)] = 1; v[C(0)] = 1;
    uPrx[0] = B(1); uPrx[1] = B(1);
    uRead[0] = B(1); uRead[1] = B(1); owned[0] = B(1);
    leadOld[0] = NOWHERE; leadOld[1] = NOWHERE;
    doc = DOC(REST, 0, 0, 0, 1, 1)
  };
  atomic {
    run World();
    if :: leaders > 0 -> run Leader(0) :: else fi;
    if :: leaders > 1 -> run Leader(1) :: else fi;
    if :: leaders > 2 -> run Leader(2) :: else fi;
    if :: proxies > 0 -> run Proxy(0) :: else fi;
    if :: proxies > 1 -> run Proxy(1) :: else fi
  }
}
