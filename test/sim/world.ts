import { Random } from '../../src/base/random.ts';

/**
 * A world in which nothing happens by itself: one clock, one queue of what is to come, one source of chance.
 *
 * Whatever two things could happen in either order is ordered by the seed, so that a seed is a whole story and plays
 * again in the same way. Everything that acts belongs to an `Actor`, which can be halted (SIGSTOP, a long collection of
 * garbage), continued, and ended; what would have happened to a halted actor happens to it afterwards, in its order.
 */
export class World {
  readonly seed: number;
  readonly random: Random;
  /** Lines of the story, the youngest last; bounded, since only the end of it is ever printed. */
  readonly story: string[] = [];
  /** Called after every event; whoever looks for broken promises looks here. */
  afterEvent: () => void = () => {};
  readonly #queue: Event[] = [];
  readonly #storyLines: number;
  #nowMs = 0;
  #ordinal = 0;
  #hash = 2166136261;
  #events = 0;

  constructor(seed: number, storyLines = 400) {
    this.seed = seed;
    this.random = new Random(seed);
    this.#storyLines = storyLines;
  }

  /** Milliseconds since the world began; fractions count. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get events(): number {
    return this.#events;
  }

  /** A number that two runs share only if they told the same story. */
  get hash(): number {
    return this.#hash >>> 0;
  }

  /** Runs `act` after `delayMs`, for nobody in particular. */
  after(delayMs: number, act: () => void): void {
    this.#push({ atMs: this.#nowMs + delayMs, ordinal: this.#ordinal++, act });
  }

  /** Runs `act` as a part of an actor's life: later when it is halted, never when it has ended. */
  afterFor(actor: Actor, delayMs: number, act: () => void): void {
    this.after(delayMs, () => actor.live(act));
  }

  /** A line of the story; it goes into the hash. */
  tell(text: string): void {
    const line = `${this.#nowMs.toFixed(3).padStart(10)} ${text}`;
    this.#mix(line);
    this.story.push(line);
    if (this.story.length > this.#storyLines * 2) this.story.splice(0, this.#storyLines);
  }

  /** A number in [from, to), drawn anew. */
  between(from: number, to: number): number {
    return from + this.random.next() * (to - from);
  }

  /** About one of these, from half to one and a half times of it. */
  pick(values: readonly number[]): number {
    return this.random.pick(values) * this.between(0.5, 1.5);
  }

  chance(probability: number): boolean {
    return this.random.next() < probability;
  }

  /** A name of 40 hexadecimal characters, as Redis gives to incarnations and histories. */
  hexName(): string {
    let name = '';
    while (name.length < 40) name += this.random.below(65536).toString(16).padStart(4, '0');
    return name;
  }

  /** Lets time pass until `untilMs`, or until `isDone`. */
  run(untilMs: number, isDone: () => boolean = () => false): void {
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined || next.atMs > untilMs || isDone()) break;
      this.#pop();
      this.#nowMs = next.atMs;
      this.#events += 1;
      next.act();
      this.afterEvent();
    }
    if (!isDone()) this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #mix(text: string): void {
    let hash = this.#hash;
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619);
    this.#hash = hash;
  }

  #push(event: Event): void {
    const queue = this.#queue;
    let at = queue.length;
    queue.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = queue[parent] as Event;
      if (isEarlier(above, event)) break;
      queue[at] = above;
      at = parent;
    }
    queue[at] = event;
  }

  /** Takes the first event away; the heap's usual way down. */
  #pop(): void {
    const queue = this.#queue;
    const last = queue.pop() as Event;
    if (queue.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= queue.length) break;
      if (child + 1 < queue.length && isEarlier(queue[child + 1] as Event, queue[child] as Event)) child += 1;
      const below = queue[child] as Event;
      if (isEarlier(last, below)) break;
      queue[at] = below;
      at = child;
    }
    queue[at] = last;
  }
}

interface Event {
  readonly atMs: number;
  readonly ordinal: number;
  readonly act: () => void;
}

function isEarlier(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.ordinal < b.ordinal);
}

/** One process: what happens to it can be halted, continued and ended. */
export class Actor {
  readonly name: string;
  readonly #world: World;
  readonly #late: (() => void)[] = [];
  readonly #atEnd: (() => void)[] = [];
  #halted = false;
  #ended = false;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
  }

  get isHalted(): boolean {
    return this.#halted;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Runs `act` now, or once the actor goes on. */
  live(act: () => void): void {
    if (this.#ended) return;
    if (this.#halted) this.#late.push(act);
    else act();
  }

  /** What the kernel does for a process that ends: close its sockets. */
  onEnd(act: () => void): void {
    this.#atEnd.push(act);
  }

  halt(): void {
    this.#halted = true;
  }

  /** Goes on; what was late happens in its order, but not in one instant, so that others come in between. */
  goOn(): void {
    if (!this.#halted) return;
    this.#halted = false;
    const late = this.#late.splice(0);
    this.#drain(late, 0);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#late.length = 0;
    for (const act of this.#atEnd.splice(0)) act();
  }

  /** What is late stays before what is new: until all of it is done, the actor counts as halted. */
  #drain(late: readonly (() => void)[], from: number): void {
    const pause = from < late.length && this.#world.chance(0.2);
    let at = from;
    while (at < late.length && !this.#ended) {
      const act = late[at++] as () => void;
      act();
      if (this.#halted) {
        this.#late.unshift(...late.slice(at));
        return;
      }
      if (pause && at < late.length && this.#world.chance(0.3)) {
        this.#halted = true;
        this.#world.after(this.#world.between(0, 2), () => {
          if (this.#ended) return;
          this.#late.unshift(...late.slice(at));
          this.goOn();
        });
        return;
      }
    }
  }
}
