import { encodeCommand } from '../resp/encoder.ts';
import type { Protocol } from '../resp/protocol.ts';
import { ReplyError, type ReplyValue, textOf } from '../resp/reply-value.ts';

/**
 * What is said on a connection before anything else, and how its answers are judged.
 *
 * Nothing of a client's is sent before every line here was answered well and the node is who the topology says (rule
 * R1): of the recorded incarnation, of the right role, not loading, at least Redis 7.0.
 */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  /** Empty: no login. */
  readonly password: string;
  /** The incarnation that must answer; null: any. */
  readonly runId: string | null;
  /** The shard's epoch whose user logs in; for judging what is answered on the connection. */
  readonly epoch?: number;
  /** For reading from a copy: a replica must answer, and its link to its primary must stand. */
  readonly copy?: boolean;
  readonly database: number;
  readonly protocol: Protocol;
  /**
   * For ending a script that keeps the node busy: such a node takes AUTH and HELLO, and answers all else here with -BUSY
   * (Redis 7.0: what is flagged `allow_busy`). HELLO names version and role, but not the incarnation.
   */
  readonly control?: boolean;
}

/** The commands of the login, in one piece, and how many replies they bring. */
export function encodeLogin(target: Target): { bytes: Buffer; replies: number } {
  const commands: Buffer[] = [];
  if (target.password !== '') {
    commands.push(
      encodeCommand(
        target.username === 'default' || target.username === ''
          ? ['AUTH', target.password]
          : ['AUTH', target.username, target.password],
      ),
    );
  }
  if (target.protocol === 3 || target.control === true) commands.push(encodeCommand(['HELLO', target.protocol]));
  if (target.control === true) return { bytes: Buffer.concat(commands), replies: commands.length };
  commands.push(encodeCommand(['CLIENT', 'SETNAME', 'ringside']));
  if (target.database !== 0) commands.push(encodeCommand(['SELECT', target.database]));
  commands.push(encodeCommand(['CLIENT', 'ID']));
  commands.push(encodeCommand(['INFO', 'server', 'replication', 'persistence']));
  return { bytes: Buffer.concat(commands), replies: commands.length };
}

/** What a login found. */
export interface LoginResult {
  /** What is wrong, in words; empty when nothing is. */
  readonly problem: string;
  /** The incarnation that answered; empty after a login for control. */
  readonly runId: string;
  /** What it runs, as in `7.0.15`. */
  readonly version: string;
  /** The connection's number on the node (CLIENT ID); 0 after a login for control. */
  readonly clientId: number;
  /** Which writes the node holds; null after a login for control. */
  readonly history: History | null;
}

/** Which writes a node held at one moment, in the words of `INFO replication`. */
export interface History {
  readonly runId: string;
  /** Names the history that it writes (or copies) now. */
  readonly replicationId: string;
  /** How many bytes of it there are. */
  readonly offset: number;
  /** Names the history that it had copied before it was promoted; empty: it never was. */
  readonly previousId: string;
  /** How many bytes of that earlier history it had when it was promoted; -1 without one. */
  readonly promotedAt: number;
  /**
   * It counts what it writes. A process that has never had a replica does not, and `offset` stands still; when the first
   * one attaches, Redis begins to count, and takes another `replicationId` for it (`syncCommand` in replication.c).
   */
  readonly hasBacklog: boolean;
}

export function judgeLogin(target: Target, replies: readonly ReplyValue[]): LoginResult {
  if (target.control === true) {
    return { problem: controlProblem(replies), runId: '', clientId: 0, version: '', history: null };
  }
  const info = readInfo(textOf(replies[replies.length - 1]));
  const clientId = replies[replies.length - 2];
  return {
    problem: problemOf(target, replies, info),
    runId: info.get('run_id') ?? '',
    version: info.get('redis_version') ?? '',
    clientId: typeof clientId === 'number' ? clientId : 0,
    history: historyOf(info),
  };
}

function historyOf(info: ReadonlyMap<string, string>): History {
  const previousId = info.get('master_replid2') ?? '';
  return {
    runId: info.get('run_id') ?? '',
    replicationId: info.get('master_replid') ?? '',
    offset: Number(info.get('master_repl_offset') ?? 0),
    previousId: /^0*$/.test(previousId) ? '' : previousId,
    // Redis names the first byte that is not of the earlier history.
    promotedAt: Math.max(-1, Number(info.get('second_repl_offset') ?? 0) - 1),
    hasBacklog: info.get('repl_backlog_active') !== '0',
  };
}

function problemOf(target: Target, replies: readonly ReplyValue[], info: Map<string, string>): string {
  const refusal = refusalIn(replies);
  if (refusal !== '') return refusal;
  const version = info.get('redis_version') ?? '0';
  if (Number.parseInt(version, 10) < 7) return `the node runs Redis ${version}; Ringside needs 7.0 or newer`;
  if (target.runId !== null && info.get('run_id') !== target.runId) {
    return `another incarnation answers (run_id ${info.get('run_id')}, expected ${target.runId})`;
  }
  if (info.get('loading') === '1') return 'the node is loading its data';
  if (target.copy === true) return copyProblem(info);
  if (info.get('role') !== 'master') return 'the node is a replica, not a primary';
  return '';
}

function copyProblem(info: ReadonlyMap<string, string>): string {
  if (info.get('role') !== 'slave') return 'the node is no replica';
  return info.get('master_link_status') === 'up' ? '' : 'the replica has lost its primary';
}

/** What HELLO says of a node: names and values in turn. A replica runs no script of ours. */
function controlProblem(replies: readonly ReplyValue[]): string {
  const refusal = refusalIn(replies);
  if (refusal !== '') return refusal;
  const fields = replies[replies.length - 1];
  const at = Array.isArray(fields) ? fields.findIndex(field => textOf(field) === 'role') : -1;
  const role = Array.isArray(fields) && at >= 0 ? textOf(fields[at + 1]) : '';
  return role === 'master' ? '' : 'the node is not a primary';
}

function refusalIn(replies: readonly ReplyValue[]): string {
  for (const reply of replies) {
    if (reply instanceof ReplyError) return `the node refused the login: ${reply.text}`;
  }
  return '';
}

/** The `field:value` lines of an INFO reply. */
export function readInfo(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && line[0] !== '#') fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}
