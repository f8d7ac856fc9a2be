import { expect, test } from 'vitest';
import { parseNodeReport } from '../../src/supervisor/core/node-report.ts';

const common = [
  '# Server',
  'redis_version:7.0.15',
  'run_id:0123456789012345678901234567890123456789',
  'process_id:42',
  'executable:/usr/bin/redis-server',
  '# Memory',
  'used_memory:1048576',
  'maxmemory:0',
  '# Persistence',
  'loading:0',
  '# Replication',
  'master_replid:8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb',
];
const neverPromoted = ['master_replid2:0000000000000000000000000000000000000000', 'second_repl_offset:-1'];
const promoted = ['master_replid2:0fa5f4d82ad80257893a42ee6c6df46be4d2f6ad', 'second_repl_offset:51'];
const text = (...lines: string[]) => [...common, ...lines, ''].join('\r\n');

test('a primary with keys in two databases', () => {
  const info = text(
    'role:master',
    'connected_slaves:2',
    'master_repl_offset:99',
    ...neverPromoted,
    'db0:keys=2,expires=1,avg_ttl=5',
    'db9:keys=3,expires=0,avg_ttl=0',
  );
  expect(parseNodeReport(info)).toMatchObject({
    runId: '0123456789012345678901234567890123456789',
    processId: 42,
    role: 'primary',
    loading: false,
    offset: 99,
    following: null,
    previousReplicationId: null,
    promotedAtOffset: -1,
    replicaLinks: 2,
    keys: 5,
    usedMemoryBytes: 1_048_576,
  });
});

test('a replica whose own offset is not that of its primary', () => {
  const link = ['master_host:::1', 'master_port:7001', 'master_link_status:down', 'master_sync_in_progress:1'];
  const sync = ['master_last_io_seconds_ago:-1', 'master_sync_left_bytes:5000'];
  const info = text('role:slave', 'slave_repl_offset:7', 'master_repl_offset:99', ...link, ...sync, ...neverPromoted);
  expect(parseNodeReport(info)).toMatchObject({
    role: 'replica',
    offset: 7,
    following: { host: '::1', port: 7001, linkUp: false, syncing: true, syncLeftBytes: 5000, lastHeardSeconds: -1 },
    keys: 0,
  });
});

test('a primary that was promoted tells how much of the earlier history it has', () => {
  const info = text('role:master', 'connected_slaves:0', 'master_repl_offset:60', ...promoted);
  // Redis names the first byte that is not of it.
  expect(parseNodeReport(info)).toMatchObject({
    previousReplicationId: '0fa5f4d82ad80257893a42ee6c6df46be4d2f6ad',
    promotedAtOffset: 50,
  });
});

test('a reply without what every Redis tells is refused by the name of the field', () => {
  expect(() => parseNodeReport('redis_version:6.2.0\r\nrun_id:x\r\nrole:master\r\n')).toThrow(
    'INFO without process_id',
  );
});
