/**
 * How evenly the ring spreads keys, and how many a shard that is added takes from the others: by many keys, asked of the
 * ring alone.
 */
import { join } from 'node:path';

/** @typedef {{ name: string, weight: number }} Shard */
/** @typedef {{ shards: number, vnodes: number, keys: number, deviation: number, least: number, most: number, moved: number,
 *   ideal: number }} Spread   `deviation`, `least`, `most`: of the shards' loads, in parts of their mean; `moved`: the share of
 *   keys that another shard takes, `ideal`: its even share */

/** @param {string} dist  @returns {Promise<(ring: any, shards: readonly Shard[]) => (key: Buffer) => number>} */
export async function ringsOf(dist) {
  const { createRing } = await import(join(dist, 'ring', 'ring.js'));
  return (ring, shards) => {
    const made = createRing(ring, shards);
    return key => made.ownerOf(key, 0, key.length);
  };
}

/** @param {number} count @returns {Shard[]} */
const shardsOf = count => Array.from({ length: count }, (_, i) => ({ name: `s${i + 1}`, weight: 1 }));

/** @param {string} dist  @param {number} shards  @param {number} keys  @returns {Promise<Spread>} */
export async function spread(dist, shards, keys) {
  const ringOf = await ringsOf(dist);
  const vnodes = 256;
  const ring = { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes };
  const [before, after] = [ringOf(ring, shardsOf(shards)), ringOf(ring, shardsOf(shards + 1))];
  const loads = new Float64Array(shards);
  let moved = 0;
  for (let i = 0; i < keys; i += 1) {
    const key = Buffer.from(`user:${i}:profile`);
    const owner = before(key);
    loads[owner] = /** @type {number} */ (loads[owner]) + 1;
    if (after(key) !== owner) moved += 1;
  }
  const mean = keys / shards;
  const parts = [...loads].map(load => load / mean);
  const deviation = Math.sqrt(parts.reduce((sum, part) => sum + (part - 1) ** 2, 0) / shards);
  const [least, most] = [Math.min(...parts), Math.max(...parts)];
  return { shards, vnodes, keys, deviation, least, most, moved: moved / keys, ideal: 1 / (shards + 1) };
}

/** How many of the load's keys have another owner on another ring. @param {(key: Buffer) => number} before  @param {(key: Buffer) => number} after  @param {number} keys */
export function differing(before, after, keys) {
  let count = 0;
  for (let i = 0; i < keys; i += 1) {
    const key = Buffer.from(`key:${String(i).padStart(12, '0')}`);
    if (before(key) !== after(key)) count += 1;
  }
  return count;
}
