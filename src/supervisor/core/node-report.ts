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
  /** The history that this node had before it was promoted; null: it never was. */
  readonly previousReplicationId: string | null;
  /** Bytes of that earlier history that this node had when it was promoted; -1 without one. */
  readonly promotedAtOffset: number;
  /** How a replica stands to what it follows; null on a primary. */
  readonly following: Following | null;
  /** Keys of all databases. */
  readonly keys: number;
  /** How many replica links a primary has. */
  readonly replicaLinks: number;
  readonly usedMemoryBytes: number;
  /** 0: without a limit. */
  readonly maxMemoryBytes: number;
  /** What it does at that limit: `noeviction`, `allkeys-lru`, … */
  readonly maxMemoryPolicy: string;
}

export interface Following {
  readonly host: string;
  readonly port: number;
  readonly linkUp: boolean;
  /** A full copy is on its way. */
  readonly syncing: boolean;
  /** Bytes of the full copy that are still to come; 0 when none is on its way, or its size is not known. */
  readonly syncLeftBytes: number;
  /** Whole seconds since something was heard on the link; -1: the link is down. */
  readonly lastHeardSeconds: number;
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
    previousReplicationId: /^0*$/.test(text('master_replid2')) ? null : text('master_replid2'),
    // Redis names the first byte that is not of the earlier history.
    promotedAtOffset: Math.max(-1, Number(text('second_repl_offset')) - 1),
    replicaLinks: isReplica ? 0 : Number(text('connected_slaves')),
    offset: Number(text(isReplica ? 'slave_repl_offset' : 'master_repl_offset')),
    following: isReplica
      ? {
          host: text('master_host'),
          port: Number(text('master_port')),
          linkUp: text('master_link_status') === 'up',
          syncing: text('master_sync_in_progress') === '1',
          syncLeftBytes: Math.max(0, Number(fields.get('master_sync_left_bytes') ?? 0)),
          lastHeardSeconds: Number(text('master_last_io_seconds_ago')),
        }
      : null,
    keys: [...fields].reduce((sum, [name, value]) => sum + (/^db\d+$/.test(name) ? keysOf(value) : 0), 0),
    usedMemoryBytes: Number(text('used_memory')),
    maxMemoryBytes: Number(text('maxmemory')),
    maxMemoryPolicy: fields.get('maxmemory_policy') ?? 'noeviction',
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
