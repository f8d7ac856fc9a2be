import type { CallOutcome, Reply, ReplyFailure } from './effect.ts';
import { type NodeReport, parseNodeReport } from './node-report.ts';

/**
 * Reading of what nodes answer to the few commands that the supervisor sends.
 */
export function isFailure(reply: Reply | undefined): reply is ReplyFailure {
  return typeof reply === 'object' && reply !== null && !Array.isArray(reply);
}

/** The first error reply of a call, or why there are no replies; null: all went well. */
export function failureOf(outcome: CallOutcome): string | null {
  if (!outcome.ok) return `${outcome.why}: ${outcome.text}`;
  const failed = outcome.replies.find(isFailure);
  return isFailure(failed) ? failed.error : null;
}

/** The reply to the command at `index`; undefined: the call failed, or there was no such command. */
export function replyAt(outcome: CallOutcome, index: number): Reply | undefined {
  return outcome.ok ? outcome.replies.at(index) : undefined;
}

/** A list of texts, such as of `ACL USERS`; null: it is none. */
export function listOf(reply: Reply | undefined): string[] | null {
  return Array.isArray(reply) ? reply.filter(one => typeof one === 'string') : null;
}

/** Looks for a name in nested lists of names and values, such as of `FUNCTION LIST`, and returns its text. */
export function textOf(reply: Reply, name: string): string | null {
  if (!Array.isArray(reply)) return null;
  for (let i = 0; i < reply.length; i++) {
    const value = reply[i];
    const next = reply[i + 1];
    if (value === name && typeof next === 'string') return next;
    const inner = value === undefined ? null : textOf(value, name);
    if (inner !== null) return inner;
  }
  return null;
}

/** Every text that stands behind `name` in nested lists, such as the names of `MODULE LIST`. */
export function textsOf(reply: Reply | undefined, name: string): string[] {
  if (!Array.isArray(reply)) return [];
  return reply.flatMap((value, index) => {
    const before = reply[index - 1];
    return before === name && typeof value === 'string' ? [value] : textsOf(value, name);
  });
}

/** `CONFIG GET`: names and values in turn. */
export function settingsOf(reply: Reply | undefined): Map<string, string> {
  const words = listOf(reply) ?? [];
  const found = new Map<string, string>();
  for (let i = 0; i + 1 < words.length; i += 2) found.set(words[i] ?? '', words[i + 1] ?? '');
  return found;
}

/** What one node says about itself and about its stream of writes. */
export interface Look {
  readonly report: NodeReport;
  readonly stream: Stream;
}

/** The stream that a node has, and could pass on. */
export interface Stream {
  /** Names the history. */
  readonly id: string;
  /** Bytes of it that the node has, whatever its role. */
  readonly offset: number;
  /** The first byte that is kept for a partial resync; null: none is kept. */
  readonly keptFrom: number | null;
}

/** Reads the text of `INFO`; null: it is no such text. */
export function lookOf(reply: Reply | undefined): Look | null {
  if (typeof reply !== 'string') return null;
  try {
    return { report: parseNodeReport(reply), stream: streamOf(reply) };
  } catch {
    return null;
  }
}

function streamOf(info: string): Stream {
  const number = (name: string): number => Number(new RegExp(`^${name}:(-?\\d+)`, 'm').exec(info)?.[1] ?? 0);
  return {
    id: /^master_replid:(\w+)/m.exec(info)?.[1] ?? '',
    // What a replica has applied once it stands still; `slave_repl_offset` is gone with the link.
    offset: number('master_repl_offset'),
    keptFrom: number('repl_backlog_active') === 1 ? number('repl_backlog_first_byte_offset') : null,
  };
}

/** One connection in `CLIENT LIST`. */
export interface ClientLine {
  readonly user: string;
  readonly name: string;
  readonly isReplica: boolean;
}

export function clientsOf(reply: Reply | undefined): ClientLine[] | null {
  if (typeof reply !== 'string') return null;
  return reply
    .split('\n')
    .filter(line => line !== '')
    .map(line => ({
      user: / user=(\S*)/.exec(line)?.[1] ?? '',
      name: / name=(\S*)/.exec(line)?.[1] ?? '',
      isReplica: / flags=\w*S/.test(line),
    }));
}
