/*
 * A proxy: it writes, parks the replies, and passes a reply on when a barrier has counted enough copies.
 *
 * The barrier travels on another connection than the write: it is asked after the write's reply was received, notes the
 * offset that the primary has by then, and may be asked in a later epoch than the write, as long as it is the same
 * history that the primary goes on with. Connections are not drawn: one is open as long as its user is there, on the
 * incarnation that it logged in to. A deleted user that is made anew would let an old connection live on here, which
 * allows more than Redis does.
 *
 * A write whose fate is open when its primary is lost is judged by the next primary's promotion: cut off at or before
 * the offset known before the write: it is not there, and is sent again; cut off at or behind the offset known after its
 * reply: it is there, and is confirmed by a barrier of the new epoch; otherwise nobody knows. Here the offsets known are
 * the exact ones, or before the write that of the login; a proxy knows something between.
 */

#define IDLE 0
#define SENT 1    /* executed, the reply is under way */
#define UNSENT 2  /* the connection was lost before it was executed; for the proxy the same as SENT */
#define PARKED 3  /* the reply is here */
#define AGAIN 4   /* to be sent again */

#define OPEN(e, n, i) (alive[n] && inc[n] == (i) && ((uPrx[n] & B(e)) || WITHOUT(R1_CONNECTION)))
#define SERVES(e, n, i) (OPEN(e, n, i) && fol[n] == MASTER)

/* Whether the primary that this proxy knows goes on with the history in which the write was executed. */
#define SAME_HISTORY (hid[pP] == wHid || (WITHOUT(R1_HISTORY) && wAt == pP * 4 + pI))

/*
 * What this proxy knows is what counts: the requirement, and whether acknowledgements are held (1: a copy joins; 2: a
 * planned change is on, and nothing is written either). It is told of the newest version, at any time, or not. With
 * `late` it may also be told of each version in turn, when it is long past.
 */
#define T_HOLD (tH -> 2 : (tJ != NONE && !WITHOUT(R3_HOLD) -> 1 : 0))
#define NEWS (late && pV < tV || !late && (pE != tE || pReq != SIZE(tS) || pHold != T_HOLD))
inline learn() {
  if
  :: late ->
    pV++;
    pE = past[pV] & 15; pP = (past[pV] >> 4) & 3; pI = (past[pV] >> 6) & 3; pReq = (past[pV] >> 8) & 3; pHold = past[pV] >> 10
  :: else -> pE = tE; pP = tP; pI = REC(tR, tP); pReq = SIZE(tS); pHold = T_HOLD
  fi
}
#define VERSION (tE | (tP << 4) | (REC(tR, tP) << 6) | (SIZE(tS) << 8) | (T_HOLD << 10))

inline execute() {
  printf("proxy %d writes %d to node %d in epoch %d\n", id, w, pP, pE);
  assert(!HAS(log[pP], w)); /* nothing is applied twice */
  wAt = pP * 4 + pI; wHid = hid[pP]; wE = pE;
  if
  :: wLow = LEN(log[pP])
  :: undecided && LEN(log[pP]) > 0 -> wLow = 0 /* all that is known is what the login said */
  fi;
  if
  :: read -> stale = !HOLDS(log[pP])
  :: else -> log[pP] = (log[pP] << 2) | w
  fi;
  wHigh = LEN(log[pP]);
  ws = SENT
}

inline forget() { w = 0; ws = IDLE; wAt = 0; wHid = 0; wE = 0; wLow = 0; wHigh = 0; stale = 0; survived = 0 }
inline drop() { asked = 0; bE = 0; bAt = 0; bOff = 0; bReq = 0 }

/* The client hears of it. */
inline confirm() {
  printf("proxy %d confirms %d\n", id, w);
  if
  :: read -> assert(!stale)
  :: else -> acked = acked | B(w); check()
  fi;
  goals();
  forget(); drop()
}

inline goals() {
  assert(!(WITHOUT(GOAL_REGROWN) && wE > 1 && tP == 0 && SIZE(tS) == members && shrinks == 0));
  assert(!(WITHOUT(GOAL_MOVED) && tP != 0 && pP == tP && tS != 0 && wE == pE));
  assert(!(WITHOUT(GOAL_AGAIN) && again && pP != 0 && tP == pP));
  assert(!(WITHOUT(GOAL_SURVIVED) && survived));
  assert(!(WITHOUT(GOAL_LATER) && asked && pP == 0 && bE > wE));
  assert(!(WITHOUT(GOAL_READ) && read && tE > 1 && pE == tE && tP != 0 && acked != 0));
  assert(!(WITHOUT(GOAL_SWITCHED) && switchOvers == 0 && tP != 0 && SIZE(tS) == members && pP == tP))
}

inline ask() {
  if
  :: read && !WITHOUT(R1_WORD) && !HAS(log[pP], w) -> log[pP] = (log[pP] << 2) | w /* the word, which moves the offset */
  :: else
  fi;
  asked = 1; bE = pE; bAt = pP * 4 + pI; bReq = pReq;
  bOff = (WITHOUT(R1_WORD) -> 0 : LEN(log[pP]))
}

/* How many copies the answer to `WAIT` must name. A safeguard taken out: judged by what is known now. */
#define NEEDED (WITHOUT(R1_EPOCH) || (WITHOUT(R1_KNOWN) && bE == pE) -> pReq : bReq)
#define B_NODE (bAt >> 2)

proctype Proxy(byte id; byte pReq; bool read) {
  byte pE = 1, pP, pI, pHold, pV; /* the topology that it knows, and the requirement that follows from it */
  byte w, ws, wAt, wHid, wE, wLow, wHigh; /* the write under way, and what is known of it */
  bool stale, again, survived;
  byte asked, bE, bAt, bOff, bReq, counted; /* the barrier under way */

end:
  do
  :: d_step { NEWS -> learn() }

  /* R1: send. */
  :: atomic { ws == IDLE && nextWrite <= writes && pHold != 2 && SERVES(pE, pP, pI) ->
       w = nextWrite; nextWrite++;
       if
       :: WITHOUT(R1_REPLIED) && pReq > 0 && pHold == 0 -> ask()
       :: else
       fi;
       execute() }
  :: atomic { ws == AGAIN && pHold != 2 && SERVES(pE, pP, pI) -> execute() }
  :: d_step { undecided && ws == IDLE && nextWrite <= writes && pHold != 2 && SERVES(pE, pP, pI) ->
       w = nextWrite; nextWrite++;
       printf("proxy %d loses %d on the way to node %d\n", id, w, pP);
       wAt = pP * 4 + pI; wHid = hid[pP]; wE = pE; wLow = LEN(log[pP]); ws = UNSENT }
  :: d_step { ws == SENT -> ws = PARKED }

  /* R1: barrier. With nobody in sync there is none; then the epoch in which it was executed must still be ours. */
  :: d_step { ws == PARKED && !asked && pReq > 0 && pHold == 0 && SERVES(pE, pP, pI) && SAME_HISTORY -> ask() }
  :: d_step { ws == PARKED && pReq == 0 && pHold == 0 && (wE == pE || (SERVES(pE, pP, pI) && SAME_HISTORY)) -> confirm() }
  :: d_step { asked == 1 && ws == PARKED && OPEN(bE, B_NODE, bAt & 3) && COUNT(B_NODE, bOff) >= bReq -> confirm() }
  /* Counted at the node, judged at the proxy: two steps only where the judgement is not bound to the asking. */
  :: d_step { (WITHOUT(R1_KNOWN) || WITHOUT(R1_EPOCH)) && asked == 1 && OPEN(bE, B_NODE, bAt & 3) ->
       counted = COUNT(B_NODE, bOff); asked = 2 }
  :: d_step { asked == 2 && ws == PARKED && counted >= NEEDED -> counted = 0; confirm() }
  :: d_step { asked -> counted = 0; drop() }

  /* The fate of what was lost with its connection. */
  :: d_step { (ws == SENT || ws == UNSENT) -> forget(); drop() } /* uncertain */
  :: d_step { ws == PARKED && !undecided && (pE != wE || !SAME_HISTORY) -> counted = 0; forget(); drop() }
  :: d_step { undecided && (ws == SENT || ws == UNSENT || ws == PARKED) && pE > wE && SERVES(pE, pP, pI) &&
       (hid[pP] != wHid) ->
       counted = 0; drop();
       if
       :: read -> forget()
       :: else ->
         if
         :: hid2[pP] != wHid && !WITHOUT(R1_LINEAGE) -> forget() /* uncertain */
         :: else ->
           if
           :: off2[pP] <= wLow || (WITHOUT(R1_LOWER) && ws != PARKED) ->
             printf("proxy %d: %d did not survive\n", id, w);
             ws = AGAIN; again = 1
           :: else ->
             if
             :: ws == PARKED && (off2[pP] >= wHigh || WITHOUT(R1_UPPER)) ->
               printf("proxy %d: %d survived\n", id, w);
               wHid = hid[pP]; wE = pE; survived = 1;
               if :: WITHOUT(R1_AGAIN) -> confirm() :: else fi
             :: else -> forget() /* uncertain */
             fi
           fi
         fi
       fi }
  od
}
