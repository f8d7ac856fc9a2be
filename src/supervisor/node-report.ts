/**
 * What a node says about itself in one `INFO` of the sections server, replication, memory, persistence and keyspace.
 */
export interface NodeReport {
  /** The incarnation: another one after every start of the process. */
  readonly runId: string;
  readonly processId: number;
  readonly version: string;
  readonly role: 'primary' | 'replica';
  /** The data set is being read from disk or from the primary; most commands are refused. */
  readonly loading: boolean;
  /** Names the history of writes; the same on a primary and on all that are attached to it. */
  readonly replicationId: string;
  /** Bytes of that history: written by a primary, applied by a replica. */
  readonly offset: number;
  /** How a replica stands to what it follows; null on a primary. */
  readonly following: Following | null;
  /** Keys of all databases. */
  readonly keys: number;
  readonly usedMemoryBytes: number;
  /** 0: without a limit. */
  readonly maxMemoryBytes: number;
}

export interface Following {
  readonly host: string;
  readonly port: number;
  readonly linkUp: boolean;
  /** A full copy is on its way. */
  readonly syncing: boolean;
}

/** The command whose reply `parseNodeReport` reads; several sections in one command since Redis 7.0. */
export const reportCommand = ['INFO', 'server', 'replication', 'memory', 'persistence', 'keyspace'] as const;

/** Reads the text of `INFO`; throws when a field that every Redis since 7.0 has is missing. */
export function parseNodeReport(info: string): NodeReport {
  const fields = new Map(info.split('\r\n').map(line => splitOnce(line, ':')));
  const text = (name: string): string => {
    const value = fields.get(name);
    if (value === undefined) throw new Error(`INFO without ${name}: is this a Redis of version 7.0 or newer?`);
    return value;
  };
  const isReplica = text('role') === 'slave';
  return {
    runId: text('run_id'),
    processId: Number(text('process_id')),
    version: text('redis_version'),
    role: isReplica ? 'replica' : 'primary',
    loading: text('loading') === '1',
    replicationId: text('master_replid'),
    offset: Number(text(isReplica ? 'slave_repl_offset' : 'master_repl_offset')),
    following: isReplica
      ? {
          host: text('master_host'),
          port: Number(text('master_port')),
          linkUp: text('master_link_status') === 'up',
          syncing: text('master_sync_in_progress') === '1',
        }
      : null,
    keys: [...fields].reduce((sum, [name, value]) => sum + (/^db\d+$/.test(name) ? keysOf(value) : 0), 0),
    usedMemoryBytes: Number(text('used_memory')),
    maxMemoryBytes: Number(text('maxmemory')),
  };
}

/** Reads `keys=12,expires=0,avg_ttl=0`. */
function keysOf(keyspace: string): number {
  return Number(/^keys=(\d+)/.exec(keyspace)?.[1] ?? 0);
}

function splitOnce(line: string, separator: string): [string, string] {
  const at = line.indexOf(separator);
  return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
}
