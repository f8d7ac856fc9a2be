import { ON_THE_MOVE, type Ring } from '../../src/ring/ring.ts';
import type { Reply } from '../../src/supervisor/core/effect.ts';
import { currentRoute, ringInForce } from '../../src/topology/move.ts';
import { DROP_KEYS, evalCommand, NO_SUCH_KEY, NOT_THERE, PUT_KEYS, READ_KEYS } from '../../src/topology/pull.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { credentials } from './act.ts';
import { PrimaryLink } from './barrier.ts';
import type { Network } from './network.ts';
import type { ProxyShard } from './proxy.ts';
import type { Answer, Request } from './request.ts';
import type { Actor } from './world.ts';

/**
 * A proxy of the simulation over several shards: sends each command where its key is, and pulls what is on the move
 * (`REPLICATION.md`, M1 to M3). Every step of a pull may be late.
 */
export class Router {
  readonly #network: Network;
  readonly #host: string;
  readonly #actor: Actor;
  readonly #shards: ReadonlyMap<string, ProxyShard>;
  readonly #habits: RouterHabits;
  #topology: Topology | null = null;
  #ring: Ring | null = null;
  /** Held until something changes. */
  #held: Command[] = [];
  readonly #pulls = new Map<string, Command[]>();
  readonly #pulled = new Set<string>();
  #set = 0;
  #giverLink: PrimaryLink | null = null;

  constructor(
    network: Network,
    host: string,
    actor: Actor,
    shards: ReadonlyMap<string, ProxyShard>,
    habits: RouterHabits,
  ) {
    this.#network = network;
    this.#host = host;
    this.#actor = actor;
    this.#shards = shards;
    this.#habits = habits;
    for (const [name, shard] of shards) {
      shard.belongs = command => command[0] === 'EVAL' || this.#belongs(name, command[1] as string);
      shard.handOn = request => this.#route(commandOf(request));
    }
  }

  follow(topology: Topology): void {
    this.#topology = topology;
    this.#ring = ringInForce(topology);
    const set = topology.move?.current?.set ?? 0;
    if (set !== this.#set) this.#pulled.clear();
    this.#set = set;
    for (const shard of this.#shards.values()) shard.follow(topology);
    for (const command of this.#held.splice(0)) this.#route(command);
  }

  submit(command: readonly string[], timeoutMs: number, onDone: (answer: Answer) => void): void {
    this.#route({ command, untilMs: this.#network.world.nowMs + timeoutMs, onDone });
  }

  #ownerOf(key: string): number {
    const bytes = Buffer.from(key);
    return this.#ring?.ownerOf(bytes, 0, bytes.length) ?? 0;
  }

  #nameOf(index: number): string {
    return this.#topology?.shards[index]?.name ?? '';
  }

  #belongs(shard: string, key: string): boolean {
    if (this.#habits.withoutSieve) return true;
    const owner = this.#ownerOf(key);
    if (owner < ON_THE_MOVE) return this.#nameOf(owner) === shard;
    return this.#nameOf(owner - ON_THE_MOVE) === shard && this.#pulled.has(key);
  }

  #route(command: Command): void {
    const { world } = this.#network;
    const key = command.command[1] as string;
    const leftMs = command.untilMs - world.nowMs;
    if (leftMs <= 0) return command.onDone({ kind: 'refused' });
    if (this.#topology === null) return this.#hold(command);
    const owner = this.#ownerOf(key);
    const isFree = owner < ON_THE_MOVE || this.#pulled.has(key);
    if (isFree) {
      this.#shards.get(this.#nameOf(owner % ON_THE_MOVE))?.submit(command.command, leftMs, command.onDone);
      return;
    }
    if (this.#topology.move?.current?.phase === 'preparing') {
      if (!this.#habits.ignoresPreparing) return this.#hold(command);
      const giver = currentRoute(this.#topology.move)?.giver ?? '';
      this.#shards.get(giver)?.submit(command.command, leftMs, command.onDone);
      return;
    }
    const waiting = this.#pulls.get(key);
    if (waiting !== undefined) {
      waiting.push(command);
      return;
    }
    this.#pulls.set(key, [command]);
    this.#pull(key);
  }

  /** Until the next version, or a little while. */
  #hold(command: Command): void {
    this.#held.push(command);
    this.#network.world.afterFor(this.#actor, 100, () => {
      if (!this.#held.includes(command)) return;
      this.#held = this.#held.filter(one => one !== command);
      this.#route(command);
    });
  }

  /** Whoever waits for the key goes on, be it pulled or not. */
  #over(key: string, isPulled: boolean): void {
    const waiting = this.#pulls.get(key) ?? [];
    this.#pulls.delete(key);
    if (isPulled) this.#pulled.add(key);
    const { world } = this.#network;
    if (isPulled) for (const command of waiting) this.#route(command);
    else {
      world.afterFor(this.#actor, world.between(1, 40), () => {
        for (const command of waiting) this.#route(command);
      });
    }
  }

  /** Now and then much later. */
  #soon(act: () => void): void {
    const { world } = this.#network;
    world.afterFor(this.#actor, world.chance(0.15) ? world.between(5, 900) : world.between(0, 0.2), act);
  }

  #pull(key: string): void {
    const topology = this.#topology as Topology;
    const current = topology.move?.current;
    const route = currentRoute(topology.move);
    const giver = this.#shards.get(route?.giver ?? '');
    const taker = this.#shards.get(route?.taker ?? '');
    const place = giver?.place ?? null;
    if (current === null || current === undefined || giver === undefined || taker === undefined || place === null)
      return this.#over(key, false);
    const bound = `${place.runId} ${place.epoch} ${taker.place?.runId} ${taker.epoch} ${current.set} ${current.phase}`;
    const isBound = (): boolean => {
      const now = this.#topology?.move?.current;
      return (
        `${giver.place?.runId} ${giver.place?.epoch} ${taker.place?.runId} ${taker.epoch} ${now?.set} ${now?.phase}` ===
        bound
      );
    };
    const there = current.thereSet === null ? '' : credentials.pulledSet(current.thereSet);
    const read = evalCommand(READ_KEYS, [there, key], ['0', '0', '0']);
    const link = this.#linkTo(place);
    this.#say(link, read, reply => {
      const [dump, expiry] = Array.isArray(reply) ? reply : [];
      if (typeof expiry !== 'number') return this.#over(key, false);
      this.#soon(() => {
        if (!isBound()) return this.#over(key, false);
        const words = evalCommand(
          PUT_KEYS,
          [credentials.pulledSet(current.set), key],
          ['0', textOf(dump), String(expiry)],
        );
        taker.submit(words, PULL_MS, answer => {
          const [done] = answer.kind === 'acknowledged' && Array.isArray(answer.reply) ? answer.reply : [];
          if (done !== 0 && done !== 1) return this.#over(key, false);
          this.#soon(() => {
            if (!isBound() && !this.#habits.dropsUnbound) return this.#over(key, false);
            if (expiry === NO_SUCH_KEY || expiry === NOT_THERE) return this.#over(key, true);
            const through = this.#habits.dropsUnbound ? this.#linkTo(giver.place ?? place) : link;
            this.#say(through, evalCommand(DROP_KEYS, [key], ['0']), dropped => {
              this.#over(key, typeof dropped === 'number' && isBound());
            });
          });
        });
      });
    });
  }

  /** Says it once the link is logged in; undefined: it is lost. */
  #say(link: PrimaryLink, words: readonly string[], onReply: (reply: Reply | undefined) => void): void {
    if (link.isReady || link.client.isClosed) {
      link.client.send(words, onReply);
      return;
    }
    const [ready, ended] = [link.onReady, link.onEnded];
    let isSaid = false;
    link.onReady = history => {
      ready(history);
      isSaid = true;
      link.client.send(words, onReply);
    };
    link.onEnded = () => {
      ended();
      if (!isSaid) onReply(undefined);
    };
  }

  /** Of this epoch and incarnation, and of no other (M3). */
  #linkTo(place: NonNullable<ProxyShard['place']>): PrimaryLink {
    const link = this.#giverLink;
    const isSame = link?.place.runId === place.runId && link.place.epoch === place.epoch;
    if (link !== null && isSame && !link.client.isClosed) return link;
    // What is under way on the old one may still arrive.
    const made = new PrimaryLink(this.#network, this.#host, this.#actor, place);
    this.#giverLink = made;
    return made;
  }
}

/** What is left out; only for trying out what happens then. */
export interface RouterHabits {
  /** Commands queued for a shard are sent there though their keys were given away. */
  readonly withoutSieve: boolean;
  /** Keys are dropped from the giver whatever has changed since they were put. */
  readonly dropsUnbound: boolean;
  /** Goes on sending to the giver while a portion is prepared. */
  readonly ignoresPreparing: boolean;
}

interface Command {
  readonly command: readonly string[];
  readonly untilMs: number;
  readonly onDone: (answer: Answer) => void;
}

function commandOf({ command, untilMs, onDone }: Request): Command {
  return { command, untilMs, onDone };
}

function textOf(dump: Reply | undefined): string {
  return typeof dump === 'string' ? dump : '';
}

const PULL_MS = 1500;
