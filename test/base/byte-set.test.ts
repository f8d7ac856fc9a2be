import { describe, expect, test } from 'vitest';
import { ByteSet } from '../../src/base/byte-set.ts';
import { Random } from '../../src/base/random.ts';

const of = (text: string): [Buffer, number, number] => [Buffer.from(`..${text}..`), 2, Buffer.byteLength(text)];

describe('a set of byte strings', () => {
  test('holds what was put in, whole, with its number, and nothing else', () => {
    const set = new ByteSet(1 << 20);
    set.add(0, ...of('abc'));
    set.add(0, ...of(''));
    set.add(3, ...of('abd'));
    set.add(0, ...of('abc'));
    expect(set.size).toBe(3);
    expect(set.has(0, ...of('abc'))).toBe(true);
    expect(set.has(0, ...of(''))).toBe(true);
    expect([set.has(1, ...of('abc')), set.has(0, ...of('ab')), set.has(0, ...of('abd'))]).toEqual([
      false,
      false,
      false,
    ]);
    expect([set.has(3, ...of('abd')), set.has(3, ...of(''))]).toEqual([true, false]);
  });

  test('agrees with a Set of strings on many random members', () => {
    const seed = Number(process.env['RINGSIDE_SEED'] ?? (Math.random() * 2 ** 31) | 0);
    const random = new Random(seed);
    const [set, model] = [new ByteSet(1 << 24), new Set<string>()];
    const member = (): [number, Buffer] => {
      const length = Math.floor(random.next() * 6);
      return [Math.floor(random.next() * 3), Buffer.from(Array.from({ length }, () => Math.floor(random.next() * 4)))];
    };
    for (let i = 0; i < 20_000; i += 1) {
      const [number, bytes] = member();
      const name = `${number}:${bytes.toString('hex')}`;
      if (random.next() < 0.3) {
        set.add(number, bytes, 0, bytes.length);
        model.add(name);
      }
      expect(set.has(number, bytes, 0, bytes.length), `RINGSIDE_SEED=${seed}`).toBe(model.has(name));
    }
    expect(set.size).toBe(model.size);
  });

  test('never takes more than its bound: it forgets, and takes the newest', () => {
    const set = new ByteSet(64 * 1024);
    for (let i = 0; i < 50_000; i += 1) {
      set.add(0, ...of(`member ${i}`));
      expect(set.has(0, ...of(`member ${i}`))).toBe(true);
    }
    expect(set.heldBytes).toBeLessThan(256 * 1024);
    expect(set.size).toBeLessThan(6000);
    const before = set.size;
    set.add(0, Buffer.alloc(70_000), 0, 70_000);
    expect([set.size, set.has(0, Buffer.alloc(70_000), 0, 70_000)]).toEqual([before, false]);
  });
});
