import { describe, expect, it } from 'vitest';
import { Fifo } from '../../src/base/fifo.ts';
import { rounds, SEED } from '../fuzz/seed.ts';

describe('the fifo', () => {
  it('answers its empty value when nothing is in it', () => {
    const fifo = new Fifo<string>('nothing');
    expect([fifo.length, fifo.peek(), fifo.shift(), fifo.length]).toEqual([0, 'nothing', 'nothing', 0]);
  });

  it('lets go of what was taken out', () => {
    const fifo = new Fifo<object | null>(null, 2);
    const item = {};
    fifo.push(item);
    fifo.shift();
    expect([fifo.at(0), fifo.at(1)]).toEqual([null, null]);
  });

  it(`does what an array does, wherever its ring begins (RINGSIDE_SEED=${SEED})`, () => {
    rounds(100, random => {
      const fifo = new Fifo<number>(-1, 1 + random.below(9));
      const model: number[] = [];
      for (let step = 0; step < 300; step += 1) {
        if (random.below(5) < 2) {
          expect(fifo.shift()).toBe(model.shift() ?? -1);
        } else {
          fifo.push(step);
          model.push(step);
        }
        expect(fifo.length).toBe(model.length);
        expect(fifo.peek()).toBe(model[0] ?? -1);
        if (model.length > 0) {
          const index = random.below(model.length);
          expect(fifo.at(index)).toBe(model[index]);
        }
      }
    });
  });
});
