import { assert } from '../base/assert.ts';
import { ON_THE_MOVE, type Ring, type StillRing } from './ring.ts';

/**
 * Who owns a key while keys go from the owners of one ring to those of another.
 *
 * A key whose owner is the same on both stays where it is. The others go in portions: all keys of one source and one
 * target, or an even part of them by hash. A portion is still with its source, already with its target, or on its way.
 * Nothing is asked of the two rings but their owners, so any two will do, whatever their hashes.
 */
export interface PortionOwner {
  /** Indices of the shards that own its keys on the one ring and on the other. */
  readonly source: number;
  readonly target: number;
  /** Which of how many parts of what goes from source to target. */
  readonly part: number;
  readonly parts: number;
  /** Who has the keys, or is just getting them. */
  readonly owner: number;
  readonly isOnTheMove: boolean;
}

/** Below `parts`: the part of a key, by its hash on the ring that is moved to; keys with one hash tag are in one part. */
export function partOf(hash: number, parts: number): number {
  // Multiplied first, since some of twemproxy's hashes fill only few of the 32 bits.
  return Math.floor(((Math.imul(hash, GOLDEN) >>> 0) / 0x100000000) * parts);
}

/** 2^32 divided by the golden ratio: spreads whatever differs (Knuth, The Art of Computer Programming, 6.4). */
const GOLDEN = 0x9e3779b1;

/** Looks keys up on two rings at once; what it finds stands in its fields until the next look. Allocates nothing. */
export class RingPair {
  /** Owner on the first ring. */
  source = 0;
  /** Owner on the second ring. */
  target = 0;
  readonly #before: StillRing;
  readonly #after: StillRing;
  /** Both rings hash alike, so that once is enough. */
  readonly #isOneHash: boolean;
  #hash = 0;

  constructor(before: StillRing, after: StillRing) {
    assert(before.shardCount === after.shardCount, 'both rings are over the same shards');
    this.#before = before;
    this.#after = after;
    this.#isOneHash = before.hashing === after.hashing;
  }

  /** The key in bytes[start, start + length). */
  look(bytes: Uint8Array, start: number, length: number): void {
    this.#hash = this.#after.hashOf(bytes, start, length);
    this.target = this.#after.ownerOfHash(this.#hash);
    this.source = this.#isOneHash ? this.#before.ownerOfHash(this.#hash) : this.#before.ownerOf(bytes, start, length);
  }

  /** See `partOf`. */
  part(parts: number): number {
    return parts === 1 ? 0 : partOf(this.#hash, parts);
  }
}

export class MovingRing implements Ring {
  readonly shardCount: number;
  readonly #after: Ring;
  readonly #pair: RingPair;
  /** By source × shardCount + target: where its parts begin in `#owners`; -1: nothing goes that way. */
  readonly #firsts: Int32Array;
  readonly #parts: Uint16Array;
  /** As `ownerOf` answers. */
  readonly #owners: Int32Array;

  /** `portions` must name every part of every pair of shards between which keys go. */
  constructor(before: StillRing, after: StillRing, portions: readonly PortionOwner[]) {
    this.shardCount = before.shardCount;
    this.#after = after;
    this.#pair = new RingPair(before, after);
    this.#firsts = new Int32Array(this.shardCount * this.shardCount).fill(-1);
    this.#parts = new Uint16Array(this.shardCount * this.shardCount);
    let count = 0;
    for (const { source, target, parts } of portions) {
      const pair = source * this.shardCount + target;
      if (this.#firsts[pair] !== -1) continue;
      this.#firsts[pair] = count;
      this.#parts[pair] = parts;
      count += parts;
    }
    this.#owners = new Int32Array(count).fill(-1);
    for (const { source, target, part, owner, isOnTheMove } of portions) {
      const first = this.#firsts[source * this.shardCount + target] as number;
      this.#owners[first + part] = owner + (isOnTheMove ? ON_THE_MOVE : 0);
    }
    assert(!this.#owners.includes(-1), 'every part of what is moved is in one portion');
  }

  ownerOf(bytes: Uint8Array, start: number, length: number): number {
    this.#pair.look(bytes, start, length);
    const { source, target } = this.#pair;
    if (source === target) return source;
    const pair = source * this.shardCount + target;
    const first = this.#firsts[pair] as number;
    // Keys that nobody has planned to move stay; a plan names all that go.
    if (first < 0) return source;
    return this.#owners[first + this.#pair.part(this.#parts[pair] as number)] as number;
  }

  hashOf(bytes: Uint8Array, start: number, length: number): number {
    return this.#after.hashOf(bytes, start, length);
  }
}
