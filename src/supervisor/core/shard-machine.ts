import { proxyUser } from '../../topology/credentials.ts';
import type { TopologyShard } from '../../topology/snapshot.ts';
import { coldStart } from './cold-start.ts';
import { failOver } from './fail-over.ts';
import { form } from './form.ts';
import { grow } from './grow.ts';
import { DONE, type Ending, type Procedure } from './procedure.ts';
import { departureOf, release } from './release.ts';
import { giveUpJoining, renew } from './renew.ts';
import { look, whyNotAttached } from './replication.ts';
import type { ShardState } from './setup.ts';
import { type Suspicion, shrink } from './shrink.ts';
import { switchOver } from './switch-over.ts';
import { membersOf, nodeOf, shardOf, standingOf, targetOf, type World, wantedCopies } from './world.ts';

/**
 * What to do next for one shard, from what is published and what is observed; in the order of urgency:
 *
 *   a lost primary › lost copies › what was left half-done › an order › a copy that is ready to join › one that may leave
 *
 * Nothing is remembered of what was tried before but how long to wait until it is tried again: whatever a procedure, or
 * an earlier leader, left behind is seen in the topology and on the nodes.
 */
export type PlanName =
  | 'form'
  | 'failover'
  | 'start'
  | 'shrink'
  | 'renew'
  | 'give up'
  | 'switchover'
  | 'grow'
  | 'release';

export interface Plan {
  readonly name: PlanName;
  readonly why: string;
  begin(): Procedure<Ending>;
}

export interface Decision {
  readonly state: ShardState;
  readonly why: string;
  readonly needs: string | null;
  readonly plan: Plan | null;
}

/** What the decision knows besides topology and observations. */
export interface ShardMemory {
  /** Reports of links from before this moment speak of a state that this leader has changed since. */
  settledAtMs: number;
  /** Since when the primary is lost; null: it is there. */
  lostSinceMs: number | null;
  /** Since when some in-sync replica should no longer count; null: all should. */
  suspectSinceMs: number | null;
  /** The node that an ordered switch-over leads to. */
  switchTo: string | null;
  /** A person has accepted that something may be lost. */
  acceptLoss: boolean;
  /** A copy whose lag is small enough to join. */
  rebuilt: string | null;
  /** In-sync replicas whose offset stands below their primary's: where, and since when. */
  readonly behind: Map<string, { readonly offset: number; readonly sinceMs: number }>;
  /** Why the last procedure that begins a shard ended; null: it did not fail. */
  stuck: string | null;
}

/** A new leader takes over nodes within milliseconds; one that answers but is not taken over by then is gone without. */
const TAKE_OVER_MS = 500;

export function decide(world: World, name: string, memory: ShardMemory): Decision {
  const shard = shardOf(world, name);
  if (nodeOf(world, shard.primary).runId === null) return decideFirst(world, shard, memory);
  const lost = whyLost(world, shard, memory);
  if (lost !== null) {
    memory.lostSinceMs ??= world.nowMs;
    memory.suspectSinceMs = null;
    return decideWithout(world, shard, memory, lost);
  }
  memory.lostSinceMs = null;
  // It was accepted for that loss, and not for whatever the shard may lose another day.
  memory.acceptLoss = false;
  memory.stuck = null;
  followProgress(world, shard, memory);
  const plan = nextPlan(world, shard, memory);
  return { ...present(world, shard), needs: null, plan };
}

/** Why the primary cannot serve any more; null: it can, or it is not known yet. */
function whyLost(world: World, { primary }: TopologyShard, { settledAtMs }: ShardMemory): string | null {
  const { health, report, reportedAtMs } = world.node(primary);
  const standing = standingOf(world, primary);
  if (standing === 'gone') return `${primary} was restarted`;
  if (standing === 'dead') return `${primary} has ${health}`;
  const isDemoted = standing === 'there' && report?.role === 'replica' && reportedAtMs > settledAtMs;
  return isDemoted ? `${primary} was made a replica` : null;
}

function present(world: World, shard: TopologyShard): { state: ShardState; why: string } {
  const copies = membersOf(shard).length;
  const wanted = wantedCopies(world, shard);
  if (shard.paused) return { state: 'switching over', why: 'writes are held for a planned change of primary' };
  const { unwellSinceMs, health } = world.node(shard.primary);
  if (unwellSinceMs !== null) {
    const why = `${shard.primary} has not answered for ${Math.round(world.nowMs - unwellSinceMs)} ms (${health}), and is not surely lost`;
    return { state: 'waiting', why };
  }
  const { ready, needs } = world.node(shard.primary);
  if (ready === null && needs !== null)
    return { state: 'degraded', why: `${shard.primary} may serve, but nothing can be changed on it: ${needs}` };
  if (copies >= wanted) return { state: 'healthy', why: `all ${copies} copies are in sync` };
  return { state: 'degraded', why: `${copies} of ${wanted} copies are in sync` };
}

function recoverCommand({ name }: TopologyShard): string {
  return `ringside recover ${name} --accept-loss`;
}

/** Whether a node can be asked what it holds: taken over, not loading, and not just gone again. */
export function canTell(world: World, id: string): boolean {
  const { health, ready, report } = world.node(id);
  return health === 'up' && ready !== null && report?.loading === false;
}

/** The shard has never served. */
function decideFirst(world: World, shard: TopologyShard, memory: ShardMemory): Decision {
  const { name, nodes } = shard;
  const present = nodes.filter(id => canTell(world, id));
  const missing = nodes.filter(id => !present.includes(id));
  const begin = (): Procedure<Ending> => form(world, name, present, memory.acceptLoss);
  const plan: Plan = { name: 'form', why: 'the shard has never served', begin };
  if (missing.length === 0)
    return { state: 'unformed', why: memory.stuck ?? 'all nodes are there', needs: memory.stuck, plan };
  const why = `waits for ${missing.join(', ')} before it is formed`;
  const troubles = missing.flatMap(id => (world.node(id).needs === null ? [] : [`${id}: ${world.node(id).needs}`]));
  // What is there, but not ours, is not to be gone without.
  const needs = troubles.join('; ') || startOrGiveUp(world, shard, missing, present.length > 0);
  return { state: 'unformed', why, needs, plan: memory.acceptLoss && present.length > 0 ? plan : null };
}

/** The primary is lost: a fail-over, as long as a recorded incarnation is left that can be promoted. */
function decideWithout(world: World, shard: TopologyShard, memory: ShardMemory, lost: string): Decision {
  const { name } = shard;
  const members = membersOf(shard);
  const able = members.filter(id => standingOf(world, id) === 'there' && world.node(id).health !== 'busy');
  const awaited = members.filter(id => standingOf(world, id) === 'unready' && world.node(id).health === 'up');
  const waitedMs = world.nowMs - (memory.lostSinceMs ?? world.nowMs);
  const isHopeless = memory.acceptLoss && memory.stuck !== null;
  if (able.length > 0 && !isHopeless && (awaited.length === 0 || waitedMs >= TAKE_OVER_MS)) {
    const begin = (): Procedure<Ending> => failOverIfLost(world, name, lost);
    const needs =
      memory.stuck === null ? null : `${memory.stuck}; to go on with what is left: ${recoverCommand(shard)}`;
    return { state: 'failing over', why: lost, needs, plan: { name: 'failover', why: lost, begin } };
  }
  if (awaited.length > 0 && !memory.acceptLoss) {
    const isLong = waitedMs >= TAKE_OVER_MS && awaited.some(id => world.node(id).needs !== null);
    const needs = isLong ? startOrGiveUp(world, shard, awaited, false) : null;
    return { state: 'waiting', why: `${lost}; taking over ${awaited.join(', ')}`, needs, plan: null };
  }
  return decideCold(world, shard, memory, lost);
}

/** R10: as long as a recorded incarnation may return, only a person can go on without it. */
function decideCold(world: World, shard: TopologyShard, memory: ShardMemory, lost: string): Decision {
  const { name, nodes } = shard;
  const ids = nodes.filter(id => canTell(world, id));
  const begin = (): Procedure<Ending> => coldStart(world, name, ids, memory.acceptLoss);
  const plan: Plan = { name: 'start', why: lost, begin };
  if (memory.acceptLoss && ids.length > 0) return { state: 'waiting', why: lost, needs: null, plan };
  const mayReturn = membersOf(shard).filter(id => standingOf(world, id) !== 'gone');
  const silent = nodes.filter(id => !ids.includes(id));
  if (mayReturn.length > 0) {
    const why = `${lost}; waits for ${mayReturn.join(', ')}: nobody else has every write that was confirmed`;
    const needs = startOrGiveUp(world, shard, mayReturn, ids.length > 0);
    return { state: 'waiting', why, needs, plan: null };
  }
  if (silent.length > 0) {
    const why = `all copies were restarted; waits for ${silent.join(', ')} to tell which is the newest`;
    return { state: 'waiting', why, needs: startOrGiveUp(world, shard, silent, ids.length > 0), plan: null };
  }
  const needs = `to go on with what is left: ${recoverCommand(shard)}`;
  if (memory.stuck !== null) return { state: 'halted', why: memory.stuck, needs, plan };
  return { state: 'waiting', why: 'all copies were restarted', needs: null, plan };
}

/** What a person can do about nodes that are missed: first of all bring them back; giving up what they have comes last. */
function startOrGiveUp(world: World, shard: TopologyShard, missed: readonly string[], isAnyLeft: boolean): string {
  const troubled = missed.filter(id => world.node(id).needs !== null && world.node(id).health !== 'crashed');
  const start = missed.filter(id => !troubled.includes(id));
  const words = troubled.map(id => `${id}: ${world.node(id).needs}`);
  if (start.length > 0) words.push(`bring back ${start.join(', ')}`);
  // Without any node there is nothing to go on with.
  if (isAnyLeft) words.push(`or give up what only ${missed.join(', ')} may have: ${recoverCommand(shard)}`);
  return words.join('; ');
}

/** A primary that looked like a replica in a report that was under way for long is asked once more. */
function* failOverIfLost(world: World, name: string, lost: string): Procedure<Ending> {
  const { primary } = shardOf(world, name);
  if (standingOf(world, primary) === 'there') {
    const found = yield* look(targetOf(world, primary), 200);
    if (found?.report.role === 'primary') return DONE;
  }
  return yield* failOver(world, name, lost);
}

function nextPlan(world: World, shard: TopologyShard, memory: ShardMemory): Plan | null {
  const { name, primary } = shard;
  // While it does not answer, nothing can be done on it; soon it is well again, or lost.
  if (standingOf(world, primary) !== 'there' || world.node(primary).unwellSinceMs !== null) {
    memory.suspectSinceMs = null;
    return null;
  }
  const suspicions = shard.inSync.flatMap(id => suspicion(world, shard, id, memory) ?? []);
  if (suspicions.length === 0) memory.suspectSinceMs = null;
  else {
    memory.suspectSinceMs ??= world.nowMs;
    if (isTakingOver(world, shard, suspicions) && world.nowMs - memory.suspectSinceMs < TAKE_OVER_MS) return null;
    const why = suspicions.map(({ nodeId, why }) => `${nodeId}: ${why}`).join('; ');
    return { name: 'shrink', why, begin: () => shrink(world, name, suspicions) };
  }
  if (shard.paused) return renewal(world, shard, 'the switch-over was given up: service goes on as before');
  if (shard.joining !== null) {
    const why = `${shard.joining} was joining when that was given up`;
    return { name: 'give up', why, begin: () => giveUpJoining(world, name, why) };
  }
  const { ready, readySinceMs } = world.node(primary);
  const isListedSince = readySinceMs > memory.settledAtMs;
  if (ready !== null && isListedSince && !ready.users.includes(proxyUser(shard.epoch))) {
    return renewal(world, shard, `${primary} was found without the user of epoch ${shard.epoch}`);
  }
  const to = memory.switchTo;
  if (to !== null) return { name: 'switchover', why: `ordered: to ${to}`, begin: () => switchOver(world, name, to) };
  const joins = memory.rebuilt;
  if (joins !== null) return { name: 'grow', why: `${joins} is ready to join`, begin: () => grow(world, name, joins) };
  return departure(world, shard);
}

/** A copy that is to leave: the primary hands over before. */
function departure(world: World, shard: TopologyShard): Plan | null {
  const { name } = shard;
  const leaves = departureOf(world, shard);
  if (leaves === null) return null;
  const { successor, why } = leaves;
  if (successor === null) return { name: 'release', why, begin: () => release(world, name, leaves) };
  return {
    name: 'switchover',
    why: `${why}: to ${successor}`,
    begin: () => switchOver(world, name, successor, `as ${why}`),
  };
}

/** Whether a copy that nobody suspects is only waiting to be taken over: as yet it would be dropped with the others. */
function isTakingOver(world: World, { inSync }: TopologyShard, suspicions: readonly Suspicion[]): boolean {
  return inSync.some(id => standingOf(world, id) === 'unready' && !suspicions.some(({ nodeId }) => nodeId === id));
}

function renewal(world: World, { name }: TopologyShard, why: string): Plan {
  return { name: 'renew', why, begin: () => renew(world, name, why) };
}

/** Why an in-sync replica should no longer count; null: it should. */
function suspicion(world: World, shard: TopologyShard, id: string, memory: ShardMemory): Suspicion | null {
  const node = world.node(id);
  const standing = standingOf(world, id);
  if (standing === 'gone') return { nodeId: id, why: 'it was restarted', isLost: true };
  if (standing === 'dead') return { nodeId: id, why: `it has ${node.health}`, isLost: true };
  const primary = world.node(shard.primary);
  if (primary.report === null) return null;
  if (node.unwellSinceMs !== null) return missedByPrimary(world, shard, id, memory);
  if (standing !== 'there' || node.report === null) return null;
  // Both must speak of the same state: the one after the last change.
  if (Math.min(node.reportedAtMs, primary.reportedAtMs) <= memory.settledAtMs) return null;
  const behindMs = world.nowMs - Math.max(memory.behind.get(id)?.sinceMs ?? world.nowMs, world.trustedSinceMs);
  if (behindMs >= world.settings.detect.hungMs) {
    return {
      nodeId: id,
      why: `it has applied nothing for ${Math.round(behindMs)} ms while its primary went on`,
      isLost: true,
    };
  }
  const why = whyNotAttached(node.report, primary.report, nodeOf(world, shard.primary));
  return why === null ? null : { nodeId: id, why, isLost: false };
}

/**
 * A link may be dead unseen: both ends call it up, and every write waits for it. Since the primary pings once a second,
 * its offset moves, and the replica's should.
 */
function followProgress(world: World, { primary, inSync }: TopologyShard, { behind, settledAtMs }: ShardMemory): void {
  const theirs = world.node(primary);
  for (const id of inSync) {
    const { report, reportedAtMs } = world.node(id);
    const isFresh = Math.min(reportedAtMs, theirs.reportedAtMs) > settledAtMs;
    if (report === null || theirs.report === null || !isFresh || report.offset >= theirs.report.offset)
      behind.delete(id);
    else if (behind.get(id)?.offset !== report.offset) behind.set(id, { offset: report.offset, sinceMs: world.nowMs });
  }
}

/** The primary itself has lost a link, and this node does not answer: no need to wait until it is surely dead. */
function missedByPrimary(
  world: World,
  shard: TopologyShard,
  id: string,
  { settledAtMs }: ShardMemory,
): Suspicion | null {
  const { unwellSinceMs, health } = world.node(id);
  const { report, reportedAtMs } = world.node(shard.primary);
  const isNewer = unwellSinceMs !== null && reportedAtMs > unwellSinceMs && reportedAtMs > settledAtMs;
  if (!isNewer || report === null || report.replicaLinks >= shard.inSync.length) return null;
  return { nodeId: id, why: `it does not answer (${health}), and the primary has lost a link`, isLost: true };
}
