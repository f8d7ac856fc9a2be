import { createRing } from '../../src/ring/ring.ts';
import { cutPortions, type Flow, type TopologyMove } from '../../src/topology/move.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { NOTHING_OMITTED, type Omissions, SimCluster } from './cluster.ts';
import { Faults } from './faults.ts';
import { drawPlan, type Plan, type PlannedMove } from './plan.ts';
import type { SimNode } from './redis/node.ts';
import { World } from './world.ts';

/**
 * Plays one seed of a cluster whose keys are moved while it is in trouble: a shard is added, removed or weighed anew, the
 * move is paused, throttled, aborted; in the end the trouble is over, and so must be the move, with every key in its
 * place.
 */
export interface MoveOutcome {
  readonly seed: number;
  readonly plan: Plan;
  readonly violations: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
  /** How many portions arrived, and whether a person turned the move round. */
  readonly moved: number;
  readonly isAborted: boolean;
  /** Every copy of some shard died, so that nothing could be checked. */
  readonly isSpoiled: boolean;
  readonly story: readonly string[];
}

export interface MovePlaying {
  readonly omissions?: Omissions;
  readonly leaning?: Partial<Plan>;
  readonly storyLines?: number;
}

const FORM_MS = 20_000;
/** How long a cluster may take to be whole again, with all that was ordered done. */
const END_MS = 60_000;

export function playMove(
  seed: number,
  { omissions = NOTHING_OMITTED, leaning = {}, storyLines = 400 }: MovePlaying = {},
): MoveOutcome {
  const world = new World(seed, storyLines);
  const plan = drawMovePlan(world, leaning);
  const cluster = new SimCluster(world, plan, omissions);
  const { ledger, keys } = cluster;
  const isBroken = (): boolean => ledger.violations.length + keys.violations.length > 0 || keys.isSpoiled;
  const problems: string[] = [];
  world.tell(`plan ${JSON.stringify(plan)}`);

  world.run(FORM_MS, () => isBroken() || (world.nowMs > 50 && cluster.whyNotWhole() === null));
  const unformed = cluster.whyNotWhole();
  if (!isBroken() && unformed !== null) problems.push(`not formed within ${FORM_MS} ms: ${unformed}`);
  // Some keys are there before they are moved.
  world.run(world.nowMs + 200, isBroken);

  const faults = new Faults(cluster);
  const person = new Person(cluster);
  world.run(world.nowMs + plan.faultsForMs, isBroken);
  faults.stop();
  person.calmDown();
  if (!isBroken() && problems.length === 0) end(cluster, isBroken, problems);
  problems.unshift(...ledger.violations, ...keys.violations);
  return {
    seed,
    plan,
    violations: keys.isSpoiled ? [] : problems,
    counts: { ...keys.counts, disasters: ledger.counts.disasters },
    moved: person.mostMoved,
    isAborted: person.hasAborted,
    isSpoiled: keys.isSpoiled,
    story: world.story,
  };
}

/** A shard more, one less, another weight, or some of that at once. */
function drawMovePlan(world: World, leaning: Partial<Plan>): Plan {
  const { random } = world;
  const changes: readonly PlannedMove[] = [
    { from: [1, 0], to: [1, 1], parts: 1 },
    { from: [1, 1], to: [1, 0], parts: 2 },
    { from: [1, 1, 0], to: [1, 1, 1], parts: 1 },
    { from: [1, 1], to: [1, 3], parts: 2 },
    { from: [1, 1, 0], to: [0, 1, 1], parts: 1 },
  ];
  const move = random.pick(changes);
  const mood = { move, shards: move.from.length, copies: random.pick([2, 2, 3]), mood: 'careful' as const };
  return drawPlan(world, { ...mood, spares: 0, faultsForMs: random.pick([3000, 6000]), ...leaning });
}

/** Whoever orders the move, pauses it, turns it round, and looks after it when it stands still. */
class Person {
  readonly #cluster: SimCluster;
  readonly #world: World;
  #isCalm = false;
  mostMoved = 0;
  hasAborted = false;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    const { world, store } = cluster;
    world.after(world.between(0, 1500), () => {
      const { move } = cluster.plan;
      if (move === null) return;
      world.tell('a person orders the move');
      store.pending = topology => withMove(topology, move);
      for (const supervisor of cluster.supervisors) supervisor.stepDown();
    });
    this.#look();
  }

  /** Orders no more but that it goes on. */
  calmDown(): void {
    this.#isCalm = true;
    for (const { living } of this.#cluster.nodes) if (living !== null) living.isFull = false;
  }

  #look(): void {
    const world = this.#world;
    world.after(world.between(50, 800), () => {
      this.#look();
      const { move } = this.#cluster.store.topology;
      if (move === null) return;
      this.mostMoved = Math.max(this.mostMoved, move.moved);
      if (move.paused !== null && (this.#isCalm || world.chance(0.5))) return this.#order('resume');
      if (this.#isCalm) return;
      const mood = world.random.next();
      if (mood < 0.1) this.#order('pause');
      else if (mood < 0.15) this.#order('abort');
      else if (mood < 0.25) this.#fill(world.random.pick(this.#cluster.nodes));
    });
  }

  #order(what: 'pause' | 'resume' | 'abort'): void {
    for (const supervisor of this.#cluster.supervisors) {
      const answer = supervisor.order({ kind: 'move', what, keysPerSecond: null });
      if (answer === null) continue;
      this.#world.tell(`a person says ${what}: ${answer.text}`);
      if (what === 'abort' && answer.accepted) this.hasAborted = true;
    }
  }

  #fill({ living }: SimNode): void {
    if (living === null) return;
    living.tell('is full');
    living.isFull = true;
    this.#world.after(this.#world.between(100, 1500), () => {
      living.isFull = false;
    });
  }
}

/** I4 with a move: all shards whole, the move over, every key in its place. */
function end(cluster: SimCluster, isBroken: () => boolean, problems: string[]): void {
  const { world, store, keys } = cluster;
  const isOver = (): boolean =>
    store.pending === null && store.topology.move === null && cluster.whyNotWhole() === null;
  world.run(world.nowMs + END_MS, () => isBroken() || isOver());
  if (isBroken()) return;
  if (!isOver()) {
    const told = cluster.supervisors.map(one => JSON.stringify(one.moveStatus())).join(' ');
    const { move } = store.topology;
    problems.push(
      `I4: not over ${END_MS} ms after the last fault: ${cluster.whyNotWhole()}; ${JSON.stringify(move)}; ${told}`,
    );
    return;
  }
  world.run(world.nowMs + 500, isBroken);
  for (const { writers, name, shards } of cluster.proxies) {
    if (!writers.some(({ last }) => last === 'refused' || last === 'uncertain')) continue;
    // One may just have ended what was begun before.
    world.run(world.nowMs + 2500, isBroken);
    if (!writers.some(({ last }) => last === 'refused' || last === 'uncertain')) continue;
    const states = [...shards].map(([shard, part]) => `${shard}: ${part.describe()}`);
    problems.push(`clients of ${name} are not served in peace: ${states.join('; ')}`);
  }
  cluster.rest();
  world.run(world.nowMs + 1500, isBroken);
  if (!isBroken()) keys.checkEnd();
}

function withMove(topology: Topology, { to, parts }: PlannedMove): Topology {
  const { ring, shards, version } = topology;
  const weights = Object.fromEntries(shards.map(({ name }, index) => [name, to[index] ?? 0]));
  const after = createRing(
    ring,
    shards.map(({ name }) => ({ name, weight: weights[name] ?? 0 })),
  );
  const before = createRing(ring, shards);
  const counts = new Map<string, Flow>();
  for (let i = 0; i < 4096; i += 1) {
    const key = Buffer.from(`sample${i}`);
    const [source, target] = [before, after].map(one => shards[one.ownerOf(key, 0, key.length)]?.name ?? '');
    if (source === undefined || target === undefined || source === target) continue;
    const flow = counts.get(`${source} ${target}`) ?? { source, target, keys: 0 };
    counts.set(`${source} ${target}`, { ...flow, keys: flow.keys + 1 });
  }
  const most = Math.max(1, ...[...counts.values()].map(({ keys }) => keys));
  const move: TopologyMove = {
    id: version + 1,
    ring,
    weights,
    portions: cutPortions([...counts.values()], Math.ceil(most / parts)),
    moved: 0,
    current: null,
    aborting: false,
    paused: null,
    keysPerSecond: null,
    allowStalls: false,
  };
  return { ...topology, move };
}
