import { MovingRing, RingPair } from '../ring/moving-ring.ts';
import { createRing, type Ring, type RingConfig, type StillRing } from '../ring/ring.ts';
import type { Topology, TopologyShard } from './snapshot.ts';

/**
 * Keys on their way from the owners of `Topology.ring` to those of another ring, as far as it has come.
 *
 * They go in portions, one after another; at most one is under way at any time. Of that one nobody reads or writes a key
 * before it was pulled over to where it goes (`REPLICATION.md`, M1 to M6). Until the last portion has arrived,
 * `Topology.ring` and the shards' weights say where keys came from.
 */
export interface TopologyMove {
  /** Of each move another: the version of the topology with which it began. */
  readonly id: number;
  /** The ring that keys go to. */
  readonly ring: RingConfig;
  /** The weight of every shard on it; 0: it will own nothing, and is then taken out of the cluster. */
  readonly weights: Readonly<Record<string, number>>;
  /** In the order in which they go. */
  readonly portions: readonly Portion[];
  /** So many of the first are with their targets. */
  readonly moved: number;
  /** The one under way; null: none is. */
  readonly current: CurrentPortion | null;
  /** What was moved goes back, the last first; then the move is over. */
  readonly aborting: boolean;
  /** Why it stands still, in words: a person's order, or what is in the way; null: it goes on. */
  readonly paused: string | null;
  /** A person's bound in the place of `supervisor.move.keysPerSecond`; null: none. */
  readonly keysPerSecond: number | null;
  /** A person has accepted that large keys hold their shards up for longer than `supervisor.move.stall`. */
  readonly allowStalls: boolean;
}

/** All keys that go from one shard to another, or an even part of them by hash. */
export interface Portion {
  readonly source: string;
  readonly target: string;
  /** 0 … parts - 1 */
  readonly part: number;
  readonly parts: number;
  /** Estimated when the move was planned. */
  readonly keys: number;
}

/**
 * `preparing`: nobody touches its keys; `moving`: a key is pulled before it is touched. Both on the epochs that were
 * published with `preparing`, or later ones.
 */
export interface CurrentPortion {
  /** In `portions`. */
  readonly index: number;
  readonly phase: 'preparing' | 'moving';
  /**
   * `there`: from source to target; `back`: from target to source, after it had arrived; `return`: from target to source
   * before it had, when some keys are here and some there.
   */
  readonly way: 'there' | 'back' | 'return';
  /** Names the set of pulled keys, which lies with the taker: of each begin another (`pulledSetName`). */
  readonly set: number;
  /** Of `return`: the set of the way there, which lies with the giver; else null. */
  readonly thereSet: number | null;
}

/** Between whom the portion under way goes, by name. */
export interface Route {
  readonly giver: string;
  readonly taker: string;
}

export function routeOf({ source, target }: Portion, way: CurrentPortion['way']): Route {
  return way === 'there' ? { giver: source, taker: target } : { giver: target, taker: source };
}

/** Between whom keys go just now; null: no portion is under way. */
export function currentRoute(move: TopologyMove | null): Route | null {
  const current = move?.current ?? null;
  if (move === null || current === null) return null;
  return routeOf(move.portions[current.index] as Portion, current.way);
}

/** Whether a shard may hold keys now: it owned some before the move, or some have come or are coming with the move. */
export function mayHoldKeys(
  { name, weight }: Pick<TopologyShard, 'name' | 'weight'>,
  move: TopologyMove | null,
): boolean {
  if (weight > 0) return true;
  if (move === null) return false;
  const { portions, moved, current } = move;
  return portions.some(({ target }, index) => target === name && (index < moved || index === current?.index));
}

/** Who owns which key now: with a portion under way, its keys answer with their taker and `ON_THE_MOVE`. */
export function ringInForce({ ring, shards, move }: Pick<Topology, 'ring' | 'shards' | 'move'>): Ring {
  const before = createRing(ring, shards);
  if (move === null) return before;
  const indices = new Map(shards.map(({ name }, index) => [name, index]));
  const indexOf = (name: string): number => indices.get(name) as number;
  const portions = move.portions.map((portion, index) => {
    const { source, target, part, parts } = portion;
    const isOnTheMove = move.current?.index === index;
    const taker = isOnTheMove ? routeOf(portion, move.current.way).taker : index < move.moved ? target : source;
    return { source: indexOf(source), target: indexOf(target), part, parts, owner: indexOf(taker), isOnTheMove };
  });
  return new MovingRing(before, ringAfter(move, shards), portions);
}

/** The ring that a move leads to. */
export function ringAfter(
  { ring, weights }: Pick<TopologyMove, 'ring' | 'weights'>,
  shards: readonly TopologyShard[],
): StillRing {
  return createRing(
    ring,
    shards.map(({ name }) => ({ name, weight: weights[name] ?? 0 })),
  );
}

/** Tells which keys are of one portion, wherever it is. */
export class PortionKeys {
  readonly #rings: RingPair;
  readonly #source: number;
  readonly #target: number;
  readonly #portion: Portion;

  constructor({ ring, shards }: Pick<Topology, 'ring' | 'shards'>, move: TopologyMove, portion: Portion) {
    this.#rings = new RingPair(createRing(ring, shards), ringAfter(move, shards));
    this.#source = shards.findIndex(({ name }) => name === portion.source);
    this.#target = shards.findIndex(({ name }) => name === portion.target);
    this.#portion = portion;
  }

  /** Whether the key in the first `length` bytes is one of them. */
  has(bytes: Uint8Array, length = bytes.length): boolean {
    const { part, parts } = this.#portion;
    this.#rings.look(bytes, 0, length);
    if (this.#rings.source !== this.#source || this.#rings.target !== this.#target) return false;
    return this.#rings.part(parts) === part;
  }
}

/** Tells of which portion a key is, for looks at many portions at once. */
export class PortionFinder {
  readonly #rings: RingPair;
  readonly #shardCount: number;
  /** By source × shards + target: the portions of that pair, in the order of their parts. */
  readonly #pairs = new Map<number, number[]>();

  constructor({ ring, shards }: Pick<Topology, 'ring' | 'shards'>, move: TopologyMove) {
    this.#rings = new RingPair(createRing(ring, shards), ringAfter(move, shards));
    this.#shardCount = shards.length;
    for (const [index, { source, target, part }] of move.portions.entries()) {
      const [from, to] = [source, target].map(wanted => shards.findIndex(({ name }) => name === wanted));
      const pair = (from as number) * shards.length + (to as number);
      const parts = this.#pairs.get(pair) ?? [];
      parts[part] = index;
      this.#pairs.set(pair, parts);
    }
  }

  /** Index of the key's portion; -1: it goes nowhere. */
  indexOf(key: Uint8Array): number {
    this.#rings.look(key, 0, key.length);
    const { source, target } = this.#rings;
    const parts = source === target ? undefined : this.#pairs.get(source * this.#shardCount + target);
    return parts?.[this.#rings.part(parts.length)] ?? -1;
  }
}

/** What goes from one shard to another, as far as it is known before it goes. */
export interface Flow {
  readonly source: string;
  readonly target: string;
  /** Estimated. */
  readonly keys: number;
}

/** Cuts what goes between shards into portions of about so many keys. */
export function cutPortions(flows: readonly Flow[], portionKeys: number): Portion[] {
  return flows.flatMap(({ source, target, keys }) => {
    const parts = Math.min(MOST_PARTS, Math.max(1, Math.ceil(keys / portionKeys)));
    return Array.from({ length: parts }, (_, part) => ({ source, target, part, parts, keys: Math.ceil(keys / parts) }));
  });
}

/** Each part costs walks over all keys of its giver. */
const MOST_PARTS = 32;
