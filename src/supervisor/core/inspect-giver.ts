import { PortionFinder } from '../../topology/move.ts';
import type { FoundKey, LargeKeys } from './large-keys.ts';
import type { MovePace } from './move-pace.ts';
import { type Procedure, rest } from './procedure.ts';
import { moveOf, sideNow, whyNotReady } from './pull-keys.ts';
import { databasesOf, scanPage, sizesOf } from './scan-keys.ts';
import type { World } from './world.ts';

/**
 * Looks through all keys of a shard that gives, before any of them moves: how many there are in each portion, how much
 * memory they take, and which are too large to be moved among others. One look serves all portions of that shard.
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
}

const PAGE_KEYS = 1000;
/** Sizes are asked for so many at a time. */
const SIZED_KEYS = 200;

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
  const databases = yield* databasesOf(side.target);
  if (typeof databases === 'string') return databases;
  for (const database of databases) {
    let cursor = '0';
    do {
      const why = whyNotReady(world, giver);
      if (why !== null || sideNow(world, giver).target.runId !== side.target.runId) return why ?? 'another primary';
      yield* pace.next(world, side.target);
      const page = yield* scanPage(side.target, database, cursor, PAGE_KEYS);
      if (typeof page === 'string') return page;
      cursor = page.cursor;
      const going = page.keys.map(key => ({ key, index: finder.indexOf(Buffer.from(key, 'latin1')) }));
      const wanted = going.filter(({ index }) => move.portions[index]?.source === giver);
      for (let from = 0; from < wanted.length; from += SIZED_KEYS) {
        const some = wanted.slice(from, from + SIZED_KEYS);
        const beganMs = world.nowMs;
        const sizes = yield* sizesOf(
          side.target,
          database,
          some.map(({ key }) => key),
        );
        if (typeof sizes === 'string') return sizes;
        pace.noteGiver(world, world.nowMs - beganMs);
        for (const [i, { key, index }] of some.entries()) count(world, portions, index, database, key, sizes[i] ?? 0);
      }
    } while (cursor !== '0');
    yield* rest(1);
  }
  for (const { large: some } of portions.values()) for (const one of some) large.note(giver, one);
  return { runId: side.target.runId, portions };
}

function count(
  world: World,
  portions: Map<number, PortionSize>,
  index: number,
  database: number,
  key: string,
  bytes: number,
): void {
  const size = portions.get(index) ?? { keys: 0, bytes: 0, large: [] };
  portions.set(index, size);
  size.keys++;
  size.bytes += bytes;
  if (bytes > world.settings.move.bigKeyBytes) size.large.push({ database, key, bytes });
}
