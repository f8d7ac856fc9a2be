import type { Reply } from '../../../src/supervisor/core/effect.ts';
import type { End } from '../network.ts';

/** A node's side of one client's connection; a replica is a client, too. */
export class ServerConnection {
  readonly id: number;
  readonly end: End;
  /** Null: nobody has logged in, and the default user asks for a login. */
  user: string | null;
  name = '';
  /** Commands behind one that blocks. */
  readonly behind: (readonly string[])[] = [];
  wait: Wait | null = null;
  /** Commands of a transaction that is not executed yet; null: there is none. */
  queued: (readonly string[])[] | null = null;
  /** Holds a write back while the node is paused. */
  postponed = false;
  replica: ReplicaState | null = null;
  /** Offset after this connection's last write: what `WAIT` waits for. */
  writtenTo = 0;
  /** Closed at the end of the round. */
  doomed = false;
  lastCommand = '';
  /** Where a replica says that it can be reached itself. */
  listeningPort = 0;

  constructor(id: number, end: End, user: string | null) {
    this.id = id;
    this.end = end;
    this.user = user;
  }

  reply(value: Reply, nowMs: number): void {
    this.end.send({ kind: 'reply', value, sentMs: nowMs });
  }

  /** A line of `CLIENT LIST`. */
  line(): string {
    const flags = this.replica === null ? 'N' : 'S';
    const fields = `age=1 idle=0 flags=${flags} db=0 sub=0 psub=0 ssub=0 multi=-1 cmd=${this.lastCommand.toLowerCase()}`;
    return `id=${this.id} addr=${this.end.host}:0 laddr=x:0 fd=8 name=${this.name} ${fields} user=${this.user ?? 'default'} redir=-1 resp=2`;
  }
}

interface Wait {
  readonly offset: number;
  readonly need: number;
  /** Infinity: without a bound. */
  readonly untilMs: number;
}

export interface ReplicaState {
  /** What this link has confirmed; a link that has confirmed nothing yet counts for nothing. */
  confirmed: number;
  online: boolean;
  readonly port: number;
  heardMs: number;
}
