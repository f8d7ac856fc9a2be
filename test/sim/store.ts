import type { Topology } from '../../src/topology/snapshot.ts';
import type { Network } from './network.ts';
import { Actor, type World } from './world.ts';

/**
 * The store as supervisors see it: one document, one leader by lease, each term higher than the one before.
 *
 * A question or its answer may be lost or late: whoever gets no answer to a write does not know whether it was written.
 */
export class SimStore {
  readonly host = 'store.sim';
  readonly actor: Actor;
  topology: Topology;
  /** What the next leadership begins with in the place of what is kept, as when a person has ordered a move. */
  pending: ((topology: Topology) => Topology) | null = null;
  /** Answers are never late beyond what the network takes. */
  isPrompt = false;
  /** Called with every version that was written. */
  onWritten: (topology: Topology, term: number) => void = () => {};
  readonly #world: World;
  readonly #network: Network;
  readonly #leases = new Map<number, number>();
  readonly #asksForProof: boolean;
  #leader: { readonly lease: number; readonly term: number } | null = null;
  #lastTerm: number;
  #lastLease = 0;

  /** `asksForProof`: a write needs the leader's lease, as it must be. */
  constructor(network: Network, topology: Topology, asksForProof: boolean) {
    this.#network = network;
    this.#world = network.world;
    this.actor = new Actor(this.#world, 'store');
    this.topology = topology;
    this.#lastTerm = topology.term;
    this.#asksForProof = asksForProof;
  }

  /** Sends a question; `onAnswer` hears at most once, perhaps late, perhaps never. */
  ask<T>(host: string, asker: Actor, work: (store: StoreInside) => T, onAnswer: (answer: T) => void): void {
    this.#carry(host, this.host, () => {
      this.actor.live(() => {
        const answer = work(this.#inside);
        this.#carry(this.host, host, () => asker.live(() => onAnswer(answer)));
      });
    });
  }

  /** Back after an outage: nobody's lease ends for what the store itself has missed. */
  goOn(): void {
    for (const lease of this.#leases.keys()) this.#leases.set(lease, this.#world.nowMs + LEASE_MS);
    this.actor.goOn();
  }

  #carry(from: string, to: string, arrive: () => void): void {
    const lateMs = !this.isPrompt && this.#world.chance(0.01) ? this.#world.between(50, 3000) : 0;
    this.#world.after(this.#network.delayMs(from, to) + 1 + lateMs, () => {
      if (!this.#network.isCut(from, to)) arrive();
    });
  }

  readonly #inside: StoreInside = {
    grant: () => {
      this.#lastLease += 1;
      this.#leases.set(this.#lastLease, this.#world.nowMs + LEASE_MS);
      return this.#lastLease;
    },
    keepAlive: lease => {
      const isAlive = this.#isAlive(lease);
      if (isAlive) this.#leases.set(lease, this.#world.nowMs + LEASE_MS);
      return isAlive;
    },
    lead: lease => {
      if (!this.#isAlive(lease)) return null;
      // The answer that told of it may have been lost.
      if (this.#leader?.lease === lease) return { term: this.#leader.term, topology: this.topology };
      if (this.#leader !== null && this.#isAlive(this.#leader.lease)) return null;
      this.#lastTerm += 1;
      this.#leader = { lease, term: this.#lastTerm };
      this.#world.tell(`store: lease ${lease} leads term ${this.#lastTerm}`);
      if (this.pending !== null) {
        const next = this.pending(this.topology);
        this.pending = null;
        this.topology = { ...next, version: this.topology.version + 1, term: this.#lastTerm };
        this.onWritten(this.topology, this.#lastTerm);
      }
      return { term: this.#lastTerm, topology: this.topology };
    },
    write: (lease, topology, expectedVersion) => {
      const isLeader = this.#leader?.lease === lease && this.#isAlive(lease);
      if (this.#asksForProof && !isLeader) return 'this leadership is over';
      if (this.#asksForProof && this.topology.version !== expectedVersion) return 'another version is there';
      this.topology = topology;
      this.onWritten(topology, topology.term);
      return null;
    },
    read: () => this.topology,
    resign: lease => {
      this.#leases.delete(lease);
    },
  };

  #isAlive(lease: number): boolean {
    return (this.#leases.get(lease) ?? 0) > this.#world.nowMs;
  }
}

/** What can be asked of the store, in its own time. */
export interface StoreInside {
  grant(): number;
  /** Whether the lease lives on. */
  keepAlive(lease: number): boolean;
  /** Null: somebody else leads. */
  lead(lease: number): { readonly term: number; readonly topology: Topology } | null;
  /** Why it was not written; null: it was. */
  write(lease: number, topology: Topology, expectedVersion: number): string | null;
  read(): Topology;
  resign(lease: number): void;
}

export const LEASE_MS = 1000;
