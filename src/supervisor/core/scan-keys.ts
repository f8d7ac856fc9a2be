import { evalCommand, SIZE_KEYS } from '../../topology/pull.ts';
import { call, callBinary, type Procedure, type Target } from './procedure.ts';
import { failureOf, isFailure, listOf, replyAt } from './replies.ts';

/**
 * Walks over the keys of one node, page by page. What is there from the first page to the last is met, at least once.
 *
 * Connections are shared by all that is asked of a node, so each page goes back to database 0. Keys are bytes (latin1).
 */
export interface Page {
  /** `0`: it was the last one. */
  readonly cursor: string;
  readonly keys: readonly string[];
}

const LIMIT_MS = 1000;

/** Numbers of the databases that hold keys; a text: why that is not known. */
export function* databasesOf(target: Target): Procedure<number[] | string> {
  const outcome = yield* call(target, [['INFO', 'keyspace']], LIMIT_MS);
  const text = replyAt(outcome, 0);
  if (typeof text !== 'string') return `${target.nodeId}: ${failureOf(outcome) ?? 'INFO cannot be read'}`;
  return [...text.matchAll(/^db(\d+):keys=/gm)].map(([, database]) => Number(database));
}

export function* scanPage(target: Target, database: number, cursor: string, count: number): Procedure<Page | string> {
  const outcome = yield* callBinary(
    target,
    [
      ['SELECT', String(database)],
      ['SCAN', cursor, 'COUNT', String(count)],
      ['SELECT', '0'],
    ],
    LIMIT_MS,
  );
  const failure = failureOf(outcome);
  return failure === null ? pageOf(target, replyAt(outcome, 1)) : `${target.nodeId}: ${failure}`;
}

/** Members of a set in database 0; of one that is not there: none. */
export function* scanSetPage(target: Target, key: string, cursor: string, count: number): Procedure<Page | string> {
  const outcome = yield* callBinary(target, [['SSCAN', key, cursor, 'COUNT', String(count)]], LIMIT_MS);
  const failure = failureOf(outcome);
  return failure === null ? pageOf(target, replyAt(outcome, 0)) : `${target.nodeId}: ${failure}`;
}

function pageOf({ nodeId }: Target, reply: ReturnType<typeof replyAt>): Page | string {
  const keys = Array.isArray(reply) ? listOf(reply[1]) : null;
  if (!Array.isArray(reply) || keys === null) return `${nodeId}: its walk cannot be read`;
  return { cursor: String(reply[0]), keys };
}

/** Bytes of memory that each key takes; 0: it is no longer there. */
export function* sizesOf(target: Target, database: number, keys: readonly string[]): Procedure<number[] | string> {
  const outcome = yield* callBinary(target, [evalCommand(SIZE_KEYS, keys, [String(database)])], LIMIT_MS);
  const reply = replyAt(outcome, 0);
  if (!Array.isArray(reply) || isFailure(reply)) return `${target.nodeId}: ${failureOf(outcome) ?? 'no sizes'}`;
  // A list in Lua ends at its last value that is there.
  return keys.map((_, i) => Number(reply[i] ?? 0));
}
