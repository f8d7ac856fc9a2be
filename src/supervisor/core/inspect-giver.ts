import { PortionFinder } from '../../topology/move.ts';
import type { FoundKey, LargeKeys } from './large-keys.ts';
import type { MovePace } from './move-pace.ts';
import { type Procedure, rest } from './procedure.ts';
import { moveOf, sideNow, whyNotReady } from './pull-keys.ts';
import { databasesOf, scanPage, sizesOf } from './scan-keys.ts';
import type { World } from './world.ts';

/**
 * Looks through all keys of a shard that gives, before any of them moves: how many there are in each portion, how much
 * memory they take, which are too large to be moved among others, and what they are called, as far as that can be kept.
 * One look serves all portions of that shard: a walk over all keys costs more than to move those of one portion.
 */
export interface Inspection {
  /** The shard's primary on which it was made. */
  readonly runId: string;
  /** By index in `TopologyMove.portions`; of those that have keys. */
  readonly portions: ReadonlyMap<number, PortionSize>;
}

export interface PortionSize {
  keys: number;
  bytes: number;
  readonly large: FoundKey[];
  /** The others, as bytes (latin1), by database; some of them, where there are too many to be kept. */
  readonly names: Map<number, string[]>;
}

const PAGE_KEYS = 1000;
/** Sizes are asked for so many at a time. */
const SIZED_KEYS = 200;
/** Names that are kept, in bytes of memory, about; those of the portions that are last to go are found again by walks. */
const MOST_NAMES_BYTES = 64 * 1024 * 1024;
const NAME_BYTES = 32;

export function* inspectGiver(
  world: World,
  giver: string,
  pace: MovePace,
  large: LargeKeys,
): Procedure<Inspection | string> {
  const move = moveOf(world);
  const finder = new PortionFinder(world.topology, move);
  const side = sideNow(world, giver);
  const portions = new Map<number, PortionSize>();
  const room = { bytes: MOST_NAMES_BYTES };
  const databases = yield* databasesOf(side.target);
  if (typeof databases === 'string') return databases;
  for (const database of databases) {
    let cursor = '0';
    do {
      const why = whyNotReady(world, giver);
      if (why !== null || sideNow(world, giver).target.runId !== side.target.runId) return why ?? 'another primary';
      yield* pace.next(world, side.target);
      const scannedAtMs = world.nowMs;
      const page = yield* scanPage(side.target, database, cursor, PAGE_KEYS);
      if (typeof page === 'string') return page;
      pace.noteWork(world, scannedAtMs);
      cursor = page.cursor;
      const going = page.keys.map(key => ({ key, index: finder.indexOf(Buffer.from(key, 'latin1')) }));
      const wanted = going.filter(({ index }) => move.portions[index]?.source === giver);
      for (let from = 0; from < wanted.length; from += SIZED_KEYS) {
        const some = wanted.slice(from, from + SIZED_KEYS);
        yield* pace.next(world, side.target);
        const beganMs = world.nowMs;
        const sizes = yield* sizesOf(
          side.target,
          database,
          some.map(({ key }) => key),
        );
        if (typeof sizes === 'string') return sizes;
        pace.noteWork(world, beganMs);
        pace.noteGiver(world, world.nowMs - beganMs);
        for (const [i, { key, index }] of some.entries()) {
          const found: FoundKey = { database, key, bytes: sizes[i] ?? 0 };
          count(sizeIn(portions, index), found, world.settings.move.bigKeyBytes, room);
        }
      }
    } while (cursor !== '0');
    yield* rest(1);
  }
  for (const { large: some } of portions.values()) for (const one of some) large.note(giver, one);
  return { runId: side.target.runId, portions };
}

function sizeIn(portions: Map<number, PortionSize>, index: number): PortionSize {
  const known = portions.get(index);
  if (known !== undefined) return known;
  const size: PortionSize = { keys: 0, bytes: 0, large: [], names: new Map() };
  portions.set(index, size);
  return size;
}

function count(size: PortionSize, found: FoundKey, bigKeyBytes: number, room: { bytes: number }): void {
  const { database, key, bytes } = found;
  size.keys++;
  size.bytes += bytes;
  if (bytes > bigKeyBytes) {
    size.large.push(found);
    return;
  }
  room.bytes -= key.length + NAME_BYTES;
  if (room.bytes < 0) return;
  const names = size.names.get(database) ?? [];
  names.push(key);
  size.names.set(database, names);
}
