import type { Clock } from '../base/clock.ts';
import type { Config } from '../config/config.ts';
import type { TopologyMove } from '../topology/move.ts';
import type { Topology } from '../topology/snapshot.ts';
import { validateTopology } from '../topology/validate.ts';
import { NodeCalls } from './act.ts';
import type { Observation } from './core/effect.ts';
import type { NodeStatus, OrderAnswer } from './core/engine.ts';
import type { NodeReport } from './core/node-report.ts';
import type { SupervisorIdentity } from './identity.ts';
import { LEADS_NO_MORE, type Leading, type Sight } from './leading.ts';
import { type MovePlan, makePlan, type NodeFacts, portionsOf, type ShardSample } from './plan.ts';
import { basisOf, type Draft, draft } from './plan-draft.ts';
import { sampleShard } from './plan-sampling.ts';
import { NodeProbe } from './probe.ts';
import type { Proposal, ProposedNode } from './proposal.ts';

/**
 * Plans for the leader, and their beginning: looks at nodes and keys, and writes the topology with which a move begins.
 */
export interface PlanParts {
  readonly leading: Leading;
  readonly config: Config;
  readonly clock: Clock;
}

/** What a person accepts with an order to carry a plan out. */
export interface Leave {
  /** As the plan named it. */
  readonly basis: string;
  readonly allowStalls: boolean;
}

/** A leader that has just begun knows little; it waits so long for its nodes' first words. */
const FIRST_WORDS_MS = 1500;
const LOOK_AGAIN_MS = 25;
/** A node that is not of the cluster yet is asked once. */
const STRANGER_MS = 1000;

/** Null: the leadership has ended meanwhile. */
export async function planMove(parts: PlanParts, proposal: Proposal): Promise<MovePlan | null> {
  const { plan } = await prepare(parts, proposal);
  return parts.leading.isStopped ? null : plan;
}

/** Null: the leadership has ended meanwhile, and nothing was done. Never rejects but for mistakes of this program. */
export async function applyPlan(parts: PlanParts, proposal: Proposal, leave: Leave): Promise<OrderAnswer | null> {
  const { plan, unfit, shortages } = await prepare(parts, proposal);
  if (parts.leading.isStopped) return null;
  const objection = objectionTo(plan, leave);
  if (objection !== null) return { accepted: false, text: objection };
  const why = `${plan.summary} (ringside apply)`;
  const failure = await parts.leading.restructure(topology => {
    const made = draft(topology, proposal, unfit, shortages);
    if (basisOf(topology, made.choices) !== plan.basis) return CHANGED;
    const [reason] = made.refused;
    return reason ?? begun(topology, made, plan, parts.config, leave);
  }, why);
  if (failure === LEADS_NO_MORE) return null;
  if (failure !== null) return { accepted: false, text: failure };
  return { accepted: true, text: plan.summary };
}

export const CHANGED =
  'the ring, the shards, a move or the nodes to be had have changed since that plan was made: look at a new one (ringside plan)';

function objectionTo(plan: MovePlan, { basis, allowStalls }: Leave): string | null {
  if (plan.basis !== basis) return CHANGED;
  if (plan.refused.length > 0) return plan.refused.join('; ');
  if (plan.isEmpty) return 'nothing would change';
  const large = plan.largeKeys.filter(({ needsLeave }) => needsLeave);
  if (large.length === 0 || allowStalls) return null;
  const names = large.map(({ shard, key, stallMs }) => `${key} on shard ${shard} (about ${stallMs} ms)`).join(', ');
  return `large keys would hold their shards up for longer than supervisor.move.stall: ${names}; accept that with --allow-stalls`;
}

/** The topology with which the change begins. Throws `TopologyError` for one that contradicts itself. */
function begun(kept: Topology, { next, goal, ring }: Draft, plan: MovePlan, config: Config, leave: Leave): Topology {
  const version = kept.version + 1;
  const move: TopologyMove | null =
    goal === null
      ? null
      : {
          id: version,
          ring: ring?.after ?? next.ring,
          weights: Object.fromEntries(goal),
          portions: portionsOf(plan.flows, config.supervisor.move),
          ...{ moved: 0, current: null, aborting: false, paused: null, keysPerSecond: null },
          allowStalls: leave.allowStalls,
        };
  return validateTopology({ ...next, version, move });
}

async function prepare({ leading, config, clock }: PlanParts, proposal: Proposal) {
  const sight = await settledSight(leading, clock);
  const { topology, identity } = sight;
  const known = new Set(topology.nodes.map(({ id }) => id));
  const strangers = proposal.nodes.filter(({ id }) => !known.has(id));
  const looks = await Promise.all(strangers.map(node => lookOnce(node, identity, config, clock)));
  const seen = new Map<string, Observation>(sight.knowledge.seen);
  strangers.forEach(({ id }, index) => {
    seen.set(id, looks[index] as Observation);
  });
  const unfit = whyUnfit(sight, seen);
  const shortages = new Map(
    sight.knowledge.engine.shards.flatMap(({ name, shortage }) =>
      shortage === null ? [] : [[name, shortage] as const],
    ),
  );
  const drafted = draft(topology, proposal, unfit, shortages);
  const samples = drafted.goal === null ? new Map<string, ShardSample>() : await sampleAll(sight, config);
  const troubled = new Map(
    sight.knowledge.engine.shards.flatMap(({ name, state, why }) =>
      state === 'healthy' || state === 'degraded' ? [] : [[name, `it is ${state} (${why})`] as const],
    ),
  );
  const nodes = new Map<string, NodeFacts>();
  for (const [id, observation] of seen) {
    if (observation.kind !== 'report') continue;
    const { usedMemoryBytes, maxMemoryBytes, version } = observation.report;
    nodes.set(id, { usedBytes: usedMemoryBytes, maxBytes: maxMemoryBytes, version });
  }
  const plan = makePlan(topology, warned(drafted, config), { samples, nodes, troubled }, config.supervisor.move);
  return { plan, unfit, shortages };
}

/** Epochs fence proxies, and nobody else. */
function warned(drafted: Draft, { nodeAccess }: Config): Draft {
  if (drafted.goal === null || !nodeAccess.keepDefaultUser) return drafted;
  const text =
    'nodes keep their default user (nodeAccess.keepDefaultUser): who writes to a node directly, past Ringside, loses what it writes to keys that move';
  return { ...drafted, warnings: [...drafted.warnings, text] };
}

/** Once every node was heard of, or has had the time for it. */
export async function settledSight(leading: Leading, clock: Clock): Promise<Sight> {
  const endMs = clock.nowMs() + FIRST_WORDS_MS;
  for (;;) {
    const sight = leading.sight();
    const { shards, nodes } = sight.knowledge.engine;
    const isSettled =
      nodes.every(({ health }) => health !== 'unknown' && health !== 'suspect') &&
      nodes.every(({ health, ready, needs }) => health !== 'up' || ready || needs !== null) &&
      shards.every(({ state }) => state !== 'waiting' && state !== 'unformed');
    if (isSettled || clock.nowMs() >= endMs) return sight;
    await new Promise(resolve => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

async function lookOnce(
  node: ProposedNode,
  identity: SupervisorIdentity,
  { nodeAccess }: Config,
  clock: Clock,
): Promise<Observation> {
  return new Promise(resolve => {
    const probe: NodeProbe = new NodeProbe(
      {
        ...{ node, tls: nodeAccess.tls, everyMs: STRANGER_MS, clock },
        logins: runId => identity.logins(runId),
        onObservation: observation => {
          probe.stop();
          resolve(observation);
        },
      },
      null,
    );
    probe.start();
  });
}

/** Why nodes cannot be of a new shard; what is a member of another is told elsewhere. */
function whyUnfit({ topology, knowledge }: Sight, seen: ReadonlyMap<string, Observation>): ReadonlyMap<string, string> {
  const members = new Set(topology.shards.flatMap(({ nodes }) => nodes));
  const statuses = new Map(knowledge.engine.nodes.map(node => [node.id, node]));
  const unfit = new Map<string, string>();
  for (const id of new Set([...statuses.keys(), ...seen.keys()])) {
    if (members.has(id)) continue;
    const status = statuses.get(id);
    const observation = seen.get(id);
    const isEmptied = status?.emptying?.step === 'empties';
    const health = status !== undefined && status.health !== 'up' ? `it does not serve (${status.health})` : null;
    const why = isEmptied ? 'it is just being emptied' : (status?.needs ?? health ?? whyNotEmpty(observation, status));
    if (why !== null) unfit.set(id, why);
  }
  return unfit;
}

function whyNotEmpty(observation: Observation | undefined, status: NodeStatus | undefined): string | null {
  if (observation === undefined) return 'nothing was heard of it yet';
  if (observation.kind !== 'report') return `it does not answer as it must: ${observation.text}`;
  const { keys, loading }: NodeReport = observation.report;
  if (loading) return 'it is still loading its data';
  if (keys === 0) return null;
  // Only what is a node of the cluster already takes the order.
  const empty = status === undefined ? 'empty it' : `empty it (ringside node empty ${status.id})`;
  return `it holds ${keys} keys, and a shard that is added begins empty: ${empty}, or start it again without its data`;
}

/** What cannot be looked at is left out: the plan then goes by the ring alone. */
async function sampleAll({ topology, identity }: Sight, config: Config): Promise<Map<string, ShardSample>> {
  const nodes = new Map(topology.nodes.map(node => [node.id, node]));
  const calls = new NodeCalls(identity, config.nodeAccess.tls, id => nodes.get(id) ?? null);
  try {
    const targets = topology.shards.flatMap(({ name, primary }) => {
      const runId = nodes.get(primary)?.runId ?? null;
      return runId === null ? [] : [{ shard: name, nodeId: primary, runId }];
    });
    const samples = await Promise.all(targets.map(target => sampleShard(calls, target)));
    return new Map(samples.flatMap(one => (typeof one === 'string' ? [] : [[one.shard, one]])));
  } finally {
    calls.close();
  }
}
