import type { KeyPositions } from '../commands/keys.ts';
import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { integer } from '../resp/encoder.ts';
import { COLON, CR, DOLLAR, MINUS, SHARED, STAR } from '../resp/protocol.ts';
import { endOfReply } from '../resp/reply-decoder.ts';
import { copyBytes } from '../upstream/copy-bytes.ts';
import { acquireRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { bind, refusalOfWrite } from './commitment.ts';
import { overloaded } from './failures.ts';
import { refuse, Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Terms } from './rules.ts';
import type { Shard } from './shard.ts';

/**
 * Splits a command with many keys by shard, and merges the replies in the order in which the keys were asked for.
 *
 * A key and what belongs to it (the value, in MSET) lie side by side in the client's bytes, length lines included, so a
 * part is a new head with pieces of the original behind it.
 */
export function sendSplit(
  proxy: Proxy,
  client: Client,
  row: CommandRow,
  args: Arguments,
  keys: KeyPositions,
  owners: Uint16Array,
): Verdict {
  const { count } = keys;
  const { shards } = proxy;
  // All parts on the same terms: what one of them waits for, the whole reply waits for.
  const terms = proxy.rules.ofKeys(args, keys, count);
  if (terms.minimumCopies > 1) {
    for (let i = 0; i < count; i += 1) {
      const refusal = refusalOfWrite(row, terms, shards[owners[i] as number] as Shard);
      if (refusal !== null) return refuse(proxy, client, refusal);
    }
  }
  proxy.metrics.commands.split += 1;
  const merge = MERGES.get(row.name) ?? mergeSum;
  const gather =
    merge === mergeInOrder
      ? new OrderedGather(client, client.reserve(), owners.slice(0, count))
      : new Gather(client, client.reserve(), merge);
  const shardCount = shards.length;
  for (let s = 0; s < shardCount; s += 1) {
    firstOf[s] = -1;
    countOf[s] = 0;
    bytesOf[s] = 0;
  }
  if (nextOf.length < count) nextOf = new Int32Array(count * 2);
  for (let i = count - 1; i >= 0; i -= 1) {
    const s = owners[i] as number;
    const at = keys.at[i] as number;
    nextOf[i] = firstOf[s] as number;
    firstOf[s] = i;
    countOf[s] = (countOf[s] as number) + 1;
    bytesOf[s] = (bytesOf[s] as number) + itemEnd(args, at, row.step) - itemStart(args, at);
  }
  for (let s = 0; s < shardCount; s += 1) if (firstOf[s] !== -1) tagOf[s] = gather.addPart();
  if (gather instanceof OrderedGather) gather.tags = tagOf.slice(0, shardCount);
  for (let s = 0; s < shardCount; s += 1) {
    if (firstOf[s] !== -1) sendPart(proxy, gather, shards[s] as Shard, s, row, args, keys, terms);
  }
  return Verdict.Done;
}

function sendPart(
  proxy: Proxy,
  gather: Gather,
  shard: Shard,
  s: number,
  row: CommandRow,
  args: Arguments,
  keys: KeyPositions,
  terms: Terms,
): void {
  const { client } = gather;
  const tag = tagOf[s] as number;
  const lane = shard.lane(client.database, client.protocol);
  if (lane.full) {
    proxy.metrics.overloaded.laneQueue += 1;
    return gather.fail(tag, overloaded('proxy.limits.laneQueue'));
  }
  const nameFrom = itemStart(args, 0);
  const nameTo = itemEnd(args, 0, 1);
  const head = `*${(countOf[s] as number) * row.step + 1}\r\n`;
  const length = head.length + (nameTo - nameFrom) + (bytesOf[s] as number);
  const segment = lane.room(length);
  const target = segment.buffer;
  let at = segment.used + target.write(head, segment.used, 'latin1');
  copyBytes(args.bytes, nameFrom, nameTo, target, at);
  at += nameTo - nameFrom;
  for (let i = firstOf[s] as number; i !== -1; i = nextOf[i] as number) {
    const key = keys.at[i] as number;
    const from = itemStart(args, key);
    const to = itemEnd(args, key, row.step);
    copyBytes(args.bytes, from, to, target, at);
    at += to - from;
  }
  const request = acquireRequest(gather, client, row.isWrite, proxy.nowMs);
  request.tag = tag;
  bind(request, proxy, client, row.effect, terms, shard);
  lane.sendWritten(request, segment, length);
}

/** Where argument i begins, its length line included. */
function itemStart(args: Arguments, index: number): number {
  if (index > 0) return (args.starts[index - 1] as number) + (args.lengths[index - 1] as number) + 2;
  // The head line `*n CRLF` comes before argument 0.
  return args.bytes.indexOf(CR, args.from) + 2;
}

function itemEnd(args: Arguments, index: number, step: number): number {
  const last = index + step - 1;
  return (args.starts[last] as number) + (args.lengths[last] as number) + 2;
}

const MOST_SHARDS = 65536;
const firstOf = new Int32Array(MOST_SHARDS);
const countOf = new Int32Array(MOST_SHARDS);
const bytesOf = new Float64Array(MOST_SHARDS);
const tagOf = new Int32Array(MOST_SHARDS);
let nextOf = new Int32Array(1024);

/** Remembers which shard each key went to. */
class OrderedGather extends Gather {
  readonly owners: Uint16Array;
  protected override readonly mergesAtOnce = true;
  /** Part of each shard. */
  tags: Int32Array = tagOf;

  constructor(client: Client, slot: Gather['slot'], owners: Uint16Array) {
    super(client, slot, mergeInOrder);
    this.owners = owners;
  }
}

/** MGET: every key's element, in the order asked. */
function mergeInOrder(gather: Gather): void {
  const { client, slot, parts } = gather;
  const failed = gather.error;
  if (failed !== null) return client.fulfil(slot, failed);
  const { owners, tags } = gather as OrderedGather;
  const cursors = parts.map(part => (part[0] === STAR ? part.indexOf(CR) + 2 : 0));
  const direct = client.isNext(slot);
  const head = Buffer.from(`*${owners.length}\r\n`, 'latin1');
  const pieces: Buffer[] = [head];
  if (direct) {
    let bytes = head.length;
    for (const part of parts) bytes += part.length;
    client.reserveOut(bytes);
    client.appendPart(slot, head, 0, head.length);
  }
  for (let i = 0; i < owners.length; i += 1) {
    const tag = tags[owners[i] as number] as number;
    const part = parts[tag] as Buffer;
    const from = cursors[tag] as number;
    const to = endOfElement(part, from);
    cursors[tag] = to;
    if (direct) client.appendPart(slot, part, from, to);
    else pieces.push(part.subarray(from, to));
  }
  if (direct) client.fulfil(slot, NOTHING);
  else client.fulfil(slot, Buffer.concat(pieces));
}

const NOTHING = Buffer.alloc(0);

/** `endOfReply` with the two usual elements looked at first. */
function endOfElement(part: Buffer, from: number): number {
  if (part[from] !== DOLLAR) return endOfReply(part, from, part.length);
  let length = 0;
  let i = from + 1;
  if (part[i] === MINUS) return from + 5;
  for (; part[i] !== CR; i += 1) length = length * 10 + ((part[i] as number) - 0x30);
  return i + 2 + length + 2;
}

/** DEL, UNLINK, EXISTS, TOUCH: the sum. */
export function mergeSum(gather: Gather): void {
  const { client, slot, parts } = gather;
  const failed = gather.error;
  if (failed !== null) return client.fulfil(slot, failed);
  let sum = 0;
  for (const part of parts) if (part[0] === COLON) sum += Number(part.toString('latin1', 1, part.length - 2));
  client.fulfil(slot, integer(sum));
}

/** MSET, FLUSHALL: OK when all said so. */
export function mergeOk(gather: Gather): void {
  gather.client.fulfil(gather.slot, gather.error ?? SHARED.ok);
}

const MERGES = new Map<string, (gather: Gather) => void>([
  ['mget', mergeInOrder],
  ['mset', mergeOk],
]);
