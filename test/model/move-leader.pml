/*
 * A leader of term `t`, and the procedures by which it moves the portion. It goes by the topology that it published or
 * found last; that is an old one once it is deposed, which it learns when it publishes or when a node refuses it.
 *
 * It may give up each procedure at each step and decide anew; what it did is then found in the topology and on the nodes.
 * A command that it gives up may still be under way (`late`).
 */

#define ME LEADER(t)
/* The process that it commands: the primary that it knows, as long as nobody after it has taken that over. */
#define KNOWS(s) (EPOCH(d, s) >= since[s])
#define MINE(s) (KNOWS(s) -> (lead[s] == t || (WITHOUT(M7_OLD_TERM) && lead[s] > t) -> P(s) : NOWHERE) : (leadOld[s] == t -> D(s) : NOWHERE))
#define HAVE(s) (MINE(s) != NOWHERE)
#define G GIVER(d)
#define T TAKER(d)
#define LEADS (term == t + 1)
#define BOTH_ARE_MINE (lead[0] == t && lead[1] == t)

/* R6: who publishes has read the last version. */
inline publish(next) {
  if
  :: LEADS ->
    d = next; doc = d;
    /* Who reads from copies is let in by and by; here at once. */
    uRead[0] = uRead[0] | B(EPOCH(d, 0)); uRead[1] = uRead[1] | B(EPOCH(d, 1));
    if :: PHASE(d) == REST -> owned[T] = owned[T] | B(EPOCH(d, T)) :: else fi;
    told();
    check()
  :: else -> goto down
  fi
}
inline told() {
  printf("leader %d: phase %d to shard %d, set %d, set there %d, epochs %d %d\n",
    t, PHASE(d), TAKER(d), SET(d), THERE(d), EPOCH(d, 0), EPOCH(d, 1))
}

/* A command on shard `s`: one of an older connection no longer arrives; this one may be held for lost. */
inline end_older(shard) {
  if
  :: zWhat && zShard == (shard) && zTerm == t && !WITHOUT(M7_SAME_TERM) -> noCommand()
  :: else
  fi
}
#define MAY_BE_LATE(s) (late > 0 && zWhat == Z_NONE && lead[s] == t)
inline under_way(what, shard, number, carried) {
  printf("leader %d gives up a command on shard %d: %d\n", t, shard, what);
  late--; zWhat = what; zShard = shard; zTerm = t; zSet = number; zValue = carried
}

/* R4, as one step: the copy has some earlier state, and becomes the primary of the next epoch. */
inline failOver(shard) {
  printf("leader %d fails shard %d over\n", t, shard);
  failOvers--;
  dead = dead | fresh[shard]; fresh[shard] = 0;
  v[D(shard)] = v[P(shard)]; sets[D(shard)] = sets[P(shard)]; uOld[shard] = uPrx[shard] & (B(EPOCH(doc, shard) + 1) - 1); leadOld[shard] = lead[shard];
  v[P(shard)] = v[C(shard)]; sets[P(shard)] = sets[C(shard)]; uPrx[shard] = B(EPOCH(doc, shard) + 1); lead[shard] = t;
  uRead[shard] = B(EPOCH(doc, shard) + 1); since[shard] = EPOCH(doc, shard) + 1;
  if :: WITHOUT(M3_WAIT) :: else -> stuck = stuck | pend[shard]; pend[shard] = 0 fi;
  if :: zWhat && zShard == (shard) && zTerm != A_PROXY -> noCommand() :: else fi;
  settle(ME);
  round = 0;
  publish(d + (1 << (8 + 4 * (shard))))
}

/* R7: who was let in by another term, or is not called for, is no longer. */
inline takeOver(shard) {
  printf("leader %d takes shard %d over\n", t, shard);
  lead[shard] = t;
  uPrx[shard] = B(EPOCH(d, shard)); uRead[shard] = uRead[shard] & B(EPOCH(d, shard));
  if :: zWhat && zShard == (shard) && zTerm != t && zTerm != A_PROXY && !WITHOUT(M7_OLD_TERM) -> noCommand() :: else fi
}

#define OPEN(p, n) (sets[p] & FIRST(n))
/*
 * What a leader finds of the sets. With one of them gone nobody pulls any more: the portion was closed, and the giver has
 * none of it; or a set was evicted, and what the giver has counts as evicted.
 */
#define IS_OPEN (OPEN(MINE(T), SET(d)) && (THERE(d) == 0 || OPEN(MINE(G), THERE(d))))
#define LEFT_OVER (!IS_OPEN && PRESENT(v[MINE(G)]))
/* Nothing is left to be pulled, as this walk has found. */
#define WALKED(g) (THERE(d) && !WITHOUT(M6_WALK) -> (round || !(sets[g] & KEY(THERE(d)))) : !PRESENT(v[g]))
#define NEXT_SET ((WITHOUT(M1_NEW_SET) && SET(d)) -> 1 : SET(d) + 1)
/* Giving up is of use only where something else can be done instead. */
#define MAY_GIVE_UP (failOvers || aborts || takeBacks || late || zWhat)

proctype Leader(byte t) {
  int d;
  byte r, read, said, n, y, there;
  bool round;  /* what the set of the way there names was pulled, since the epochs are as they are */
  bool walked; /* a walk has found none left, though perhaps on another primary */
  bool began;

  d_step {
    t == 0 || term == t ->
    if
    :: t > 0 -> term++; printf("leader %d is elected\n", t)
    :: else
    fi;
    d = doc
  };

end:
decide:
  atomic { r = 0; read = 0; n = 0; y = 0; there = 0; settle(ME) };
end_decide:
  do
  :: d_step { LEADS && lead[0] != t -> takeOver(0) }
  :: d_step { LEADS && lead[1] != t -> takeOver(1) }
  :: atomic { LEADS && failOvers && lead[0] == t -> failOver(0) }
  :: atomic { LEADS && failOvers && lead[1] == t -> failOver(1) }
  :: atomic { PHASE(d) == REST && moves && BOTH_ARE_MINE -> moves--; y = G; n = NEXT_SET; walked = 0; began = 1; goto begin }
  :: atomic { PHASE(d) == PREPARING && BOTH_ARE_MINE -> goto prepare }
  :: atomic { PHASE(d) == PREPARING && takeBacks && THERE(d) == 0 && BOTH_ARE_MINE -> takeBacks--; goto takeBack }
  :: atomic { PHASE(d) == MOVING && aborts && THERE(d) == 0 && BOTH_ARE_MINE && (OPEN(P(T), SET(d)) || WITHOUT(M6_OPEN)) ->
       printf("leader %d turns round\n", t);
       end_older(T);
       aborts--; y = G; n = NEXT_SET; there = SET(d); walked = 0; round = 0; goto begin }
  :: atomic { PHASE(d) == MOVING && HAVE(G) && HAVE(T) && !WALKED(MINE(G)) && IS_OPEN -> goto pull }
  :: atomic { PHASE(d) == MOVING && HAVE(G) && HAVE(T) && LEFT_OVER -> goto clear }
  :: atomic { PHASE(d) == MOVING && BOTH_ARE_MINE && (WALKED(P(G)) && IS_OPEN || !IS_OPEN && !LEFT_OVER ||
       walked && WITHOUT(M4_AGAIN)) -> walked = 1; goto close }
  :: atomic { !LEADS && !HAVE(0) && !HAVE(1) -> goto down }
  od;

begin: /* M1: y: the taker to be; n: its set; there: the set of the way there */
  atomic {
    if
    :: BOTH_ARE_MINE ->
      end_older(0); end_older(1);
      uPrx[0] = uPrx[0] | B(EPOCH(d, 0) + 1);
      uPrx[1] = uPrx[1] | B(EPOCH(d, 1) + 1);
      publish(DOC((WITHOUT(M1_PREPARING) -> MOVING : PREPARING), y, n, there, EPOCH(d, 0) + 1, EPOCH(d, 1) + 1))
    :: else -> goto down
    fi
  };

prepare: /* M1: that both fences are one step leaves nothing out: what falls between them could fall before them */
  atomic {
    if
    :: BOTH_ARE_MINE ->
      end_older(0); end_older(1);
      if :: WITHOUT(M1_FENCE_GIVER) :: else -> uPrx[G] = uPrx[G] & B(EPOCH(d, G)) fi;
      if :: WITHOUT(M1_FENCE_TAKER) || (lax && THERE(d) == 0) :: else -> uPrx[T] = uPrx[T] & B(EPOCH(d, T)) fi;
      if :: WITHOUT(M1_READERS) :: else -> uRead[G] = uRead[G] & B(EPOCH(d, G)) fi;
      if :: THERE(d) -> sets[P(G)] = sets[P(G)] | SHUT(THERE(d)) :: else fi;
      at = P(G); await(ME, G, at)
    :: else -> goto decide
    fi
  };
  if
  :: atomic { BOTH_ARE_MINE ->
       sets[P(T)] = sets[P(T)] | FIRST(SET(d));
       if :: WITHOUT(M1_SET_COPIES) :: else -> at = P(T); await(ME, T, at) fi }
  :: atomic { MAY_BE_LATE(T) -> under_way(Z_OPEN, T, SET(d), 0); goto decide }
  :: atomic { !BOTH_ARE_MINE -> goto decide }
  fi;
  if
  :: atomic { CONFIRMED(ME) || (WITHOUT(M1_SETTLED) && !(pend[T] & B(ME))) -> settle(ME) }
  :: atomic { MAY_GIVE_UP || (stuck & B(ME)) -> goto decide }
  fi;
  atomic { if :: PHASE(d) == PREPARING -> publish(d - PREPARING + MOVING) :: else fi; goto decide };

takeBack: /* nobody has pulled anything */
  atomic {
    if
    :: BOTH_ARE_MINE -> end_older(T); sets[P(T)] = WITH_OUT(sets[P(T)], ALL_OF(SET(d))); at = P(T); await(ME, T, at)
    :: else -> goto decide
    fi
  };
  if
  :: atomic { CONFIRMED(ME) -> settle(ME) }
  :: atomic { MAY_GIVE_UP || (stuck & B(ME)) -> goto decide }
  fi;
  atomic { publish(DOC(REST, G, SET(d), 0, EPOCH(d, 0), EPOCH(d, 1))); goto decide };

pull: /* M4, as M2 */
  atomic {
    if
    :: HAVE(G) ->
      end_older(G);
      at = MINE(G);
      readKey(at, d, r, read);
      printf("leader %d reads %d (%d) on process %d\n", t, r, read, at);
      at = 0;
      if :: read == UNKNOWN -> goto decide :: else fi
    :: else -> goto decide
    fi
  };
  if
  :: atomic { HAVE(T) ->
       end_older(T);
       at = MINE(T);
       putKey(at, SET(d), r, read, said);
       printf("leader %d puts %d on process %d, set %d: %d\n", t, r, at, SET(d), said);
       await(ME, T, at);
       if :: said != DONE -> said = 0; goto decide :: else fi;
       check() }
  :: atomic { MAY_BE_LATE(T) && read == IS_THERE -> end_older(T); under_way(Z_PUT, T, SET(d), r); goto decide }
  :: atomic { !HAVE(T) || MAY_GIVE_UP -> goto decide }
  fi;
  if
  :: atomic { CONFIRMED(ME) || WITHOUT(M2_COPIES) -> settle(ME); r = 0; read = 0 }
  :: atomic { MAY_GIVE_UP || (stuck & B(ME)) -> goto decide }
  fi;
  if
  :: atomic { HAVE(G) ->
       end_older(G);
       assert(!(WITHOUT(GOAL_REWALKED) && PRESENT(v[MINE(G)]) && lead[G] == t && uOld[G] && (sets[P(T)] & KEY(SET(d))) && far));
       at = MINE(G);
       dropKey(at);
       printf("leader %d drops it on process %d\n", t, at);
       if :: THERE(d) -> round = 1 :: else fi;
       check();
       goto decide }
  :: atomic { MAY_BE_LATE(G) -> end_older(G); under_way(Z_DROP, G, 0, 0); goto decide }
  :: atomic { !HAVE(G) || MAY_GIVE_UP -> goto decide }
  fi;

clear: /* closed or evicted: what is left is of no use, or counts as evicted */
  atomic {
    if
    :: HAVE(G) ->
      printf("leader %d clears what is left\n", t);
      end_older(G);
      at = MINE(G); dropKey(at);
      check()
    :: else
    fi;
    goto decide
  };

close: /* M5; on the giver first: its copies have lost what was dropped */
  atomic { if :: BOTH_ARE_MINE -> end_older(G); at = P(G); await(ME, G, at) :: else -> goto decide fi };
  if
  :: atomic { CONFIRMED(ME) || WITHOUT(M5_DROPPED) -> settle(ME) }
  :: atomic { MAY_GIVE_UP || (stuck & B(ME)) -> goto decide }
  fi;
  if
  :: THERE(d) -> /* first the one by which is judged what is right: until the other goes, all can be done again */
    atomic {
      if
      :: HAVE(G) -> end_older(G); at = MINE(G); sets[at] = WITH_OUT(sets[at], ALL_OF(THERE(d))); await(ME, G, at); check()
      :: else -> goto decide
      fi
    };
    if
    :: atomic { CONFIRMED(ME) -> settle(ME) }
    :: atomic { MAY_GIVE_UP || (stuck & B(ME)) -> goto decide }
    fi
  :: else
  fi;
  if
  :: atomic { WITHOUT(M5_CLOSED) -> skip }
  :: atomic { !WITHOUT(M5_CLOSED) && HAVE(T) ->
       end_older(T); at = MINE(T); sets[at] = WITH_OUT(sets[at], ALL_OF(SET(d))); await(ME, T, at); check() }
  :: atomic { MAY_BE_LATE(T) -> end_older(T); under_way(Z_CLOSE, T, SET(d), 0); goto decide }
  :: atomic { !HAVE(T) || MAY_GIVE_UP -> goto decide }
  fi;
  if
  :: atomic { CONFIRMED(ME) || WITHOUT(M5_COPIES) -> settle(ME) }
  :: atomic { MAY_GIVE_UP || (stuck & B(ME)) -> goto decide }
  fi;
  atomic {
    if
    :: BOTH_ARE_MINE ->
      assert(!(WITHOUT(GOAL_SUCCEEDED) && LEADS && !began));
      uPrx[0] = uPrx[0] | B(EPOCH(d, 0) + 1);
      uPrx[1] = uPrx[1] | B(EPOCH(d, 1) + 1);
      publish(DOC(REST, T, SET(d), 0, EPOCH(d, 0) + 1, EPOCH(d, 1) + 1))
    :: else -> goto decide
    fi
  };
  atomic {
    if
    :: WITHOUT(M5_FENCE)
    :: !WITHOUT(M5_FENCE) && HAVE(0) && HAVE(1) -> uPrx[0] = uPrx[0] & B(EPOCH(d, 0)); uPrx[1] = uPrx[1] & B(EPOCH(d, 1))
    :: else
    fi;
    goto decide
  };

down: /* the leadership is over */
  atomic { d = 0; r = 0; read = 0; said = 0; n = 0; y = 0; there = 0; round = 0; walked = 0; began = 0; settle(ME) }
}
