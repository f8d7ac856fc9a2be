import { Route } from '../commands/routes.ts';
import type { CommandRow } from '../commands/row.ts';
import { Arguments } from '../resp/arguments.ts';
import { CR } from '../resp/protocol.ts';
import { ON_THE_MOVE } from '../ring/ring.ts';
import { copyKeys, KEYS_APART, KEYS_NONE, keysOnTheMove, looksUpKeys, ownerOfKeys, type PlacedKey } from './forward.ts';
import type { Proxy } from './proxy.ts';

/**
 * Reads commands back out of bytes that were made for a node, to see whose keys they name now: one command, or several
 * that belong together (a block, scripts in front of their call).
 */

/**
 * Index of the shard that owns all their keys (and their shard channels), plus `ON_THE_MOVE` where some of them are just
 * being moved there; or `KEYS_APART`, `KEYS_NONE`. `needs`, if given, takes up what they need.
 */
export function ownerOfSent(proxy: Proxy, bytes: Buffer, from: number, to: number, needs: Needs | null = null): number {
  let all: number = KEYS_NONE;
  let onTheMove = 0;
  for (let at = from; at < to; ) {
    at = frameSent(bytes, at, ARGS);
    const row = proxy.table.resolve(ARGS);
    if (row === null) continue;
    const owner = ownerOfKeys(proxy, row, ARGS);
    if (needs !== null && row.route !== Route.ShardPublish) {
      for (const key of copyKeys(proxy, row, ARGS, needs.database)) needs.keys.push(key);
      needs.end ||= row.route === Route.Sort && looksUpKeys(ARGS);
    }
    if (owner === KEYS_APART || (owner >= 0 && all >= 0 && owner !== all)) return KEYS_APART;
    if (owner < 0) continue;
    all = owner;
    if (keysOnTheMove > 0) onTheMove = ON_THE_MOVE;
  }
  return all < 0 ? all : all + onTheMove;
}

/** What commands need before they may be carried out while some of their keys are on the move. */
export interface Needs {
  /** In which they are carried out. */
  readonly database: number;
  readonly keys: PlacedKey[];
  /** They look up keys that they do not name: the whole portion must have arrived. */
  end: boolean;
}

/** The row of the first command there; null: there is none of that name. */
export function rowOfSent(proxy: Proxy, bytes: Buffer, from: number): CommandRow | null {
  frameSent(bytes, from, ARGS);
  return proxy.table.resolve(ARGS);
}

/** Finds the arguments of the command that begins at `from`, which is whole and well made. Returns where it ends. */
function frameSent(bytes: Buffer, from: number, args: Arguments): number {
  args.bytes = bytes;
  args.from = from;
  cursor = from;
  const count = lineNumber(bytes);
  if (args.starts.length < count) {
    args.starts = new Int32Array(count);
    args.lengths = new Int32Array(count);
  }
  args.count = count;
  for (let i = 0; i < count; i += 1) {
    const length = lineNumber(bytes);
    args.starts[i] = cursor;
    args.lengths[i] = length;
    cursor += length + 2;
  }
  args.to = cursor;
  return cursor;
}

/** The number of a head line (`*n`, `$n`), which `cursor` goes past. */
function lineNumber(bytes: Buffer): number {
  let value = 0;
  let at = cursor + 1;
  for (; bytes[at] !== CR; at += 1) value = value * 10 + ((bytes[at] as number) - 0x30);
  cursor = at + 2;
  return value;
}

let cursor = 0;
const ARGS = new Arguments();
