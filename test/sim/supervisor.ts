import type { Call, Effect, Observation, Outcome, Publish } from '../../src/supervisor/core/effect.ts';
import {
  applyPublish,
  Engine,
  type EngineSettings,
  type MoveStatus,
  type Order,
  type OrderAnswer,
  type ShardStatus,
} from '../../src/supervisor/core/engine.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { credentials, SimCalls } from './act.ts';
import type { Network } from './network.ts';
import { SimProbe } from './probe.ts';
import { LEASE_MS, type SimStore } from './store.ts';
import { Actor, type World } from './world.ts';

/**
 * A supervisor of the simulation: the real engine in a shell of simulated connections.
 *
 * It campaigns, leads a term as long as it can prove its lease, and tells every proxy what the store has. Its process
 * may be halted between any two events and go on later in the belief that it still leads, or end and be started again.
 */
export class SimSupervisor {
  readonly name: string;
  readonly host: string;
  /** Called for every effect before it is carried out; may halt or end this process. */
  beforeEffect: (effect: Effect) => void = () => {};
  readonly #network: Network;
  readonly #store: SimStore;
  readonly #parts: SupervisorParts;
  #actor: Actor;
  #leading: Leading | null = null;
  /** What its clock is ahead of the world's. */
  #aheadMs = 0;

  constructor(network: Network, store: SimStore, name: string, parts: SupervisorParts) {
    this.#network = network;
    this.#store = store;
    this.#parts = parts;
    this.name = name;
    this.host = `${name}.sim`;
    this.#actor = new Actor(network.world, name);
    this.#live();
  }

  get actor(): Actor {
    return this.#actor;
  }

  /** What a person tells whoever leads; null: this one does not. */
  order(order: Order): OrderAnswer | null {
    if (this.#leading === null || this.#actor.isHalted) return null;
    return this.#leading.order(order);
  }

  /** What it says of a shard; null: nothing, or it does not lead. */
  statusOf(shard: string): ShardStatus | null {
    return this.#leading?.statusOf(shard) ?? null;
  }

  /** What it says of the move; null: nothing, or it does not lead. */
  moveStatus(): MoveStatus | null {
    return this.#leading?.moveStatus() ?? null;
  }

  /** Ends its leadership, so that the next one begins with what the store has then. */
  stepDown(): void {
    this.#leading?.stepDown();
  }

  /** SIGKILL. */
  kill(): void {
    this.#network.world.tell(`${this.name} is killed`);
    this.#actor.end();
    this.#leading = null;
  }

  start(): void {
    if (!this.#actor.hasEnded) return;
    this.#network.world.tell(`${this.name} starts`);
    this.#actor = new Actor(this.#network.world, this.name);
    this.#live();
  }

  jumpClock(byMs: number): void {
    this.#aheadMs += byMs;
  }

  #live(): void {
    this.#campaign();
    this.#follow();
  }

  get #world(): World {
    return this.#network.world;
  }

  /** Asks for leadership again and again, until it leads. */
  #campaign(): void {
    const actor = this.#actor;
    let isDone = false;
    this.#store.ask(
      this.host,
      actor,
      store => store.grant(),
      lease => {
        isDone = true;
        this.#askToLead(lease, this.#world.nowMs + LEASE_MS);
      },
    );
    this.#world.afterFor(actor, 1500, () => {
      if (!isDone) this.#campaign();
    });
  }

  #askToLead(lease: number, provenUntilMs: number): void {
    const actor = this.#actor;
    const askedMs = this.#world.nowMs;
    let isDone = false;
    const ask = (inside: Parameters<Parameters<SimStore['ask']>[2]>[0]) => {
      return { isAlive: inside.keepAlive(lease), led: inside.lead(lease) };
    };
    this.#store.ask(this.host, actor, ask, ({ isAlive, led }) => {
      if (isDone) return;
      isDone = true;
      if (led !== null) this.#lead(lease, led.term, led.topology, askedMs + LEASE_MS);
      else if (!isAlive) this.#campaign();
      else this.#world.afterFor(actor, 100, () => this.#askToLead(lease, askedMs + LEASE_MS));
    });
    this.#world.afterFor(actor, 400, () => {
      if (isDone) return;
      isDone = true;
      if (this.#world.nowMs > provenUntilMs) this.#campaign();
      else this.#askToLead(lease, provenUntilMs);
    });
  }

  #lead(lease: number, term: number, topology: Topology, provenUntilMs: number): void {
    this.#leading?.close();
    const leading = new Leading(this.#network, this.#store, this, lease, term, topology, this.#parts, () => {
      return this.#world.nowMs + this.#aheadMs;
    });
    this.#leading = leading;
    leading.onOver = reason => {
      this.#world.tell(`${this.name} leads term ${term} no longer: ${reason}`);
      if (this.#leading === leading) this.#leading = null;
      this.#store.ask(
        this.host,
        this.#actor,
        store => store.resign(lease),
        () => {},
      );
      this.#world.afterFor(this.#actor, this.#world.between(20, 200), () => this.#campaign());
    };
    leading.onPublished = published => this.#parts.tellProxies(this, published);
    leading.keepLease(provenUntilMs);
  }

  /** Passes on what the store has, as every supervisor does, leading or not. */
  #follow(): void {
    this.#world.afterFor(this.#actor, this.#world.between(100, 300), () => this.#follow());
    this.#store.ask(
      this.host,
      this.#actor,
      store => store.read(),
      topology => this.#parts.tellProxies(this, topology),
    );
  }
}

export interface SupervisorParts {
  readonly settings: EngineSettings;
  readonly addressOf: (nodeId: string) => string;
  readonly tellProxies: (supervisor: SimSupervisor, topology: Topology) => void;
  /** Only the store's own word ends a leadership. */
  readonly isStubborn: boolean;
  /** Changes what is sent to nodes: only for trying out what happens without a safeguard. */
  readonly spoil: Spoil;
}

/** What of an effect is really carried out; `replies` stand in for those of commands that were left out. */
export interface Spoil {
  /** Commands that are answered as if they had been carried out; null: none. */
  readonly skips: ((command: readonly string[], call: Call) => boolean) | null;
  /** Commands that are carried out only so much later, though they are answered at once. */
  readonly delays: ((command: readonly string[], call: Call) => number) | null;
}

const TICK_MS = 20;

class Leading {
  readonly #engine: Engine;
  onOver: (reason: string) => void = () => {};
  onPublished: (topology: Topology) => void = () => {};
  readonly #network: Network;
  readonly #store: SimStore;
  readonly #supervisor: SimSupervisor;
  readonly #actor: Actor;
  readonly #lease: number;
  readonly #term: number;
  readonly #parts: SupervisorParts;
  readonly #nowMs: () => number;
  readonly #calls: SimCalls;
  readonly #probes: SimProbe[];
  #isOver = false;

  constructor(
    network: Network,
    store: SimStore,
    supervisor: SimSupervisor,
    lease: number,
    term: number,
    topology: Topology,
    parts: SupervisorParts,
    nowMs: () => number,
  ) {
    this.#network = network;
    this.#store = store;
    this.#supervisor = supervisor;
    this.#actor = supervisor.actor;
    this.#lease = lease;
    this.#term = term;
    this.#parts = parts;
    this.#nowMs = nowMs;
    this.#engine = new Engine({ term, topology, settings: parts.settings, credentials, nowMs: nowMs() });
    this.#calls = new SimCalls(network, supervisor.host, this.#actor, term, parts.addressOf);
    const { everyMs } = parts.settings.detect;
    this.#probes = topology.nodes.map(({ id }) => {
      const onObservation = (observation: Observation, askedMs: number): void => {
        if (this.#isOver) return;
        this.#engine.observe(id, observation, this.#nowMs(), askedMs);
        this.#drive();
      };
      return new SimProbe(network, supervisor.host, this.#actor, parts.addressOf(id), everyMs, nowMs, onObservation);
    });
    this.#tick();
  }

  /** Leads while the lease can be proven; what the store has not confirmed in time is over. */
  keepLease(provenUntilMs: number): void {
    const { world } = this.#network;
    if (this.#isOver) return;
    if (world.nowMs >= provenUntilMs && !this.#parts.isStubborn) return this.#end('the lease can no longer be proven');
    const askedMs = world.nowMs;
    let proven = provenUntilMs;
    this.#store.ask(
      this.#supervisor.host,
      this.#actor,
      store => store.keepAlive(this.#lease),
      isAlive => {
        if (isAlive) proven = Math.max(proven, askedMs + LEASE_MS);
        else this.#end('the lease has ended');
      },
    );
    world.afterFor(this.#actor, LEASE_MS / 4, () => this.keepLease(proven));
  }

  order(order: Order): OrderAnswer {
    const answer = this.#engine.order(order, this.#nowMs());
    this.#drive();
    return answer;
  }

  statusOf(shard: string): ShardStatus | null {
    return this.#engine.status(this.#nowMs()).shards.find(({ name }) => name === shard) ?? null;
  }

  moveStatus(): MoveStatus | null {
    return this.#engine.status(this.#nowMs()).move;
  }

  stepDown(): void {
    this.#actor.live(() => this.#end('it is to begin anew'));
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const probe of this.#probes) probe.stop();
    this.#calls.close();
  }

  #end(reason: string): void {
    if (this.#isOver) return;
    this.close();
    this.onOver(reason);
  }

  #tick(): void {
    this.#network.world.afterFor(this.#actor, TICK_MS, () => {
      if (this.#isOver) return;
      this.#drive();
      this.#tick();
    });
  }

  #drive(): void {
    if (this.#isOver || this.#actor.hasEnded) return;
    this.#engine.tick(this.#nowMs());
    for (const { id, effect } of this.#engine.takeEffects()) {
      this.#perform(id, effect);
      if (this.#isOver || this.#actor.hasEnded) return;
    }
    if (this.#engine.lost !== null) this.#end(this.#engine.lost);
  }

  #perform(id: number, effect: Effect): void {
    if (this.#isOver) return;
    this.#supervisor.beforeEffect(effect);
    // When it is halted in this very moment, it has decided, and acts as soon as it goes on.
    this.#actor.live(() => this.#carryOut(id, effect));
  }

  #carryOut(id: number, effect: Effect): void {
    if (this.#isOver) return;
    this.#tell(effect);
    if (effect.kind === 'note') return;
    const complete = (outcome: Outcome): void => {
      if (this.#isOver) return;
      this.#engine.complete(id, outcome, this.#nowMs());
      this.#drive();
    };
    if (effect.kind === 'publish') this.#publish(effect, complete);
    else this.#call(effect, complete);
  }

  #call(effect: Call, complete: (outcome: Outcome) => void): void {
    const { skips, delays } = this.#parts.spoil;
    const late = effect.commands.filter(command => (delays?.(command, effect) ?? 0) > 0);
    const isLeftOut = (command: readonly string[]): boolean =>
      skips?.(command, effect) === true || late.includes(command);
    const commands = effect.commands.map(command => (isLeftOut(command) ? ['PING'] : command));
    for (const command of late) {
      this.#network.world.afterFor(this.#actor, delays?.(command, effect) ?? 0, () => {
        this.#calls.perform({ ...effect, commands: [command] }, () => {});
      });
    }
    this.#calls.perform({ ...effect, commands }, outcome => {
      if (!outcome.ok) return complete(outcome);
      complete({
        ok: true,
        replies: outcome.replies.map((reply, i) => (commands[i] === effect.commands[i] ? reply : 'OK')),
      });
    });
  }

  #publish(publish: Publish, complete: (outcome: Outcome) => void): void {
    const before = this.#engine.topology;
    const next = applyPublish(before, publish, this.#term);
    let isDone = false;
    const once = (trouble: string | null): void => {
      if (isDone) return;
      isDone = true;
      if (trouble === null) this.onPublished(next);
      complete(trouble === null ? { ok: true } : { ok: false, text: trouble });
    };
    this.#store.ask(this.#supervisor.host, this.#actor, store => store.write(this.#lease, next, before.version), once);
    this.#network.world.afterFor(this.#actor, 600, () => once('the store does not answer'));
  }

  #tell(effect: Effect): void {
    const { world } = this.#network;
    const who = `${this.#supervisor.name}/${this.#term}`;
    if (effect.kind === 'note')
      world.tell(`${who} notes ${effect.shard ?? effect.nodeId ?? ''} ${effect.event}: ${effect.text}`);
    else if (effect.kind === 'publish') {
      for (const shard of effect.shards) {
        const state = `epoch ${shard.epoch} primary ${shard.primary} in-sync [${shard.inSync}] joining ${shard.joining}${shard.paused ? ' paused' : ''}`;
        world.tell(`${who} publishes ${shard.name}: ${state}; ${effect.why}`);
      }
    } else {
      const commands = effect.commands.map(words =>
        words
          .map(word => (word.length > 24 ? `${word.slice(0, 8)}…` : word))
          .slice(0, 7)
          .join(' '),
      );
      world.tell(`${who} > ${effect.nodeId} as ${effect.as}: ${commands.join(' | ')}`);
    }
  }
}
