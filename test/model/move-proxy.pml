/*
 * A proxy: one command at a time; a key that is on the move is pulled first. Each step of a pull may be its last for a
 * long time. It hears of the newest topology at any time, or not.
 */

#define IDLE 0
#define ROUTE 1 /* to where, is not yet known */
#define SEND 2  /* queued for a shard */
#define PARKED 3
#define PUT 4   /* was read */
#define WAIT 5  /* was put */
#define DROP 6  /* every copy has it */
#define DEAF 7  /* nothing goes before another topology is known */

#define A_WRITE 1
#define A_DELETE 2
#define A_READ 3

/* The process at the other end of a connection to shard `s` as its epoch is known. */
#define AT(s) ((uPrx[s] & B(EPOCH(k, s))) -> P(s) : ((uOld[s] & B(EPOCH(k, s))) -> D(s) : NOWHERE))

inline forget() { st = IDLE; op = 0; q = 0; r = 0; read = 0; w = 0; stale = 0; same = 0; settle(id) }

/* Whatever epochs change, a pull begins anew (M3), and what is queued is looked at anew (M1). */
inline learn() {
  same = 0;
  if
  :: st == PUT && read == IS_THERE && resent && zWhat == Z_NONE ->
    resent--; zWhat = Z_PUT; zShard = TAKER(k); zTerm = A_PROXY; zSet = SET(k); zValue = r
  :: else
  fi;
  if
  :: st == IDLE || st == ROUTE || st == PARKED
  :: st == SEND && WITHOUT(M1_SIEVE)
  :: (st == WAIT || st == DROP) && WITHOUT(M3_DROP)
  :: else -> st = ROUTE; q = 0; r = 0; read = 0; settle(id)
  fi;
  if :: SET(doc) != SET(k) && !WITHOUT(M2_KNOWN) -> known = 0 :: else fi;
  k = doc
}

inline execute() {
  at = AT(q);
  if
  :: op == A_READ -> w = v[at]; stale = !RIGHT(w);
     if :: PRESENT(w) :: else -> w = 0 fi;
     printf("proxy %d finds %d on process %d\n", id, w, at)
  :: else ->
    writ++; w = writ; v[at] = w;
    if :: at == P(q) -> fresh[q] = fresh[q] | B(w) :: else fi;
    if :: op == A_DELETE -> dels = dels | B(w) :: else fi;
    if :: PHASE(k) == MOVING && THERE(k) == 0 && q == 1 -> far = w :: else fi;
    printf("proxy %d writes %d (%d) on process %d\n", id, w, op, at)
  fi;
  await(id, q, at);
  st = PARKED;
  same = 1;
  check()
}

#define AT_REST (same && PHASE(k) == REST)
inline goals() {
  assert(!(WITHOUT(GOAL_THERE) && op == A_WRITE && AT_REST && q == 1));
  assert(!(WITHOUT(GOAL_PULLED) && op == A_WRITE && same && PHASE(k) == MOVING && uOld[1]));
  assert(!(WITHOUT(GOAL_BACK) && op == A_WRITE && AT_REST && q == 0 && SET(k) == 2));
  assert(!(WITHOUT(GOAL_RETURNED) && op == A_READ && AT_REST && q == 0 && SET(k) == 2 && w && w == far));
  assert(!(WITHOUT(GOAL_REMAINED) && op == A_READ && AT_REST && q == 0 && SET(k) == 2 && w == 1));
  assert(!(WITHOUT(GOAL_TAKEN_BACK) && op == A_WRITE && AT_REST && q == 0 && SET(k) == 1))
}

proctype Proxy(byte id) {
  int k;
  byte st, op, q, r, read, w, said;
  bool stale, known;
  bool same; /* nothing else was heard of since the command was executed */
  k = doc;
end:
  do
  :: d_step { k != doc -> learn() }

  :: atomic { st == IDLE && (writes || reads) ->
       if
       :: writes -> writes--; op = A_WRITE
       :: writes && deletes -> writes--; op = A_DELETE
       :: reads -> reads--; op = A_READ
       fi;
       st = ROUTE }
  :: d_step { st == ROUTE && PHASE(k) == REST -> q = TAKER(k); st = SEND }
  :: d_step { st == ROUTE && PHASE(k) == MOVING && known -> q = TAKER(k); st = SEND }

  /* M2 */
  :: d_step { st == ROUTE && PHASE(k) == MOVING && !known && AT(GIVER(k)) != NOWHERE ->
       at = AT(GIVER(k));
       readKey(at, k, r, read);
       printf("proxy %d reads %d (%d) on process %d\n", id, r, read, at);
       at = 0;
       if :: read == UNKNOWN -> read = 0; st = DEAF :: else -> st = PUT fi }
  :: atomic { st == PUT && AT(TAKER(k)) != NOWHERE ->
       at = AT(TAKER(k));
       putKey(at, SET(k), r, read, said);
       printf("proxy %d puts %d on process %d, set %d: %d\n", id, r, at, SET(k), said);
       r = 0; read = 0;
       if
       :: said == CLOSED -> st = DEAF
       :: said == REFUSED -> st = ROUTE
       :: said == DONE -> st = WAIT; q = GIVER(k); await(id, TAKER(k), at)
       fi;
       said = 0;
       check() }
  :: d_step { st == WAIT && (CONFIRMED(id) || WITHOUT(M2_COPIES)) -> settle(id); st = DROP }
  :: d_step { st == DROP && AT(q) != NOWHERE ->
       at = AT(q);
       printf("proxy %d drops it on process %d\n", id, at);
       dropKey(at);
       if :: PHASE(k) == MOVING && q == GIVER(k) -> known = 1 :: else fi;
       st = ROUTE; q = 0;
       check() }

  /* The giver is lost to it, but every copy has the key. */
  :: d_step { st == DROP && q == GIVER(k) -> known = 1; st = ROUTE; q = 0 }

  :: d_step { st == SEND && AT(q) != NOWHERE -> execute() }
  :: d_step { st == PARKED && CONFIRMED(id) ->
       printf("proxy %d confirms %d\n", id, w);
       assert(!stale);
       if :: w > last -> last = w :: else fi;
       check();
       goals();
       forget() }
  :: d_step { st == PARKED && (stuck & B(id)) -> forget() } /* uncertain */
  od
}
