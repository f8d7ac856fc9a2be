import { Route } from '../commands/routes.ts';
import { type CommandRow, Effect } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { MINUS } from '../resp/protocol.ts';
import type { Lane } from '../upstream/lane.ts';
import { acquireRequest, Failure, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import type { Proxy } from './proxy.ts';
import { ReadFrom, type Terms } from './rules.ts';
import type { Shard } from './shard.ts';

/**
 * Reads that an in-sync copy answers instead of the primary.
 *
 * A client sees its own writes and its own order: a copy is asked only while nothing of this client is under way to any
 * primary, and nothing goes to a primary while a copy still owes it an answer. So a pipeline that mixes both stays with
 * the primaries. What a copy cannot answer, the primary is asked for, unseen.
 */

/** The lane to the copy that may answer this command; null: the primary must. */
export function copyLane(proxy: Proxy, client: Client, row: CommandRow, terms: Terms, shard: Shard): Lane | null {
  if (terms.readFrom === ReadFrom.Primary || terms.confirmReads || !suitsCopies(row)) return null;
  if (client.inFlight > client.copyReads || client.watch !== null) return null;
  if (client.unconfirmed?.has(shard) === true) return null;
  const zone = terms.readFrom === ReadFrom.Zone ? proxy.config.proxy.zone : null;
  const lane = shard.readLane(client.database, client.protocol, client.id, zone);
  return lane === null || lane.full ? null : lane;
}

/** Reads by key that leave nothing behind and mean the same on every copy. */
export function suitsCopies(row: CommandRow): boolean {
  return (
    row.effect === Effect.Read &&
    row.hasKeys &&
    !row.primaryOnly &&
    (row.route === Route.Forward || row.route === Route.Split)
  );
}

/** Asks the copy; the reply takes the client's next place in line. */
export function sendToCopy(proxy: Proxy, client: Client, args: Arguments, lane: Lane): void {
  const read = new CopyRead(proxy, client, Buffer.from(args.bytes.subarray(args.from, args.to)));
  client.copyReads += 1;
  read.send(lane);
}

class CopyRead implements ReplyReceiver {
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #bytes: Buffer;
  readonly #slot: Request;
  #askedPrimary = false;

  constructor(proxy: Proxy, client: Client, bytes: Buffer) {
    this.#proxy = proxy;
    this.#client = client;
    this.#bytes = bytes;
    this.#slot = client.request(false, proxy.nowMs);
  }

  send(lane: Lane): void {
    const request = acquireRequest(this, this.#client, false, this.#proxy.nowMs);
    lane.send(request, this.#bytes, 0, this.#bytes.length);
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    if (last && !this.#slot.started && !this.#askedPrimary && isUnable(bytes, from, to)) {
      releaseRequest(request);
      this.#askPrimary();
      return;
    }
    if (!last) this.#slot.started = true;
    if (last) {
      releaseRequest(request);
      this.#client.copyReads -= 1;
    }
    this.#client.onReply(this.#slot, bytes, from, to, last);
  }

  onSkipped(): void {}

  onFailure(request: Request, failure: Failure, detail: string): void {
    releaseRequest(request);
    if (!this.#askedPrimary && !this.#slot.started && failure !== Failure.Overloaded && !this.#client.gone) {
      this.#askPrimary();
      return;
    }
    this.#client.copyReads -= 1;
    if (!this.#client.gone) this.#client.onFailure(this.#slot, failure, detail);
  }

  #askPrimary(): void {
    this.#askedPrimary = true;
    const { database, protocol } = this.#client;
    const request = acquireRequest(this, this.#client, false, this.#proxy.nowMs);
    // Its keys may have gone to another shard since.
    this.#proxy.gate.reroute(request, this.#bytes, 0, this.#bytes.length, database, protocol);
  }
}

/** What a copy says that has lost its primary, is loading, or has thrown this proxy's user out. */
const UNABLE = ['-MASTERDOWN', '-LOADING', '-NOPERM', '-NOAUTH', '-READONLY', '-BUSY '].map(word => Buffer.from(word));

function isUnable(bytes: Buffer, from: number, to: number): boolean {
  if (bytes[from] !== MINUS) return false;
  return UNABLE.some(
    word => to - from > word.length && bytes.compare(word, 0, word.length, from, from + word.length) === 0,
  );
}
