import { describe, expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import { Generator, type Step } from './generator.ts';
import { encode, pieces } from './wire.ts';

function steps(seed: number, count: number): Step[] {
  const generator = new Generator({ seed, clients: 4, refused: false });
  return Array.from({ length: count }, () => generator.step());
}

describe('the generator of random sessions', () => {
  test('writes the same steps from the same seed, and others from another', () => {
    expect(steps(7, 300)).toEqual(steps(7, 300));
    expect(steps(7, 30)).not.toEqual(steps(8, 30));
  });

  test('never sends to a stock server what only a proxy refuses', () => {
    const names = steps(3, 3000)
      .flatMap(step => (step.kind === 'pipeline' ? step.commands : []))
      .map(one => String(one.args[0]));
    expect(names.length).toBeGreaterThan(10_000);
    expect(names.filter(name => /^(shutdown|replicaof|debug|monitor|migrate)$/i.test(name))).toEqual([]);
  });

  test('loses no byte where it cuts', () => {
    const random = new Random(5);
    for (const step of steps(5, 300)) {
      if (step.kind !== 'pipeline') continue;
      const bytes = Buffer.concat(step.commands.map(encode));
      const cut = { seed: random.below(1000), everyByte: random.below(2) === 0 };
      expect(Buffer.concat(pieces(bytes, cut)).equals(bytes)).toBe(true);
    }
  });
});
