import type { Arguments } from '../resp/arguments.ts';
import { encodeCommand, integer } from '../resp/encoder.ts';
import { COLON } from '../resp/protocol.ts';
import type { Lane } from '../upstream/lane.ts';
import { acquireRequest, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import { integerArgument, timeoutArgument } from './argument-values.ts';
import { CHANNEL } from './barrier-link.ts';
import type { Client } from './client.ts';
import { overloaded } from './failures.ts';
import { refuse, Verdict } from './forward.ts';
import { answer, answerError, mustWait, NOT_AN_INTEGER } from './local-answer.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';

/**
 * WAIT n ms: how many replicas hold everything that the client has written.
 *
 * A client's writes may lie on any shard, so every shard is asked, and the smallest number is the truth about all. WAIT
 * stops a connection, so each shard is asked on a connection lent for it. That this connection did not write is no
 * matter: the word that it publishes first moves the node's offset past the client's writes, which were all answered,
 * and WAIT waits for the word. A node counts every link that confirms, also of a copy that is not in sync yet; no more
 * are told of than are in sync. A shard that cannot be asked counts as no replica at all.
 */
export function answerWait(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const replicas = integerArgument(args, 1);
  if (replicas === null) return answerError(proxy, client, NOT_AN_INTEGER);
  const timeMs = timeoutArgument(args, 2);
  if (typeof timeMs === 'string') return answerError(proxy, client, timeMs);
  if (mustWait(client)) return Verdict.Defer;
  // Inside a block WAIT does not wait. What the block itself waits for before it is answered, that many copies have.
  if (client.capture !== null) return answer(proxy, client, integer(confirmedCopies(proxy)));
  const reachable = proxy.holders.filter(shard => shard.up);
  const borrowed = borrowAll(reachable);
  if (borrowed === null) {
    proxy.metrics.overloaded.exclusive += 1;
    return refuse(proxy, client, overloaded('proxy.limits.exclusive'));
  }
  proxy.metrics.commands.exclusive += 1;
  const bytes = Buffer.concat([WORD, encodeCommand(['WAIT', String(replicas), args.text(2)])]);
  new Waiting(proxy, client, borrowed, reachable.length < proxy.holders.length).begin(bytes, timeMs);
  return Verdict.Done;
}

/** The connections on which a client waits for replicas; null when it is not in WAIT. */
export function waitingLanes(client: Client): readonly Asked[] | null {
  return client.borrowed instanceof Waiting ? client.borrowed.asked : null;
}

interface Asked {
  readonly lane: Lane;
  /** Its index, as of now. */
  readonly shard: number;
}

/** One connection to each shard, or none at all. */
function borrowAll(shards: readonly Shard[]): AskedShard[] | null {
  const asked: AskedShard[] = [];
  for (const shard of shards) {
    const lane = shard.borrow(0, 2);
    if (lane === null) {
      for (const one of asked) one.giveBack(true);
      return null;
    }
    asked.push(new AskedShard(lane, shard));
  }
  return asked;
}

class AskedShard implements Asked {
  readonly lane: Lane;
  readonly of: Shard;

  constructor(lane: Lane, of: Shard) {
    this.lane = lane;
    this.of = of;
  }

  get shard(): number {
    return this.of.index;
  }

  giveBack(clean: boolean): void {
    this.of.giveBack(this.lane, clean);
  }
}

/** One WAIT of one client; it stands as what the client has borrowed. */
class Waiting implements ReplyReceiver {
  readonly asked: readonly AskedShard[];
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #slot: Request;
  /** The first error of a node, when one answered so (CLIENT UNBLOCK … ERROR). */
  #error: Buffer | null = null;
  #fewest: number;
  #due: number;
  readonly #ended: boolean[] = [];
  /** In-sync replicas of each shard when it was asked. */
  readonly #inSync: readonly number[];
  readonly #pieces: Buffer[][] = [];

  constructor(proxy: Proxy, client: Client, asked: readonly AskedShard[], someUnreachable: boolean) {
    this.#proxy = proxy;
    this.#client = client;
    this.asked = asked;
    this.#slot = client.reserve();
    this.#fewest = someUnreachable ? 0 : Number.POSITIVE_INFINITY;
    this.#due = asked.length;
    this.#inSync = asked.map(({ of }) => of.copies - 1);
  }

  get lane(): Lane {
    return (this.asked[0] as AskedShard).lane;
  }

  get shard(): number {
    return (this.asked[0] as AskedShard).shard;
  }

  begin(bytes: Buffer, timeMs: number): void {
    const client = this.#client;
    if (this.asked.length === 0) return client.fulfil(this.#slot, integer(0));
    client.held = true;
    client.borrowed = this;
    const patienceMs = timeMs === 0 ? Number.POSITIVE_INFINITY : timeMs + this.#proxy.config.proxy.timeoutMs;
    this.asked.forEach(({ lane }, tag) => {
      lane.patienceMs = patienceMs;
      const request = acquireRequest(this, client, false, this.#proxy.nowMs);
      request.tag = tag;
      request.skip = 1;
      request.fixed = true;
      lane.send(request, bytes, 0, bytes.length);
    });
  }

  /** The client has left: what is still waited for is given up with its connection. */
  cancel(): void {
    this.asked.forEach((_, tag) => void this.#giveBack(tag, false));
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    const { tag } = request;
    this.#pieces[tag] ??= [];
    const pieces = this.#pieces[tag] as Buffer[];
    pieces.push(Buffer.from(bytes.subarray(from, to)));
    if (!last) return;
    const reply = Buffer.concat(pieces);
    releaseRequest(request);
    if (reply[0] !== COLON) this.#error ??= reply;
    else this.#hear(tag, Number(reply.toString('latin1', 1, reply.length - 2)));
    this.#end(tag, true);
  }

  onSkipped(): void {}

  onFailure(request: Request): void {
    const { tag } = request;
    releaseRequest(request);
    // One that is no longer part of the cluster has none of this client's writes.
    if (this.asked[tag]?.of.retired !== true) this.#fewest = 0;
    this.#end(tag, false);
  }

  #hear(tag: number, replicas: number): void {
    // It was let go early, and has none of this client's writes.
    if (this.asked[tag]?.of.retired === true) return;
    this.#fewest = Math.min(this.#fewest, replicas, this.#inSync[tag] ?? 0);
  }

  #end(tag: number, clean: boolean): void {
    this.#giveBack(tag, clean);
    this.#due -= 1;
    const client = this.#client;
    if (this.#due > 0 || client.gone) return;
    client.borrowed = null;
    client.fulfil(this.#slot, this.#error ?? integer(this.#fewest));
    client.release();
  }

  #giveBack(tag: number, clean: boolean): void {
    if (this.#ended[tag] === true) return;
    this.#ended[tag] = true;
    const asked = this.asked[tag] as AskedShard;
    asked.lane.patienceMs = this.#proxy.config.proxy.timeoutMs;
    asked.giveBack(clean);
  }
}

/** How many replicas hold all that was answered on the usual terms: the smallest number over the shards. */
function confirmedCopies(proxy: Proxy): number {
  if (!proxy.rules.general.confirmWrites) return 0;
  return Math.min(...proxy.holders.map(shard => shard.copies - 1));
}

const WORD = encodeCommand(['SPUBLISH', CHANNEL, '']);
