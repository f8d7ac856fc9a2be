/*
 * What nodes do on their own, and what befalls them: replication streams, links break, processes die and come back.
 *
 * A replica that is pointed at a node keeps trying: it attaches as soon as that node lives and lets it in. It resumes
 * when its history is the node's own, or the one before it up to where they parted; otherwise it is emptied and
 * loaded. A link that is lost may leave a ghost at the other end, which counts for what it confirmed until it
 * expires.
 * A node counts links, whoever's they are; what a live one confirmed is what its replica holds: acknowledgements that
 * are late make a count smaller, never larger.
 */

#define PARTIAL(r, p) (LEN(log[r]) <= LEN(log[p]) && (hid[r] == hid[p] || (hid[r] == hid2[p] && LEN(log[r]) <= off2[p])))
#define ATTACHED(r, p) (alive[r] && fol[r] == (p) && up[r] && !syn[r])

#define LIVE_AT(r, p, o) (fol[r] == (p) && up[r] && !syn[r] && LEN(log[r]) >= (o) -> 1 : 0)
#define GHOST_AT(r, p, o) (ghost[(p) * N + r] > (o) -> 1 : 0)
#define AT(r, p, o) (LIVE_AT(r, p, o) + GHOST_AT(r, p, o))
#define COUNT(p, o) (AT(0, p, o) + AT(1, p, o) + AT(2, p, o) + AT(3, p, o) + (WITHOUT(R0_FOREIGN) -> 1 : 0))

/* The replica's end of its link goes; the other end does not hear of it. */
inline leave(r) {
  if
  :: up[r] && !syn[r] -> ghost[fol[r] * N + r] = LEN(log[r]) + 1
  :: else
  fi;
  up[r] = 0; syn[r] = 0
}

/* REPLICAOF; to the address already followed it does nothing. */
inline follow(r, whom) {
  if
  :: fol[r] == whom
  :: else -> leave(r); fol[r] = whom
  fi
}

/* REPLICAOF NO ONE. */
inline promote(r) {
  if
  :: fol[r] == MASTER
  :: else ->
    leave(r);
    fol[r] = MASTER;
    hid2[r] = hid[r]; off2[r] = LEN(log[r]);
    hid[r] = nextHid; nextHid++
  fi
}

inline hangUp(p, r) {
  ghost[(p) * N + r] = 0;
  if :: fol[r] == p -> up[r] = 0; syn[r] = 0 :: else fi
}

/* ACL DELUSER of a replica's user: every link of it is closed at once, the ghost too. */
inline dropReplica(p, r) {
  uRep[p] = uRep[p] & (ALL - B(r));
  door[p] = door[p] & (ALL - B(r));
  hangUp(p, r)
}

/* The same for all but those in `stay`. */
inline dropOthers(p, stay) {
  if :: (stay) & 1 :: else -> dropReplica(p, 0) fi;
  if :: (stay) & 2 :: else -> dropReplica(p, 1) fi;
  if :: (stay) & 4 :: else -> dropReplica(p, 2) fi;
  if :: (stay) & 8 :: else -> dropReplica(p, 3) fi
}

inline admit(p, r) {
  uRep[p] = uRep[p] | B(r);
  door[p] = door[p] | B(r)
}

inline start(r) {
  hid[r] = r; fol[r] = MASTER;
  if
  :: r < nodes -> alive[r] = 1; uSup[r] = (fresh -> 0 : 1)
  :: else
  fi;
  if
  :: r <= members -> mark[r] = 1; hid[r] = 0; fol[r] = 0; up[r] = 1; uRep[0] = uRep[0] | B(r)
  :: else
  fi
}

#define CAN_STREAM(r) (ATTACHED(r, fol[r]) && fol[r] < N && log[r] != log[fol[r]])
inline stream(r) { log[r] = log[fol[r]] >> (2 * (LEN(log[fol[r]]) - LEN(log[r]) - 1)) }

/* A node that has no master to speak for refuses: its own link must be up, or it is one itself. */
#define CAN_ATTACH(r) (alive[r] && fol[r] < N && !up[r] && alive[fol[r]] && (door[fol[r]] & B(r)) && !syn[fol[r]] \
  && (fol[fol[r]] == MASTER || up[fol[r]]))
inline attach(r) {
  printf("node %d attaches to %d\n", r, fol[r]);
  up[r] = 1;
  if
  :: PARTIAL(r, fol[r]) ->
    if
    :: hid[r] == hid[fol[r]]
    :: else -> hid2[r] = hid[r]; off2[r] = LEN(log[r]); hid[r] = hid[fol[r]]
    fi
  :: else ->
    syn[r] = 1; log[r] = 0; mark[r] = 0;
    hangUp(r, 0); hangUp(r, 1); hangUp(r, 2); hangUp(r, 3);
    check()
  fi
}

#define CAN_LOAD(r) (alive[r] && syn[r] && up[r])
inline load(r) {
  log[r] = log[fol[r]]; mark[r] = mark[fol[r]]; hid[r] = hid[fol[r]]; syn[r] = 0;
  hid2[r] = hid[r]; off2[r] = 0 /* no history before this one */
}

/* Everything that a process knew is gone; to its replicas the link is down, and its own leaves a ghost. */
inline die(r) {
  printf("node %d dies\n", r);
  deaths--;
  gone = gone & (ALL - B(r));
  leave(r);
  saved[r] = (WITHOUT(R0_SAVED) -> uRep[r] : 0);
  hangUp(r, 0); hangUp(r, 1); hangUp(r, 2); hangUp(r, 3);
  alive[r] = 0; fol[r] = MASTER; log[r] = 0; mark[r] = 0; hid[r] = 0; hid2[r] = 0; off2[r] = 0;
  uPrx[r] = 0; uRep[r] = 0; door[r] = 0; uSup[r] = 0
}

inline restart(r) {
  printf("node %d comes back empty\n", r);
  restarts--;
  alive[r] = 1; inc[r]++; hid[r] = nextHid; nextHid++;
  uRep[r] = saved[r]; door[r] = saved[r]; saved[r] = 0
}

/* A copy in sync that loses its data but not its place: a load that failed, a person. Its offset stays. */
#define CAN_BE_EMPTIED(r) (emptied > 0 && deaths > 0 && ATTACHED(r, tP) && mark[r])

/* All that can befall a node, for one of them. */
#define BEFALLS(r) \
  :: d_step { CAN_STREAM(r) -> stream(r) } \
  :: d_step { CAN_ATTACH(r) -> attach(r) } \
  :: d_step { CAN_LOAD(r) -> load(r) } \
  :: d_step { breaks > 0 && up[r] && !syn[r] -> breaks--; printf("the link of %d breaks\n", r); leave(r) } \
  :: d_step { deaths > 0 && alive[r] -> die(r) } \
  :: d_step { restarts > 0 && !alive[r] && r < nodes -> restart(r) } \
  :: d_step { CAN_BE_EMPTIED(r) -> emptied--; deaths--; printf("node %d is emptied\n", r); mark[r] = 0; gone = gone | B(r) }

proctype World() {
end:
  do
  BEFALLS(0)
  BEFALLS(1)
  BEFALLS(2)
  BEFALLS(3)
  od
}
