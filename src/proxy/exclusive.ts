import { timeoutAt, timeoutUnitMs } from '../commands/blocking.ts';
import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { encodeCommand } from '../resp/encoder.ts';
import { MINUS, SHARED } from '../resp/protocol.ts';
import type { Lane } from '../upstream/lane.ts';
import { acquireRequest, Failure, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import type { Borrowed, Client, Watch } from './client.ts';
import { LettingGo } from './client-unblock.ts';
import { bind, refusalOfWrite, termsOf, UNCONFIRMED } from './commitment.ts';
import { CROSSSLOT, failureReply, overloaded } from './failures.ts';
import { anyShard, copyKeys, KEYS_APART, ownerOfKeys, refuse, Verdict } from './forward.ts';
import type { KeysWait } from './gate.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';

/**
 * Commands that need a connection for one client alone: those that wait for data, and those that watch keys.
 *
 * The client's next command is not looked at before such a command is answered, as in Redis; so it changes connection
 * only while nothing of it is unanswered.
 */

/** BLPOP and its kin. The caller has made sure that nothing of this client is in flight. */
export function beginBlocking(proxy: Proxy, client: Client, row: CommandRow, args: Arguments, shard: Shard): Verdict {
  const refusal = refusalOfWrite(row, termsOf(proxy, row, args), shard);
  if (refusal !== null) return refuse(proxy, client, refusal);
  const lane = shard.borrow(client.database, client.protocol);
  if (lane === null) {
    proxy.metrics.overloaded.exclusive += 1;
    return refuse(proxy, client, overloaded('proxy.limits.exclusive'));
  }
  proxy.metrics.commands.exclusive += 1;
  client.held = true;
  new BlockedCommand(proxy, client, row, args.clone(), shard, lane).begin();
  return Verdict.Done;
}

/**
 * One command that waits on a node, until it is answered, its client leaves, or its connection is lost.
 *
 * It is begun again on another connection, to whoever owns its keys then, with the time that is left, whenever it is
 * certain that it took nothing:
 *
 *   the epoch ends           its node is asked to let it go, and answers nil: nobody was served
 *   the node is demoted      the node says so, to everybody who waits there
 *   the connection breaks    the next primary's history shows that nothing of it can have survived, or it only reads
 *
 * Otherwise an element may have been handed out in the moment in which the connection broke, and the client is told that
 * nobody knows (rule R1).
 */
class BlockedCommand implements ReplyReceiver {
  lane: Lane;
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #row: CommandRow;
  readonly #args: Arguments;
  #shard: Shard;
  readonly #slot: Request;
  readonly #begunMs: number;
  #sentMs = 0;
  /** The node is asked to let it go, because the connection is about to be left; null: it is not. */
  #leaving: LettingGo | null = null;
  /** What was on its way over a connection that never stood is begun anew; its failure is nobody's concern. */
  #changing = false;
  /** How many times in a row the connection was lost soon after sending. */
  #quickEnds = 0;
  /** It is to be begun anew, and its keys are on the move; null: they are not. */
  #keysWait: KeysWait | null = null;
  /** How long it may wait; 0: for ever, or not a number (the node will say so). */
  readonly #waitMs: number;

  constructor(proxy: Proxy, client: Client, row: CommandRow, args: Arguments, shard: Shard, lane: Lane) {
    this.#proxy = proxy;
    this.#client = client;
    this.#row = row;
    this.#args = args;
    this.#shard = shard;
    this.lane = lane;
    this.#slot = client.reserve();
    this.#begunMs = proxy.nowMs;
    const at = timeoutAt(row, args);
    const waitMs = at > 0 ? Number(args.text(at)) * timeoutUnitMs(row) : 0;
    this.#waitMs = Number.isFinite(waitMs) && waitMs > 0 ? waitMs : 0;
  }

  get shard(): number {
    return this.#shard.index;
  }

  begin(): void {
    this.#send(this.#args.bytes, this.#waitMs);
  }

  /** The client has left: closing the connection makes the node forget the wait. */
  cancel(): void {
    if (this.#keysWait !== null) this.#proxy.gate.drop(this.#keysWait);
    this.#leaving?.end();
    this.#shard.giveBack(this.lane, false);
  }

  /** The connection is about to be left: the node is asked to let the wait go, so that it can be begun on another. */
  leave(): void {
    if (this.#leaving !== null || this.#slot.started || this.#keysWait !== null) return;
    // Nothing was sent yet.
    if (this.lane.inFlight === 0) return this.#beginAgain(() => this.#failOverloaded());
    // What was answered and waits for the copies, or is lost with its connection, has its outcome on the way.
    if (!this.lane.owed) return;
    this.#leaving = new LettingGo(this.#proxy, this.#shard, this.lane);
    // However long it may wait, it is answered soon now, or its connection is dead.
    this.lane.patienceMs = this.#proxy.config.proxy.timeoutMs;
    this.lane.activeMs = performance.now();
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    const isLetGo = isDemotion(bytes, from, to) || (this.#leaving !== null && isNil(bytes, from, to));
    if (last && !this.#slot.started && isLetGo) {
      // The node has served nobody who waited: nothing is lost by waiting elsewhere.
      releaseRequest(request);
      if (this.#client.gone) return;
      const answer = Buffer.from(bytes.subarray(from, to));
      this.#beginAgain(() => this.#answer(answer));
      return;
    }
    if (!last) this.#slot.started = true;
    this.#client.onReply(this.#slot, bytes, from, to, last);
    if (!last) return;
    releaseRequest(request);
    this.#end(true);
  }

  onSkipped(): void {}

  onFailure(request: Request, failure: Failure, detail: string): void {
    releaseRequest(request);
    if (this.#client.gone || this.#changing) return;
    const tookNothing = failure === Failure.Gone || failure === Failure.ReadLost || failure === Failure.Moved;
    if (tookNothing && !this.#slot.started && !this.#breaksAtOnce()) {
      this.#beginAgain(() => this.#fail(failure, detail));
    } else {
      this.#fail(failure, detail);
    }
  }

  /** A node that ends every such connection as soon as it stands is not asked without end. */
  #breaksAtOnce(): boolean {
    this.#quickEnds = this.#proxy.nowMs - this.#sentMs < QUICK_MS ? this.#quickEnds + 1 : 1;
    return this.#quickEnds > MOST_QUICK_ENDS;
  }

  #send(bytes: Buffer, waitMs: number): void {
    this.#sentMs = this.#proxy.nowMs;
    this.lane.patienceMs = waitMs === 0 ? Number.POSITIVE_INFINITY : waitMs + this.#proxy.config.proxy.timeoutMs;
    this.#client.borrowed = this;
    const request = acquireRequest(this, this.#client, this.#row.isWrite, this.#proxy.nowMs);
    bind(
      request,
      this.#proxy,
      this.#client,
      this.#row.effect,
      termsOf(this.#proxy, this.#row, this.#args),
      this.#shard,
    );
    this.lane.send(request, bytes, 0, bytes.length);
  }

  /** On another connection, to whoever owns its keys then; `otherwise`: no more connections may be lent. */
  #beginAgain(otherwise: () => void): void {
    this.#leaving?.end();
    this.#leaving = null;
    this.#changing = true;
    this.#shard.giveBack(this.lane, false);
    this.#changing = false;
    const { config, gate, nowMs } = this.#proxy;
    ownerOfKeys(this.#proxy, this.#row, this.#args);
    const keys = copyKeys(this.#proxy, this.#row, this.#args, this.#client.database);
    const wait = gate.whenHere({ keys, end: false }, nowMs + config.proxy.holdMs, problem => {
      this.#keysWait = null;
      if (this.#client.gone) return;
      if (problem === '') this.#resume(otherwise);
      else this.#fail(Failure.Moved, problem);
    });
    // Where they were not on the move it has gone on already.
    if (!wait.over) this.#keysWait = wait;
  }

  #resume(otherwise: () => void): void {
    const owner = ownerOfKeys(this.#proxy, this.#row, this.#args);
    if (owner === KEYS_APART) return this.#answer(CROSSSLOT);
    this.#shard = owner < 0 ? anyShard(this.#proxy) : (this.#proxy.shards[owner] as Shard);
    const lane = this.#shard.borrow(this.#client.database, this.#client.protocol);
    if (lane === null) return otherwise();
    this.lane = lane;
    const words = this.#args.copyAll();
    let leftMs = 0;
    if (this.#waitMs > 0) {
      leftMs = Math.max(1, Math.ceil(this.#waitMs - (this.#proxy.nowMs - this.#begunMs)));
      words[timeoutAt(this.#row, this.#args)] = Buffer.from(String(leftMs / timeoutUnitMs(this.#row)));
    }
    this.#send(encodeCommand(words), leftMs);
  }

  #failOverloaded(): void {
    this.#proxy.metrics.overloaded.exclusive += 1;
    this.#fail(Failure.Overloaded, 'proxy.limits.exclusive is reached');
  }

  #fail(failure: Failure, detail: string): void {
    this.#client.onFailure(this.#slot, failure, detail);
    this.#end(false);
  }

  #answer(reply: Buffer): void {
    this.#client.fulfil(this.#slot, reply);
    this.#end(false);
  }

  #end(clean: boolean): void {
    this.#leaving?.end();
    this.#client.borrowed = null;
    this.lane.patienceMs = this.#proxy.config.proxy.timeoutMs;
    this.#shard.giveBack(this.lane, clean);
    this.#client.release();
  }
}

/** What ends a wait in which nobody was served, in either protocol. */
function isNil(bytes: Buffer, from: number, to: number): boolean {
  const text = to - from <= NIL_BYTES ? bytes.toString('latin1', from, to) : '';
  return text === '*-1\r\n' || text === '$-1\r\n' || text === '_\r\n';
}

const NIL_BYTES = 5;

const QUICK_MS = 1000;
const MOST_QUICK_ENDS = 5;

/** A lent connection with the way to give it back. */
export interface Lent {
  readonly lane: Lane;
  giveBack(clean: boolean): void;
}

/**
 * Lends a connection for one command of the client, or takes the one on which it watches (whose watch then ends with
 * the command). Null when as many are lent as may be.
 */
export function lendFor(proxy: Proxy, client: Client, shard: Shard, watch: Watch | null): Lent | null {
  const lane = watch?.lane ?? shard.borrow(client.database, client.protocol);
  if (lane === null) {
    proxy.metrics.overloaded.exclusive += 1;
    return null;
  }
  client.watch = null;
  client.settle();
  const borrowed: Borrowed = {
    lane,
    get shard(): number {
      return shard.index;
    },
    cancel: () => shard.giveBack(lane, false),
  };
  client.borrowed = borrowed;
  return {
    lane,
    giveBack(clean: boolean): void {
      if (client.borrowed !== borrowed) return;
      client.borrowed = null;
      shard.giveBack(lane, clean);
    },
  };
}

/** WATCH. The caller has made sure that nothing of this client is in flight, and that all keys are on this shard. */
export function sendWatch(proxy: Proxy, client: Client, args: Arguments, shard: Shard): Verdict {
  if (client.transaction !== null) return refuseWatchInMulti(client);
  const lane = client.watch?.lane ?? shard.borrow(client.database, client.protocol);
  if (lane === null) {
    proxy.metrics.overloaded.exclusive += 1;
    return refuse(proxy, client, overloaded('proxy.limits.exclusive'));
  }
  if (lane.closed) {
    // The connection that watched is lost: the transaction is bound to fail, whatever is watched besides.
    client.reply(SHARED.ok);
    return Verdict.Done;
  }
  const isFirst = client.watch === null;
  client.watch ??= {
    lane,
    get shard(): number {
      return shard.index;
    },
    drop: () => shard.giveBack(lane, false),
  };
  client.settle();
  client.held = true;
  proxy.metrics.commands.exclusive += 1;
  const slot = client.reserve();
  const receiver: ReplyReceiver = {
    onReply(request, bytes, from, to, last) {
      if (!last) slot.started = true;
      client.onReply(slot, bytes, from, to, last);
      if (!last) return;
      releaseRequest(request);
      client.release();
    },
    onSkipped() {},
    onFailure(request, failure, detail) {
      releaseRequest(request);
      if (client.gone) return;
      if (failure === Failure.Moved) {
        // The key has another owner already: as if it had been watched, and had changed since. EXEC will answer nil.
        lane.close(Failure.Closing, detail);
        client.fulfil(slot, SHARED.ok);
        client.release();
        return;
      }
      const reply = failureReply(failure === Failure.Uncertain ? Failure.Down : failure, detail);
      client.port.onError(reply);
      client.fulfil(slot, reply);
      // Keys that were watched before are not watched any more: the lost connection stays, so that EXEC will fail.
      if (isFirst) dropWatch(client);
      client.release();
    },
  };
  const request = acquireRequest(receiver, client, true, proxy.nowMs);
  request.confirm = UNCONFIRMED;
  lane.send(request, args.bytes, args.from, args.to);
  return Verdict.Done;
}

/** What a node tells everybody who waits on it when it is made a replica (`disconnectAllBlockedClients`, blocked.c). */
function isDemotion(bytes: Buffer, from: number, to: number): boolean {
  if (bytes[from] !== MINUS || to - from < DEMOTION.length) return false;
  return bytes.compare(DEMOTION, 0, DEMOTION.length, from, from + DEMOTION.length) === 0;
}

const DEMOTION = Buffer.from('-UNBLOCKED force unblock');

export function refuseWatchInMulti(client: Client): Verdict {
  client.reply(Buffer.from('-ERR WATCH inside MULTI is not allowed\r\n'));
  return Verdict.Done;
}

/** UNWATCH. */
export function sendUnwatch(client: Client): Verdict {
  if (client.watch !== null && client.inFlight > 0) return Verdict.Defer;
  dropWatch(client);
  client.reply(SHARED.ok);
  return Verdict.Done;
}

/** Ends the client's watch, if it has one. */
export function dropWatch(client: Client): void {
  if (client.watch === null) return;
  client.watch.drop();
  client.watch = null;
  client.settle();
}
