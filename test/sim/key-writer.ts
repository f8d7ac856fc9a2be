import type { KeyLedger } from './key-ledger.ts';
import type { Answer } from './request.ts';
import type { Router } from './router.ts';
import type { Actor, World } from './world.ts';

/** How many keys there are, few enough that all of them are met while they are moved. */
export const KEYS = 12;

/**
 * A client of a proxy that serves several shards: writes, and now and then reads strictly, one command after the other,
 * wherever the key is.
 */
export class KeyWriter {
  readonly #world: World;
  readonly #actor: Actor;
  readonly #name: string;
  readonly #router: Router;
  readonly #ledger: KeyLedger;
  readonly #restMs: number;
  #count = 0;
  /** How its last command ended; null: it has not. */
  last: Answer['kind'] | null = null;
  #isStopped = false;

  constructor(world: World, actor: Actor, name: string, router: Router, ledger: KeyLedger, restMs: number) {
    this.#world = world;
    this.#actor = actor;
    this.#name = name;
    this.#router = router;
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
      const key = `key${this.#world.random.below(KEYS)}`;
      if (this.#world.chance(0.15)) this.#read(key);
      else this.#write(key);
    });
  }

  #write(key: string): void {
    const write = `${this.#name}.${++this.#count}`;
    this.last = null;
    this.#router.submit(['RPUSH', key, write], TIMEOUT_MS, answer => {
      this.last = answer.kind;
      if (answer.kind !== 'acknowledged') this.#world.tell(`${write} of ${key} is ${answer.kind}`);
      this.#ledger.onWrite(key, write, answer);
      this.#next();
    });
  }

  #read(key: string): void {
    const before = this.#ledger.acknowledgedOf(key);
    this.#router.submit(['LRANGE', key, '0', '-1'], TIMEOUT_MS, answer => {
      this.#ledger.onRead(key, before, answer);
      this.#next();
    });
  }
}

const TIMEOUT_MS = 2000;
