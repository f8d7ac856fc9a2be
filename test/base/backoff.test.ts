import { describe, expect, it } from 'vitest';
import { Backoff } from '../../src/base/backoff.ts';
import { Random } from '../../src/base/random.ts';

/** Draws the largest number there is, so that what comes is the ceiling. */
class Highest extends Random {
  override next(): number {
    return 1 - 2 ** -53;
  }
}

describe('the backoff', () => {
  it('doubles its ceiling up to the cap, and begins anew after a success', () => {
    const backoff = new Backoff(50, 1000, new Highest(0));
    const ceilings = (): number[] => Array.from({ length: 7 }, () => Math.round(backoff.nextMs()));
    expect(ceilings()).toEqual([50, 100, 200, 400, 800, 1000, 1000]);
    backoff.reset();
    expect(ceilings()).toEqual([50, 100, 200, 400, 800, 1000, 1000]);
  });

  it('stays at the cap after any number of failures', () => {
    const backoff = new Backoff(50, 1000, new Highest(0));
    for (let i = 0; i < 5000; i += 1) backoff.nextMs();
    expect(Math.round(backoff.nextMs())).toBe(1000);
  });

  it('spreads over the whole interval', () => {
    const random = new Random(1);
    const waits = Array.from({ length: 1000 }, () => new Backoff(100, 1000, random).nextMs());
    expect(Math.min(...waits)).toBeLessThan(5);
    expect(Math.max(...waits)).toBeGreaterThan(95);
    expect(waits.every(wait => wait >= 0 && wait < 100)).toBe(true);
  });
});

describe('random numbers', () => {
  it('are the same for the same seed', () => {
    const draw = (seed: number): number[] => {
      const random = new Random(seed);
      return Array.from({ length: 5 }, () => random.next());
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });

  it('stay below their bound and reach every number there', () => {
    const random = new Random(3);
    const seen = new Set(Array.from({ length: 500 }, () => random.below(7)));
    expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });
});
