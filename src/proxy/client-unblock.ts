import type { Arguments } from '../resp/arguments.ts';
import { encodeCommand } from '../resp/encoder.ts';
import { SHARED } from '../resp/protocol.ts';
import type { Connection, ConnectionOwner } from '../upstream/connection.ts';
import type { Lane } from '../upstream/lane.ts';
import { acquireRequest, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import { integerArgument, wordArgument } from './argument-values.ts';
import type { Client } from './client.ts';
import { UNCONFIRMED } from './commitment.ts';
import { Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import { answer, answerError, answerSubcommandError, NOT_AN_INTEGER } from './local-answer.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';
import { waitingLanes } from './wait.ts';

/**
 * CLIENT UNBLOCK: a client that waits on a node is let go by that node, which then answers it as it would any other.
 */
export function unblockClient(proxy: Proxy, client: Client, args: Arguments): Verdict {
  if (args.count > 4) return answerSubcommandError(proxy, client, args);
  const mode = args.count === 4 ? wordArgument(args, 3) : 'timeout';
  if (mode !== 'timeout' && mode !== 'error') {
    return answerError(proxy, client, 'ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR');
  }
  const id = integerArgument(args, 2);
  if (id === null) return answerError(proxy, client, NOT_AN_INTEGER);
  const blocked = blockedLanes(proxy.clients.get(Number(id))).filter(one => isReached(proxy, one));
  if (blocked.length === 0) return answer(proxy, client, SHARED.zero);
  if (client.capture !== null) {
    // A composed transaction cannot wait for the node's word.
    for (const one of blocked) sendUnblock(proxy, one, mode, IGNORED, 0);
    return answer(proxy, client, SHARED.one);
  }
  const gather = new Gather(client, client.reserve(), mergeUnblocked);
  for (const _ of blocked) gather.addPart();
  blocked.forEach((one, tag) => void sendUnblock(proxy, one, mode, gather, tag));
  proxy.metrics.commands.local += 1;
  return Verdict.Done;
}

/** Lets a client go whose proxy is closing: it hears what it would hear at the end of its time-out, and loses nothing. */
export function letGo(proxy: Proxy, target: Client): void {
  for (const one of blockedLanes(target)) if (isReached(proxy, one)) sendUnblock(proxy, one, 'timeout', IGNORED, 0);
}

interface BlockedLane {
  readonly lane: Lane;
  readonly shard: number;
}

/** Where a client waits; one that still waits for a connection to a node cannot be let go there. */
function blockedLanes(target: Client | undefined): readonly BlockedLane[] {
  if (target === undefined || target.borrowed === null) return [];
  const lanes = waitingLanes(target) ?? [target.borrowed];
  return lanes.filter(({ lane }) => lane.clientId !== 0 && lane.pending > 0);
}

/**
 * Whether what is sent now goes at once to the process on which the client waits. Connections are numbered by each node
 * for itself: a word that waited for the next primary would let go whoever has that number there.
 */
function isReached(proxy: Proxy, { lane, shard }: BlockedLane): boolean {
  const main = proxy.shards[shard]?.lane(0, 2);
  return main?.ready === true && main.runId === lane.runId;
}

/** Tells a node to let a connection's wait go, which it must be reached for; its word goes to `receiver`. */
export function sendUnblock(
  proxy: Proxy,
  blocked: BlockedLane,
  mode: string,
  receiver: ReplyReceiver,
  tag: number,
): void {
  const bytes = wordFor(blocked.lane, mode);
  const request = acquireRequest(receiver, null, true, proxy.nowMs);
  request.tag = tag;
  request.confirm = UNCONFIRMED;
  // Lost, it is never sent again, though the next primary may prove that it knows nothing of it: as if its reply had begun.
  request.started = true;
  const main = proxy.shards[blocked.shard]?.lane(0, 2);
  main?.send(request, bytes, 0, bytes.length);
  main?.flush();
}

function wordFor({ clientId }: Lane, mode: string): Buffer {
  return encodeCommand(['CLIENT', 'UNBLOCK', clientId, mode]);
}

/**
 * Has a node let a client's wait go, whose connection is about to be left. The word travels on another connection than
 * the command that waits, and where that was sent just now it may be there first, when it finds nobody. So it is said
 * again, at growing intervals, until the wait is answered or its connection is lost: over connections of its own, logged
 * in as the waiting one is, since shared lanes send nothing more, or as another epoch's user, or to another node.
 */
export class LettingGo implements ReplyReceiver, ConnectionOwner {
  readonly #shard: Shard;
  readonly #lane: Lane;
  #connection: Connection | null = null;
  #pauseMs = FIRST_PAUSE_MS;
  #timer: NodeJS.Timeout | null = null;
  #over = false;

  /** Says it for the first time, where it goes out at once; `lane` is lent to the client. */
  constructor(proxy: Proxy, shard: Shard, lane: Lane) {
    this.#shard = shard;
    this.#lane = lane;
    const blocked = { lane, shard: shard.index };
    if (isReached(proxy, blocked) && shard.lane(0, 2).quick) sendUnblock(proxy, blocked, 'timeout', this, 0);
    else this.#sayLater();
  }

  /** The lane is of no concern any more. */
  end(): void {
    this.#over = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#connection?.end('the wait is over');
  }

  onReply(request: Request, _bytes: Buffer, _from: number, _to: number, last: boolean): void {
    if (!last) return;
    releaseRequest(request);
    this.#sayLater();
  }

  onSkipped(): void {}

  onFailure(request: Request): void {
    releaseRequest(request);
    this.#sayLater();
  }

  onReady(connection: Connection): void {
    // The login has made sure of the incarnation: the number means the same connection there.
    if (this.#lane.owed) connection.write(wordFor(this.#lane, 'timeout'));
    else connection.end('the wait is over');
  }

  onBytes(): void {
    this.#connection?.end('the word is said');
  }

  onEnded(): void {
    this.#connection = null;
    this.#sayLater();
  }

  #sayLater(): void {
    if (this.#over) return;
    this.#timer = setTimeout(() => {
      if (this.#lane.owed) this.#connection = this.#shard.openBeside(this.#lane, this);
    }, this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
  }
}

/** The fence leaves those who know of another epoch some 200 ms to leave. */
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 1000;

/** One client waits at several nodes only in WAIT: it was let go if any of them had it. */
function mergeUnblocked(gather: Gather): void {
  const one = gather.parts.find(part => part.equals(SHARED.one));
  gather.client.fulfil(gather.slot, one ?? gather.error ?? SHARED.zero);
}

/** Takes the word of a node that nobody waits for. */
export const IGNORED: ReplyReceiver = {
  onReply(request: Request, _bytes: Buffer, _from: number, _to: number, last: boolean): void {
    if (last) releaseRequest(request);
  },
  onSkipped(): void {},
  onFailure(request: Request): void {
    releaseRequest(request);
  },
};
