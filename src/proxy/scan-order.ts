import { murmur3 } from '../ring/hash.ts';
import type { TopologyMove } from '../topology/move.ts';
import { currentRoute } from '../topology/move.ts';
import type { Topology } from '../topology/snapshot.ts';

/**
 * In which order SCAN walks the shards, and a tag of it by which a cursor is known to belong to it.
 *
 * A key that is there all the time must be found though it goes from one shard to another in the midst of the walk. Within
 * one move a key goes once at the most, from the source of a portion to its target; so every source is walked before the
 * targets of its portions, and the order stays the same until the move turns round or is over. Let a key go from S to T:
 *
 *   S was walked to its end before that   the key was on S throughout that walk, which found it
 *   S was not                             T is walked behind S, so the key was on T throughout the walk of T, which found it
 *
 * Where keys move in a circle (A gives to B and B to A, as when the ring's hash changes) there is no such order for the
 * whole move. Then each portion has one of its own, with its giver in front and its taker at the end, and a walk that a
 * portion begins or ends under is begun anew; it ends as soon as portions take longer than the walk.
 *
 * A shard that is yet to be given its first key is passed over: whatever it is given later was found where it came from.
 */
export class ScanOrder {
  /** Names of the shards. */
  readonly names: readonly string[];
  /** 0 … 255: of orders that follow each other never the same twice; of others rarely. */
  readonly tag: number;

  constructor({ ring, shards, move }: Pick<Topology, 'ring' | 'shards' | 'move'>) {
    const walked = shards.filter(({ name, weight }) => weight > 0 || (move?.weights[name] ?? 0) > 0);
    const names = walked.map(({ name }) => name);
    const sorted = move === null ? names : sourcesFirst(names, move);
    this.names = sorted ?? aroundPortion(names, move);
    const portion = sorted === null ? [move?.moved, move?.current?.index, move?.current?.way] : null;
    const weights = walked.map(({ name, weight }) => [name, weight, move?.weights[name]]);
    const state = stateOf(move, sorted === null);
    this.tag = state * HASHES + (hashOf(JSON.stringify([ring, weights, move?.id, portion])) % HASHES);
  }
}

const HASHES = 64;

/** 0 … 3: of states that follow each other at once never the same. */
function stateOf(move: TopologyMove | null, isCircular: boolean): number {
  if (move === null) return 0;
  if (isCircular && move.current !== null) return 3;
  return move.aborting ? 2 : 1;
}

/** Each shard that gives keys before those that it gives them to; null: there is no such order. */
function sourcesFirst(names: readonly string[], { portions, aborting }: TopologyMove): string[] | null {
  const givers = new Map<string, Set<string>>(names.map(name => [name, new Set()]));
  for (const { source, target } of portions) {
    if (aborting) givers.get(source)?.add(target);
    else givers.get(target)?.add(source);
  }
  const sorted: string[] = [];
  while (sorted.length < names.length) {
    const next = names.find(
      name => !sorted.includes(name) && [...(givers.get(name) ?? [])].every(one => sorted.includes(one)),
    );
    if (next === undefined) return null;
    sorted.push(next);
  }
  return sorted;
}

function aroundPortion(names: readonly string[], move: TopologyMove | null): string[] {
  const route = currentRoute(move);
  if (route === null) return [...names];
  const { giver, taker } = route;
  return [giver, ...names.filter(name => name !== giver && name !== taker), taker];
}

/** 32 bits without sign. */
export function hashOf(text: string): number {
  const bytes = Buffer.from(text);
  return murmur3(bytes, 0, bytes.length) >>> 0;
}
