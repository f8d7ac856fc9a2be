/*
 * A leader of term `t` (the user's bit is t, the first term's 0): what it knows of the topology, and the procedures.
 *
 * A leader that is deposed goes on until Redis or the store refuses it. It acts on a node only over a connection logged
 * in as its term's user; that connection is open as long as the user is there. Every step that it takes in a procedure
 * may be its last for a long time; it may also give up by itself and decide anew, from what it finds.
 */

#define MINE(n) (alive[n] && (uSup[n] & B(t)))
#define OWNED(n) ((own & B(n)) && MINE(n))

/* Seen attached by this leader, after it had taken over both ends. */
#define SEEN(n) ((seen & B(n)) || WITHOUT(R7_SEEN) || (OWNED(n) && ATTACHED(n, lP) && inc[n] == REC(lR, n)))
#define ALL_SEEN(s) ((!((s) & 1) || SEEN(0)) && (!((s) & 2) || SEEN(1)) && (!((s) & 4) || SEEN(2)) && (!((s) & 8) || SEEN(3)))

inline setRecord(n) { lR = (lR & (255 - (3 << (2 * (n))))) | (inc[n] << (2 * (n))) }

/*
 * R6. The proof of leadership is in the same transaction, so whoever publishes has read the last version. Without it a
 * deposed leader reads the version anew and overwrites what its successor wrote.
 */
inline publish(e, p, s, j, h) {
  if
  :: term == t + 1 || WITHOUT(R6_PROOF) ->
    lE = e; lP = p; lS = s; lJ = j; lH = h;
    assert(lE < 8);
    tE = lE; tP = lP; tS = lS; tJ = lJ; tH = lH; tR = lR;
    if :: late -> tV++; past[tV] = VERSION :: else fi;
    printf("leader %d: epoch %d, primary %d, in sync %d, joining %d, paused %d\n", t, tE, tP, tS, tJ, tH);
    check()
  :: else -> goto down
  fi
}

/* R7: what the topology does not call for. A deposed leader never takes away what its successor's topology calls for. */
inline clean(n) {
  if
  :: n == lP && inc[n] == REC(lR, n) ->
    assert(n != tP || !LIVES(n) || !(uPrx[n] & B(tE) & (255 - B(lE))) && !(uRep[n] & tS & (ALL - lS)));
    uPrx[n] = uPrx[n] & B(lE);
    dropOthers(n, lS)
  :: else ->
    assert(n != tP || !LIVES(n) || !(uPrx[n] & B(tE)) && !(uRep[n] & tS));
    uPrx[n] = 0;
    dropOthers(n, 0)
  fi;
  door[n] = 0
}

/* R4.1: a node that may be promoted. */
#define CANDIDATE(n) (OWNED(n) && !syn[n] && (inc[n] == REC(lR, n) || WITHOUT(R4_RECORDED)) && \
  (mark[n] || WITHOUT(R4_MARK) || WITHOUT(R4_RECORDED)))
#define STANDS(n) ((cand & B(n)) && OWNED(n) && (inc[n] == REC(lR, n) || WITHOUT(R4_RECORDED)))
#define BEST(n) (STANDS(n) && AHEAD(n, 0) && AHEAD(n, 1) && AHEAD(n, 2) && AHEAD(n, 3))
#define AHEAD(n, m) (!STANDS(m) || LEN(log[n]) >= LEN(log[m]))

inline stand(n) {
  if
  :: WITHOUT(R4_STAND)
  :: else -> follow(n, NOBODY)
  fi;
  cand = cand | B(n)
}

/*
 * R4.2, R4.3: one that can resume gets its user; one that cannot is dropped. What counts is the history that the chosen
 * one has now and leaves behind with its promotion: if it was promoted before, in a fail-over given up, the history
 * before that one is forgotten by the second promotion, and who still stands in it would be emptied.
 */
#define RESUMES(n) (LEN(log[n]) <= LEN(log[q]) && hid[n] == hid[q] || \
  (WITHOUT(R4_RESUME) && PARTIAL(n, q)) || WITHOUT(R4_STAND))
inline invite(n) {
  if
  :: n == q || !(cand & B(n))
  :: else ->
    if
    :: STANDS(n) && RESUMES(n) -> admit(q, n)
    :: else -> cand = cand & (ALL - B(n))
    fi
  fi
}

/* R4.4: attached, by exactly one link. */
#define KEPT(n) (OWNED(n) && ATTACHED(n, q) && (!ghost[q * N + n] || expired || WITHOUT(R4_CLOSE)))
/* Ghosts expire when somebody looks; earlier it would only make counts smaller. */
inline keep(n) {
  if
  :: n == q || !(cand & B(n))
  :: else ->
    if
    :: KEPT(n) ->
      setRecord(n);
      if :: WITHOUT(R4_CLOSE) :: else -> ghost[q * N + n] = 0 fi
    :: else -> cand = cand & (ALL - B(n))
    fi
  fi
}

#define SPARE(n) (n < nodes && n != lP && !(lS & B(n)))

/* Of a primary that was made a replica nothing is expected but to be a candidate. */
#define PRESIDES (OWNED(lP) && fol[lP] == MASTER)

/* What it may decide about a node. With `roles` only the first leader fails over, and only the others shrink and grow. */
#define MAY_FAIL_OVER (failOvers > 0 && (!roles || t == 0))
#define MAY_SHRINK (shrinks > 0 && (!roles || t > 0))
#define MAY_GROW (grows > 0 && (!roles || t > 0))
#define FOR_NODE(n) \
  :: atomic { alive[n] && !OWNED(n) -> x = n; own = own & (ALL - B(n)); seen = seen & (ALL - B(n)); goto takeOver } \
  :: atomic { MAY_SHRINK && lJ == NONE && !lH && (lS & B(n)) && PRESIDES && ALL_SEEN(lS & (ALL - B(n))) -> \
       shrinks--; x = n; seen = lS & (ALL - B(n)); goto shrink } \
  :: atomic { MAY_GROW && lJ == NONE && !lH && SPARE(n) && OWNED(n) && PRESIDES -> grows--; x = n; goto rebuild }

proctype Leader(byte t) {
  byte lE, lP, lS, lJ = NONE, lR; /* the topology, as far as it knows */
  bool lH, inherited, planned, expired;
  byte own, seen;                 /* nodes taken over; members seen attached since */
  byte x, q, cand;                /* of the procedure that runs */

  d_step {
    t == 0 || term == t ->
    if
    :: t == 0 && fresh
    :: t == 0 && !fresh -> own = B(nodes) - 1; seen = tS
    :: else -> term++; printf("leader %d is elected\n", t)
    fi;
    lE = tE; lP = tP; lS = tS; lJ = tJ; lH = tH; lR = tR; inherited = (tJ != NONE)
  };

end:
decide:
  atomic { x = 0; q = 0; cand = 0; planned = 0 };
end_decide:
  do
  FOR_NODE(0)
  FOR_NODE(1)
  FOR_NODE(2)
  FOR_NODE(3)
  :: atomic { lJ != NONE && OWNED(lP) -> goto giveUp }
  :: atomic { lH && OWNED(lP) -> goto resume }
  :: atomic { MAY_FAIL_OVER && lS && !(lH && OWNED(lP)) -> failOvers--; goto failOver }
  :: atomic { switchOvers > 0 && lJ == NONE && !lH && lS && PRESIDES && ALL_SEEN(lS) -> switchOvers--; goto switchOver }
  od;

/*
 * R7 of node x. That it lists, deletes and cleans in one step leaves nothing out: what another leader does in between
 * either refuses this one what is left, which is as if it stalled, or does not touch it.
 */
takeOver:
  if
  :: atomic { WITHOUT(R7_CREATE) && !(uSup[x] >> (t + 1)) -> skip }
  :: atomic { WITHOUT(R7_CREATE) && (uSup[x] >> (t + 1)) -> goto down }
  :: atomic { !WITHOUT(R7_CREATE) -> if :: alive[x] -> uSup[x] = uSup[x] | B(t) :: else -> goto decide fi }
  fi;
  atomic {
    if
    :: WITHOUT(R7_CREATE) && alive[x] -> uSup[x] = uSup[x] | B(t)
    :: !WITHOUT(R7_CREATE) && (uSup[x] >> (t + 1)) -> goto down
    :: !WITHOUT(R7_CREATE) && !(uSup[x] >> (t + 1)) && MINE(x) -> skip
    :: else -> goto decide
    fi;
    uSup[x] = uSup[x] & (255 - (B(t) - 1));
    if
    :: WITHOUT(R7_OWN) -> goto cleanUp
    :: WITHOUT(R7_CLEAN)
    :: else -> clean(x)
    fi;
    own = own | B(x);
    goto decide
  };
cleanUp: /* as the admin, whom nobody refuses */
  atomic { if :: alive[x] -> clean(x); own = own | B(x) :: else fi; goto decide };

shrink: /* R2: x is dropped */
  if
  :: WITHOUT(R2_FIRST) -> atomic { publish(lE, lP, lS & (ALL - B(x)), NONE, 0) }
  :: else
  fi;
  atomic { if :: OWNED(lP) -> dropReplica(lP, x) :: else -> goto decide fi };
  atomic { publish(lE, lP, lS & (ALL - B(x)), NONE, 0); goto decide };

rebuild: /* R3.1: x copies from an in-sync replica, or from the primary when there is none, unless it can resume */
  atomic {
    if
    :: PARTIAL(x, lP) -> goto grow
    :: (lS & B(0)) && OWNED(0) -> q = 0
    :: (lS & B(1)) && OWNED(1) -> q = 1
    :: (lS & B(2)) && OWNED(2) -> q = 2
    :: (lS & B(3)) && OWNED(3) -> q = 3
    :: !lS -> q = lP
    :: else -> goto decide
    fi;
    /* One step: a user without a follower lets nobody in. */
    if :: OWNED(x) && OWNED(q) -> admit(q, x); follow(x, q) :: else -> goto decide fi
  };
  if
  :: atomic { OWNED(x) && ATTACHED(x, q) -> skip }
  :: atomic { if :: OWNED(q) -> dropReplica(q, x) :: else fi; goto decide }
  fi;

grow: /* R3.2: x joins */
  atomic { if :: OWNED(lP) -> uPrx[lP] = uPrx[lP] | B(lE + 1) :: else -> goto decide fi };
  atomic { publish(lE + 1, lP, lS, x, 0); inherited = 0 };
  /* R3.3: the fence */
  atomic { if :: OWNED(lP) -> if :: WITHOUT(R3_FENCE) :: else -> uPrx[lP] = B(lE) fi :: else -> goto decide fi };
openDoor: /* R3.4 */
  atomic { if :: OWNED(lP) -> dropReplica(lP, x); admit(lP, x); q = LEN(log[lP]) :: else -> goto decide fi };
  atomic { if :: OWNED(x) -> follow(x, lP) :: else -> goto decide fi };
  if
  :: atomic { OWNED(x) && ATTACHED(x, lP) && LEN(log[x]) >= q -> skip }
  :: atomic { WITHOUT(R3_HAS) && OWNED(x) && fol[x] == lP && up[x] -> skip }
  :: goto decide
  fi;
  atomic { if :: OWNED(lP) -> door[lP] = 0 :: else -> goto decide fi };
  atomic {
    if
    :: OWNED(lP) && OWNED(x) &&
       (WITHOUT(R3_LOOK) || WITHOUT(R3_HAS) || (ATTACHED(x, lP) && !(uRep[lP] & (ALL - lS - B(x))))) ->
      /* One link: a ghost that was there has expired. With one left it is looked at again. */
      if
      :: !ghost[lP * N + x] || WITHOUT(R3_LOOK)
      :: ghost[lP * N + x] && !WITHOUT(R3_LOOK) -> ghost[lP * N + x] = 0
      :: ghost[lP * N + x] && !WITHOUT(R3_LOOK) -> goto openDoor
      fi;
      setRecord(x); q = 0
    :: else -> if :: goto openDoor :: goto decide fi
    fi
  };
  atomic { publish(lE, lP, lS | B(x), NONE, 0); seen = seen | B(x); goto decide }; /* R3.5 */

giveUp: /* a join that was begun, by this leader or another */
  if
  :: WITHOUT(R3_GIVE_UP) ->
    atomic { x = lJ; publish(lE, lP, lS, NONE, 0) };
    atomic { if :: OWNED(lP) -> dropReplica(lP, x) :: else fi; goto decide }
  :: else ->
    atomic {
      if
      :: WITHOUT(R7_CLEAN) && inherited
      :: !(WITHOUT(R7_CLEAN) && inherited) && OWNED(lP) -> dropReplica(lP, lJ)
      :: else -> goto decide
      fi
    };
    atomic { publish(lE, lP, lS, NONE, 0); inherited = 0; goto decide }
  fi;

resume: /* a planned change that was begun and given up: the primary serves on, in a new epoch */
  atomic { if :: OWNED(lP) -> uPrx[lP] = uPrx[lP] | B(lE + 1) :: else -> goto decide fi };
  atomic { publish(lE + 1, lP, lS, NONE, 0); goto decide };

switchOver: /* R5 */
  atomic { publish(lE + 1, lP, lS, NONE, 1) };
  atomic { if :: OWNED(lP) -> uPrx[lP] = 0 :: else -> goto decide fi };
  if
  :: atomic { (lS & 1) && ATTACHED(0, lP) && LEN(log[0]) == LEN(log[lP]) -> skip }
  :: atomic { (lS & 2) && ATTACHED(1, lP) && LEN(log[1]) == LEN(log[lP]) -> skip }
  :: atomic { (lS & 4) && ATTACHED(2, lP) && LEN(log[2]) == LEN(log[lP]) -> skip }
  :: atomic { (lS & 8) && ATTACHED(3, lP) && LEN(log[3]) == LEN(log[lP]) -> skip }
  :: goto decide
  fi;
  planned = 1;

failOver: /* R4.1: stand still, then read */
  atomic { if :: WITHOUT(R7_ANEW) :: else -> seen = 0 fi };
  do
  :: atomic { (lS & 1) && !(cand & 1) && CANDIDATE(0) -> stand(0) }
  :: atomic { (lS & 2) && !(cand & 2) && CANDIDATE(1) -> stand(1) }
  :: atomic { (lS & 4) && !(cand & 4) && CANDIDATE(2) -> stand(2) }
  :: atomic { (lS & 8) && !(cand & 8) && CANDIDATE(3) -> stand(3) }
  /* A primary that is there after all is a copy like the others: it has what they have, and no writes while it stands. */
  :: atomic { primaryStands && !planned && !(cand & B(lP)) && CANDIDATE(lP) -> stand(lP) }
  :: atomic { planned && cand && OWNED(lP) && inc[lP] == REC(lR, lP) ->
       dropOthers(lP, 0); door[lP] = 0; follow(lP, NOBODY); cand = cand | B(lP); planned = 0 }
  :: atomic { cand && !planned -> break }
  :: goto abandon
  od;
  atomic {
    if
    :: BEST(0) -> q = 0
    :: BEST(1) -> q = 1
    :: BEST(2) -> q = 2
    :: BEST(3) -> q = 3
    :: else -> goto abandon
    fi;
    printf("leader %d chooses node %d of %d\n", t, q, cand);
    /* R4.2: the users that it had */
    if
    :: WITHOUT(R4_OLD_USERS)
    :: else -> uPrx[q] = 0; dropOthers(q, 0); door[q] = 0
    fi
  };
  atomic {
    if
    :: OWNED(q) -> invite(0); invite(1); invite(2); invite(3); promote(q)
    :: else -> goto abandon
    fi
  };
  do /* R4.3 */
  :: atomic { (cand & 1) && q != 0 && OWNED(0) && fol[0] != q -> follow(0, q) }
  :: atomic { (cand & 2) && q != 1 && OWNED(1) && fol[1] != q -> follow(1, q) }
  :: atomic { (cand & 4) && q != 2 && OWNED(2) && fol[2] != q -> follow(2, q) }
  :: atomic { (cand & 8) && q != 3 && OWNED(3) && fol[3] != q -> follow(3, q) }
  :: break
  :: goto abandon
  od;
  atomic { if :: OWNED(q) -> if :: WITHOUT(R4_CLOSE) :: else -> door[q] = 0 fi :: else -> goto abandon fi }; /* R4.4 */
  atomic {
    if
    :: OWNED(q) ->
      if :: expired = 1 :: expired = 0 fi;
      keep(0); keep(1); keep(2); keep(3);
      expired = 0;
      if :: WITHOUT(R4_DROPPED) :: else -> dropOthers(q, cand) fi;
      uPrx[q] = uPrx[q] | B(lE + 1);
      setRecord(q)
    :: else -> goto abandon
    fi
  };
  atomic { publish(lE + 1, q, cand & (ALL - B(q)), NONE, 0); seen = cand & (ALL - B(q)); own = own | B(q); goto decide };

/*
 * R7: a fail-over given up is like another leader's. Doors stand open on the chosen one, and whoever was pointed at it
 * keeps trying: nothing is done before every node is cleaned anew, and its links are seen anew.
 */
abandon:
  atomic {
    if
    :: WITHOUT(R7_ANEW)
    :: !WITHOUT(R7_ANEW) && lax -> seen = 0
    :: else -> own = 0; seen = 0
    fi;
    goto decide
  };

down: /* the leadership is over */
  atomic { lE = 0; lP = 0; lS = 0; lJ = 0; lR = 0; lH = 0; inherited = 0; own = 0; seen = 0; x = 0; q = 0; cand = 0; planned = 0 }
}
