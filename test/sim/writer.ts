import type { Answer } from './request.ts';
import type { Actor, World } from './world.ts';

/**
 * A client of one proxy: writes, and now and then reads strictly, one command after the other.
 */
export class Writer {
  readonly #world: World;
  readonly #actor: Actor;
  readonly #name: string;
  readonly #manner: Manner;
  readonly #proxy: Served;
  readonly #watcher: Watcher;
  #count = 0;
  #isStopped = false;
  /** How its last command ended; null: it has not. */
  last: Answer['kind'] | null = null;

  constructor(world: World, actor: Actor, name: string, manner: Manner, proxy: Served, watcher: Watcher) {
    this.#world = world;
    this.#actor = actor;
    this.#name = name;
    this.#manner = manner;
    this.#proxy = proxy;
    this.#watcher = watcher;
    this.#next();
  }

  stop(): void {
    this.#isStopped = true;
  }

  #next(): void {
    if (this.#isStopped) return;
    const { prefix, keys, reads, restMs } = this.#manner;
    this.#world.afterFor(this.#actor, this.#world.between(0.1, restMs), () => {
      const key = `${prefix}${this.#world.random.below(keys)}`;
      if (this.#world.chance(reads)) this.#read(key);
      else this.#write(key);
    });
  }

  #write(key: string): void {
    const write = `${this.#name}.${++this.#count}`;
    this.last = null;
    this.#proxy.submit(['RPUSH', key, write], TIMEOUT_MS, answer => {
      this.last = answer.kind;
      if (answer.kind !== 'acknowledged') this.#world.tell(`${write} of ${key} is ${answer.kind}`);
      this.#watcher.onWrite(key, write, answer);
      this.#next();
    });
  }

  #read(key: string): void {
    const before = this.#watcher.acknowledgedOf(key);
    this.#proxy.submit(['LRANGE', key, '0', '-1'], TIMEOUT_MS, answer => {
      this.#watcher.onRead(key, before, answer);
      this.#next();
    });
  }
}

/** What it does: which keys, how often it reads (0 to 1), and how long it rests at most. */
export interface Manner {
  readonly prefix: string;
  readonly keys: number;
  readonly reads: number;
  readonly restMs: number;
}

/** Its proxy, or the one shard of it that it writes to. */
export interface Served {
  submit(command: readonly string[], timeoutMs: number, onDone: (answer: Answer) => void): void;
}

/** Who is told what it was told. */
export interface Watcher {
  acknowledgedOf(key: string): readonly string[];
  onWrite(key: string, write: string, answer: Answer): void;
  onRead(key: string, before: readonly string[], answer: Answer): void;
}

const TIMEOUT_MS = 2000;
