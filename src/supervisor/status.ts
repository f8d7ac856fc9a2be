import { currentRoute } from '../topology/move.ts';
import type { Topology, TopologyNode, TopologyShard } from '../topology/snapshot.ts';
import type { Observation } from './core/effect.ts';
import type {
  DrainStatus,
  EmptyingStatus,
  EngineStatus,
  MovePhase,
  MoveStatus as MoveWork,
  PrimaryChange,
  ShardStatus as ShardWork,
} from './core/engine.ts';
import type { NodeReport } from './core/node-report.ts';

/**
 * The state of a cluster as people and scripts read it: what the topology says, beside what was seen and is being done.
 *
 * Scripts depend on this form: fields are added, none is renamed or taken away.
 */
export interface ClusterStatus {
  readonly cluster: string;
  /** Version of the topology; 0: none is known yet. */
  readonly version: number;
  /** The highest term of leadership that has published. */
  readonly term: number;
  /** URL of the supervisor that leads; null: nobody, as far as is known. */
  readonly leader: string | null;
  /** URL of the supervisor whose knowledge this is. */
  readonly knownBy: string;
  /** False: whoever tells this is not the leader, watches no node and promotes nobody. */
  readonly changesRoles: boolean;
  /** What is wrong with the supervisor that tells this, or with the whole cluster, in words. */
  readonly problems: readonly string[];
  readonly shards: readonly ShardStatus[];
  /** Nodes in no shard. */
  readonly spares: readonly NodeStatus[];
  /** How far keys have been moved; null: no move is on. */
  readonly move: MoveStatus | null;
}

/** What the leader knows of the move, with what the topology says of it; a follower has the latter alone. */
export interface MoveStatus extends Omit<MoveWork, 'phase'> {
  /** Of each move another. */
  readonly id: number;
  /** `unknown` where no leader tells. */
  readonly phase: MovePhase | 'unknown';
  /** A person has accepted that large keys hold their shards up. */
  readonly allowStalls: boolean;
}

export interface ShardStatus {
  readonly name: string;
  readonly epoch: number;
  /** Node id. */
  readonly primary: string;
  /** Node ids of the copies that hold every acknowledged write, without the primary. */
  readonly inSync: readonly string[];
  readonly joining: string | null;
  /** A planned change of primary is on. */
  readonly paused: boolean;
  /** Copies besides the primary that a write must reach before its client hears of it. */
  readonly required: number;
  /** How many copies it is to have, the primary included; a member more is there while a node is drained. */
  readonly copies: number;
  /** `healthy`, `degraded`, `failing over`, … ; `unknown` where no leader tells. */
  readonly state: string;
  /** What the state rests on, in words. */
  readonly why: string;
  /** What is being done, such as `failover` or `grow`; null: nothing. */
  readonly running: string | null;
  readonly rebuild: RebuildStatus | null;
  /** What only a person can do; null: nothing. */
  readonly needs: string | null;
  /** The last changes of primary, the newest last. */
  readonly changes: readonly ChangeStatus[];
  readonly nodes: readonly NodeStatus[];
}

/** A copy that is being made anew. */
export interface RebuildStatus {
  readonly node: string;
  /** The copy it copies from; null: it needs the newest bytes only. */
  readonly from: string | null;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Bytes of the full copy still to come; 0: none, or not known yet. */
  readonly leftBytes: number;
  readonly lagBytes: number | null;
}

export interface ChangeStatus {
  readonly kind: PrimaryChange['kind'];
  readonly cause: string;
  /** When it was published, in milliseconds since 1970. */
  readonly at: number;
  /** From the decision to the publication. */
  readonly durationMs: number;
  readonly from: string;
  readonly to: string;
}

export interface NodeStatus {
  readonly id: string;
  /** What the node says of itself while it is up; what the topology says while it is not. */
  readonly role: 'primary' | 'replica' | 'spare';
  readonly up: boolean;
  /** Bytes of the primary's history that a replica has not applied; null: not known. */
  readonly lagBytes: number | null;
  /** For how long the primary has been ahead of it, in seconds; null: not known. */
  readonly lagSeconds: number | null;
  readonly address: string;
  readonly zone: string;
  readonly runId: string | null;
  /** A replica's link to what it follows is up; null on others. */
  readonly linkUp: boolean | null;
  readonly usedMemoryBytes: number | null;
  /** What the leader makes of it: `up`, `suspect`, `crashed`, `hung`, `busy`, `denied`; `unknown` where none tells. */
  readonly health: string;
  /** Why the node did not answer; null while it does. */
  readonly error: string | null;
  /** Why it cannot be used, where a person must help; null: nothing. */
  readonly needs: string | null;
  /** A person wants it free. */
  readonly draining: boolean;
  /** How far that has come, and what it needs; null: it is not drained, or no leader tells. */
  readonly drain: DrainStatus | null;
  /** How far it has come to discard what it holds, by order; null: nobody has ordered that, or no leader tells. */
  readonly emptying: EmptyingStatus | null;
}

/** What a supervisor knows besides the topology. */
export interface Knowledge {
  readonly leader: string | null;
  readonly knownBy: string;
  readonly problems: readonly string[];
  /** Only the leader has it. */
  readonly leading: LeaderKnowledge | null;
}

export interface LeaderKnowledge {
  readonly engine: EngineStatus;
  /** What each node last gave as an answer. */
  readonly seen: ReadonlyMap<string, Observation>;
  /** How long a shard's primary has been past an offset, in milliseconds. */
  readonly lagMs: (shard: string, offset: number) => number;
  /** Turns the engine's time into milliseconds since 1970. */
  readonly wallMs: (engineMs: number) => number;
}

/** Puts topology and knowledge side by side; a node without an observation counts as down. */
export function clusterStatus(cluster: string, topology: Topology | null, knowledge: Knowledge): ClusterStatus {
  const { leader, knownBy, problems, leading } = knowledge;
  const members = new Set(topology?.shards.flatMap(shard => shard.nodes));
  const nodes = new Map(topology?.nodes.map(node => [node.id, node]));
  return {
    cluster,
    version: topology?.version ?? 0,
    term: Math.max(topology?.term ?? 0, leading?.engine.term ?? 0),
    leader,
    knownBy,
    changesRoles: leading !== null,
    problems,
    shards: (topology?.shards ?? []).map(shard => shardStatus(shard, nodes, leading)),
    spares: [...nodes.values()].filter(node => !members.has(node.id)).map(node => nodeStatus(node, null, leading)),
    move: topology === null ? null : moveStatus(topology, leading),
  };
}

function moveStatus({ move }: Topology, leading: LeaderKnowledge | null): MoveStatus | null {
  if (move === null) return null;
  const { id, aborting, allowStalls, portions, moved, current, paused, keysPerSecond } = move;
  const own = { id, aborting, allowStalls };
  const work = leading?.engine.move ?? null;
  if (work !== null) return { ...work, ...own };
  const route = currentRoute(move);
  const keysOf = (list: typeof portions): number => list.reduce((sum, portion) => sum + portion.keys, 0);
  return {
    ...own,
    ...{ phase: 'unknown', why: 'no leader tells' },
    ...{ portion: Math.min(moved + 1, portions.length), portions: portions.length },
    ...{ giver: route?.giver ?? null, taker: route?.taker ?? null, way: current?.way ?? null },
    ...{ keysMoved: keysOf(portions.slice(0, moved)), keysInAll: keysOf(portions), bytesMoved: 0 },
    ...{ keysPerSecond: 0, mostKeysPerSecond: keysPerSecond ?? 0 },
    ...{ addedLatencyMs: null, mostAddedLatencyMs: 0, leftMs: null },
    ...{ paused, needs: null, largeKeys: [], evicted: 0 },
  };
}

const UNKNOWN = { state: 'unknown', why: 'no leader tells', running: null, rebuild: null, needs: null, changes: [] };

function shardStatus(
  shard: TopologyShard,
  nodes: ReadonlyMap<string, TopologyNode>,
  leading: LeaderKnowledge | null,
): ShardStatus {
  const { name, epoch, primary, inSync, joining, paused, copies = shard.nodes.length } = shard;
  const work = leading?.engine.shards.find(one => one.name === name);
  const known = work === undefined || leading === null ? UNKNOWN : workStatus(work, leading);
  return {
    ...{ name, epoch, primary, inSync, joining, paused, required: inSync.length, copies },
    ...known,
    nodes: shard.nodes.flatMap(id => {
      const node = nodes.get(id);
      return node === undefined ? [] : [nodeStatus(node, shard, leading)];
    }),
  };
}

function workStatus(work: ShardWork, { wallMs }: LeaderKnowledge) {
  const { state, why, running, rebuild, needs, changes } = work;
  return {
    ...{ state, why, running, needs },
    rebuild:
      rebuild === null
        ? null
        : {
            node: rebuild.nodeId,
            from: rebuild.from,
            since: wallMs(rebuild.sinceMs),
            leftBytes: rebuild.leftBytes,
            lagBytes: rebuild.lagBytes,
          },
    changes: changes.map(({ kind, cause, atMs, durationMs, from, to }) => {
      return { kind, cause, at: wallMs(atMs), durationMs: Math.round(durationMs), from, to };
    }),
  };
}

/** `shard`: null for a spare. */
function nodeStatus(node: TopologyNode, shard: TopologyShard | null, leading: LeaderKnowledge | null): NodeStatus {
  const seen = leading?.seen.get(node.id);
  const known = leading?.engine.nodes.find(one => one.id === node.id);
  const report = seen?.kind === 'report' ? seen.report : null;
  const isPrimary = shard?.primary === node.id;
  return {
    id: node.id,
    role: shard === null ? 'spare' : (report?.role ?? (isPrimary ? 'primary' : 'replica')),
    up: report !== null,
    ...lagOf(shard, isPrimary, known?.lagBytes ?? null, report, leading),
    address: `${node.host}:${node.port}`,
    zone: node.zone,
    runId: report?.runId ?? node.runId,
    linkUp: report?.following?.linkUp ?? null,
    usedMemoryBytes: report?.usedMemoryBytes ?? null,
    health: known?.health ?? 'unknown',
    error: errorOf(seen, leading),
    needs: known?.needs ?? null,
    draining: node.draining,
    drain: known?.drain ?? null,
    emptying: known?.emptying ?? null,
  };
}

function errorOf(seen: Observation | undefined, leading: LeaderKnowledge | null): string | null {
  if (seen !== undefined) return seen.kind === 'report' ? null : seen.text;
  return leading === null ? 'not asked by this supervisor, which does not lead' : 'not asked yet';
}

function lagOf(
  shard: TopologyShard | null,
  isPrimary: boolean,
  lagBytes: number | null,
  report: NodeReport | null,
  leading: LeaderKnowledge | null,
): { lagBytes: number | null; lagSeconds: number | null } {
  if (shard === null || report === null || leading === null) return { lagBytes: null, lagSeconds: null };
  if (isPrimary) return { lagBytes: 0, lagSeconds: 0 };
  if (lagBytes === null) return { lagBytes: null, lagSeconds: null };
  // The two offsets were read at slightly different moments, so that a difference below zero means none.
  const lagMs = lagBytes <= 0 ? 0 : leading.lagMs(shard.name, report.offset);
  return { lagBytes: Math.max(0, lagBytes), lagSeconds: Math.round(lagMs / 100) / 10 };
}
