import { type CurrentPortion, type Portion, PortionKeys } from '../../topology/move.ts';
import type { PortionSize } from './inspect-giver.ts';
import type { FoundKey, LargeKeys } from './large-keys.ts';
import type { MovePace } from './move-pace.ts';
import { note, type Procedure, rest } from './procedure.ts';
import {
  type Bond,
  bind,
  isSameHome,
  moveOf,
  type Pulled,
  pullKeys,
  type ReadBounds,
  type Side,
  sideNow,
} from './pull-keys.ts';
import { databasesOf, type Page, scanPage, scanSetPage } from './scan-keys.ts';
import type { World } from './world.ts';

/**
 * M4: the supervisor walks the giver and pulls every key of the portion that it finds there, again and again until a
 * whole walk on one primary has found none.
 *
 * On the way `return` it goes first, once, through the members of the set of the way there: of a key that was deleted
 * meanwhile, something may still stand where it came from. It publishes nothing and may be dropped at any step.
 */
export type Walked =
  /** None are left on this incarnation of the giver. */
  | { readonly kind: 'empty'; readonly giver: Side }
  | { readonly kind: 'again'; readonly why: string }
  | { readonly kind: 'closed' }
  | { readonly kind: 'refused'; readonly why: string };

/** What is told of it while it goes on. */
export interface Moved {
  keys: number;
  bytes: number;
  /** Of the portion under way. */
  keysOfPortion: number;
  /** What it waits for just now; null: nothing. */
  trouble: string | null;
}

export interface WalkTools {
  readonly pace: MovePace;
  readonly large: LargeKeys;
  readonly moved: Moved;
}

const PAGE_KEYS = 1000;
/** Keys that take no more memory than this go in one batch, unless a single one takes more. */
const BATCH_BYTES = 1024 * 1024;
const LIMIT_MS = 1000;
/** A large value may take its time; what is slower than this is not to be expected. */
const SLOWEST_BYTES_PER_MS = 20_000;
/** What does not settle within this time is looked at from the beginning. */
const PATIENCE_MS = 5000;
const RETRY_MS = 20;

/**
 * `size`: what was found when all keys of the giver were looked through. Its large keys go first, one at a time, then those
 * that it names: so that most walks find nothing any more, and one is enough. Its names are used up.
 */
export function* walkPortion(world: World, tools: WalkTools, size: PortionSize | undefined): Procedure<Walked> {
  const bond = bind(world);
  if (typeof bond === 'string') return { kind: 'again', why: bond };
  tools.pace.begin();
  const walk = new Walk(world, tools, bond);
  const known = (yield* walk.pullLarge(size?.large ?? [])) ?? (yield* walk.pullNamed(size?.names ?? new Map()));
  const first = known ?? (yield* walk.goThroughSet());
  if (first !== null) return first;
  for (;;) {
    const found = yield* walk.goThroughKeys();
    if (typeof found !== 'number') return found;
    if (found === 0) return { kind: 'empty', giver: bond.giver };
  }
}

/** Tells keys of the portion from others; keys of our own are none. */
export function keysOfPortion(world: World): (key: string, database: number) => boolean {
  const move = moveOf(world);
  const { index, set, thereSet } = move.current as CurrentPortion;
  const keys = new PortionKeys(world.topology, move, move.portions[index] as Portion);
  const pulledSet = (number: number): string => world.credentials.pulledSet(number);
  const own = [set, thereSet].flatMap(number => (number === null ? [] : [pulledSet(number)]));
  const short = Buffer.alloc(256);
  return (key, database) => {
    if (database === 0 && own.includes(key)) return false;
    // Walks look at each key of a node several times: no buffer for each.
    if (key.length > short.length) return keys.has(Buffer.from(key, 'latin1'), key.length);
    return keys.has(short, short.write(key, 'latin1'));
  };
}

class Walk {
  readonly #world: World;
  readonly #tools: WalkTools;
  readonly #has: (key: string, database: number) => boolean;
  /** Of the first step; the walk holds for its primaries. */
  readonly #first: Bond;

  constructor(world: World, tools: WalkTools, bond: Bond) {
    this.#world = world;
    this.#tools = tools;
    this.#first = bond;
    this.#has = keysOfPortion(world);
  }

  /** Null: they are all with the taker. */
  *pullLarge(known: readonly FoundKey[]): Procedure<Walked | null> {
    for (const one of [...known].sort((a, b) => b.bytes - a.bytes)) {
      const ended = yield* this.#pullOne(one);
      if (ended !== null) return ended;
    }
    return null;
  }

  /** Null: they are all with the taker, and `names` is empty. */
  *pullNamed(names: Map<number, string[]>): Procedure<Walked | null> {
    for (const [database, keys] of names) {
      while (keys.length > 0) {
        const ended = yield* this.#pullPage(database, keys.splice(-PAGE_KEYS));
        if (ended !== null) return ended;
      }
      names.delete(database);
    }
    return null;
  }

  /** Null: every member of the set of the way there was pulled back, or there is no such set. */
  *goThroughSet(): Procedure<Walked | null> {
    const { thereSet, giver } = this.#first;
    if (thereSet === null) return null;
    const name = this.#world.credentials.pulledSet(thereSet);
    let cursor = '0';
    do {
      const page: Page | string = yield* scanSetPage(giver.target, name, cursor, PAGE_KEYS);
      if (typeof page === 'string') return { kind: 'again', why: page };
      cursor = page.cursor;
      const byDatabase = new Map<number, string[]>();
      for (const member of page.keys) {
        const colon = member.indexOf(':');
        if (colon < 0) continue;
        const database = Number(member.slice(0, colon));
        byDatabase.set(database, [...(byDatabase.get(database) ?? []), member.slice(colon + 1)]);
      }
      for (const [database, keys] of byDatabase) {
        const ended = yield* this.#pullPage(database, keys);
        if (ended !== null) return ended;
      }
    } while (cursor !== '0');
    return null;
  }

  /** How many keys of the portion a whole walk has found. */
  *goThroughKeys(): Procedure<number | Walked> {
    const { target } = this.#first.giver;
    const databases = yield* databasesOf(target);
    if (typeof databases === 'string') return { kind: 'again', why: databases };
    let found = 0;
    for (const database of databases) {
      let cursor = '0';
      do {
        const changed = this.#whyChanged();
        if (changed !== null) return changed;
        yield* this.#tools.pace.next(this.#world, target);
        const beganMs = this.#world.nowMs;
        const page: Page | string = yield* scanPage(target, database, cursor, PAGE_KEYS);
        if (typeof page === 'string') return { kind: 'again', why: page };
        this.#tools.pace.noteWork(this.#world, beganMs);
        cursor = page.cursor;
        const keys = page.keys.filter(key => this.#has(key, database));
        found += keys.length;
        const ended = yield* this.#pullPage(database, [...new Set(keys)]);
        if (ended !== null) return ended;
      } while (cursor !== '0');
    }
    return found;
  }

  *#pullPage(database: number, keys: readonly string[]): Procedure<Walked | null> {
    const { pace } = this.#tools;
    const { bigKeyBytes } = this.#world.settings.move;
    const most = { ofKey: bigKeyBytes, ofAll: BATCH_BYTES };
    const left = [...keys].reverse();
    while (left.length > 0) {
      yield* pace.next(this.#world, this.#first.giver.target);
      const batch = left.splice(-pace.batchKeys(this.#world)).reverse();
      const beganMs = this.#world.nowMs;
      const pulled = yield* this.#pull(database, batch, most, LIMIT_MS);
      if (pulled.kind !== 'pulled') return pulled;
      pace.noteMoved(this.#world, batch.length - pulled.left.length, beganMs);
      pace.noteGiver(this.#world, pulled.readMs);
      this.#count(pulled.keys, pulled.bytes);
      for (const { key, bytes } of pulled.large) {
        const ended = yield* this.#pullOne({ database, key, bytes });
        if (ended !== null) return ended;
      }
      left.push(...[...pulled.left].reverse());
    }
    return null;
  }

  *#pullOne(one: FoundKey): Procedure<Walked | null> {
    const { pace, large } = this.#tools;
    const { giver } = this.#first;
    large.note(giver.shard, one);
    const expectedMs = large.stallMs(one.bytes);
    const { stallMs } = this.#world.settings.move;
    if (expectedMs > stallMs) {
      // It was accepted by a person, or has become so large since the portion was looked through: then to go on is the
      // lesser evil, since until it is pulled nobody can use it.
      const text = `a key of ${Math.round(one.bytes / 1024 / 1024)} MB is moved, which may hold ${giver.shard} up for ${Math.round(expectedMs)} ms`;
      yield* note('warn', 'move', text, { shard: giver.shard });
    }
    yield* pace.next(this.#world, giver.target);
    const beganMs = this.#world.nowMs;
    const limitMs = LIMIT_MS + one.bytes / SLOWEST_BYTES_PER_MS;
    const pulled = yield* this.#pull(one.database, [one.key], { ofKey: 0, ofAll: 0 }, limitMs);
    if (pulled.kind !== 'pulled') return pulled;
    pace.noteMoved(this.#world, 1, beganMs);
    this.#count(pulled.keys, pulled.bytes);
    if (pulled.keys > 0) yield* large.moved(giver.shard, one, Math.max(pulled.readMs, pulled.putMs));
    return null;
  }

  /** Begins anew for as long as giver and taker are the same processes: a new epoch is waited for, another primary not. */
  *#pull(
    database: number,
    keys: readonly string[],
    most: ReadBounds,
    limitMs: number,
  ): Procedure<(Pulled & { kind: 'pulled' }) | Walked> {
    const { moved } = this.#tools;
    const beganMs = this.#world.nowMs;
    for (;;) {
      const changed = this.#whyChanged();
      if (changed !== null) return changed;
      const bond = bind(this.#world);
      if (typeof bond === 'string') moved.trouble = bond;
      else {
        const pulled = yield* pullKeys(this.#world, bond, database, keys, most, limitMs);
        moved.trouble = pulled.kind === 'again' ? pulled.why : null;
        if (pulled.kind !== 'again') return pulled;
      }
      if (this.#world.nowMs - beganMs >= PATIENCE_MS) return { kind: 'again', why: moved.trouble ?? '' };
      yield* rest(RETRY_MS);
    }
  }

  #whyChanged(): Walked | null {
    const { current } = moveOf(this.#world);
    if (current?.set !== this.#first.set) return { kind: 'again', why: 'another portion is under way' };
    const { giver, taker } = this.#first;
    const isSame = [giver, taker].every(side => isSameHome(sideNow(this.#world, side.shard), side));
    return isSame ? null : { kind: 'again', why: 'giver or taker has another primary' };
  }

  #count(keys: number, bytes: number): void {
    const { moved } = this.#tools;
    moved.keys += keys;
    moved.keysOfPortion += keys;
    moved.bytes += bytes;
  }
}
