/**
 * One command on its way to a node and back.
 *
 * It stands in two lines at once: its client's, which wants replies in the order of the commands, and its lane's, which
 * brings them in the order of sending. Requests are pooled; all fields are set once, in one order, so that they keep
 * one shape.
 */
export class Request {
  /** Who takes the reply. */
  receiver: ReplyReceiver = NOBODY;
  /** Whose command this is, for the order of what is sent again; null for the proxy's own. */
  origin: Origin | null = null;
  /** Free for the receiver: which part of a split command this is, say. */
  tag = 0;
  /** Whether a lost connection leaves it open if the command took effect. */
  isWrite = false;
  /**
   * Whether its reply is passed on only once every in-sync copy holds what it tells of (rule R1). 1: yes, the usual for
   * a write, and so for a strict read; 0: as it comes.
   */
  confirm = 0;
  /** How long the copies may take (milliseconds); 0: as long as the shard's settings say. */
  confirmMs = 0;
  /** Replies that come before the one that counts (`MULTI`, `+QUEUED`, …) and are not passed on. */
  skip = 0;
  /** How many of those have come already. */
  skipped = 0;
  /** The reply has begun and its first part was passed on. */
  started = false;
  /** The reply is whole and waits for those of earlier commands. */
  done = false;
  /** The client said that it wants no reply (`CLIENT REPLY`). */
  muted = false;
  /** It is meant for this very shard, whoever owns the keys that it may name: it is never sent to another one. */
  fixed = false;
  /** Where the command's bytes lie until it is answered. */
  segment: Segment | null = null;
  from = 0;
  to = 0;
  /** When it came (milliseconds of the monotonic clock, as coarse as one read). */
  arrivedMs = 0;
  /** A whole reply kept until its turn: place in the client's stash. */
  stashFrom = 0;
  stashTo = 0;
  /** A long reply kept until its turn. */
  parts: Buffer[] | null = null;
  /** The primary's offset that was known when it was sent: its write stands behind that. */
  lower = 0;
  /** The number under which its reply waits to be confirmed; 0: it does not. */
  number = 0;
  /** Since when (milliseconds of the monotonic clock). */
  keptMs = 0;
  /** Where the reply lies meanwhile. */
  reply: Segment | null = null;
  replyFrom = 0;
  replyTo = 0;
  /** The parts of one that came in several. */
  kept: Buffer[] | null = null;
  /** Bytes in `kept`; -1: it was too large and was let go. */
  keptBytes = 0;
}

/** Takes what comes back for a request. */
export interface ReplyReceiver {
  /** Bytes [from, to) of the reply, valid during the call only; `last` when it is whole. */
  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void;
  /** A reply that `request.skip` announced. */
  onSkipped(request: Request, bytes: Buffer, from: number, to: number): void;
  /** There will be no reply, or no more of it. */
  onFailure(request: Request, failure: Failure, detail: string): void;
}

/** The client connection behind requests, as far as lanes must know it. */
export interface Origin {
  /** Owned by the lanes: marks a client of which a write was lost (see `Lane`). */
  lostMark: number;
}

/** Why there is no reply, and what that lets the client conclude. */
export const Failure = {
  /** A write was sent and the connection broke: applied or not. */
  Uncertain: 0,
  /** No primary until the hold time was over: not applied. */
  Down: 1,
  /** A bound was reached: not applied. */
  Overloaded: 2,
  /** A read was lost and cannot be repeated, because a later write of the same client may have taken effect. */
  ReadLost: 3,
  /** The proxy is going away: not applied. */
  Closing: 4,
  /** The connection of one client alone was lost; what was sent is proven to have left no trace: not applied. */
  Gone: 5,
  /** Its keys are on the move, or have moved, and it could not follow them in time or at all: not applied. */
  Moved: 6,
} as const;
export type Failure = (typeof Failure)[keyof typeof Failure];

/** A piece of a lane's outgoing bytes. It is kept until every command in it is answered, so that it can be sent again. */
export interface Segment {
  buffer: Buffer;
  used: number;
  flushed: number;
  /** Commands in it that are not answered. */
  live: number;
}

/** Takes replies that nobody waits for any more. */
const NOBODY: ReplyReceiver = {
  onReply(request, _bytes, _from, _to, last) {
    if (last) releaseRequest(request);
  },
  onSkipped() {},
  onFailure(request) {
    releaseRequest(request);
  },
};

/** Lets a reply that is still due go nowhere. */
export function abandonRequest(request: Request): void {
  request.receiver = NOBODY;
  request.origin = null;
  request.parts = null;
}

export function acquireRequest(
  receiver: ReplyReceiver,
  origin: Origin | null,
  isWrite: boolean,
  nowMs: number,
): Request {
  const request = free.pop() ?? new Request();
  request.receiver = receiver;
  request.origin = origin;
  request.isWrite = isWrite;
  request.confirm = isWrite ? 1 : 0;
  request.arrivedMs = nowMs;
  return request;
}

/** Gives a request back that stands in no line any more. */
export function releaseRequest(request: Request): void {
  request.receiver = NOBODY;
  request.origin = null;
  request.tag = 0;
  request.confirm = 0;
  request.confirmMs = 0;
  request.skip = 0;
  request.skipped = 0;
  request.started = false;
  request.done = false;
  request.muted = false;
  request.fixed = false;
  request.segment = null;
  request.stashFrom = 0;
  request.stashTo = 0;
  request.parts = null;
  request.lower = 0;
  request.number = 0;
  request.keptMs = 0;
  request.reply = null;
  request.replyFrom = 0;
  request.replyTo = 0;
  request.kept = null;
  request.keptBytes = 0;
  if (free.length < MOST_FREE) free.push(request);
}

const free: Request[] = [];
const MOST_FREE = 16384;
