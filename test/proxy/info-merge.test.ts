/** INFO of several primaries becomes one text in which nothing is counted twice or lost. */
import { describe, expect, test } from 'vitest';
import { formatInfo, humanBytes, mergeInfo, parseInfo } from '../../src/proxy/info-merge.ts';

function merged(...texts: string[]): string {
  return formatInfo(mergeInfo(texts.map(text => parseInfo(text.replaceAll('\n', '\r\n'))))).replaceAll('\r\n', '\n');
}

test('the text of one primary stays as it is', () => {
  const text = '# Stats\nkeyspace_hits:7\nexpired_stale_perc:0.50\n\n# Modules\n\n# Cluster\ncluster_enabled:0\n';
  expect(merged(text)).toBe(text);
});

describe('a field of several primaries', () => {
  test.each([
    ['counts are added', 'Stats', 'keyspace_hits', ['7', '5'], '12'],
    ['fractions keep their decimals', 'Stats', 'instantaneous_input_kbps', ['0.25', '1.50'], '1.75'],
    ['processor time is added', 'CPU', 'used_cpu_sys', ['0.000002', '0.000003'], '0.000005'],
    ['one that loads is enough', 'Persistence', 'loading', ['0', '1'], '1'],
    ['one that failed is enough', 'Persistence', 'rdb_last_bgsave_status', ['ok', 'err'], 'err'],
    ['saved is what all have saved', 'Persistence', 'rdb_last_save_time', ['200', '100'], '100'],
    ['names are taken from the first', 'Memory', 'maxmemory_policy', ['noeviction', 'allkeys-lru'], 'noeviction'],
    ['names made of digits too', 'Replication', 'master_replid2', ['0'.repeat(40), '0'.repeat(40)], '0'.repeat(40)],
    ['the server is described once', 'Server', 'hz', ['10', '10'], '10'],
    ['a channel is listened to on every shard', 'Stats', 'pubsub_channels', ['3', '2'], '3'],
    ['a sharded channel on its own', 'Stats', 'pubsubshard_channels', ['3', '2'], '5'],
    ['errors are added', 'Errorstats', 'errorstat_ERR', ['count=2', 'count=3'], 'count=5'],
    [
      'percentiles are bounds',
      'Latencystats',
      'x',
      ['p50=1.000,p99=9.000', 'p50=2.000,p99=3.000'],
      'p50=2.000,p99=9.000',
    ],
  ])('%s', (_claim, title, name, values, expected) => {
    expect(merged(...values.map(value => `# ${title}\n${name}:${value}\n`))).toBe(`# ${title}\n${name}:${expected}\n`);
  });
});

test('the time per call follows from calls and time, not from the sum of the parts', () => {
  const line = (calls: number, usec: number): string =>
    `# Commandstats\ncmdstat_get:calls=${calls},usec=${usec},usec_per_call=${(usec / calls).toFixed(2)},rejected_calls=1,failed_calls=2\n`;
  expect(merged(line(1, 10), line(3, 2))).toBe(
    '# Commandstats\ncmdstat_get:calls=4,usec=12,usec_per_call=3.00,rejected_calls=2,failed_calls=4\n',
  );
});

test('databases are added up and in the order of their numbers; the average time to live is weighed by its keys', () => {
  const one = '# Keyspace\ndb0:keys=10,expires=1,avg_ttl=1000\ndb10:keys=1,expires=0,avg_ttl=0\n';
  const two = '# Keyspace\ndb0:keys=5,expires=3,avg_ttl=2000\ndb2:keys=2,expires=0,avg_ttl=0\n';
  expect(merged(one, two)).toBe(
    '# Keyspace\ndb0:keys=15,expires=4,avg_ttl=1750\ndb2:keys=2,expires=0,avg_ttl=0\ndb10:keys=1,expires=0,avg_ttl=0\n',
  );
});

test('ratios and human forms of memory follow from the sums', () => {
  const part = (used: number, rss: number): string =>
    `# Memory\nused_memory:${used}\nused_memory_human:x\nused_memory_rss:${rss}\nused_memory_peak:4096\nused_memory_peak_perc:0.00%\nmem_fragmentation_ratio:9.99\n`;
  expect(merged(part(1024, 2048), part(3072, 10240))).toBe(
    '# Memory\nused_memory:4096\nused_memory_human:4.00K\nused_memory_rss:12288\nused_memory_peak:8192\nused_memory_peak_perc:50.00%\nmem_fragmentation_ratio:3.00\n',
  );
});

test('replicas are listed nowhere: they are not for clients to talk to', () => {
  const one = '# Replication\nconnected_slaves:2\nslave0:port=1\nslave1:port=2\nmaster_repl_offset:5\n';
  const two = '# Replication\nconnected_slaves:1\nslave0:port=3\nmaster_repl_offset:6\n';
  expect(merged(one, two)).toBe('# Replication\nconnected_slaves:3\nmaster_repl_offset:11\n');
});

test('each module is listed once', () => {
  const one = '# Modules\nmodule:name=a,ver=1\nmodule:name=b,ver=1\n';
  expect(merged(one, '# Modules\nmodule:name=a,ver=1\n')).toBe(one);
});

test('bytes are written for people as Redis writes them', () => {
  expect([0, 1023, 1024, 965_672, 25_276_502_016, 2 ** 50].map(humanBytes)).toEqual([
    '0B',
    '1023B',
    '1.00K',
    '943.04K',
    '23.54G',
    '1.00P',
  ]);
});
