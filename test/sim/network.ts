import type { Reply } from '../../src/supervisor/core/effect.ts';
import type { Actor, World } from './world.ts';

/**
 * What lies between processes: connections that keep their order and are late, cut or broken unseen.
 *
 * A cut loses nothing at once, as with TCP: what was sent waits, and arrives after healing, or the connection was given
 * up meanwhile. A cut has a direction. A connection can be made only where both directions are whole.
 */
export class Network {
  readonly world: World;
  /** Whoever resets a connection takes back what is held up in it; else it is sent all the same, as with TLS. */
  takesBackAtReset = true;
  readonly #listeners = new Map<string, Listener>();
  readonly #cuts = new Set<string>();
  readonly #delaysMs = new Map<string, number>();
  readonly #stalled = new Map<string, Set<Direction>>();

  constructor(world: World) {
    this.world = world;
  }

  listen(address: string, listener: Listener): void {
    this.#listeners.set(address, listener);
  }

  unlisten(address: string, listener: Listener): void {
    if (this.#listeners.get(address) === listener) this.#listeners.delete(address);
  }

  /** Stops everything that goes from one host to the other, until `heal`. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
  }

  heal(from: string, to: string): void {
    const link = `${from}>${to}`;
    if (!this.#cuts.delete(link)) return;
    const waiting = this.#stalled.get(link) ?? new Set();
    this.#stalled.delete(link);
    // TCP sends again when its own clock says so, not when the cable is back.
    for (const direction of waiting) direction.resume(this.world.between(0.1, 250));
  }

  healAll(): void {
    for (const link of [...this.#cuts]) {
      const [from, to] = link.split('>') as [string, string];
      this.heal(from, to);
    }
    this.#delaysMs.clear();
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(`${from}>${to}`);
  }

  /** Adds to the delay of everything that goes from one host to the other; 0: as usual. */
  slow(from: string, to: string, delayMs: number): void {
    if (delayMs === 0) this.#delaysMs.delete(`${from}>${to}`);
    else this.#delaysMs.set(`${from}>${to}`, delayMs);
  }

  /** How long a message is on its way this time. */
  delayMs(from: string, to: string): number {
    const extra = this.#delaysMs.size === 0 ? 0 : (this.#delaysMs.get(`${from}>${to}`) ?? 0);
    const { world } = this;
    return world.between(0.05, 0.3) + (extra === 0 ? 0 : world.between(0.5, 1) * extra);
  }

  /** Opens a connection; the end is not open until `onOpen`. A refusal is a close without an open. */
  connect(host: string, owner: Actor, address: string, handlers: Handlers): End {
    const end = new End(this, host, owner, handlers);
    this.#try(end, address);
    return end;
  }

  stall(direction: Direction): void {
    const link = `${direction.from}>${direction.to}`;
    const waiting = this.#stalled.get(link) ?? new Set();
    waiting.add(direction);
    this.#stalled.set(link, waiting);
  }

  #try(end: End, address: string): void {
    const host = address.slice(0, address.lastIndexOf(':'));
    const roundTripMs = this.delayMs(end.host, host) + this.delayMs(host, end.host);
    this.world.after(roundTripMs, () => {
      if (end.isClosed) return;
      if (this.isCut(end.host, host) || this.isCut(host, end.host)) {
        this.world.after(this.world.between(500, 1000), () => this.#try(end, address));
        return;
      }
      const listener = this.#listeners.get(address);
      if (listener === undefined) {
        end.refuse();
        return;
      }
      const other = new End(this, host, listener.owner, SILENT);
      end.join(other);
      other.join(end);
      // The kernel accepts for a halted process, too.
      listener.owner.live(() => listener.accept(other));
      end.announceOpen();
    });
  }
}

export interface Listener {
  readonly owner: Actor;
  accept(end: End): void;
}

export interface Handlers {
  readonly onOpen: () => void;
  readonly onMessage: (message: Message) => void;
  readonly onClose: () => void;
}

const SILENT: Handlers = { onOpen: () => {}, onMessage: () => {}, onClose: () => {} };

/** What travels on a connection: commands and replies, the stream of a replica, and what the others say. */
export type Message =
  | { readonly kind: 'command'; readonly args: readonly string[] }
  /** `sentMs`: when the node said it. */
  | { readonly kind: 'reply'; readonly value: Reply; readonly sentMs: number }
  | { readonly kind: 'other'; readonly body: unknown };

/** One side of a connection. */
export class End {
  readonly host: string;
  readonly owner: Actor;
  handlers: Handlers;
  readonly #network: Network;
  #out: Direction | null = null;
  #closed = false;

  constructor(network: Network, host: string, owner: Actor, handlers: Handlers) {
    this.#network = network;
    this.host = host;
    this.owner = owner;
    this.handlers = handlers;
    owner.onEnd(() => this.close());
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Where the other end is; null: there is none yet. */
  get peerHost(): string | null {
    return this.#out?.to ?? null;
  }

  join(other: End): void {
    this.#out = new Direction(this.#network, this.host, other);
  }

  announceOpen(): void {
    this.owner.live(() => {
      if (!this.#closed) this.handlers.onOpen();
    });
  }

  refuse(): void {
    this.#arriveClose();
  }

  send(message: Message): void {
    if (!this.#closed) this.#out?.push(message);
  }

  /** Closes this side; the other hears of it after all that was sent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#out?.push(null);
  }

  /** Closes this side and throws away what is held up on its way, where that can be done. */
  reset(): void {
    if (!this.#closed && this.#network.takesBackAtReset) this.#out?.discard();
    this.close();
  }

  /** Closes both sides' view of it, the other's only after `unseenMs`: until then it believes in the connection. */
  break(unseenMs: number): void {
    if (this.#closed) return;
    this.#closed = true;
    const out = this.#out;
    this.owner.live(() => this.handlers.onClose());
    this.#network.world.after(unseenMs, () => out?.push(null));
  }

  arrive(message: Message | null): void {
    if (message === null) {
      this.#arriveClose();
      return;
    }
    this.owner.live(() => {
      if (!this.#closed) this.handlers.onMessage(message);
    });
  }

  #arriveClose(): void {
    this.owner.live(() => {
      if (this.#closed) return;
      this.#closed = true;
      this.#out?.push(null);
      this.handlers.onClose();
    });
  }
}

/** One way of a connection: first in, first out, never before its time. */
class Direction {
  readonly from: string;
  readonly to: string;
  readonly #network: Network;
  readonly #end: End;
  readonly #queue: (Message | null)[] = [];
  #lastMs = 0;
  #stalled = false;

  constructor(network: Network, from: string, end: End) {
    this.#network = network;
    this.from = from;
    this.to = end.host;
    this.#end = end;
  }

  push(message: Message | null): void {
    this.#queue.push(message);
    if (this.#stalled) return;
    const { world } = this.#network;
    this.#lastMs = Math.max(this.#lastMs, world.nowMs + this.#network.delayMs(this.from, this.to));
    world.after(this.#lastMs - world.nowMs, () => this.#deliver());
  }

  discard(): void {
    if (this.#stalled) this.#queue.length = 0;
  }

  resume(delayMs: number): void {
    this.#stalled = false;
    const { world } = this.#network;
    const count = this.#queue.length;
    this.#lastMs = Math.max(this.#lastMs, world.nowMs + delayMs);
    for (let index = 0; index < count; index++) {
      world.after(this.#lastMs - world.nowMs, () => this.#deliver());
    }
  }

  #deliver(): void {
    if (this.#stalled || this.#queue.length === 0) return;
    if (this.#network.isCut(this.from, this.to)) {
      this.#stalled = true;
      this.#network.stall(this);
      return;
    }
    this.#end.arrive(this.#queue.shift() as Message | null);
  }
}
