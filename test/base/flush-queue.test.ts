import { describe, expect, it } from 'vitest';
import { type Flushable, scheduleFlush } from '../../src/base/flush-queue.ts';

class Item implements Flushable {
  flushScheduled = false;
  readonly #log: string[];
  readonly #name: string;
  readonly #onFlush: () => void;

  constructor(log: string[], name: string, onFlush: () => void = () => {}) {
    this.#log = log;
    this.#name = name;
    this.#onFlush = onFlush;
  }

  flush(): void {
    this.#log.push(this.#name);
    this.#onFlush();
  }
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

describe('the flush queue', () => {
  it('flushes each once a turn, in the order of coming, and not at once', async () => {
    const log: string[] = [];
    const [a, b] = [new Item(log, 'a'), new Item(log, 'b')];
    for (const item of [a, b, a, a, b]) scheduleFlush(item);
    expect(log).toEqual([]);
    await turn();
    expect(log).toEqual(['a', 'b']);
    expect([a.flushScheduled, b.flushScheduled]).toEqual([false, false]);
  });

  it('puts off to the next turn what comes while it flushes, the one being flushed included', async () => {
    const log: string[] = [];
    let again = 1;
    const late = new Item(log, 'late');
    const a: Item = new Item(log, 'a', () => {
      scheduleFlush(late);
      if (again > 0) scheduleFlush(a);
      again -= 1;
    });
    const b = new Item(log, 'b');
    scheduleFlush(a);
    scheduleFlush(b);
    await turn();
    expect(log).toEqual(['a', 'b']);
    await turn();
    expect(log).toEqual(['a', 'b', 'late', 'a']);
    await turn();
    expect(log).toEqual(['a', 'b', 'late', 'a', 'late']);
  });

  it('keeps serving over many turns', async () => {
    const log: string[] = [];
    const items = Array.from({ length: 50 }, (_, i) => new Item(log, String(i)));
    for (let round = 0; round < 5; round += 1) {
      for (const item of items) scheduleFlush(item);
      await turn();
    }
    expect(log).toEqual(Array.from({ length: 5 }, () => items.map((_, i) => String(i))).flat());
  });
});
