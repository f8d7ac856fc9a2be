import { createRing, type RingConfig, tokensOn } from './ring.ts';
import type { RingShard } from './twemproxy.ts';

/**
 * How much of all keys goes from which shard to which other between two rings, before any key was looked at.
 *
 * Of two circles with one hash it is exact: both have an owner for each of the 2^32 hashes, and the arcs on which the two
 * differ are added up. Of any other two it is counted over keys that were made up.
 */
export interface Exchange {
  /** Parts of the whole (0 to 1) that the shards own on the first ring, in their order. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /**
   * What changes owner, by the shards' indices. A pair that is missing exchanges nothing; where nothing is exact, every
   * pair between which a key could go is there, if need be with a share of 0.
   */
  readonly flows: readonly ArcFlow[];
  readonly isExact: boolean;
}

export interface ArcFlow {
  readonly source: number;
  readonly target: number;
  /** Part of the whole, 0 to 1. */
  readonly share: number;
}

/** A ring by its settings, with a weight for each of the shards (0: it owns nothing). */
export interface RingSide {
  readonly ring: RingConfig;
  readonly shards: readonly RingShard[];
}

/** Both sides have the same shards in the same order. */
export function exchangeBetween(before: RingSide, after: RingSide): Exchange {
  const count = before.shards.length;
  const isExact = isCircle(before) && isCircle(after) && isSameHash(before.ring, after.ring);
  const shared = isExact ? arcsOf(before, after) : sampled(before, after);
  const flows: ArcFlow[] = [];
  const owned = { before: new Array<number>(count).fill(0), after: new Array<number>(count).fill(0) };
  for (let source = 0; source < count; source += 1) {
    for (let target = 0; target < count; target += 1) {
      const share = shared[source * count + target] as number;
      owned.before[source] = (owned.before[source] as number) + share;
      owned.after[target] = (owned.after[target] as number) + share;
      if (source === target) continue;
      const isPossible = !isExact && weightOf(before, source) > 0 && weightOf(after, target) > 0;
      if (share > 0 || isPossible) flows.push({ source, target, share });
    }
  }
  return { ...owned, flows, isExact };
}

const WHOLE = 0x100000000;

/** Hashes of which keys take only a few of the 2^32 values: the lengths of arcs say nothing about keys. */
const NARROW = new Set(['crc16', 'crc32']);

function isCircle({ ring, shards }: RingSide): boolean {
  if (ring.kind === 'murmur3') return true;
  return !NARROW.has(ring.hash) && (ring.distribution === 'ketama' || shards.filter(isLive).length === 1);
}

function isSameHash(a: RingConfig, b: RingConfig): boolean {
  return a.kind === b.kind && a.hash === b.hash && a.hashTag === b.hashTag;
}

function isLive({ weight }: RingShard): boolean {
  return weight > 0;
}

function weightOf({ shards }: RingSide, index: number): number {
  return (shards[index] as RingShard).weight;
}

/** By owner before × count + owner after: the part of the circle. */
function arcsOf(before: RingSide, after: RingSide): Float64Array {
  const count = before.shards.length;
  const [a, b] = [arcEnds(before), arcEnds(after)];
  const hashes = new Float64Array(count * count);
  let [i, j, from] = [0, 0, 0];
  while (from < WHOLE) {
    const to = Math.min(a.ends[i] as number, b.ends[j] as number);
    const pair = (a.owners[i] as number) * count + (b.owners[j] as number);
    hashes[pair] = (hashes[pair] as number) + (to + 1 - from);
    if (a.ends[i] === to) i += 1;
    if (b.ends[j] === to) j += 1;
    from = to + 1;
  }
  return hashes.map(length => length / WHOLE);
}

/** The last hash of each arc, ascending up to 2^32 - 1, and whose it is. */
function arcEnds({ ring, shards }: RingSide): { ends: Float64Array; owners: Uint16Array } {
  const live = shards.flatMap((shard, index) => (isLive(shard) ? [index] : []));
  if (live.length === 1) return { ends: Float64Array.of(WHOLE - 1), owners: Uint16Array.of(live[0] as number) };
  const sets = tokensOn(ring, shards);
  // Token and rank of its set in one double, which typed arrays sort fast; of equal tokens the earlier set's counts.
  const packed = Float64Array.from(
    sets.flatMap(({ tokens }, rank) => Array.from(tokens, token => token * RANKS + rank)),
  ).sort();
  const distinct = packed.filter((one, i) => i === 0 || tokenOf(one) !== tokenOf(packed[i - 1] as number));
  const ends = [...distinct.map(tokenOf)];
  const owners = [...distinct].map(one => sets[one % RANKS]?.owner ?? 0);
  // Past the last token the circle closes with the first one's owner.
  if (ends.at(-1) !== WHOLE - 1) {
    ends.push(WHOLE - 1);
    owners.push(owners[0] as number);
  }
  return { ends: Float64Array.from(ends), owners: Uint16Array.from(owners) };
}

const RANKS = 0x10000;

function tokenOf(packed: number): number {
  return Math.floor(packed / RANKS);
}

const SAMPLES = 100_000;

function sampled(before: RingSide, after: RingSide): Float64Array {
  const count = before.shards.length;
  const [a, b] = [createRing(before.ring, before.shards), createRing(after.ring, after.shards)];
  const found = new Float64Array(count * count);
  for (let i = 0; i < SAMPLES; i += 1) {
    const key = Buffer.from(`key:${i}`);
    const pair = a.ownerOf(key, 0, key.length) * count + b.ownerOf(key, 0, key.length);
    found[pair] = (found[pair] as number) + 1;
  }
  return found.map(keys => keys / SAMPLES);
}
