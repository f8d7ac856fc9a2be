import type { TopologyShard } from '../../topology/snapshot.ts';
import { letReadersIn } from './node-care.ts';
import { isGivenUp, leave, placeMembers } from './placement.ts';
import { DONE, type Ending, gaveUp, note, type Procedure } from './procedure.ts';
import { standApart } from './rebuild.ts';
import { look } from './replication.ts';
import { shrink, unattached } from './shrink.ts';
import { membersOf, nodeOf, shardOf, standingOf, stayingOf, targetOf, type World, wantedCopies } from './world.ts';

/**
 * A member that is no longer needed leaves its shard: one that is drained, or one that was to replace it after all.
 *
 * A copy that counts stops counting by R2, as if it were lost; but only when all others are well. Its readers leave
 * first: from the moment at which it no longer follows, it would tell them of the past. Then it is left with no user of
 * ours and follows nobody, and only then is it no member any more.
 */
const LIMIT_MS = 300;

export interface Departure {
  readonly nodeId: string;
  readonly why: string;
  /** It is the primary: this one takes over first. Null: it is not. */
  readonly successor: string | null;
}

/** Null: none is to leave, or it cannot leave yet, since the shard would have too few copies that are well. */
export function departureOf(world: World, shard: TopologyShard): Departure | null {
  const wanted = wantedCopies(world, shard);
  if (shard.joining !== null) return null;
  const idle = idleOf(world, shard, wanted);
  if (idle !== null) return idle;
  const copies = membersOf(shard);
  if (copies.length <= wanted) return null;
  const departure = drainedOf(world, shard) ?? surplusOf(world, shard, wanted);
  if (departure === null) return null;
  return copies.every(id => id === departure.nodeId || isWell(world, id)) ? departure : null;
}

/** A member that is no copy: while a copy is missing it may yet become one, unless it has been away for long. */
function idleOf(world: World, shard: TopologyShard, wanted: number): Departure | null {
  const { nodes } = shard;
  if (nodes.length <= wanted) return null;
  const copies = membersOf(shard);
  const idle = nodes.filter(id => !copies.includes(id));
  const able = copies.length < wanted ? idle.filter(id => isGivenUp(world, id)) : idle;
  const [drained] = able.filter(id => nodeOf(world, id).draining);
  if (drained !== undefined) return { nodeId: drained, why: `${drained} is to be free`, successor: null };
  if (isDraining(world, shard) || shard.copies === undefined) return null;
  const nodeId = able.find(id => isGivenUp(world, id)) ?? able.at(-1);
  return nodeId === undefined ? null : { nodeId, why: surplusText(shard, nodeId, wanted), successor: null };
}

/** Replicas first: the primary hands over to one that stays. */
function drainedOf(world: World, shard: TopologyShard): Departure | null {
  const stay = stayingOf(world, membersOf(shard));
  const nodeId = [...shard.inSync, shard.primary].find(id => !stay.includes(id));
  if (nodeId === undefined) return null;
  const why = `${nodeId} is to be free`;
  if (nodeId !== shard.primary) return { nodeId, why, successor: null };
  const offset = (id: string): number => world.node(id).report?.offset ?? 0;
  const [successor] = [...stay].sort((a, b) => offset(b) - offset(a));
  return successor === undefined ? null : { nodeId, why, successor };
}

/** Nobody is drained any more, and there is one copy too many. */
function surplusOf(world: World, shard: TopologyShard, wanted: number): Departure | null {
  if (isDraining(world, shard) || shard.copies === undefined || shard.nodes.length <= wanted) return null;
  const nodeId = mostRedundant(world, shard);
  return { nodeId, why: surplusText(shard, nodeId, wanted), successor: null };
}

function surplusText({ name }: TopologyShard, nodeId: string, wanted: number): string {
  return `${name} has its ${wanted} copies without ${nodeId}`;
}

/** The replica whose zone has most copies of the shard; of equal ones the one that came last. */
function mostRedundant(world: World, shard: TopologyShard): string {
  const zone = (id: string): string => nodeOf(world, id).zone;
  const uses = (id: string): number => membersOf(shard).filter(other => zone(other) === zone(id)).length;
  const replicas = shard.nodes.filter(id => shard.inSync.includes(id));
  return replicas.reduce((most, id) => (uses(id) >= uses(most) ? id : most));
}

function isDraining(world: World, { nodes }: TopologyShard): boolean {
  return stayingOf(world, nodes).length < nodes.length;
}

function isWell(world: World, id: string): boolean {
  return standingOf(world, id) === 'there' && world.node(id).unwellSinceMs === null;
}

export function* release(world: World, shardName: string, departure: Departure): Procedure<Ending> {
  const { nodeId } = departure;
  if (shardOf(world, shardName).inSync.includes(nodeId)) {
    const ending = yield* uncount(world, shardName, departure);
    if (!ending.done) return ending;
  }
  const left = yield* setAside(world, shardName, nodeId);
  if (left !== null) return gaveUp(`${nodeId}: ${left}`);
  const text = nodeOf(world, nodeId).draining ? 'is free: it may be stopped' : 'is a spare again';
  yield* note('info', 'drain', `${nodeId} ${text}`, { shard: shardName, nodeId });
  yield* placeMembers(world, shardName, leave(world, shardOf(world, shardName), nodeId, `${nodeId} ${text}`));
  return DONE;
}

/** It is in sync no more. */
function* uncount(world: World, shardName: string, { nodeId, why }: Departure): Procedure<Ending> {
  const { primary } = shardOf(world, shardName);
  const first = yield* look(targetOf(world, primary), LIMIT_MS);
  if (first === null) return gaveUp(`the primary ${primary} does not answer`);
  if (first.report.role !== 'primary') return gaveUp(`${primary} is no primary any more`);
  const unsound = yield* unattached(world, shardName, first, [nodeId]);
  if (unsound.length > 0) return gaveUp(`${unsound.join(', ')}: not attached, and so nobody can be spared`);
  // Where that fails it is about to be gone anyway.
  if (standingOf(world, nodeId) === 'there') yield* letReadersIn(world, targetOf(world, nodeId), null, () => true);
  return yield* shrink(world, shardName, [{ nodeId, why, isLost: true }]);
}

/** Else it would knock at the primary's door once a second, for as long as it runs. One that is gone needs nothing. */
function* setAside(world: World, shardName: string, nodeId: string): Procedure<string | null> {
  const { health, ready } = world.node(nodeId);
  if (ready === null || (health !== 'up' && health !== 'suspect')) return null;
  const apart = yield* standApart(shardName, targetOf(world, nodeId));
  return typeof apart === 'string' ? apart : null;
}
