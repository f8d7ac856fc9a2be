import type { EngineSettings } from '../../src/supervisor/core/engine.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import type { World } from './world.ts';

/**
 * What a seed decides before anything happens: how large the cluster is, and which kind of trouble it will see.
 */
export interface Plan {
  readonly shards: number;
  /** Copies of each shard, the primary included. */
  readonly copies: number;
  readonly spares: number;
  readonly supervisors: number;
  readonly proxies: number;
  readonly writersPerShard: number;
  readonly writerRestMs: number;
  readonly backlogBytes: number;
  readonly loadFailure: number;
  /** `careful`: one copy of each shard is always left in peace; `harsh`: anything; `cold`: whole shards restart. */
  readonly mood: 'careful' | 'harsh' | 'cold';
  /** How likely it is that something happens to a leader in the moment in which it acts. */
  readonly atEffect: number;
  readonly faultEveryMs: number;
  readonly faultsForMs: number;
  /** Leaders do not look at their own clock: who is cut off from the store leads on, beside its successor. */
  readonly isStubborn: boolean;
  /** What a connection held up when it was given up is never sent. */
  readonly takesBackAtReset: boolean;
  /** A person has nodes drained, and takes that back. */
  readonly drains: boolean;
  /** Only these kinds of trouble; null: all. */
  readonly only: readonly string[] | null;
  readonly settings: EngineSettings;
  /** Clients write keys that any shard may own, and these are moved; null: each writes to one shard alone. */
  readonly move: PlannedMove | null;
}

/** Weights by shard, in their order: at first, and in the end. */
export interface PlannedMove {
  readonly from: readonly number[];
  readonly to: readonly number[];
  /** Into so many parts goes what goes from one shard to another. */
  readonly parts: number;
}

/** Trouble of one kind only comes to places where all of it together hardly ever does. */
const FOCI: readonly (readonly string[])[] = [
  ['cut off', 'break a link', 'slow a link', 'restart a proxy'],
  ['slow a link', 'slow answers', 'blind', 'blind a primary', 'break a link'],
  ['halt a supervisor', 'kill a supervisor', 'halt the store', 'switch over', 'kill a node', 'break a link'],
  ['switch over', 'slow', 'cut', 'drop a connection', 'halt a node', 'kill a primary'],
];

/** `leaning`: what of it is not left to chance. */
export function drawPlan(world: World, leaning: Partial<Plan> = {}): Plan {
  const { random } = world;
  const shards = random.pick([1, 1, 2]);
  const copies = random.pick([2, 3, 3, 3]);
  return {
    shards,
    copies,
    spares: random.pick([0, 0, 1]),
    supervisors: random.pick([1, 2, 3]),
    proxies: random.pick([1, 2, 3]),
    writersPerShard: random.pick([1, 2]),
    writerRestMs: random.pick([3, 15, 40]),
    backlogBytes: random.pick([400, 5000, 10_000_000, 10_000_000]),
    loadFailure: random.pick([0, 0, 0.3]),
    mood: random.pick(['careful', 'careful', 'harsh', 'cold']),
    atEffect: random.pick([0, 0.003, 0.02]),
    faultEveryMs: random.pick([60, 250, 700]),
    faultsForMs: random.pick([4000, 8000]),
    isStubborn: random.pick([false, false, true]),
    takesBackAtReset: random.pick([true, false]),
    drains: false,
    only: random.pick([null, null, null, ...FOCI]),
    settings: {
      detect: { everyMs: 50, crashedMs: 200, hungMs: 800 },
      rebuild: { parallel: random.pick([1, 2]), maxLagBytes: random.pick([200, 1_000_000]) },
      move: {
        keysPerSecond: 20_000,
        workPercent: 50,
        portionKeys: 1000,
        bigKeyBytes: 1_000_000,
        stallMs: 100,
        addedLatencyMs: 5,
      },
      nodeSettings: {},
      keepDefaultUser: random.pick([true, false]),
      inspectUser: random.pick([true, false]),
      replicaReads: random.pick([true, false]),
      copies: {},
    },
    move: null,
    ...leaning,
  };
}

/** The first version: what settings propose, before anybody has seen a node. */
export function firstTopology({ shards, copies, spares, move }: Plan): Topology {
  const names = Array.from({ length: shards * copies + spares }, (_, index) => `n${index + 1}`);
  return {
    cluster: 'sim',
    version: 1,
    term: 0,
    ring: { kind: 'murmur3', vnodes: 16, hash: 'murmur3', hashTag: '{}' },
    shards: Array.from({ length: shards }, (_, index) => {
      const nodes = names.slice(index * copies, (index + 1) * copies);
      return {
        name: `s${index + 1}`,
        weight: move === null ? 1 : (move.from[index] ?? 0),
        epoch: 1,
        primary: nodes[0] as string,
        inSync: [],
        joining: null,
        paused: false,
        nodes,
      };
    }),
    nodes: names.map((id, index) => ({
      id,
      host: `${id}.sim`,
      port: 6379,
      zone: 'abc'.charAt(index % 3),
      runId: null,
      draining: false,
    })),
    move: null,
  };
}
