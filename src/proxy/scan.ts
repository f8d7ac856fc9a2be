import type { Arguments } from '../resp/arguments.ts';
import { bulk, encodeCommand, error } from '../resp/encoder.ts';
import { MINUS } from '../resp/protocol.ts';
import { acquireRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { overloaded } from './failures.ts';
import { refuse, Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';
import { elementsOf } from './transaction.ts';

/**
 * SCAN over all shards, one after another, with a cursor that says where it is.
 *
 * A node's cursor is a position in its hash table, whose order depends on a seed of that process: for another process
 * it means nothing. So the client's cursor carries shard, position and a tag of the incarnation; where the tag does not
 * fit, that shard is walked from its beginning. Keys may then come twice, which SCAN allows; none is missed.
 *
 *   cursor = (position × shards + shard) × 256 + tag        tag: 1 … 255, so that no cursor but the first is 0
 *
 * It stays below 2^53 (some clients read a double) as long as position × shards < 2^45; a position has as many bits as
 * its table's size needs.
 */
export function sendScan(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const text = args.text(1);
  if (!/^\s*[+-]?\d{1,20}$/.test(text)) return refuse(proxy, client, error('ERR invalid cursor'));
  const cursor = Number(text);
  const count = proxy.shards.length;
  const rest = Math.floor(cursor / TAGS);
  const index = cursor === 0 ? 0 : rest % count;
  const position = cursor === 0 ? 0 : Math.floor(rest / count);
  const words = args.copyAll();
  new Walk(proxy, client, words, client.reserve()).ask(index, position, cursor % TAGS);
  return Verdict.Done;
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

  ask(index: number, position: number, tag: number): void {
    const shard = this.#proxy.shards[index] as Shard;
    const client = this.#client;
    const lane = shard.lane(client.database, client.protocol);
    const asked = tagOf(lane.runId);
    const from = position !== 0 && tag === asked ? position : 0;
    const gather = new Gather(client, this.#slot, one => this.#onReply(one.parts[0] as Buffer, shard, asked));
    gather.addPart();
    if (lane.full) return gather.fail(0, overloaded('proxy.limits.laneQueue'));
    this.#words[1] = Buffer.from(String(from));
    const bytes = encodeCommand(this.#words);
    lane.send(acquireRequest(gather, client, false, this.#proxy.nowMs), bytes, 0, bytes.length);
  }

  #onReply(reply: Buffer, shard: Shard, asked: number): void {
    const client = this.#client;
    if (client.gone) return;
    if (reply[0] === MINUS) return client.fulfil(this.#slot, reply);
    const lane = shard.lane(client.database, client.protocol);
    const answered = tagOf(lane.runId);
    // Held over a restart, or sent again to another incarnation: the position belonged to the one before.
    if (answered !== asked && asked !== NO_TAG) return this.ask(shard.index, 0, answered);
    const elements = elementsOf(reply);
    const [head, keys] = elements as [Buffer, Buffer];
    const position = Number(head.toString('latin1', head.indexOf('\r\n') + 2, head.length - 2));
    const next = this.#cursorAfter(shard.index, position, answered);
    client.fulfil(this.#slot, Buffer.concat([Buffer.from('*2\r\n'), bulk(next), keys]));
  }

  #cursorAfter(index: number, position: number, tag: number): string {
    const count = this.#proxy.shards.length;
    if (position !== 0) return String((position * count + index) * TAGS + tag);
    if (index + 1 >= count) return '0';
    return String((index + 1) * TAGS + NO_TAG);
  }
}

const TAGS = 256;
/** For a cursor without a position, and a lane without an incarnation: it fits none. */
const NO_TAG = 255;

/** 1 … 254, from the incarnation's name. */
function tagOf(runId: string): number {
  if (runId === '') return NO_TAG;
  let hash = 0;
  for (let i = 0; i < runId.length; i += 1) hash = (Math.imul(hash, 31) + runId.charCodeAt(i)) | 0;
  return 1 + ((hash >>> 0) % 254);
}
