import { describe, expect, it } from 'vitest';
import { exposition } from '../../src/telemetry/exposition.ts';
import { METRICS } from '../../src/telemetry/metrics.ts';
import { ProcessCells } from '../../src/telemetry/process-cells.ts';
import { ProxyMetrics } from '../../src/telemetry/proxy-cells.ts';
import { takeSamples } from '../../src/telemetry/samples.ts';
import { readingOf } from './reading.ts';

describe('the exposition', () => {
  it('tells help and type of every metric, also of those without a number yet', async () => {
    const { text } = await exposition({});
    for (const row of METRICS) {
      expect(text).toContain(`# HELP ${row.name} ${row.help}\n`);
      expect(text).toContain(`# TYPE ${row.name} ${row.type}\n`);
    }
  });

  it('writes what the cells hold, in the text format of Prometheus', async () => {
    const proxy = new ProxyMetrics();
    proxy.clients.connected = 12;
    proxy.commands.read = 1e9;
    proxy.shard('s1').bytesIn = 77;
    proxy.errors.count('weird "word"\n');
    const { text, contentType } = await exposition(takeSamples({ proxy, process: readingOf(), version: '1.2.3' }));
    expect(contentType).toMatch(/^text\/plain; version=0\.0\.4/);
    const lines = text.split('\n');
    expect(lines).toContain('ringside_clients_connected 12');
    expect(lines).toContain('ringside_commands_total{class="read"} 1000000000');
    expect(lines).toContain('ringside_shard_bytes_total{shard="s1",direction="in"} 77');
    expect(lines).toContain(`ringside_build_info{version="1.2.3",node="${process.version}"} 1`);
    expect(lines).toContain('ringside_errors_total{word="weird \\"word\\"\\n"} 1');
  });

  it('accumulates the buckets of a histogram up to the count of all', async () => {
    const proxy = new ProxyMetrics();
    for (const us of [10, 60, 70, 3e7]) proxy.latency.write.observe(us);
    const { text } = await exposition(takeSamples({ proxy, process: readingOf(), version: '1' }));
    const lines = text.split('\n').filter(line => /^ringside_command_duration.*write/.test(line));
    expect(lines[0]).toBe('ringside_command_duration_seconds_bucket{le="0.00005",class="write"} 1');
    expect(lines[1]).toBe('ringside_command_duration_seconds_bucket{le="0.0001",class="write"} 3');
    expect(lines).toContain('ringside_command_duration_seconds_bucket{le="10",class="write"} 3');
    expect(lines).toContain('ringside_command_duration_seconds_bucket{le="+Inf",class="write"} 4');
    expect(lines).toContain('ringside_command_duration_seconds_sum{class="write"} 30.00014');
    expect(lines).toContain('ringside_command_duration_seconds_count{class="write"} 4');
  });
});

describe('the process cells', () => {
  it('see an event loop that was held up, and begin anew with each reading', async () => {
    const cells = new ProcessCells();
    await pause(120);
    // For longer than the machine itself holds it up.
    const until = performance.now() + 1500;
    while (performance.now() < until);
    await pause(120);
    const late = cells.read();
    expect(late.lagMaxSeconds).toBeGreaterThan(0.1);
    expect(late.residentBytes).toBeGreaterThan(10e6);
    expect(late.cpuSeconds).toBeGreaterThan(0.1);
    await pause(150);
    expect(cells.read().lagMaxSeconds).toBeLessThan(late.lagMaxSeconds);
    cells.close();
  });
});

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
