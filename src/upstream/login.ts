import { encodeCommand } from '../resp/encoder.ts';
import type { Protocol } from '../resp/protocol.ts';
import { ReplyError, type ReplyValue, textOf } from '../resp/reply-value.ts';

/**
 * What is said on a connection before anything else, and how its answers are judged.
 *
 * Nothing of a client's is sent before every line here was answered well and the node is who the topology says: of the
 * recorded incarnation, a primary, not loading, at least Redis 7.0.
 */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  /** Empty: no login. */
  readonly password: string;
  /** The incarnation that must answer; null: any. */
  readonly runId: string | null;
  readonly database: number;
  readonly protocol: Protocol;
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
  if (target.protocol === 3) commands.push(encodeCommand(['HELLO', '3']));
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
  /** The incarnation that answered. */
  readonly runId: string;
  /** The connection's number on the node (CLIENT ID). */
  readonly clientId: number;
}

export function judgeLogin(target: Target, replies: readonly ReplyValue[]): LoginResult {
  const info = readInfo(textOf(replies[replies.length - 1]));
  const clientId = replies[replies.length - 2];
  return {
    problem: problemOf(target, replies, info),
    runId: info.get('run_id') ?? '',
    clientId: typeof clientId === 'number' ? clientId : 0,
  };
}

function problemOf(target: Target, replies: readonly ReplyValue[], info: Map<string, string>): string {
  for (const reply of replies) {
    if (reply instanceof ReplyError) return `the node refused the login: ${reply.text}`;
  }
  const version = info.get('redis_version') ?? '0';
  if (Number.parseInt(version, 10) < 7) return `the node runs Redis ${version}; Ringside needs 7.0 or newer`;
  if (target.runId !== null && info.get('run_id') !== target.runId) {
    return `another incarnation answers (run_id ${info.get('run_id')}, expected ${target.runId})`;
  }
  if (info.get('loading') === '1') return 'the node is loading its data';
  if (info.get('role') !== 'master') return 'the node is a replica, not a primary';
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
