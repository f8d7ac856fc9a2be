import {
  type CurrentPortion,
  currentRoute,
  type Portion,
  type Route,
  routeOf,
  type TopologyMove,
} from '../../topology/move.ts';
import { closePortion } from './close-portion.ts';
import { dropEvicted } from './drop-evicted.ts';
import { endMove, heldBy, LEFT_OVER, reweighed } from './end-move.ts';
import { type Inspection, inspectGiver, type PortionSize } from './inspect-giver.ts';
import { type FoundKey, type LargeKeys, MOST_BYTES, megabytes, named } from './large-keys.ts';
import type { MovePace } from './move-pace.ts';
import { type Departure, preparePortion, REFUSED, SET_IS_GONE, startMoving, takeBack } from './prepare-portion.ts';
import { DONE, type Ending, gaveUp, type Procedure, publishChange } from './procedure.ts';
import { moveOf, type Side, sideNow, whyNotReady } from './pull-keys.ts';
import { whyNoTaker } from './set-up-node.ts';
import type { MovePhase } from './setup.ts';
import { shareFunctions } from './share-functions.ts';
import { type Moved, type Walked, walkPortion } from './walk-portion.ts';
import { membersOf, shardOf, standingOf, type World } from './world.ts';

/**
 * What to do next for the move that is on, from what is published and what was found out:
 *
 *   an order › a portion that is *preparing* › one that is *moving* › the next one › the end
 *
 * As with shards, whatever an earlier leader left half-done is seen in the topology: *preparing* is gone on with (fences
 * and set are made again), *moving* is walked, and a portion whose set is gone although nothing is left of it was closed.
 */
export type MovePlanName = 'order' | 'inspect' | 'prepare' | 'start' | 'take back' | 'walk' | 'drop' | 'close' | 'end';

export interface MovePlan {
  readonly name: MovePlanName;
  readonly why: string;
  /** Shards for which it publishes, so that nothing else is begun there. */
  readonly occupies: readonly string[];
  begin(): Procedure<Ending>;
}

export interface MoveDecision {
  readonly phase: MovePhase;
  readonly why: string;
  readonly needs: string | null;
  readonly plan: MovePlan | null;
}

/** What is to be written into the move, by order or because it cannot go on. */
export interface Wish {
  readonly change: Partial<Pick<TopologyMove, 'paused' | 'aborting' | 'keysPerSecond' | 'allowStalls'>>;
  readonly why: string;
}

export interface MoveMemory {
  readonly wishes: Wish[];
  readonly pace: MovePace;
  readonly large: LargeKeys;
  readonly moved: Moved;
  /** By giver. */
  readonly inspections: Map<string, Inspection>;
  /** Index of the portion whose taker has got the functions of its giver. */
  shared: number | null;
  /** Where a whole walk has found none of the portion that has this set. */
  empty: { readonly set: number; readonly giver: Side } | null;
  /** The set that was found to be gone. */
  gone: number | null;
  /** A person has accepted what follows from that. */
  accepted: number | null;
  evicted: number;
  /** Sets that were begun by this leader. */
  sets: number;
}

/** What shards are occupied with, besides what is published of them. */
export interface ShardsNow {
  /** Why a shard is no good to give keys to now, though it could take them: its copies are just coming about; null: it is good. */
  whyUnsettled(name: string): string | null;
}

/** A person's own pause needs no advice. */
export const AS_ORDERED = 'as ordered';

export function decideMove(world: World, memory: MoveMemory, shards: ShardsNow): MoveDecision {
  const move = moveOf(world);
  const { current, paused } = move;
  const [wish] = memory.wishes;
  if (wish !== undefined)
    return { phase: phaseOf(move), why: wish.why, needs: null, plan: publishWish(world, memory, wish) };
  if (current?.phase === 'preparing') return decidePreparing(world, memory, move, current);
  if (paused !== null) {
    const needs = paused === AS_ORDERED ? null : `${paused}: ringside move resume, or ringside move abort`;
    return { phase: 'paused', why: paused, needs, plan: null };
  }
  return current === null ? decideNext(world, memory, shards) : decideMoving(world, memory, move, current);
}

function phaseOf({ current, paused }: TopologyMove): MovePhase {
  if (current?.phase === 'preparing') return 'prepares';
  if (paused !== null) return 'paused';
  return current === null ? 'waits' : 'moves';
}

function publishWish(world: World, memory: MoveMemory, wish: Wish): MovePlan {
  return {
    name: 'order',
    why: wish.why,
    occupies: [],
    *begin() {
      memory.wishes.shift();
      yield* publishChange({ shards: [], runIds: {}, move: { ...moveOf(world), ...wish.change } }, wish.why);
      return DONE;
    },
  };
}

function pause(world: World, memory: MoveMemory, why: string): MoveDecision {
  const wish: Wish = { change: { paused: why }, why: `the move stands still: ${why}` };
  return {
    phase: 'paused',
    why,
    needs: null,
    plan: { ...publishWish(world, memory, wish), begin: () => publishPause(world, wish) },
  };
}

function* publishPause(world: World, { change, why }: Wish): Procedure<Ending> {
  yield* publishChange({ shards: [], runIds: {}, move: { ...moveOf(world), ...change } }, why);
  return DONE;
}

function waits(why: string): MoveDecision {
  return { phase: 'waits', why, needs: null, plan: null };
}

function decidePreparing(world: World, memory: MoveMemory, move: TopologyMove, current: CurrentPortion): MoveDecision {
  const { giver, taker } = currentRoute(move) as Route;
  const notReady = whyNotReady(world, giver) ?? whyNotReady(world, taker);
  if (notReady !== null) return { phase: 'prepares', why: `waits: ${notReady}`, needs: null, plan: null };
  const occupies = [giver, taker];
  if (move.aborting && current.way === 'there') {
    const why = `nothing of the portion from ${giver} to ${taker} has moved yet: it stays`;
    return {
      phase: 'prepares',
      why,
      needs: null,
      plan: { name: 'take back', why, occupies, begin: () => takeBack(world, why) },
    };
  }
  const why = `the portion from ${giver} to ${taker} goes on being prepared`;
  const begin = (): Procedure<Ending> => startOrPause(world, memory, startMoving(world));
  return { phase: 'prepares', why, needs: null, plan: { name: 'start', why, occupies, begin } };
}

/** Where the taker takes not even the set: the portion stays, until a person has made room. */
function* startOrPause(world: World, memory: MoveMemory, procedure: Procedure<Ending>): Procedure<Ending> {
  const ending = yield* procedure;
  const { current, paused } = moveOf(world);
  if (ending.done || paused !== null || !ending.why.startsWith(REFUSED)) return ending;
  if (current !== null && current.way !== 'return') yield* takeBack(world, `the move stands still: ${ending.why}`);
  memory.wishes.push({ change: { paused: ending.why }, why: `the move stands still: ${ending.why}` });
  return ending;
}

function decideMoving(world: World, memory: MoveMemory, move: TopologyMove, current: CurrentPortion): MoveDecision {
  const { giver, taker } = currentRoute(move) as Route;
  const notReady = whyNotReady(world, giver) ?? whyNotReady(world, taker);
  if (notReady !== null) return waits(notReady);
  const { set, way, index } = current;
  const isGone = memory.gone === set;
  if (move.aborting && way === 'there' && !isGone) {
    return departs(world, memory, { index, way: 'return', thereSet: set });
  }
  const { empty } = memory;
  if (empty !== null && empty.set === set && empty.giver.target.runId === sideNow(world, giver).target.runId) {
    const why = `nothing is left of the portion from ${giver} to ${taker}`;
    const plan: MovePlan = {
      name: 'close',
      why,
      occupies: [giver, taker],
      begin: () => closePortion(world, empty.giver),
    };
    return { phase: 'closes', why, needs: null, plan };
  }
  if (isGone) {
    const why = `the set of pulled keys is gone from ${taker}`;
    const begin = function* (): Procedure<Ending> {
      const dropped = dropEvicted(world, memory.accepted === set, keys => {
        memory.evicted += keys;
      });
      return settle(world, memory, set, yield* dropped);
    };
    return { phase: 'moves', why, needs: null, plan: { name: 'drop', why, occupies: [], begin } };
  }
  const why = `keys go from ${giver} to ${taker}`;
  const begin = function* (): Procedure<Ending> {
    const size = way === 'there' ? sizeOf(memory, giver, index) : undefined;
    return settle(world, memory, set, yield* walkPortion(world, memory, size));
  };
  return { phase: 'moves', why, needs: null, plan: { name: 'walk', why, occupies: [], begin } };
}

/** What comes of a walk. */
function settle(world: World, memory: MoveMemory, set: number, walked: Walked): Ending {
  if (walked.kind === 'again') {
    if (memory.gone === set) memory.gone = null;
    return gaveUp(walked.why);
  }
  if (walked.kind === 'empty') memory.empty = { set, giver: walked.giver };
  else if (walked.kind === 'closed') memory.gone = set;
  else if (moveOf(world).paused === null)
    memory.wishes.push({ change: { paused: walked.why }, why: `the move stands still: ${walked.why}` });
  return DONE;
}

function decideNext(world: World, memory: MoveMemory, shards: ShardsNow): MoveDecision {
  const move = moveOf(world);
  const index = move.aborting ? move.moved - 1 : move.moved;
  const portion = move.portions[index];
  if (portion === undefined) return decideEnd(world, memory, move);
  const way = move.aborting ? 'back' : 'there';
  const { giver, taker } = routeOf(portion, way);
  const notReady =
    whyNotReady(world, giver) ?? whyNotReady(world, taker) ?? whyNotWhole(world, giver) ?? whyNotWhole(world, taker);
  if (notReady !== null) return waits(notReady);
  const unsettled = shards.whyUnsettled(taker);
  if (unsettled !== null) return waits(unsettled);
  const isInspected = memory.inspections.has(giver);
  const isNew = shardOf(world, taker).weight === 0;
  if (way === 'there' && !(isInspected && (memory.shared === index || !isNew))) {
    const why = isInspected
      ? `${taker} is given the functions that ${giver} has`
      : `the keys of ${giver} are looked through before any goes to ${taker}`;
    const plan: MovePlan = { name: 'inspect', why, occupies: [], begin: () => inspect(world, memory, index, portion) };
    return { phase: 'inspects', why, needs: null, plan };
  }
  const obstacle = way === 'there' ? obstacleTo(world, memory, move, index, portion) : null;
  if (obstacle !== null) return pause(world, memory, obstacle);
  return departs(world, memory, { index, way, thereSet: null });
}

/** While a portion is prepared its keys are held: so all that has to answer then should be well before. */
function whyNotWhole(world: World, name: string): string | null {
  const { joining, inSync } = shardOf(world, name);
  if (joining !== null) return `${joining} is just joining ${name}`;
  const silent = inSync.find(id => standingOf(world, id) !== 'there' || world.node(id).unwellSinceMs !== null);
  return silent === undefined ? null : `${silent} of ${name} does not answer, or is not taken over`;
}

function departs(world: World, memory: MoveMemory, departure: Omit<Departure, 'set'>): MoveDecision {
  const { giver, taker } = routeOf(moveOf(world).portions[departure.index] as Portion, departure.way);
  const why = `portion ${departure.index + 1} goes from ${giver} to ${taker}`;
  const begin = function* (): Procedure<Ending> {
    memory.moved.keysOfPortion = 0;
    const ending = yield* startOrPause(
      world,
      memory,
      preparePortion(world, { ...departure, set: nextSet(world, memory) }),
    );
    if (!ending.done && ending.why === SET_IS_GONE) memory.gone = departure.thereSet;
    return ending;
  };
  return { phase: 'prepares', why, needs: null, plan: { name: 'prepare', why, occupies: [giver, taker], begin } };
}

/** Of each begin another, whoever leads; a number that was not published is not missed. */
function nextSet({ term }: World, memory: MoveMemory): number {
  return term * SETS_A_TERM + memory.sets++ + 1;
}

const SETS_A_TERM = 1_000_000;

function* inspect(world: World, memory: MoveMemory, index: number, { source, target }: Portion): Procedure<Ending> {
  const isNew = shardOf(world, target).weight === 0;
  if (
    isNew &&
    !moveOf(world)
      .portions.slice(0, index)
      .some(one => one.target === target)
  ) {
    // What it held would come to light among the keys that it gets.
    const held = yield* heldBy(world, target);
    if (held !== null) return stopOver(world, memory, held);
  }
  if (isNew) {
    const why = yield* shareFunctions(world, source, target);
    if (why !== null) return gaveUp(why);
  }
  if (!memory.inspections.has(source)) {
    const inspection = yield* inspectGiver(world, source, memory.pace, memory.large);
    if (typeof inspection === 'string') return gaveUp(inspection);
    memory.inspections.set(source, inspection);
  }
  memory.shared = index;
  return DONE;
}

/** Keys in the wrong place are a person's business: they were put there by somebody who knows nothing of the ring. */
function stopOver(world: World, memory: MoveMemory, why: string): Ending {
  if (!why.startsWith(LEFT_OVER)) return gaveUp(why);
  const paused = why.slice(LEFT_OVER.length);
  if (moveOf(world).paused === null)
    memory.wishes.push({ change: { paused }, why: `the move stands still: ${paused}` });
  return DONE;
}

function sizeOf({ inspections }: MoveMemory, giver: string, index: number): PortionSize | undefined {
  return inspections.get(giver)?.portions.get(index);
}

/** What of a portion should be known, and changed or accepted, before it is begun; null: nothing. */
function obstacleTo(
  world: World,
  memory: MoveMemory,
  { allowStalls }: TopologyMove,
  index: number,
  { source, target }: Portion,
): string | null {
  const members = membersOf(shardOf(world, target));
  const unable = members.flatMap(id => whyNot(world, source, id) ?? []);
  if (unable.length > 0) return `${target} cannot take keys of ${source}: ${unable.join('; ')}`;
  const size = sizeOf(memory, source, index);
  if (size === undefined) return null;
  const impossible = size.large.filter(({ bytes }) => bytes > MOST_BYTES);
  if (impossible.length > 0)
    return `no Redis takes such values in one piece: ${list(memory, impossible)}: make them smaller`;
  const { move, detect } = world.settings;
  const deadly = size.large.filter(({ bytes }) => memory.large.stallMs(bytes) > detect.hungMs / 2);
  if (deadly.length > 0) {
    return `nodes that are busy with one key for so long would be taken for dead (supervisor.detect.hung is ${detect.hungMs} ms): ${list(memory, deadly)}: make them smaller, or raise that`;
  }
  const { stallMs } = move;
  const stalling = size.large.filter(({ bytes }) => memory.large.stallMs(bytes) > stallMs);
  if (stalling.length > 0 && !allowStalls) {
    return `keys of ${source} would hold their shard up for longer than ${stallMs} ms (supervisor.move.stall): ${list(memory, stalling)}: make them smaller, or ringside move resume --allow-stalls`;
  }
  const neededBytes = size.bytes + size.keys * MEMBER_BYTES;
  const full = members.find(id => !hasRoom(world, id, neededBytes));
  if (full === undefined) return null;
  const { usedMemoryBytes = 0, maxMemoryBytes = 0 } = world.node(full).report ?? {};
  return `${full} has no room for the next portion: ${megabytes(neededBytes)} more than the ${megabytes(usedMemoryBytes)} that it uses, of ${megabytes(maxMemoryBytes)} (maxmemory)`;
}

function whyNot(world: World, source: string, id: string): string | null {
  const [node, giver] = [world.node(id).ready, world.node(shardOf(world, source).primary).ready];
  const why = node === null || giver === null ? null : whyNoTaker(node, giver);
  return why === null ? null : `${id}: ${why}`;
}

/** About what a member of the set of pulled keys takes. */
const MEMBER_BYTES = 96;

function hasRoom(world: World, id: string, neededBytes: number): boolean {
  const { report } = world.node(id);
  // A cache makes room by itself.
  if (report === null || report.maxMemoryBytes === 0 || report.maxMemoryPolicy.startsWith('allkeys-')) return true;
  return report.usedMemoryBytes + neededBytes <= report.maxMemoryBytes;
}

function list({ large }: MoveMemory, keys: readonly FoundKey[]): string {
  const names = [...keys]
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 5)
    .map(({ database, key, bytes }) => {
      return `"${named(key)}" in database ${database} (${megabytes(bytes)}, about ${Math.round(large.stallMs(bytes))} ms)`;
    });
  return keys.length > names.length ? `${names.join(', ')} and ${keys.length - names.length} more` : names.join(', ');
}

function decideEnd(world: World, memory: MoveMemory, move: TopologyMove): MoveDecision {
  const why = move.aborting ? 'all keys are back where they were' : 'all portions have arrived';
  const occupies = move.aborting ? [] : reweighed(world, move.weights).map(({ name }) => name);
  const begin = function* (): Procedure<Ending> {
    const ending = yield* endMove(world);
    return ending.done ? ending : stopOver(world, memory, ending.why);
  };
  return { phase: 'ends', why, needs: null, plan: { name: 'end', why, occupies, begin } };
}
