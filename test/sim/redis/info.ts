import type { RedisProcess } from './process.ts';

/** The text of `INFO`: every section that a supervisor or a proxy reads, whatever was asked for. */
export function infoOf(process: RedisProcess): string {
  const { history, following } = process;
  const lines = [
    '# Server',
    'redis_version:7.0.15',
    'redis_mode:standalone',
    `process_id:${1000 + (Number.parseInt(process.runId.slice(0, 6), 16) % 60000)}`,
    `run_id:${process.runId}`,
    `tcp_port:${process.port}`,
    '# Memory',
    `used_memory:${1_000_000 + process.data.writes.size * 100}`,
    'maxmemory:0',
    'maxmemory_policy:noeviction',
    '# Persistence',
    `loading:${process.loading ? 1 : 0}`,
    `async_loading:0`,
    '# Replication',
    `role:${process.isPrimary ? 'master' : 'slave'}`,
    ...(following === null ? [] : followingLines(process)),
    `connected_slaves:${process.replicas.length}`,
    'master_failover_state:no-failover',
    `master_replid:${history.id}`,
    `master_replid2:${history.previousId}`,
    `master_repl_offset:${history.offset}`,
    `second_repl_offset:${history.previousEnd}`,
    `repl_backlog_active:${history.hasBacklog ? 1 : 0}`,
    `repl_backlog_size:${process.config.get('repl-backlog-size')}`,
    `repl_backlog_first_byte_offset:${history.hasBacklog ? history.firstKept : 0}`,
    `repl_backlog_histlen:${history.hasBacklog ? history.offset - history.firstKept + 1 : 0}`,
    '# Keyspace',
    ...(process.data.keys === 0 ? [] : [`db0:keys=${process.data.keys},expires=0,avg_ttl=0`]),
  ];
  return `${lines.join('\r\n')}\r\n`;
}

function followingLines({ following }: RedisProcess): string[] {
  if (following === null) return [];
  return [
    `master_host:${following.host}`,
    `master_port:${following.port}`,
    `master_link_status:${following.isUp ? 'up' : 'down'}`,
    `master_last_io_seconds_ago:${following.heardSecondsAgo}`,
    `master_sync_in_progress:${following.isSyncing ? 1 : 0}`,
    `slave_read_repl_offset:${following.offset}`,
    `slave_repl_offset:${following.offset}`,
    ...(following.isSyncing ? ['master_sync_total_bytes:1000', 'master_sync_left_bytes:100'] : []),
    'slave_priority:100',
    'slave_read_only:1',
  ];
}
