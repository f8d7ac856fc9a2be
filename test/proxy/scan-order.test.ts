/** SCAN walks the shards so that no key that goes over once, from a portion's source to its target, is missed. */
import { describe, expect, test } from 'vitest';
import { ScanOrder } from '../../src/proxy/scan-order.ts';
import type { CurrentPortion, TopologyMove } from '../../src/topology/move.ts';
import type { TopologyShard } from '../../src/topology/snapshot.ts';

const ring = { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 16 } as const;

function shardsOf(weights: Readonly<Record<string, number>>): TopologyShard[] {
  return Object.entries(weights).map(([name, weight]) => ({
    name,
    weight,
    epoch: 1,
    primary: name,
    inSync: [],
    joining: null,
    paused: false,
    nodes: [name],
  }));
}

/** `flows`: source and target of each portion, as in "ab". */
function moveOf(
  weights: Readonly<Record<string, number>>,
  flows: readonly string[],
  change: Partial<TopologyMove> = {},
): TopologyMove {
  const portions = flows.map(([source = '', target = '']) => ({ source, target, part: 0, parts: 1, keys: 1 }));
  const rest = { aborting: false, paused: null, keysPerSecond: null, allowStalls: false };
  return { id: 7, ring, weights, portions, moved: 0, current: null, ...rest, ...change };
}

const current = (index: number, change: Partial<CurrentPortion> = {}): CurrentPortion => ({
  index,
  phase: 'moving',
  way: 'there',
  set: 1,
  thereSet: null,
  ...change,
});

const orderOf = (weights: Readonly<Record<string, number>>, move: TopologyMove | null): ScanOrder =>
  new ScanOrder({ ring, shards: shardsOf(weights), move });

describe('the order', () => {
  test('is that of the topology while nothing moves, without shards that own nothing', () => {
    expect(orderOf({ a: 1, b: 0, c: 1 }, null).names).toEqual(['a', 'c']);
  });

  test.each([
    ['a shard is added', { a: 1, b: 1, c: 0 }, { a: 1, b: 1, c: 1 }, ['ac', 'bc'], 'abc'],
    ['one that stands in front is added', { a: 0, b: 1, c: 1 }, { a: 1, b: 1, c: 1 }, ['ba', 'ca'], 'bca'],
    ['a shard is removed', { a: 1, b: 1, c: 1 }, { a: 1, b: 1, c: 0 }, ['ca', 'cb'], 'cab'],
    [
      'one goes and one comes',
      { a: 1, b: 1, c: 1, d: 0 },
      { a: 0, b: 1, c: 1, d: 1 },
      ['ab', 'ac', 'ad', 'bd', 'cd'],
      'abcd',
    ],
    ['keys go in a chain', { a: 1, b: 1, c: 1 }, { a: 2, b: 1, c: 1 }, ['cb', 'ba'], 'cba'],
    ['some have no part in it', { a: 1, b: 1, c: 1 }, { a: 1, b: 2, c: 1 }, ['cb'], 'acb'],
  ])(
    'has every source before its targets when %s, and the other way round for an abort',
    (_, before, after, flows, names) => {
      const move = moveOf(after as Record<string, number>, flows);
      const order = orderOf(before as Record<string, number>, move);
      expect(order.names.join('')).toBe(names);
      const back = orderOf(before as Record<string, number>, { ...move, aborting: true }).names;
      for (const [source = '', target = ''] of flows) {
        expect(order.names.indexOf(source)).toBeLessThan(order.names.indexOf(target));
        expect(back.indexOf(target)).toBeLessThan(back.indexOf(source));
      }
    },
  );

  test('goes by the portion under way where keys move in a circle', () => {
    const weights = { a: 1, b: 1, c: 1, d: 1 };
    const move = moveOf(weights, ['ab', 'bc', 'ca']);
    const namesWith = (change: Partial<TopologyMove>): string =>
      orderOf(weights, { ...move, ...change }).names.join('');
    expect(namesWith({})).toBe('abcd');
    expect(namesWith({ current: current(1) })).toBe('badc');
    expect(namesWith({ current: current(1, { way: 'return' }), aborting: true })).toBe('cadb');
  });
});

describe('the tag', () => {
  const weights = { a: 1, b: 1, c: 0 };
  const goal = { a: 1, b: 1, c: 1 };
  const move = moveOf(goal, ['ac', 'bc']);
  const tagWith = (change: Partial<TopologyMove>): number => orderOf(weights, { ...move, ...change }).tag;

  test('stays the same for as long as the move goes one way', () => {
    const tags = [
      tagWith({}),
      tagWith({ current: current(0, { phase: 'preparing' }) }),
      tagWith({ current: current(0) }),
      tagWith({ moved: 1 }),
      tagWith({ moved: 1, current: current(1), paused: 'a person wants it', keysPerSecond: 7 }),
      tagWith({ moved: 2 }),
    ];
    expect(new Set(tags).size).toBe(1);
  });

  test('is another one when a move begins, turns round or ends, and when shards come', () => {
    const [before, during, back, after] = [
      orderOf(weights, null).tag,
      tagWith({}),
      tagWith({ aborting: true }),
      orderOf(goal, null).tag,
    ];
    expect(before).not.toBe(during);
    expect(during).not.toBe(back);
    expect(back).not.toBe(before);
    expect(during).not.toBe(after);
    expect(before).not.toBe(after);
    // One that owns nothing is not walked.
    expect(orderOf({ ...weights, d: 0 }, null).tag).toBe(before);
  });

  test('is another one whenever a portion begins or ends where keys move in a circle', () => {
    const circle = moveOf({ a: 1, b: 1 }, ['ab', 'ba']);
    const states: Partial<TopologyMove>[] = [
      {},
      { current: current(0) },
      { moved: 1 },
      { moved: 1, current: current(1) },
      { moved: 2 },
    ];
    const tags = states.map(state => orderOf({ a: 1, b: 1 }, { ...circle, ...state }).tag);
    expect(tags.slice(1).every((tag, i) => tag !== tags[i])).toBe(true);
  });

  test('fits into its eight bits', () => {
    for (let id = 1; id < 500; id += 1) {
      const { tag } = orderOf(weights, { ...move, id, aborting: id % 2 === 0 });
      expect(tag).toBeGreaterThanOrEqual(0);
      expect(tag).toBeLessThan(256);
    }
  });
});
