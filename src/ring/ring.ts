/**
 * The ring: which shard owns a key, decided by the key's bytes and the shards' names and weights alone.
 *
 * Two kinds. The usual one puts `vnodes` tokens for each unit of a shard's weight on a circle; a key belongs to the
 * first token at or after its hash, so that a shard that comes or goes moves only its own part of the keys. The other
 * one is twemproxy's, for caches that already lie as twemproxy laid them. Same settings, same owners, on every machine
 * and in every version: what is written here is as binding as a file format.
 */
import { assert } from '../base/assert.ts';
import { Circle, type TokenSet } from './circle.ts';
import { type HashFunction, murmur3 } from './hash.ts';
import { ketamaPoints, modulaSlots, type RingShard } from './twemproxy.ts';
import { type TwemproxyHash, twemproxyHash } from './twemproxy-hashes.ts';

/** How keys are spread. `hashTag` is empty (none) or two characters, the opening and the closing one. */
export type RingConfig =
  | { kind: 'murmur3'; hash: 'murmur3'; hashTag: string; vnodes: number }
  | { kind: 'twemproxy'; hash: TwemproxyHash; distribution: 'ketama' | 'modula'; hashTag: string };

export interface Ring {
  readonly shardCount: number;
  /**
   * Index of the shard that owns the key in `bytes[start, start + length)`, plus `ON_THE_MOVE` for a key that is just
   * being moved there. Allocates nothing.
   */
  ownerOf(bytes: Uint8Array, start: number, length: number): number;
  /** The key's hash, unsigned: of its hash tag where it has one. */
  hashOf(bytes: Uint8Array, start: number, length: number): number;
}

/** A ring on which nothing moves: the owner follows from the hash alone. */
export interface StillRing extends Ring {
  /** Names how keys are hashed: the same text, the same hash for every key. */
  readonly hashing: string;
  /** The owner of all keys with this hash, as `hashOf` tells it. */
  ownerOfHash(hash: number): number;
}

/**
 * Added to an owner's index: the key is of the portion that is just being moved to that owner (`MovingRing`). Above every
 * index, so that an array of 16 bits an entry keeps the owner alone.
 */
export const ON_THE_MOVE = 0x10000;

/**
 * The ring over these shards, whose order decides the indices that `ownerOf` answers and nothing else. A shard of weight
 * 0 owns nothing: it is there, and keys are yet to be moved to it, or all were moved away.
 */
export function createRing(ring: RingConfig, shards: readonly RingShard[]): StillRing {
  assert(new Set(shards.map(shard => shard.name)).size === shards.length, 'shards of a ring have different names');
  const owners = shards.map((_, index) => index).filter(index => (shards[index] as RingShard).weight > 0);
  const live = owners.map(index => shards[index] as RingShard);
  assert(live.length > 0, 'a ring needs at least one shard');
  const hash = ring.kind === 'murmur3' ? murmur3 : twemproxyHash(ring.hash);
  const hashing: Hashing = { name: `${ring.hash} ${ring.hashTag}`, hash, hashTag: ring.hashTag };
  if (live.length === 1) return new SoleRing(hashing, shards.length, owners[0] as number);
  if (ring.kind === 'twemproxy' && ring.distribution === 'modula') {
    const slots = modulaSlots(live).map(owner => owners[owner] as number);
    return new ModulaRing(hashing, shards.length, slots);
  }
  return new CircleRing(hashing, shards.length, tokensOn(ring, shards));
}

/**
 * The tokens of every shard that owns any, of equal ones the earlier set's counting; `owner` is the index in `shards`. Of
 * a ring that is a circle.
 */
export function tokensOn(ring: RingConfig, shards: readonly RingShard[]): TokenSet[] {
  const owners = shards.map((_, index) => index).filter(index => (shards[index] as RingShard).weight > 0);
  const live = owners.map(index => shards[index] as RingShard);
  const sets = ring.kind === 'murmur3' ? vnodeTokens(live, ring.vnodes) : ketamaPoints(live);
  return sets.map(({ owner, tokens }) => ({ owner: owners[owner] as number, tokens }));
}

/**
 * Token i of a shard is the murmur3 of `<name>-<i>`; there are vnodes × weight of them, rounded, at least one. Where two
 * shards have the same token, it belongs to the one whose name comes first.
 */
function vnodeTokens(shards: readonly RingShard[], vnodes: number): { owner: number; tokens: Uint32Array }[] {
  const order = shards.map((_, index) => index);
  order.sort((i, j) => ((shards[i] as RingShard).name < (shards[j] as RingShard).name ? -1 : 1));
  return order.map(owner => {
    const { name, weight } = shards[owner] as RingShard;
    const tokens = Uint32Array.from({ length: Math.max(1, Math.round(vnodes * weight)) }, (_, i) => {
      const text = Buffer.from(`${name}-${i}`);
      return murmur3(text, 0, text.length);
    });
    return { owner, tokens };
  });
}

/** `name`: see `StillRing.hashing`. */
interface Hashing {
  readonly name: string;
  readonly hash: HashFunction;
  readonly hashTag: string;
}

/** The part of a key that is hashed: what both kinds of ring share. */
abstract class TaggedRing {
  readonly shardCount: number;
  readonly hashing: string;
  #hash: HashFunction;
  /** The two bytes of the hash tag; -1 without one. */
  #open: number;
  #close: number;

  constructor({ name, hash, hashTag }: Hashing, shardCount: number) {
    this.hashing = name;
    const tag = Buffer.from(hashTag);
    assert(tag.length === 0 || tag.length === 2, 'a hash tag is two characters of one byte each');
    this.shardCount = shardCount;
    this.#hash = hash;
    this.#open = tag[0] ?? -1;
    this.#close = tag[1] ?? -1;
  }

  hashOf(bytes: Uint8Array, start: number, length: number): number {
    return this.signedHashOf(bytes, start, length) >>> 0;
  }

  /**
   * Redis Cluster's rule and twemproxy's are the same: from the first opening character to the first closing one after
   * it, and the whole key when either is missing or nothing stands between. An empty key hashes to 0.
   */
  protected signedHashOf(bytes: Uint8Array, start: number, length: number): number {
    if (length === 0) return 0;
    const opening = this.#open;
    if (opening < 0) return this.#hash(bytes, start, length);
    const closing = this.#close;
    const end = start + length;
    let open = start;
    while (open < end && bytes[open] !== opening) open += 1;
    let close = open + 1;
    while (close < end && bytes[close] !== closing) close += 1;
    if (close >= end || close === open + 1) return this.#hash(bytes, start, length);
    return this.#hash(bytes, open + 1, close - open - 1);
  }
}

/** All keys have one owner. */
class SoleRing extends TaggedRing implements StillRing {
  #owner: number;

  constructor(hashing: Hashing, shardCount: number, owner: number) {
    super(hashing, shardCount);
    this.#owner = owner;
  }

  ownerOf(): number {
    return this.#owner;
  }

  ownerOfHash(): number {
    return this.#owner;
  }
}

class CircleRing extends TaggedRing implements StillRing {
  #circle: Circle;

  constructor(hashing: Hashing, shardCount: number, sets: readonly TokenSet[]) {
    super(hashing, shardCount);
    this.#circle = new Circle(sets);
  }

  ownerOf(bytes: Uint8Array, start: number, length: number): number {
    return this.#circle.ownerOf(this.signedHashOf(bytes, start, length));
  }

  ownerOfHash(hash: number): number {
    return this.#circle.ownerOf(hash);
  }
}

class ModulaRing extends TaggedRing implements StillRing {
  #slots: Uint16Array;

  constructor(hashing: Hashing, shardCount: number, slots: Uint16Array) {
    super(hashing, shardCount);
    this.#slots = slots;
  }

  ownerOf(bytes: Uint8Array, start: number, length: number): number {
    return this.ownerOfHash(this.hashOf(bytes, start, length));
  }

  ownerOfHash(hash: number): number {
    return this.#slots[hash % this.#slots.length] as number;
  }
}
