/**
 * The checker itself: known histories, and random ones against a search that tries every order.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SEED } from '../fuzz/seed.ts';
import { checkLinearizable } from './checker.ts';
import type { Model, Operation } from './history.ts';
import { type CounterInput, counterModel, type RegisterInput, type RegisterOutput, registerModel } from './models.ts';

type RegisterOperation = Operation<RegisterInput, RegisterOutput>;

/** An operation with the times between which it may have happened; `endMs` null: never answered. */
function operation(beginMs: number, endMs: number | null, input: RegisterInput, output: RegisterOutput | null) {
  return { client: 'any', input, output: endMs === null ? null : output, beginMs, endMs } as RegisterOperation;
}
const set = (beginMs: number, endMs: number | null, value: string) =>
  operation(beginMs, endMs, { kind: 'set', value }, { kind: 'done' });
const get = (beginMs: number, endMs: number, value: string | null) =>
  operation(beginMs, endMs, { kind: 'get' }, { kind: 'value', value });
const remove = (beginMs: number, endMs: number | null) =>
  operation(beginMs, endMs, { kind: 'delete' }, { kind: 'done' });
const swap = (beginMs: number, endMs: number | null, from: string | null, to: string, swapped: boolean) =>
  operation(beginMs, endMs, { kind: 'compareAndSet', from, to }, { kind: 'swapped', swapped });

const isLinearizable = (...history: RegisterOperation[]) => checkLinearizable(registerModel, history).linearizable;

describe('a register', () => {
  test('that nobody uses is linearizable', () => {
    expect(isLinearizable()).toBe(true);
  });

  test('may answer either value while a write is on its way', () => {
    expect(isLinearizable(set(0, 1, 'a'), set(2, 9, 'b'), get(3, 4, 'a'), get(5, 6, 'b'))).toBe(true);
  });

  test('never goes back to the old value once the new one was read, though the write is still on its way', () => {
    expect(isLinearizable(set(0, 1, 'a'), set(2, 9, 'b'), get(3, 4, 'b'), get(5, 6, 'a'))).toBe(false);
  });

  test('answers no stale value after a write was acknowledged', () => {
    expect(isLinearizable(set(0, 1, 'a'), set(2, 3, 'b'), get(4, 5, 'a'))).toBe(false);
    expect(isLinearizable(set(0, 1, 'a'), remove(2, 3), get(4, 5, 'a'))).toBe(false);
  });

  test('loses no acknowledged write', () => {
    expect(isLinearizable(set(0, 1, 'a'), get(2, 3, null))).toBe(false);
  });

  test('answers no value that nobody wrote', () => {
    expect(isLinearizable(set(0, 1, 'a'), get(0, 2, 'b'))).toBe(false);
  });

  test('lets one of two swaps from the same value win: two winners are a lost update', () => {
    const both = (second: boolean) => [swap(2, 5, 'a', 'b', true), swap(3, 6, 'a', 'c', second)];
    expect(isLinearizable(set(0, 1, 'a'), ...both(false), get(7, 8, 'b'))).toBe(true);
    expect(isLinearizable(set(0, 1, 'a'), ...both(true), get(7, 8, 'c'))).toBe(false);
  });

  test('may take a write that was never answered at any later time, or never, but once', () => {
    const uncertain = [set(0, 1, 'a'), set(2, null, 'b')];
    expect(isLinearizable(...uncertain, get(3, 4, 'a'), get(5, 6, 'a'))).toBe(true);
    expect(isLinearizable(...uncertain, get(3, 4, 'a'), get(5, 6, 'b'))).toBe(true);
    expect(isLinearizable(...uncertain, get(3, 4, 'b'), set(5, 6, 'c'), get(7, 8, 'b'))).toBe(false);
  });

  test('takes no write that was never answered before it was asked for', () => {
    expect(isLinearizable(get(0, 1, 'b'), set(2, null, 'b'))).toBe(false);
  });

  test('is told where the search got stuck', () => {
    const stale = get(4, 5, 'a');
    expect(checkLinearizable(registerModel, [set(0, 1, 'a'), set(2, 3, 'b'), stale])).toMatchObject({
      linearizable: false,
      stuckAt: stale,
    });
  });
});

describe('a counter', () => {
  const add = (beginMs: number, endMs: number | null, output: number | null): Operation<CounterInput, number> => ({
    client: 'any',
    input: { kind: 'add', amount: 1 },
    beginMs,
    endMs,
    output,
  });

  test('gives every sum once', () => {
    expect(checkLinearizable(counterModel, [add(0, 3, 2), add(1, 2, 1)]).linearizable).toBe(true);
    expect(checkLinearizable(counterModel, [add(0, 3, 1), add(1, 2, 1)]).linearizable).toBe(false);
  });

  test('skips one sum for each addition without an answer, not two', () => {
    expect(checkLinearizable(counterModel, [add(0, null, null), add(1, 2, 2)]).linearizable).toBe(true);
    expect(checkLinearizable(counterModel, [add(0, null, null), add(1, 2, 3)]).linearizable).toBe(false);
  });

  test('of three hundred overlapping additions by twelve clients is decided at once', () => {
    const history = Array.from({ length: 300 }, (_, index) => add(index, index + 12, index + 1));
    expect(checkLinearizable(counterModel, history).linearizable).toBe(true);
    const doubled = history.map((one, index) => (index === 250 ? { ...one, output: 250 } : one));
    expect(checkLinearizable(counterModel, doubled).linearizable).toBe(false);
  });
});

/** Tries every order of every set that holds all answered operations; slow and plain. */
function byTryingAll<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
): boolean {
  const search = (state: State, left: readonly Operation<Input, Output>[]): boolean => {
    if (left.every(({ endMs }) => endMs === null)) return true;
    return left.some(one => {
      if (left.some(other => other !== one && other.endMs !== null && other.endMs < one.beginMs)) return false;
      const next = model.step(state, one.input, one.output);
      return (
        next !== undefined &&
        search(
          next,
          left.filter(other => other !== one),
        )
      );
    });
  };
  return search(model.initial, history);
}

const value = fc.constantFrom('a', 'b');
const input: fc.Arbitrary<RegisterInput> = fc.oneof(
  fc.constant({ kind: 'get' } as const),
  fc.constant({ kind: 'delete' } as const),
  value.map(one => ({ kind: 'set', value: one }) as const),
  fc.tuple(fc.option(value), value).map(([from, to]) => ({ kind: 'compareAndSet', from, to }) as const),
);

/** A plausible answer, right or wrong. */
function outputFor({ kind }: RegisterInput, guess: string | null): RegisterOutput {
  if (kind === 'get') return { kind: 'value', value: guess };
  return kind === 'compareAndSet' ? { kind: 'swapped', swapped: guess === 'a' } : { kind: 'done' };
}

const someHistory: fc.Arbitrary<RegisterOperation[]> = fc.array(
  fc
    .tuple(
      input,
      fc.option(value),
      fc.integer({ min: 0, max: 8 }),
      fc.option(fc.integer({ min: 1, max: 6 }), { freq: 5 }),
    )
    .map(([asked, guess, beginMs, tookMs]) =>
      operation(beginMs, tookMs === null ? null : beginMs + tookMs, asked, outputFor(asked, guess)),
    ),
  { maxLength: 7 },
);

test(`the checker judges random histories as the search that tries every order does (RINGSIDE_SEED=${SEED})`, () => {
  let yes = 0;
  let no = 0;
  fc.assert(
    fc.property(someHistory, history => {
      const expected = byTryingAll(registerModel, history);
      if (expected) yes += 1;
      else no += 1;
      expect(isLinearizable(...history)).toBe(expected);
    }),
    { numRuns: 3000, seed: SEED },
  );
  // A generator that makes one kind only would prove nothing.
  expect(Math.min(yes, no)).toBeGreaterThan(300);
});
