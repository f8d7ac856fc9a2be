import type { Random } from './random.ts';

/**
 * How long to wait before the next try, so that many proxies do not knock at a reborn node in step.
 *
 * Full jitter: uniform in [0, min(cap, base·2^n)), after "Exponential Backoff And Jitter" (AWS architecture blog).
 */
export class Backoff {
  readonly #baseMs: number;
  readonly #capMs: number;
  readonly #random: Random;
  #failures = 0;

  constructor(baseMs: number, capMs: number, random: Random) {
    this.#baseMs = baseMs;
    this.#capMs = capMs;
    this.#random = random;
  }

  /** Milliseconds until the next try; each call counts as one more failure. */
  nextMs(): number {
    const ceilingMs = Math.min(this.#capMs, this.#baseMs * 2 ** Math.min(this.#failures, 20));
    this.#failures += 1;
    return ceilingMs * this.#random.next();
  }

  /** Forgets the failures: the last try succeeded. */
  reset(): void {
    this.#failures = 0;
  }
}
