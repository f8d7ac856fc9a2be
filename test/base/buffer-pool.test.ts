import { describe, expect, it } from 'vitest';
import { BufferPool, LARGE_BYTES, LARGEST_BYTES } from '../../src/base/buffer-pool.ts';
import { rounds, SEED } from '../fuzz/seed.ts';

const KIB = 1024;

describe('the buffer pool', () => {
  it.each([
    [0, 4 * KIB],
    [1, 4 * KIB],
    [4 * KIB, 4 * KIB],
    [4 * KIB + 1, 8 * KIB],
    [33 * KIB, 64 * KIB],
    [LARGEST_BYTES, LARGEST_BYTES],
    [LARGEST_BYTES + 1, LARGEST_BYTES + 1],
  ])('lends %i bytes as a buffer of %i', (wanted, size) => {
    const pool = new BufferPool(1);
    const buffer = pool.acquire(wanted);
    expect([buffer.length, pool.heldBytes]).toEqual([size, size]);
    pool.release(buffer);
    expect([pool.heldBytes, pool.largeBytes]).toEqual([0, 0]);
  });

  it('lends again what came back', () => {
    const pool = new BufferPool(1);
    const buffer = pool.acquire(5000);
    pool.release(buffer);
    expect(pool.acquire(8000)).toBe(buffer);
    expect(pool.acquire(8000)).not.toBe(buffer);
  });

  it('keeps no more free memory than 4 MiB', () => {
    const pool = new BufferPool(1);
    const lent = Array.from({ length: 100 }, () => pool.acquire(LARGEST_BYTES));
    for (const buffer of lent) pool.release(buffer);
    const again = Array.from({ length: 100 }, () => pool.acquire(LARGEST_BYTES));
    expect(again.filter(buffer => lent.includes(buffer))).toHaveLength(64);
  });

  it('keeps no buffer that was made to measure', () => {
    const pool = new BufferPool(1);
    const large = pool.acquire(LARGEST_BYTES * 2);
    pool.release(large);
    expect(pool.acquire(LARGEST_BYTES * 2)).not.toBe(large);
  });

  it('counts as large what is above 1 MiB', () => {
    const pool = new BufferPool(1);
    const [just, large] = [pool.acquire(LARGE_BYTES), pool.acquire(LARGE_BYTES + 1)];
    expect([pool.heldBytes, pool.largeBytes]).toEqual([2 * LARGE_BYTES + 1, LARGE_BYTES + 1]);
    pool.release(just);
    pool.release(large);
    expect([pool.heldBytes, pool.largeBytes]).toEqual([0, 0]);
  });

  it('admits small commands until ordinary buffers reach the bound, whatever large or unread ones there are', () => {
    const pool = new BufferPool(LARGEST_BYTES);
    pool.acquire(2 * LARGE_BYTES);
    expect(pool.admitsSmall()).toBe(true);
    pool.acquire(LARGEST_BYTES);
    expect(pool.admitsSmall()).toBe(false);
    pool.unreadBytes = 1;
    expect(pool.admitsSmall()).toBe(true);
  });

  it('admits the only large command always, a second one within the bound', () => {
    const pool = new BufferPool(10_000_000);
    expect(pool.admitsLarge(500_000_000)).toBe(true);
    const first = pool.acquire(6_000_000);
    expect([pool.admitsLarge(4_000_000), pool.admitsLarge(4_000_001)]).toEqual([true, false]);
    pool.release(first);
    expect(pool.admitsLarge(4_000_001)).toBe(true);
  });

  it('lets a large command grow by what it holds already', () => {
    const pool = new BufferPool(10_000_000);
    pool.acquire(6_000_000);
    expect(pool.admitsLarge(500_000_000, 6_000_000)).toBe(true);
    pool.acquire(3_000_000);
    expect([pool.admitsLarge(7_000_000, 6_000_000), pool.admitsLarge(7_000_001, 6_000_000)]).toEqual([true, false]);
  });

  it(`lends no buffer twice and counts to zero (RINGSIDE_SEED=${SEED})`, () => {
    rounds(50, random => {
      const pool = new BufferPool(1);
      const lent = new Set<Buffer>();
      for (let step = 0; step < 300; step += 1) {
        if (lent.size > 0 && random.below(2) === 0) {
          const buffer = random.pick([...lent]);
          lent.delete(buffer);
          pool.release(buffer);
        } else {
          const buffer = pool.acquire(random.below(2 ** (8 + random.below(14))));
          expect(lent.has(buffer)).toBe(false);
          lent.add(buffer);
        }
        expect(pool.heldBytes).toBe([...lent].reduce((sum, buffer) => sum + buffer.length, 0));
      }
      for (const buffer of lent) pool.release(buffer);
      expect([pool.heldBytes, pool.largeBytes]).toEqual([0, 0]);
    });
  });
});
