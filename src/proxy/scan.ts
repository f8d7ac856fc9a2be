import { Effect } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { elementsOf } from '../resp/elements.ts';
import { bulk, encodeCommand, error } from '../resp/encoder.ts';
import { MINUS } from '../resp/protocol.ts';
import type { Client } from './client.ts';
import { sendParts } from './everywhere.ts';
import { refuse, Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import { hashOf, type Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';

/**
 * SCAN over all shards, one after another, with a cursor that says where it is.
 *
 * A node's cursor is a position in its hash table, whose order depends on a seed of that process: for another process
 * it means nothing. So the client's cursor carries shard, position and a tag of the incarnation; where the tag does not
 * fit, that shard is walked from its beginning. Where the shards are others than when the cursor was made, the walk
 * begins anew. Keys may then come twice, which SCAN allows; none is missed.
 *
 *   cursor = ((position × shards + shard) × 64 + tag of the shards) × 1024 + tag of the incarnation
 *
 * The last tag is never 0, so that no cursor but the first is 0. A cursor stays below 2^53 (some clients read a double)
 * as long as position × shards < 2^37; a position has as many bits as its table's size needs.
 */
export function sendScan(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const cursor = readCursor(args.text(1));
  if (cursor === null) return refuse(proxy, client, error('ERR invalid cursor'));
  const count = BigInt(proxy.shards.length);
  const isOurs = cursor !== 0n && Number((cursor / INCARNATIONS) % RINGS) === tagOfRing(proxy);
  const place = isOurs ? cursor / INCARNATIONS / RINGS : 0n;
  const words = args.copyAll();
  const walk = new Walk(proxy, client, words, client.reserve());
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

  constructor(proxy: Proxy, client: Client, words: Buffer[], slot: Gather['slot']) {
    this.#proxy = proxy;
    this.#client = client;
    this.#words = words;
    this.#slot = slot;
  }

  ask(index: number, position: bigint, tag: number): void {
    const shard = this.#proxy.shards[index] as Shard;
    const client = this.#client;
    const lane = shard.lane(client.database, client.protocol);
    const asked = tagOf(lane.runId);
    const from = tag === asked ? position : 0n;
    const gather = new Gather(client, this.#slot, one => this.#onReply(one.parts[0] as Buffer, shard, asked));
    this.#words[1] = Buffer.from(String(from));
    sendParts(this.#proxy, gather, [shard], encodeCommand(this.#words), false, Effect.Read);
  }

  #onReply(reply: Buffer, shard: Shard, asked: number): void {
    const client = this.#client;
    if (client.gone) return;
    if (reply[0] === MINUS) return client.fulfil(this.#slot, reply);
    const lane = shard.lane(client.database, client.protocol);
    const answered = tagOf(lane.runId);
    // Held over a restart, or sent again to another incarnation: the position belonged to the one before.
    if (answered !== asked && asked !== NO_TAG) return this.ask(shard.index, 0n, answered);
    const elements = elementsOf(reply);
    const [head, keys] = elements as [Buffer, Buffer];
    const position = Number(head.toString('latin1', head.indexOf('\r\n') + 2, head.length - 2));
    const next = this.#cursorAfter(shard.index, position, answered);
    client.fulfil(this.#slot, Buffer.concat([Buffer.from('*2\r\n'), bulk(next), keys]));
  }

  #cursorAfter(index: number, position: number, tag: number): string {
    const count = this.#proxy.shards.length;
    if (position === 0 && index + 1 >= count) return '0';
    const place = position === 0 ? BigInt(index + 1) : BigInt(position) * BigInt(count) + BigInt(index);
    const last = BigInt(position === 0 ? NO_TAG : tag);
    return String((place * RINGS + BigInt(tagOfRing(this.#proxy))) * INCARNATIONS + last);
  }
}

const INCARNATIONS = 1024n;
const RINGS = 64n;
/** For a cursor without a position, and a lane without an incarnation. */
const NO_TAG = 1023;
/** Of a number with 64 bits. */
const MOST_DIGITS = 20;

/** 1 … 1022, from the incarnation's name. */
function tagOf(runId: string): number {
  return runId === '' ? NO_TAG : 1 + (hashOf(runId) % 1022);
}

/** 0 … 63, from what decides where keys lie. */
function tagOfRing(proxy: Proxy): number {
  return proxy.ringHash % Number(RINGS);
}
