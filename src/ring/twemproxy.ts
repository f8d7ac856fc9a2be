/**
 * Where twemproxy puts its servers: the points of its ketama continuum, the slots of its modula table.
 *
 * What twemproxy calls a server is a shard here; its `name` is what twemproxy hashes: the name given in its
 * configuration, else `host:port`, else (port 11211) `host`. Read from twemproxy's `nc_ketama.c`, `nc_modula.c` and
 * `nc_conf.c`, and compared with a running nutcracker in the system tests.
 */
import { assert } from '../base/assert.ts';
import type { TokenSet } from './circle.ts';
import { md5 } from './md5.ts';

/** A shard as a ring sees it; `weight` is 1 for an ordinary one. */
export interface RingShard {
  name: string;
  weight: number;
}

/** At equal weights; libmemcached's number. */
const POINTS_PER_SERVER = 160;
/** One MD5 digest gives four. */
const POINTS_PER_DIGEST = 4;

/**
 * The points of every shard on the ketama continuum, in twemproxy's own order of servers; `owner` is the index in
 * `shards`. A shard of small weight beside a large one may get none, as with twemproxy.
 */
export function ketamaPoints(shards: readonly RingShard[]): TokenSet[] {
  const total = totalWeight(shards);
  return inServerOrder(shards).map(owner => {
    const shard = shards[owner] as RingShard;
    return { owner, tokens: pointsOf(shard.name, digestsOf(shard.weight, total, shards.length)) };
  });
}

/** The owner, as index in `shards`, of each slot that `hash % slots` may choose: as many slots as weight in all. */
export function modulaSlots(shards: readonly RingShard[]): Uint16Array {
  const slots = new Uint16Array(totalWeight(shards));
  let at = 0;
  for (const owner of inServerOrder(shards)) {
    const next = at + (shards[owner] as RingShard).weight;
    slots.fill(owner, at, next);
    at = next;
  }
  return slots;
}

function totalWeight(shards: readonly RingShard[]): number {
  for (const { name, weight } of shards) {
    assert(Number.isInteger(weight) && weight > 0, `twemproxy knows whole weights only: ${name} has ${weight}`);
  }
  return shards.reduce((sum, shard) => sum + shard.weight, 0);
}

/** twemproxy sorts servers before it numbers them: shorter names first, equally long ones by their bytes. */
function inServerOrder(shards: readonly RingShard[]): number[] {
  const names = shards.map(shard => Buffer.from(shard.name));
  return names
    .map((_, index) => index)
    .sort((i, j) => {
      const [a, b] = [names[i] as Buffer, names[j] as Buffer];
      return a.length - b.length || a.compare(b);
    });
}

/**
 * How many digests a shard's points come from. Rounded to single precision after each step, because twemproxy computes
 * it in `float`: for some numbers of servers that loses one digest, and with it four points.
 */
function digestsOf(weight: number, total: number, shards: number): number {
  const f = Math.fround;
  const part = f(f(weight) / f(total));
  const exact = f(f(f(part * POINTS_PER_SERVER) / POINTS_PER_DIGEST) * f(shards));
  return Math.floor(f(exact + 0.0000000001));
}

function pointsOf(name: string, digests: number): Uint32Array {
  const points = new Uint32Array(digests * POINTS_PER_DIGEST);
  const digest = new Int32Array(4);
  for (let i = 0; i < digests; i += 1) {
    const text = Buffer.from(`${name}-${i}`);
    md5(text, 0, text.length, digest);
    points.set(digest, i * POINTS_PER_DIGEST);
  }
  return points;
}
