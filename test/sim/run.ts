import { NOTHING_OMITTED, type Omissions, SimCluster } from './cluster.ts';
import { Faults } from './faults.ts';
import { drawPlan, type Plan } from './plan.ts';
import { World } from './world.ts';

/**
 * Plays one seed: a cluster forms, is troubled for a while, is left in peace, and must then be whole again.
 *
 *   world, network          time, chance, and what lies between processes
 *   redis/                  nodes that lose data the way Redis does (`facts.test.ts` holds them against real ones)
 *   store, supervisor       leases and terms; the real engine with simulated connections (`act`, `probe`)
 *   proxy, barrier, writer  the data path by the real judgements of `commit-rules`, and its clients
 *   plan, faults, ledger    what a seed decides, the trouble that it makes, and who watches
 *   omissions, staged       the protocol with a word left out, for the sake of the watchers
 */
export interface Outcome {
  readonly seed: number;
  readonly plan: Plan;
  /** Broken promises; empty: none. */
  readonly violations: readonly string[];
  /** A number that is the same only for the same story. */
  readonly hash: number;
  readonly events: number;
  readonly counts: Readonly<Record<string, number>>;
  /** How long after the last fault every shard was whole again; null: never. */
  readonly healedAfterMs: number | null;
  readonly story: readonly string[];
}

/** How a seed is played: nothing left out, all of it left to chance, unless said otherwise. */
export interface Playing {
  readonly omissions?: Omissions;
  readonly leaning?: Partial<Plan>;
  /** How much of the end of the story is kept, in lines. */
  readonly storyLines?: number;
}

export function play(
  seed: number,
  { omissions = NOTHING_OMITTED, leaning = {}, storyLines = 400 }: Playing = {},
): Outcome {
  const world = new World(seed, storyLines);
  const plan = drawPlan(world, leaning);
  const cluster = new SimCluster(world, plan, omissions);
  const { ledger } = cluster;
  const isBroken = (): boolean => ledger.violations.length > 0;
  const problems: string[] = [];
  world.tell(`plan ${JSON.stringify(plan)}`);

  world.run(FORM_MS, () => isBroken() || (world.nowMs > 50 && cluster.whyNotWhole() === null));
  const unformed = cluster.whyNotWhole();
  if (!isBroken() && unformed !== null) problems.push(`not formed within ${FORM_MS} ms: ${unformed}`);

  const faults = new Faults(cluster);
  world.run(world.nowMs + plan.faultsForMs, isBroken);
  let healedAfterMs: number | null = null;
  if (!isBroken() && problems.length === 0) {
    faults.stop();
    healedAfterMs = heal(cluster, isBroken, problems);
  }
  if (!isBroken() && problems.length === 0) calm(cluster, isBroken, problems);
  problems.unshift(...ledger.violations);
  const counts = { ...ledger.counts };
  return {
    seed,
    plan,
    violations: problems,
    hash: world.hash,
    events: world.events,
    counts,
    healedAfterMs,
    story: world.story,
  };
}

const FORM_MS = 20_000;
/** How long a cluster may take to be whole again. */
const HEAL_MS = 30_000;
/** Within so long a supervisor has judged all that happened before the end of the faults. */
const VERDICT_MS = 1500;
/** After so long a person looks after what is not whole. */
const PATIENCE_MS = 2500;
/** How long it is then watched. */
const CALM_MS = 500;

/**
 * I4: after the faults every shard becomes whole by itself; after the loss of all copies a person may have to agree. What
 * happened just before the end may still lead to a verdict, so that whole is only what stays whole for a while.
 */
function heal(cluster: SimCluster, isBroken: () => boolean, problems: string[]): number | null {
  const { world } = cluster;
  const fromMs = world.nowMs;
  let wholeSinceMs: number | null = null;
  while (world.nowMs < fromMs + HEAL_MS) {
    if (cluster.whyNotWhole() !== null) wholeSinceMs = null;
    else wholeSinceMs ??= world.nowMs;
    if (wholeSinceMs !== null && world.nowMs - wholeSinceMs >= VERDICT_MS) return wholeSinceMs - fromMs;
    // Looking is cheap, but not for every event.
    world.run(world.nowMs + 20, isBroken);
    if (isBroken() || problems.length > 0) return null;
    // A person looks again and again, but not at once.
    if (world.nowMs > fromMs + PATIENCE_MS) agreeToLoss(cluster, problems);
  }
  problems.push(`I4: not whole ${HEAL_MS} ms after the last fault: ${cluster.whyNotWhole()}`);
  return null;
}

/**
 * Gives the order that a shard asks for, as a person would: only when every copy is gone. A shard that halts while a copy
 * is left has broken its promise.
 */
function agreeToLoss({ supervisors, store, ledger, world }: SimCluster, problems: string[]): void {
  for (const { name } of store.topology.shards) {
    for (const supervisor of supervisors) {
      const status = supervisor.statusOf(name);
      if (status?.needs?.includes('recover') !== true) continue;
      if (ledger.livingMembers(name).length === 0) {
        const answer = supervisor.order({ kind: 'recover', shard: name, acceptLoss: true });
        world.tell(`a person agrees to the loss of ${name}: ${answer?.text}`);
      } else if (status.state === 'halted') problems.push(`I4: ${name} halts, though a copy is left: ${status.needs}`);
    }
  }
}

/** R5: a planned change of primary costs no write, once nothing else is wrong. */
function switchInPeace(cluster: SimCluster, name: string, isBroken: () => boolean, problems: string[]): void {
  const { world, ledger, store, supervisors } = cluster;
  const primary = (): string => store.topology.shards.find(shard => shard.name === name)?.primary ?? '';
  const [from, before] = [primary(), ledger.counts.uncertain + ledger.counts.refused];
  const order = { kind: 'switchover', shard: name, to: null } as const;
  const isAccepted = (): boolean => supervisors.some(one => one.order(order)?.accepted === true);
  const untilMs = world.nowMs + 1000;
  while (!isAccepted() && world.nowMs < untilMs) world.run(world.nowMs + 20, isBroken);
  world.run(world.nowMs + 2000, () => isBroken() || (primary() !== from && cluster.whyNotWhole() === null));
  if (primary() === from) problems.push(`R5: ${name} is not switched over in peace, from ${from}`);
  world.run(world.nowMs + 300, isBroken);
  const erred = ledger.counts.uncertain + ledger.counts.refused - before;
  if (erred > 0) problems.push(`R5: a switch-over of ${name} in peace costs ${erred} writes`);
}

/** With nothing wrong, every client is served, and all copies are the same. */
function calm(cluster: SimCluster, isBroken: () => boolean, problems: string[]): void {
  const { world, ledger, proxies } = cluster;
  world.run(world.nowMs + CALM_MS, isBroken);
  for (const { writers, name, shards } of proxies) {
    const unserved = writers.filter(({ last }) => last === 'refused' || last === 'uncertain');
    if (unserved.length === 0) continue;
    const states = [...shards].map(([shard, part]) => `${shard}: ${part.describe()}`);
    problems.push(`clients of ${name} are not served in peace: ${states.join('; ')}`);
  }
  const trouble = cluster.whyNotWhole();
  if (trouble !== null) problems.push(`I4: whole no longer, in peace: ${trouble}`);
  else if (!isBroken())
    for (const { name } of cluster.store.topology.shards) switchInPeace(cluster, name, isBroken, problems);
  // The last writes are on their way to the copies, and the mark is still raised now and then.
  cluster.rest();
  world.run(world.nowMs + 1200, isBroken);
  world.run(world.nowMs + 500, () => isBroken() || ledger.areCopiesAlike);
  world.run(world.nowMs + 1000, () => isBroken() || cluster.whyNotSound() === null);
  const unsound = cluster.whyNotSound();
  if (!isBroken() && unsound !== null) problems.push(`users in peace: ${unsound}`);
  if (!isBroken()) ledger.checkEnd();
}
