/** In which order keys that are wanted are pulled, and how many at a time. */
import { expect, test } from 'vitest';
import { Pull } from '../../src/proxy/pull.ts';
import { PullQueue } from '../../src/proxy/pull-queue.ts';

const names = (pulls: readonly Pull[]): string[] => pulls.map(({ name }) => name);

function pullOf(database: number, key: string): Pull {
  return new Pull(database, Buffer.from(key), `${database}:${key}`, 0);
}

function queueOf(...members: readonly (readonly [number, string])[]): PullQueue {
  const queue = new PullQueue();
  for (const [database, key] of members) queue.push(pullOf(database, key));
  return queue;
}

test('keys come out in their order, so many at a time, until none is left', () => {
  const queue = queueOf([0, 'a'], [0, 'b'], [0, 'c'], [0, 'd'], [0, 'e']);
  expect(names(queue.take(2, 100))).toEqual(['0:a', '0:b']);
  expect(queue.length).toBe(3);
  expect(names(queue.take(9, 100))).toEqual(['0:c', '0:d', '0:e']);
  expect([queue.length, queue.take(9, 100)]).toEqual([0, []]);
});

test('databases have their turns, and none is mixed with another', () => {
  const queue = queueOf([0, 'a'], [3, 'x'], [0, 'b'], [5, 'p'], [0, 'c'], [3, 'y']);
  expect(names(queue.take(2, 100))).toEqual(['0:a', '0:b']);
  expect(names(queue.take(2, 100))).toEqual(['3:x', '3:y']);
  expect(names(queue.take(2, 100))).toEqual(['5:p']);
  expect(names(queue.take(2, 100))).toEqual(['0:c']);
});

test('long names bound them too, but one comes out however long it is', () => {
  const queue = queueOf([0, 'x'.repeat(50)], [0, 'aaaa'], [0, 'bbbb'], [0, 'c']);
  expect(queue.take(9, 10).length).toBe(1);
  expect(names(queue.take(9, 8))).toEqual(['0:aaaa', '0:bbbb']);
  expect(names(queue.take(9, 8))).toEqual(['0:c']);
});

test('what is put back comes first, in its order', () => {
  const queue = queueOf([0, 'a'], [0, 'b'], [0, 'c'], [0, 'd']);
  const [, ...back] = queue.take(3, 100);
  queue.putBack(back);
  expect(queue.length).toBe(3);
  queue.putBack([]);
  expect(names(queue.take(9, 100))).toEqual(['0:b', '0:c', '0:d']);
  queue.putBack([pullOf(2, 'z')]);
  expect([queue.length, names(queue.take(9, 100))]).toEqual([1, ['2:z']]);
});

test('what nobody wants any more is taken out', () => {
  const queue = new PullQueue();
  const pulls = [pullOf(0, 'a'), pullOf(1, 'b'), pullOf(0, 'c')] as const;
  for (const pull of pulls) {
    pull.join({ left: 1, over: pull === pulls[0], onArrived: () => undefined });
    queue.push(pull);
  }
  expect(names(queue.prune())).toEqual(['0:a']);
  expect(queue.length).toBe(2);
  expect(names([...queue.take(9, 100), ...queue.take(9, 100)]).sort()).toEqual(['0:c', '1:b']);
});
