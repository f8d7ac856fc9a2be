import { Effect } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { elementsOf } from '../resp/elements.ts';
import { bulk, encodeCommand, error } from '../resp/encoder.ts';
import { MINUS } from '../resp/protocol.ts';
import { encodedArray, keyOf } from './all-keys.ts';
import type { Client } from './client.ts';
import { sendParts } from './every-shard.ts';
import { refuse, Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import { askPulled, mayBeRemainder, ownKeyIn } from './pulled-keys.ts';
import { hashOf, type ScanOrder } from './scan-order.ts';
import type { Shard } from './shard.ts';

/**
 * SCAN over all shards, one after another, with a cursor that says where it is.
 *
 * A node's cursor is a position in its hash table, whose order depends on a seed of that process: for another process
 * it means nothing. So the client's cursor carries shard, position and a tag of the incarnation; where the tag does not
 * fit, that shard is walked from its beginning. Where the shards, or their order, are others than when the cursor was
 * made, the walk begins anew (`ScanOrder` says why none is missed otherwise). Keys may then come twice, which SCAN allows.
 *
 *   cursor = ((position × shards + place in the order) × 256 + tag of the order) × 1024 + tag of the incarnation
 *
 * The last tag is never 0, so that no cursor but the first is 0. A cursor stays below 2^53 (some clients read a double)
 * as long as position × shards < 2^35; a position has as many bits as its table's size needs.
 */
export function sendScan(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const cursor = readCursor(args.text(1));
  if (cursor === null) return refuse(proxy, client, error('ERR invalid cursor'));
  const order = proxy.scanOrder;
  const count = BigInt(order.names.length);
  const isOurs = cursor !== 0n && Number((cursor / INCARNATIONS) % ORDERS) === order.tag;
  const place = isOurs ? cursor / INCARNATIONS / ORDERS : 0n;
  const walk = new Walk(proxy, client, args.copyAll(), client.reserve(), order);
  walk.ask(Number(place % count), place / count, Number(cursor % INCARNATIONS));
  return Verdict.Done;
}

/** As `parseScanCursorOrReply` in Redis's db.c reads it: by strtoul, which wraps negative numbers around; null: wrong. */
function readCursor(text: string): bigint | null {
  const [, sign = '', digits = ''] = /^([+-]?)(\d+)$/.exec(text) ?? [];
  if (digits === '') return text === '' ? 0n : null;
  const value = digits.length > MOST_DIGITS ? BigInt(digits.replace(/^0+(?=\d)/, '').slice(0, 32)) : BigInt(digits);
  if (value >= 1n << 64n) return null;
  return sign === '-' ? BigInt.asUintN(64, -value) : value;
}

/** One SCAN of one client. */
class Walk {
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #words: Buffer[];
  readonly #slot: Gather['slot'];
  /** As it was when the client asked. */
  readonly #order: ScanOrder;

  constructor(proxy: Proxy, client: Client, words: Buffer[], slot: Gather['slot'], order: ScanOrder) {
    this.#proxy = proxy;
    this.#client = client;
    this.#words = words;
    this.#slot = slot;
    this.#order = order;
  }

  /** One page from the shard at this place of the order, or from the first one behind it that may hold keys. */
  ask(place: number, position: bigint, tag: number): void {
    const { names } = this.#order;
    const shard = this.#proxy.holders.find(({ name }) => name === names[place]);
    if (shard === undefined) {
      if (place + 1 < names.length) return this.ask(place + 1, 0n, NO_TAG);
      return this.#answer(this.#cursorAfter(place, 0, NO_TAG), encodedArray([]));
    }
    const client = this.#client;
    const lane = shard.lane(client.database, client.protocol);
    const asked = tagOf(lane.runId);
    const from = tag === asked ? position : 0n;
    const gather = new Gather(client, this.#slot, one => this.#onReply(one.parts[0] as Buffer, place, shard, asked));
    this.#words[1] = Buffer.from(String(from));
    sendParts(this.#proxy, gather, [shard], encodeCommand(this.#words), false, Effect.Read);
  }

  #onReply(reply: Buffer, place: number, shard: Shard, asked: number): void {
    const client = this.#client;
    if (client.gone) return;
    // It has left the cluster, empty.
    if (shard.retired) return this.#answer(this.#cursorAfter(place, 0, NO_TAG), encodedArray([]));
    if (reply[0] === MINUS) return client.fulfil(this.#slot, reply);
    const answered = tagOf(shard.lane(client.database, client.protocol).runId);
    // Held over a restart, or sent again to another incarnation: the position belonged to the one before.
    if (answered !== asked && asked !== NO_TAG) return this.ask(place, 0n, answered);
    const [head, keys] = elementsOf(reply) as [Buffer, Buffer];
    const position = Number(head.toString('latin1', head.indexOf('\r\n') + 2, head.length - 2));
    const cursor = this.#cursorAfter(place, position, answered);
    if (this.#proxy.moving === null) return this.#answer(cursor, keys);
    this.#answerClientKeys(cursor, elementsOf(keys), shard);
  }

  /** Without keys that are none of the clients', and without those that the taker of a portion tells of later. */
  #answerClientKeys(cursor: string, elements: readonly Buffer[], shard: Shard): void {
    const own = ownKeyIn(this.#proxy, shard, this.#client.database);
    const found = elements.filter(element => keyOf(element).toString('latin1') !== own);
    const isSuspect = found.map(element => mayBeRemainder(this.#proxy, shard, keyOf(element)));
    const suspects = found.filter((_, i) => isSuspect[i]).map(keyOf);
    askPulled(this.#proxy, this.#client, this.#slot, suspects, pulled => {
      let next = 0;
      const kept = found.filter((_, i) => {
        if (!isSuspect[i]) return true;
        next += 1;
        return pulled?.[next - 1] !== true;
      });
      this.#answer(cursor, encodedArray(kept));
    });
  }

  #answer(cursor: string, keys: Buffer): void {
    if (this.#client.gone) return;
    this.#client.fulfil(this.#slot, Buffer.concat([Buffer.from('*2\r\n'), bulk(cursor), keys]));
  }

  /** Where to go on; `position` 0: the shard at this place is done with. */
  #cursorAfter(place: number, position: number, tag: number): string {
    const { names, tag: ofOrder } = this.#order;
    const count = BigInt(names.length);
    if (position === 0 && place + 1 >= names.length) {
      if (ofOrder === this.#proxy.scanOrder.tag) return '0';
      // The order has changed while the last page was under way: it may have been asked for too late. All over again.
      return String(BigInt(ofOrder) * INCARNATIONS + BigInt(NO_TAG));
    }
    const at = position === 0 ? BigInt(place + 1) : BigInt(position) * count + BigInt(place);
    return String((at * ORDERS + BigInt(ofOrder)) * INCARNATIONS + BigInt(position === 0 ? NO_TAG : tag));
  }
}

const INCARNATIONS = 1024n;
const ORDERS = 256n;
/** For a cursor without a position, and a lane without an incarnation. */
const NO_TAG = 1023;
/** Of a number with 64 bits. */
const MOST_DIGITS = 20;

/** 1 … 1022, from the incarnation's name. */
function tagOf(runId: string): number {
  return runId === '' ? NO_TAG : 1 + (hashOf(runId) % 1022);
}
