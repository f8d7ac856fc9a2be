import type { Reply } from './effect.ts';
import { isFailure, textOf } from './replies.ts';

/**
 * The mark: a function library on each shard whose text says how new that copy of the data is.
 *
 * It replicates, persists and is emptied together with the data, and is no key. What carries no mark holds nothing that
 * could be trusted; of several copies after a cold start the one with the greatest epoch and counter is the newest.
 */
export interface Mark {
  readonly cluster: string;
  readonly shard: string;
  readonly epoch: number;
  readonly counter: number;
}

export const MARK_LIBRARY = 'ringside_mark';

/** Raises, or makes, the mark. */
export function loadMark(mark: Mark): string[] {
  const { cluster, shard, epoch, counter } = mark;
  const text = JSON.stringify({ cluster, shard, epoch, counter });
  // A library must register a function; this one is never called.
  const register = `redis.register_function{function_name='${MARK_LIBRARY}',callback=function() return 0 end,flags={'no-writes'}}`;
  return ['FUNCTION', 'LOAD', 'REPLACE', `#!lua name=${MARK_LIBRARY}\n-- ${text}\n${register}`];
}

export const readMark: readonly string[] = ['FUNCTION', 'LIST', 'LIBRARYNAME', MARK_LIBRARY, 'WITHCODE'];

/** Reads the reply of `readMark`; null: no mark, or none that could be read. */
export function parseMark(reply: Reply | undefined): Mark | null {
  if (reply === undefined || isFailure(reply)) return null;
  const code = textOf(reply, 'library_code');
  const line = /^-- (\{.*\})$/m.exec(code ?? '')?.[1];
  if (line === undefined) return null;
  try {
    const { cluster, shard, epoch, counter } = JSON.parse(line) as Partial<Record<keyof Mark, unknown>>;
    const isWhole = typeof cluster === 'string' && typeof shard === 'string';
    if (!isWhole || !Number.isSafeInteger(epoch) || !Number.isSafeInteger(counter)) return null;
    return { cluster, shard, epoch: Number(epoch), counter: Number(counter) };
  } catch {
    return null;
  }
}

/** Greater than 0: `a` is the newer one; whoever has a mark is newer than one without. */
export function compareMarks(a: Mark | null, b: Mark | null): number {
  if (a === null || b === null) return Number(a !== null) - Number(b !== null);
  return a.epoch - b.epoch || a.counter - b.counter;
}
