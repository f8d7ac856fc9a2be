import type { TopologyShard } from '../../topology/snapshot.ts';
import { type Procedure, publishChange } from './procedure.ts';
import { unfit } from './rebuild.ts';
import type { Shortage } from './setup.ts';
import { membersOf, nodeOf, shardOf, stayingOf, type World, wantedCopies } from './world.ts';

/**
 * Which nodes are to make up a shard: a spare takes the place of one that is lost, or joins beside one that is drained,
 * which leaves once it is no longer needed (`release`).
 */

/**
 * A process that is started again, or a machine, is mostly back within this time, and what it still has, or its place in
 * the zone, is worth the wait: a full copy costs more. Meanwhile the shard has one copy fewer.
 */
const COMES_BACK_MS = 5000;

export interface Placement {
  /** Members of the shard, as they are to be. */
  readonly nodes: readonly string[];
  /** See `TopologyShard.copies`; null: nobody is drained any more. */
  readonly copies: number | null;
  readonly event: 'place' | 'drain';
  readonly why: string;
}

/** Where the copy of a drained node should go, by the word of a person; nulls: anywhere. */
export interface Wish {
  readonly to: string | null;
  readonly zone: string | null;
}

export type Wishes = (nodeId: string) => Wish | null;

/** What a placement goes by. */
interface Seats {
  readonly world: World;
  readonly shard: TopologyShard;
  readonly wishes: Wishes;
  readonly wanted: number;
  /** Members that are not drained. */
  readonly stay: readonly string[];
  /** Fewer copies are in sync than are wanted, not counting those that are drained. */
  readonly isShort: boolean;
  /** Members that are no copies, nor about to be. */
  readonly idle: readonly string[];
}

/** Null: nothing is to be changed, or no spare is there. */
export function placement(world: World, shard: TopologyShard, wishes: Wishes): Placement | null {
  const copies = membersOf(shard);
  const wanted = wantedCopies(world, shard);
  const seats: Seats = {
    ...{ world, shard, wishes, wanted },
    stay: stayingOf(world, shard.nodes),
    isShort: stayingOf(world, copies).length < wanted,
    idle: shard.nodes.filter(id => !copies.includes(id) && id !== shard.joining),
  };
  return withSpare(seats) ?? tidied(seats);
}

/**
 * The members with which a node begins to be drained: as they are, where no spare can take its place. Counted as if it
 * were drained already, since that is published at the same time.
 */
export function beginDraining(world: World, shard: TopologyShard, nodeId: string, wishes: Wishes): Placement {
  const wanted = Math.max(wantedCopies(world, shard), shard.copies ?? shard.nodes.length);
  const stay = stayingOf(world, shard.nodes).filter(id => id !== nodeId);
  const seats: Seats = { ...{ world, shard, wishes, wanted, stay }, isShort: true, idle: [] };
  const begun = { event: 'drain', why: `${nodeId} is to be free, as ordered` } as const;
  const spare = stay.length < wanted ? chooseSpare(seats, stay, [nodeId]) : null;
  if (spare === null) return { ...begun, nodes: shard.nodes, copies: wanted };
  const why = `${begun.why}: ${inZone(world, spare)} becomes a copy of ${shard.name} beside it`;
  return { ...begun, nodes: [...shard.nodes, spare], copies: wanted, why };
}

/** The members without one that is not needed any more. */
export function leave(world: World, shard: TopologyShard, nodeId: string, why: string): Placement {
  const nodes = shard.nodes.filter(id => id !== nodeId);
  return { nodes, copies: copiesKept(world, shard, nodes), event: 'drain', why };
}

/** Null: it needs no spare, or has never served: then its own nodes are waited for. */
export function shortageOf(world: World, shard: TopologyShard): Shortage | null {
  if (nodeOf(world, shard.primary).runId === null) return null;
  const wanted = wantedCopies(world, shard);
  const staying = stayingOf(world, shard.nodes);
  const stay = staying.filter(id => !isAway(world, id));
  const spares = wanted - stay.length;
  if (spares <= 0) return null;
  const away = staying.filter(id => !stay.includes(id)).map(id => `${id} is ${world.node(id).health}`);
  const leaving = shard.nodes.filter(id => !staying.includes(id)).map(id => `${id} is drained`);
  const inSync = stayingOf(world, membersOf(shard)).filter(id => !isAway(world, id)).length;
  const few = away.length + leaving.length === 0 ? [`it has ${staying.length} members`] : [];
  return {
    ...{ wanted, spares },
    why: `${inSync} of ${wanted} copies are in sync${leaving.length > 0 ? ' and stay' : ''} (${[...away, ...leaving, ...few].join(', ')})`,
    stay,
    fit: sparesOf(world).filter(id => whyUnfit(world, shard, id) === null),
  };
}

/** It does not serve, or has not for long; one that may answer the next moment is none. */
function isAway(world: World, id: string): boolean {
  const { health } = world.node(id);
  return isGivenUp(world, id) || health === 'crashed' || health === 'hung';
}

/** Whether a member has been away for long, and nothing can be done about it. */
export function isWithoutSpare(world: World, shard: TopologyShard, id: string): boolean {
  return isGivenUp(world, id) && whyNoSpare(world, shard, id) !== null;
}

/** Why no spare can take the place of this member; null: one can. */
export function whyNoSpare(world: World, shard: TopologyShard, id: string): string | null {
  const stay = stayingOf(world, shard.nodes).filter(other => other !== id);
  const seats = { world, shard, wishes: () => null };
  if (chooseSpare(seats, stay, []) !== null) return null;
  const spares = sparesOf(world).map(spare => `${inZone(world, spare)} ${whyUnfit(world, shard, spare)}`);
  return spares.length === 0 ? 'there is no spare' : `no spare can be used: ${spares.join(', ')}`;
}

/** Why a node cannot become a member of this shard; null: it can. */
export function whyUnfit(world: World, shard: TopologyShard, id: string): string | null {
  const owner = world.topology.shards.find(one => one.nodes.includes(id));
  if (owner !== undefined) return `is a member of ${owner.name}`;
  const { health, ready, needs } = world.node(id);
  if (nodeOf(world, id).draining) return 'is drained itself';
  if (world.isEmptying(id)) return 'is just being emptied';
  if (health !== 'up') return `is ${health}`;
  if (ready === null) return `is not taken over${needs === null ? '' : ` (${needs})`}`;
  const misfit = unfit(world, shard.primary, id);
  return misfit === null ? null : `does not fit (${misfit})`;
}

/** A spare comes in the place of a lost member, or beside members that are drained. */
function withSpare(seats: Seats): Placement | null {
  const { world, shard, wanted, stay, isShort, idle } = seats;
  if (!isShort) return null;
  const lost = idle.find(id => isGivenUp(world, id));
  const isFew = stay.length < wanted;
  if (lost === undefined && !isFew) return null;
  const remaining = stay.filter(id => id !== lost);
  const leaving = shard.nodes.filter(id => !stay.includes(id));
  const spare = chooseSpare(seats, remaining, leaving);
  if (spare === null) return null;
  if (lost !== undefined) {
    const why = `${lost} has been away for ${COMES_BACK_MS / 1000} s: ${inZone(world, spare)} takes its place`;
    return placed(
      seats,
      shard.nodes.map(id => (id === lost ? spare : id)),
      'place',
      why,
    );
  }
  const why =
    leaving.length > 0
      ? `${leaving.join(', ')} is to be free: ${inZone(world, spare)} becomes a copy of ${shard.name} beside it`
      : `the shard has fewer members than copies are wanted: ${inZone(world, spare)} is added`;
  return placed(seats, [...shard.nodes, spare], leaving.length > 0 ? 'drain' : 'place', why);
}

/** What was noted for a drain that is over is forgotten. */
function tidied(seats: Seats): Placement | null {
  const { shard } = seats;
  if (shard.copies === undefined) return null;
  const next = placed(seats, shard.nodes, 'drain', `no member of ${shard.name} is drained any more`);
  return next.copies === null ? next : null;
}

function placed({ world, shard }: Seats, nodes: readonly string[], event: Placement['event'], why: string): Placement {
  return { nodes, copies: copiesKept(world, shard, nodes), event, why };
}

/** Null: nobody of these is drained, and there is none too many that was added for that. */
function copiesKept(world: World, shard: TopologyShard, nodes: readonly string[]): number | null {
  const copies = wantedCopies(world, shard);
  const isDraining = stayingOf(world, nodes).length < nodes.length;
  const isTooMany = shard.copies !== undefined && nodes.length > copies;
  return isDraining || isTooMany ? copies : null;
}

export function isGivenUp(world: World, id: string): boolean {
  const { unwellSinceMs, health } = world.node(id);
  if (health === 'up' || unwellSinceMs === null) return false;
  return world.nowMs - Math.max(unwellSinceMs, world.trustedSinceMs) >= COMES_BACK_MS;
}

/** A fit spare as a person wishes it for one that leaves; else in the zone that those who remain use least. */
function chooseSpare(
  { world, shard, wishes }: Pick<Seats, 'world' | 'shard' | 'wishes'>,
  remaining: readonly string[],
  leaving: readonly string[],
): string | null {
  const able = sparesOf(world).filter(id => whyUnfit(world, shard, id) === null);
  // What holds data that was never of this cluster will not be copied over.
  const free = able.filter(id => nodeOf(world, id).runId !== null || world.node(id).report?.keys === 0);
  const fit = free.length > 0 ? free : able;
  const wanted = leaving.flatMap(id => wishes(id) ?? []);
  const zoneOf = (id: string): string => nodeOf(world, id).zone;
  const first = leastUsedZone(fit, remaining, zoneOf);
  const named = fit.find(id => wanted.some(({ to }) => to === id));
  return named ?? fit.find(id => wanted.some(({ zone }) => zone === zoneOf(id))) ?? first ?? null;
}

/** Of some nodes the first in a zone that others use least; null: there are none. */
export function leastUsedZone(
  ids: readonly string[],
  others: readonly string[],
  zoneOf: (id: string) => string,
): string | null {
  const uses = (id: string): number => others.filter(other => zoneOf(other) === zoneOf(id)).length;
  const [first] = [...ids].sort((a, b) => uses(a) - uses(b));
  return first ?? null;
}

/** Whether a leader that has just begun may yet find it fit. */
export function isBeingMet(world: World, id: string): boolean {
  const { health, ready, needs } = world.node(id);
  return health === 'unknown' || health === 'suspect' || (health === 'up' && ready === null && needs === null);
}

/** Nodes in no shard, in the order of the topology. */
export function sparesOf(world: World): string[] {
  const taken = new Set(world.topology.shards.flatMap(one => one.nodes));
  return world.topology.nodes.flatMap(({ id }) => (taken.has(id) ? [] : [id]));
}

function inZone(world: World, id: string): string {
  return `${id} (zone ${nodeOf(world, id).zone})`;
}

/** A shard with other members, and at the same time nodes that are drained, or no longer. */
export function* placeMembers(
  world: World,
  name: string,
  { nodes, copies, why }: Placement,
  draining: Readonly<Record<string, boolean>> = {},
): Procedure<void> {
  const { copies: before, ...shard } = shardOf(world, name);
  const next = { ...shard, nodes, ...(copies === null ? {} : { copies }) };
  yield* publishChange({ shards: [next], runIds: {}, draining }, why);
}
