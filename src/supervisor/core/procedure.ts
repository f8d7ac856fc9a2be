import type { TopologyShard } from '../../topology/snapshot.ts';
import type { Call, CallOutcome, Change, Login, Note } from './effect.ts';

/**
 * Procedures as they are written: generators that yield what is to happen next and are told what came of it.
 *
 * A procedure reads like the rule that it carries out, top to bottom, and touches neither socket nor clock. Whoever runs
 * it (`scheduler.ts`) may drop it between any two steps: nothing may hang on its last line being reached.
 */
export type Procedure<T> = Generator<Step, T, Answer>;

export type Step =
  | { readonly kind: 'call'; readonly call: Call }
  | { readonly kind: 'publish'; readonly change: Change; readonly why: string }
  | { readonly kind: 'rest'; readonly ms: number }
  | { readonly kind: 'note'; readonly note: Note }
  | { readonly kind: 'together'; readonly procedures: readonly Procedure<void>[] };

export type Answer = { readonly kind: 'outcome'; readonly outcome: CallOutcome } | { readonly kind: 'done' };

/** How a procedure ended: `why` says what kept it from its end. */
export type Ending = { readonly done: true } | { readonly done: false; readonly why: string };

export const DONE: Ending = { done: true };

export function gaveUp(why: string): Ending {
  return { done: false, why };
}

/** To which incarnation of which node, and how it may be reached. */
export interface Target {
  readonly nodeId: string;
  readonly runId: string;
}

/** Sends commands in one piece to one incarnation; by default as the user of this term. */
export function* call(
  target: Target,
  commands: readonly (readonly string[])[],
  limitMs: number,
  as: Login = 'term',
): Procedure<CallOutcome> {
  const { nodeId, runId } = target;
  const answer = yield { kind: 'call', call: { kind: 'call', nodeId, runId, as, commands, limitMs } };
  if (answer.kind === 'outcome') return answer.outcome;
  return { ok: false, why: 'unreachable', text: 'not carried out' };
}

/** Publishes one shard's new state: see `publishChange`. */
export function* publish(
  shard: TopologyShard,
  why: string,
  runIds: Readonly<Record<string, string>> = {},
): Procedure<void> {
  yield* publishChange({ shards: [shard], runIds }, why);
}

/** Returns once it is in the store; when it cannot be written, this leadership is over and nothing returns. */
export function* publishChange(change: Change, why: string): Procedure<void> {
  yield { kind: 'publish', change, why };
}

/** Sends commands that hold keys or payloads: as `call`, with bytes in the place of text (latin1). */
export function* callBinary(
  target: Target,
  commands: readonly (readonly string[])[],
  limitMs: number,
): Procedure<CallOutcome> {
  const { nodeId, runId } = target;
  const answer = yield {
    kind: 'call',
    call: { kind: 'call', nodeId, runId, as: 'term', commands, limitMs, binary: true },
  };
  if (answer.kind === 'outcome') return answer.outcome;
  return { ok: false, why: 'unreachable', text: 'not carried out' };
}

export function* rest(ms: number): Procedure<void> {
  yield { kind: 'rest', ms };
}

export function* note(
  level: Note['level'],
  event: string,
  text: string,
  about: { readonly shard?: string; readonly nodeId?: string } = {},
): Procedure<void> {
  const { shard = null, nodeId = null } = about;
  yield { kind: 'note', note: { kind: 'note', level, event, text, shard, nodeId } };
}

/** Runs several at once and returns, in their order, what each came to; as slow as the slowest. */
export function* together<T>(procedures: readonly Procedure<T>[]): Procedure<T[]> {
  const results: T[] = [];
  const kept = procedures.map((procedure, index) => keep(procedure, index, results));
  yield { kind: 'together', procedures: kept };
  return results;
}

function* keep<T>(procedure: Procedure<T>, index: number, results: T[]): Procedure<void> {
  results[index] = yield* procedure;
}
