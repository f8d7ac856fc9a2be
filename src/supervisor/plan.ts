import { createRing, type Ring, type RingConfig } from '../ring/ring.ts';
import { cutPortions, type Portion } from '../topology/move.ts';
import type { Topology } from '../topology/snapshot.ts';
import { ASSUMED_BYTES_PER_MS } from './core/large-keys.ts';
import type { MoveSettings } from './core/setup.ts';
import { basisOf, type Draft, type NewShard } from './plan-draft.ts';

/**
 * What a change of shards would move, between whom, how long it would take and what it would need: the draft of it, with
 * what was seen of the nodes and of a sample of their keys.
 */
export interface MovePlan {
  /** To be given back with the order: it is carried out only while what the plan rests on is the same. */
  readonly basis: string;
  /** One line. */
  readonly summary: string;
  /** Nothing at all would change. */
  readonly isEmpty: boolean;
  /** Why it cannot be done, in words; empty: it can. */
  readonly refused: readonly string[];
  readonly warnings: readonly string[];
  /** Null: the same ring as before. */
  readonly ring: { readonly before: RingConfig; readonly after: RingConfig } | null;
  readonly shardsAdded: readonly NewShard[];
  readonly shardsRemoved: readonly { readonly name: string; readonly nodes: readonly string[] }[];
  readonly weights: readonly { readonly shard: string; readonly before: number; readonly after: number }[];
  /** What changes without any key being moved, in words. */
  readonly nodeChanges: readonly string[];
  readonly flows: readonly PlannedFlow[];
  /** Part of all keys that moves, 0 to 1, by the rings. */
  readonly share: number;
  /** `share` is exact; otherwise it was counted over made-up keys. */
  readonly isExact: boolean;
  /** Estimated. */
  readonly keys: number;
  readonly bytes: number;
  readonly keysInAll: number;
  readonly portions: number;
  readonly keysPerSecond: number;
  /** At that rate, with what each portion costs besides, if nothing slows it down. */
  readonly durationMs: number;
  /** Of each copy of each shard that gets keys. */
  readonly memory: readonly MemoryNeed[];
  /** Of the keys that were looked at, those that go by themselves, the largest first. */
  readonly largeKeys: readonly LargeKey[];
  /** How many keys were looked at. */
  readonly sampled: number;
}

export interface PlannedFlow {
  readonly source: string;
  readonly target: string;
  /** Part of all keys, 0 to 1. */
  readonly share: number;
  readonly keys: number;
  readonly bytes: number;
  readonly portions: number;
}

export interface MemoryNeed {
  readonly shard: string;
  readonly node: string;
  readonly usedBytes: number;
  /** 0: without a limit. */
  readonly maxBytes: number;
  /** At the fullest moment of the move, besides what is used now. */
  readonly neededBytes: number;
}

export interface LargeKey {
  readonly shard: string;
  readonly database: number;
  /** What is not printable stands as `\xHH`. */
  readonly key: string;
  readonly bytes: number;
  /** For how long its shard would be held up, about. */
  readonly stallMs: number;
  /** That is longer than `supervisor.move.stall`: it goes only where a person allows it. */
  readonly needsLeave: boolean;
}

/** What was seen of one shard's keys. */
export interface ShardSample {
  readonly shard: string;
  /** Of all databases. */
  readonly keys: number;
  readonly sampled: readonly SampledKey[];
}

export interface SampledKey {
  readonly database: number;
  /** A character a byte (latin1). */
  readonly key: string;
  readonly bytes: number;
}

/** What was seen of one node. */
export interface NodeFacts {
  readonly usedBytes: number;
  /** 0: without a limit. */
  readonly maxBytes: number;
  /** Of Redis, such as 7.0.15. */
  readonly version: string;
}

export interface PlanSight {
  readonly samples: ReadonlyMap<string, ShardSample>;
  /** By node; one of which nothing was seen is missing. */
  readonly nodes: ReadonlyMap<string, NodeFacts>;
  /** Why shards that keep their keys cannot take part now, by name. */
  readonly troubled: ReadonlyMap<string, string>;
}

/** What a key costs in the set of pulled keys besides its name. */
const MEMBER_BYTES = 90;
/** What a portion takes however few keys it has: it is announced, fenced twice and closed. */
const PORTION_MS = 500;
/** What nodes are busy for a key that moves, and for one that a walk only passes by (measured, with values of 100 bytes). */
const WORK_MS_PER_KEY = 0.02;
const WORK_MS_PER_PASSED_KEY = 0.002;
/** What a sample must differ by from what the ring says, in deviations, before it is believed instead. */
const DOUBT = 5;
const SHOWN_LARGE_KEYS = 20;

/** `portionsOf` gives the same portions that the plan counts. */
export function makePlan(kept: Topology, draft: Draft, sight: PlanSight, settings: MoveSettings): MovePlan {
  const { next, goal, exchange } = draft;
  const flows = goal === null ? [] : flowsOf(draft, goal, sight);
  const portions = portionsOf(flows, settings);
  const keys = sumOf(flows, flow => flow.keys);
  const share = sumOf(exchange.flows, flow => flow.share);
  const memory = memoryNeeds(draft, flows, portions, sight);
  const largeKeys = goal === null ? [] : largeKeysOf(draft, goal, sight, settings);
  const isEmpty = goal === null && draft.nodeChanges.length === 0 && draft.refused.length === 0;
  const unfit = memory.filter(
    ({ usedBytes, maxBytes, neededBytes }) => maxBytes > 0 && usedBytes + neededBytes > maxBytes,
  );
  const givers = new Set(flows.map(({ source }) => source));
  const takers = new Set(flows.map(({ target }) => target));
  const troubled = next.shards.flatMap(({ name }) => {
    const why = sight.troubled.get(name);
    return why !== undefined && (givers.has(name) || takers.has(name)) ? [`shard ${name}: ${why}`] : [];
  });
  const plan = {
    basis: basisOf(kept, draft.choices),
    isEmpty,
    refused: [...draft.refused, ...troubled, ...olderTakers(draft, flows, sight), ...unfit.map(tooLittleMemory)],
    warnings: [...draft.warnings, ...misplaced(draft, sight)],
    ring: draft.ring,
    shardsAdded: draft.added,
    shardsRemoved: draft.removed.map(({ name, nodes }) => ({ name, nodes })),
    weights: draft.weights,
    nodeChanges: draft.nodeChanges,
    flows: flows.map(({ source, target, share, keys, bytes }) => {
      const own = portions.filter(portion => portion.source === source && portion.target === target);
      return { source, target, share, keys, bytes, portions: own.length };
    }),
    ...{ share, isExact: exchange.isExact, keys, bytes: sumOf(flows, flow => flow.bytes) },
    keysInAll: sumOf([...sight.samples.values()], sample => sample.keys),
    portions: portions.length,
    keysPerSecond: settings.keysPerSecond,
    durationMs: durationOf(flows, portions, sight, settings),
    ...{ memory, largeKeys },
    sampled: sumOf([...sight.samples.values()], sample => sample.sampled.length),
  };
  return { ...plan, summary: summaryOf(plan) };
}

/** A giver is walked through once before anything goes, and once for each of its portions. */
function durationOf(
  flows: readonly Flow[],
  portions: readonly Portion[],
  { samples }: PlanSight,
  { keysPerSecond, workPercent }: MoveSettings,
): number {
  const keys = sumOf(flows, flow => flow.keys);
  const givers = [...portions.map(({ source }) => source), ...new Set(flows.map(({ source }) => source))];
  const passed = sumOf(givers, giver => samples.get(giver)?.keys ?? 0);
  const workMs = keys * WORK_MS_PER_KEY + passed * WORK_MS_PER_PASSED_KEY;
  const leastMs = Math.max((keys * 1000) / keysPerSecond, (workMs * 100) / workPercent);
  return Math.ceil(leastMs) + portions.length * PORTION_MS;
}

/** What goes between shards, cut into the portions in which it goes. */
export function portionsOf(
  flows: readonly Pick<PlannedFlow, 'source' | 'target' | 'keys'>[],
  settings: MoveSettings,
): Portion[] {
  return cutPortions(flows, settings.portionKeys);
}

/** What changes, in a few words; the number of keys where it is known. */
export function summaryOf(
  plan: Pick<MovePlan, 'ring' | 'shardsAdded' | 'shardsRemoved' | 'weights' | 'nodeChanges' | 'share' | 'keys'>,
): string {
  const changes = [
    ...plan.shardsAdded.map(({ name, nodes }) => `add shard ${name} (${nodes.join(', ')})`),
    ...plan.shardsRemoved.map(({ name }) => `remove shard ${name}`),
    ...plan.weights.map(({ shard, before, after }) => `weight of shard ${shard} ${after}, was ${before}`),
    ...(plan.ring === null ? [] : ['another ring']),
  ];
  if (changes.length === 0) return plan.nodeChanges.length === 0 ? 'nothing changes' : plan.nodeChanges.join('; ');
  const keys = plan.keys > 0 ? `, about ${plan.keys.toLocaleString('en-US')} keys` : '';
  return `${changes.join('; ')}: ${(100 * plan.share).toFixed(1)} % of the keys move${keys}`;
}

type Flow = Omit<PlannedFlow, 'portions'>;

/**
 * Keys by the arcs, or by the sample where that says clearly otherwise: with hash tags keys may lie on few arcs only.
 */
function flowsOf(draft: Draft, goal: ReadonlyMap<string, number>, { samples }: PlanSight): Flow[] {
  const { next, exchange } = draft;
  const after = ringAfter(draft, goal);
  const counted = new Map<string, { keys: number; bytes: number }>();
  for (const { shard, sampled } of samples.values()) {
    for (const { key, bytes } of sampled) {
      const target = next.shards[after.ownerOf(Buffer.from(key, 'latin1'), 0, key.length)]?.name ?? '';
      const found = counted.get(`${shard} ${target}`) ?? { keys: 0, bytes: 0 };
      counted.set(`${shard} ${target}`, { keys: found.keys + 1, bytes: found.bytes + bytes });
    }
  }
  return exchange.flows.map(({ source: from, target: to, share }) => {
    const [source, target] = [next.shards[from]?.name ?? '', next.shards[to]?.name ?? ''];
    const sample = samples.get(source);
    const owned = exchange.before[from] ?? 0;
    const expected = owned === 0 ? 0 : share / owned;
    const seen = counted.get(`${source} ${target}`)?.keys ?? 0;
    const looked = sample?.sampled.length ?? 0;
    const part = believed(expected, seen, looked);
    const keys = Math.round(part * (sample?.keys ?? 0));
    const each = looked === 0 ? 0 : sumOf(sample?.sampled ?? [], ({ bytes }) => bytes) / looked;
    return { source, target, share, keys, bytes: Math.round(keys * each) };
  });
}

function believed(expected: number, seen: number, looked: number): number {
  if (looked === 0) return expected;
  const deviation = Math.sqrt(looked * expected * (1 - expected));
  return Math.abs(seen - looked * expected) > DOUBT * deviation + 1 ? seen / looked : expected;
}

function ringAfter({ next, ring }: Draft, goal: ReadonlyMap<string, number>): Ring {
  const shards = next.shards.map(({ name }) => ({ name, weight: goal.get(name) ?? 0 }));
  return createRing(ring?.after ?? next.ring, shards);
}

/**
 * What each copy needs at the fullest moment, portion after portion: a shard may give before it takes. The set of pulled
 * keys lies with the taker as long as its portion is under way.
 */
function memoryNeeds(
  { next }: Draft,
  flows: readonly Flow[],
  portions: readonly Portion[],
  { samples, nodes: seenNodes }: PlanSight,
): MemoryNeed[] {
  const balance = new Map<string, number>();
  const fullest = new Map<string, number>();
  for (const { source, target, keys, parts } of portions) {
    const flow = flows.find(one => one.source === source && one.target === target);
    const bytes = (flow?.bytes ?? 0) / parts;
    const sample = samples.get(source)?.sampled ?? [];
    const nameBytes = sample.length === 0 ? 0 : sumOf(sample, ({ key }) => key.length) / sample.length;
    const arrived = (balance.get(target) ?? 0) + bytes;
    balance.set(target, arrived);
    balance.set(source, (balance.get(source) ?? 0) - bytes);
    fullest.set(target, Math.max(fullest.get(target) ?? 0, arrived + keys * (nameBytes + MEMBER_BYTES)));
  }
  return next.shards.flatMap(({ name, nodes }) => {
    const neededBytes = fullest.get(name);
    if (neededBytes === undefined) return [];
    return nodes.flatMap(node => {
      const seen = seenNodes.get(node);
      if (seen === undefined) return [];
      const { usedBytes, maxBytes } = seen;
      return [{ shard: name, node, usedBytes, maxBytes, neededBytes: Math.ceil(neededBytes) }];
    });
  });
}

/** What a newer Redis dumps, an older one refuses: a copy that is older than any of the giver's could never take over. */
function olderTakers({ next }: Draft, flows: readonly Flow[], { nodes: seen }: PlanSight): string[] {
  const versionsOf = (name: string) => {
    const members = next.shards.find(shard => shard.name === name)?.nodes ?? [];
    return members.flatMap(node => {
      const version = seen.get(node)?.version;
      return version === undefined ? [] : [{ node, version, rank: rankOf(version) }];
    });
  };
  const found = flows.flatMap(({ source, target }) => {
    const [newest] = versionsOf(source).sort((a, b) => b.rank - a.rank);
    const [oldest] = versionsOf(target).sort((a, b) => a.rank - b.rank);
    if (newest === undefined || oldest === undefined || oldest.rank >= newest.rank) return [];
    return [
      `${oldest.node} of shard ${target} runs Redis ${oldest.version}, and ${newest.node} of shard ${source} ${newest.version}: an older one cannot read what a newer one gives`,
    ];
  });
  return [...new Set(found)];
}

/** The form of a dump changes with the second number at most. */
function rankOf(version: string): number {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major * 1000 + minor;
}

function tooLittleMemory({ shard, node, usedBytes, maxBytes, neededBytes }: MemoryNeed): string {
  const mb = (bytes: number): string => `${(bytes / 1_000_000).toFixed(1)} MB`;
  return `shard ${shard} cannot hold what it would get: ${node} uses ${mb(usedBytes)} of maxmemory ${mb(maxBytes)} and would need ${mb(neededBytes)} more`;
}

function largeKeysOf(
  draft: Draft,
  goal: ReadonlyMap<string, number>,
  { samples }: PlanSight,
  { bigKeyBytes, stallMs: mostStallMs }: MoveSettings,
): LargeKey[] {
  const after = ringAfter(draft, goal);
  const found = new Map<string, LargeKey>();
  for (const { shard, sampled } of samples.values()) {
    for (const { database, key, bytes } of sampled) {
      if (bytes <= bigKeyBytes) continue;
      const owner = draft.next.shards[after.ownerOf(Buffer.from(key, 'latin1'), 0, key.length)]?.name;
      if (owner === shard) continue;
      const stallMs = Math.ceil(bytes / ASSUMED_BYTES_PER_MS);
      const needsLeave = stallMs > mostStallMs;
      found.set(`${shard} ${database} ${key}`, { shard, database, key: printable(key), bytes, stallMs, needsLeave });
    }
  }
  return [...found.values()].sort((a, b) => b.bytes - a.bytes).slice(0, SHOWN_LARGE_KEYS);
}

function printable(key: string): string {
  const shown = key.length > 200 ? `${key.slice(0, 200)}…` : key;
  return shown.replace(/[^\x20-\x7e…]|\\/g, byte => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** Keys that scripts have made without declaring them lie where no ring looks for them, and so nowhere to be moved. */
function misplaced({ next }: Draft, { samples }: PlanSight): string[] {
  const before = createRing(next.ring, next.shards);
  return [...samples.values()].flatMap(({ shard, sampled }) => {
    const astray = sampled.filter(({ key }) => {
      return next.shards[before.ownerOf(Buffer.from(key, 'latin1'), 0, key.length)]?.name !== shard;
    });
    if (astray.length === 0) return [];
    const name = printable((astray[0] as SampledKey).key);
    return [
      `${astray.length} of ${sampled.length} keys looked at on shard ${shard} are not where the ring places them (such as ${name}; made by scripts without declaring them, or before the shard was Ringside's): they do not move`,
    ];
  });
}

function sumOf<T>(list: readonly T[], value: (item: T) => number): number {
  return list.reduce((sum, item) => sum + value(item), 0);
}
