import type { TopologyShard } from '../../topology/snapshot.ts';
import { unfit } from './rebuild.ts';
import { membersOf, nodeOf, type World, wantedCopies } from './world.ts';

/**
 * Where a lost copy is made anew: on the same node when that comes back, else on a spare.
 */

/**
 * A process that is started again, or a machine, is mostly back within this time, and what it still has, or its place in
 * the zone, is worth the wait: a full copy costs more. Meanwhile the shard has one copy fewer.
 */
const COMES_BACK_MS = 5000;

export interface Placement {
  /** Members of the shard, as they are to be. */
  readonly nodes: readonly string[];
  readonly why: string;
}

/** Null: nothing is to be changed, or no spare is there. */
export function placement(world: World, shard: TopologyShard): Placement | null {
  const isMissing = membersOf(shard).length < wantedCopies(world, shard);
  if (!isMissing) return null;
  const lost = shard.nodes.find(id => !membersOf(shard).includes(id) && id !== shard.joining && isGivenUp(world, id));
  const isShort = shard.nodes.length < wantedCopies(world, shard);
  if (lost === undefined && !isShort) return null;
  const remaining = shard.nodes.filter(id => id !== lost);
  const spare = chooseSpare(world, shard, remaining);
  if (spare === null) return null;
  const zone = nodeOf(world, spare).zone;
  const why =
    lost === undefined
      ? `the shard has fewer members than copies are wanted: ${spare} (zone ${zone}) is added`
      : `${lost} has been away for ${COMES_BACK_MS / 1000} s: ${spare} (zone ${zone}) takes its place`;
  return { nodes: lost === undefined ? [...remaining, spare] : shard.nodes.map(id => (id === lost ? spare : id)), why };
}

/** Whether a member has been away for long, and nothing can be done about it. */
export function isWithoutSpare(world: World, shard: TopologyShard, id: string): boolean {
  const remaining = shard.nodes.filter(other => other !== id);
  return isGivenUp(world, id) && chooseSpare(world, shard, remaining) === null;
}

function isGivenUp(world: World, id: string): boolean {
  const { unwellSinceMs, health } = world.node(id);
  if (health === 'up' || unwellSinceMs === null) return false;
  return world.nowMs - Math.max(unwellSinceMs, world.trustedSinceMs) >= COMES_BACK_MS;
}

/** A fit spare in a zone that the shard does not use; else any that is fit. */
function chooseSpare(world: World, shard: TopologyShard, remaining: readonly string[]): string | null {
  const taken = new Set(world.topology.shards.flatMap(one => one.nodes));
  const zones = new Set(remaining.map(id => nodeOf(world, id).zone));
  const fit = world.topology.nodes.filter(({ id }) => {
    const { health, ready } = world.node(id);
    return !taken.has(id) && health === 'up' && ready !== null && unfit(world, shard.primary, id) === null;
  });
  // What holds data that was never of this cluster will not be copied over.
  const free = fit.filter(({ id, runId }) => runId !== null || world.node(id).report?.keys === 0);
  const usable = free.length > 0 ? free : fit;
  const elsewhere = usable.find(node => !zones.has(node.zone));
  return (elsewhere ?? usable[0])?.id ?? null;
}
