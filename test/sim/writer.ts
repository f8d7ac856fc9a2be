import type { Ledger } from './ledger.ts';
import type { ProxyShard } from './proxy.ts';
import type { Answer } from './request.ts';
import type { Actor, World } from './world.ts';

/**
 * A client of one proxy: writes, and now and then reads strictly, one command after the other.
 */
export class Writer {
  readonly #world: World;
  readonly #actor: Actor;
  readonly #name: string;
  readonly #shard: string;
  readonly #proxy: ProxyShard;
  readonly #ledger: Ledger;
  readonly #restMs: number;
  #count = 0;
  #isStopped = false;
  /** How its last command ended; null: it has not. */
  last: Answer['kind'] | null = null;

  constructor(
    world: World,
    actor: Actor,
    name: string,
    shard: string,
    proxy: ProxyShard,
    ledger: Ledger,
    restMs: number,
  ) {
    this.#world = world;
    this.#actor = actor;
    this.#name = name;
    this.#shard = shard;
    this.#proxy = proxy;
    this.#ledger = ledger;
    this.#restMs = restMs;
    this.#next();
  }

  stop(): void {
    this.#isStopped = true;
  }

  #next(): void {
    if (this.#isStopped) return;
    this.#world.afterFor(this.#actor, this.#world.between(0.1, this.#restMs), () => {
      const key = `${this.#shard}:k${this.#world.random.below(4)}`;
      if (this.#world.chance(0.06)) this.#read(key);
      else this.#write(key);
    });
  }

  #write(key: string): void {
    const write = `${this.#name}.${++this.#count}`;
    this.last = null;
    this.#proxy.submit(['RPUSH', key, write], TIMEOUT_MS, answer => {
      this.last = answer.kind;
      if (answer.kind !== 'acknowledged') this.#world.tell(`${write} of ${key} is ${answer.kind}`);
      this.#ledger.onAnswer(this.#shard, key, write, answer);
      this.#next();
    });
  }

  #read(key: string): void {
    const before = this.#ledger.acknowledgedOf(this.#shard, key);
    this.#proxy.submit(['LRANGE', key, '0', '-1'], TIMEOUT_MS, answer => {
      this.#ledger.onStrictRead(this.#shard, key, before, answer);
      this.#next();
    });
  }
}

const TIMEOUT_MS = 2000;
