/**
 * Decides whether a history is linearizable: whether each operation can be thought to have happened at one instant
 * between its begin and its end, so that the answers are those of a sequential object.
 *
 * The search is Wing and Gong's with Lowe's memory, in the form of a list of calls and returns in the order of time.
 * It takes the first call whose answer fits the state, lifts the operation out of the list and begins anew; when it
 * comes upon a return, the operation of which was not taken yet, it takes back the last step. Which set of operations
 * led to which state is remembered: no pair is searched twice. An operation that was never answered returns at the end
 * of time, and a list that holds no other return is done: what was never answered need not have happened.
 */
import type { Model, Operation } from './history.ts';

export type Verdict<Input, Output> =
  | { readonly linearizable: true }
  | {
      readonly linearizable: false;
      /** The operation before whose return the search got stuck, when it had come furthest. */
      readonly stuckAt: Operation<Input, Output>;
      /** The longest order that was found, up to there. */
      readonly order: readonly Operation<Input, Output>[];
    };

/** A search that takes longer than this is a mistake of the test: its histories are too long, or too concurrent. */
const MOST_STEPS = 5_000_000;

interface Entry {
  readonly operation: number;
  readonly isCall: boolean;
  /** Of a call: its return. */
  readonly match: Entry | null;
  before: Entry | null;
  after: Entry | null;
}

/** Throws when the history is too large to be decided. */
export function checkLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
): Verdict<Input, Output> {
  const head = listOf(history);
  const taken = new Uint8Array(history.length);
  const seen = new Set<string>();
  const path: { readonly call: Entry; readonly stateBefore: State }[] = [];
  let state = model.initial;
  let furthest: { stuckAt: number; order: number[] } = { stuckAt: -1, order: [] };
  let at = head.after;
  for (let steps = 0; at !== null; steps += 1) {
    if (steps > MOST_STEPS) throw new Error(`a history of ${history.length} operations was not decided`);
    const operation = history[at.operation] as Operation<Input, Output>;
    if (at.isCall) {
      const next = model.step(state, operation.input, operation.output);
      if (next !== undefined && isNew(seen, taken, at.operation, model.nameOf(next))) {
        path.push({ call: at, stateBefore: state });
        state = next;
        taken[at.operation] = 1;
        lift(at);
        at = head.after;
      } else {
        at = at.after;
      }
      continue;
    }
    // Only what was never answered is left from here on.
    if (operation.endMs === null) return { linearizable: true };
    if (path.length >= furthest.order.length)
      furthest = { stuckAt: at.operation, order: path.map(step => step.call.operation) };
    const last = path.pop();
    if (last === undefined) return failure(history, furthest);
    state = last.stateBefore;
    taken[last.call.operation] = 0;
    unlift(last.call);
    at = last.call.after;
  }
  return { linearizable: true };
}

function failure<Input, Output>(
  history: readonly Operation<Input, Output>[],
  furthest: { readonly stuckAt: number; readonly order: readonly number[] },
): Verdict<Input, Output> {
  const operationAt = (index: number) => history[index] as Operation<Input, Output>;
  return {
    linearizable: false,
    stuckAt: operationAt(furthest.stuckAt),
    order: furthest.order.map(operationAt),
  };
}

/** Whether this set of operations, `index` added, did not yet lead to this state. */
function isNew(seen: Set<string>, taken: Uint8Array, index: number, state: string): boolean {
  taken[index] = 1;
  let key = '';
  for (let at = 0; at < taken.length; at += 16) {
    let bits = 0;
    for (let bit = 0; bit < 16; bit += 1) bits |= (taken[at + bit] ?? 0) << bit;
    key += String.fromCharCode(bits);
  }
  taken[index] = 0;
  key += state;
  if (seen.has(key)) return false;
  seen.add(key);
  return true;
}

/** Calls and returns in the order of time, behind a head. At one instant calls come first: such operations overlap. */
function listOf(history: readonly Operation<unknown, unknown>[]): Entry {
  const entries: { timeMs: number; entry: Entry }[] = [];
  history.forEach(({ beginMs, endMs }, operation) => {
    const back: Entry = { operation, isCall: false, match: null, before: null, after: null };
    entries.push({ timeMs: beginMs, entry: { operation, isCall: true, match: back, before: null, after: null } });
    entries.push({ timeMs: endMs ?? Number.POSITIVE_INFINITY, entry: back });
  });
  entries.sort((a, b) =>
    a.timeMs === b.timeMs ? Number(b.entry.isCall) - Number(a.entry.isCall) : a.timeMs - b.timeMs,
  );
  const head: Entry = { operation: -1, isCall: false, match: null, before: null, after: null };
  let last = head;
  for (const { entry } of entries) {
    last.after = entry;
    entry.before = last;
    last = entry;
  }
  return head;
}

/** Takes a call and its return out of the list; they keep their places in mind. */
function lift(call: Entry): void {
  unlink(call);
  if (call.match !== null) unlink(call.match);
}

/** Undoes the last `lift`: in the other order, so that neighbours are right again. */
function unlift(call: Entry): void {
  if (call.match !== null) relink(call.match);
  relink(call);
}

function unlink(entry: Entry): void {
  if (entry.before !== null) entry.before.after = entry.after;
  if (entry.after !== null) entry.after.before = entry.before;
}

function relink(entry: Entry): void {
  if (entry.before !== null) entry.before.after = entry;
  if (entry.after !== null) entry.after.before = entry;
}
