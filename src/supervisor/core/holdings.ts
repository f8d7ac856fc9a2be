import type { CallOutcome } from './effect.ts';
import { MARK_LIBRARY, type Mark, parseMark, readMark } from './mark.ts';
import { type NodeReport, reportCommand } from './node-report.ts';
import { listOf, lookOf, replyAt, textsOf } from './replies.ts';

/**
 * What a node holds, as it says itself when it is asked: for the person who is to give that up, and for the leader who is
 * to judge whether it may be discarded.
 */
export interface Holdings {
  /** The incarnation that holds it. */
  readonly runId: string;
  /** Those that are not empty. */
  readonly databases: readonly { readonly database: number; readonly keys: number }[];
  /** Libraries of functions, without the mark. */
  readonly libraries: readonly string[];
  /** Whose data it is, or was; null: nobody's as far as can be told. */
  readonly mark: Mark | null;
}

/** What is asked; `foundOf` reads the replies. */
export const askHoldings: readonly (readonly string[])[] = [
  reportCommand,
  readMark,
  ['FUNCTION', 'LIST'],
  ['ACL', 'USERS'],
];

export interface Found {
  readonly report: NodeReport;
  readonly holdings: Holdings;
  /** Of the node. */
  readonly users: readonly string[];
}

/** Null: it does not say. */
export function foundOf(outcome: CallOutcome): Found | null {
  const info = replyAt(outcome, 0);
  const report = lookOf(info)?.report;
  const [libraries, users] = [replyAt(outcome, 2), listOf(replyAt(outcome, 3))];
  if (report === undefined || users === null || !Array.isArray(libraries)) return null;
  const holdings = {
    runId: report.runId,
    databases: databasesOf(String(info)),
    libraries: textsOf(libraries, 'library_name').filter(name => name !== MARK_LIBRARY),
    mark: parseMark(replyAt(outcome, 1)),
  };
  return { report, holdings, users };
}

function databasesOf(info: string): Holdings['databases'] {
  return [...info.matchAll(/^db(\d+):keys=(\d+)/gm)].flatMap(([, database, keys]) => {
    return Number(keys) === 0 ? [] : [{ database: Number(database), keys: Number(keys) }];
  });
}

/** Keys of all databases. */
export function keysOf({ databases }: Holdings): number {
  return databases.reduce((sum, { keys }) => sum + keys, 0);
}

/** No key, no function, no mark: as a process that has just been started for the first time. */
export function isNothing(holdings: Holdings): boolean {
  return keysOf(holdings) === 0 && holdings.libraries.length === 0 && holdings.mark === null;
}
