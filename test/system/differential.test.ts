/**
 * Ringside against one stock Redis: the same random commands into both, the replies compared byte for byte.
 *
 * `RINGSIDE_SEED` plays a run again, `RINGSIDE_DIFF_COMMANDS` says how long it is (12,000 by default),
 * `RINGSIDE_DIFF_SUBJECT=host:port` points it at a server that runs already and may be emptied, and
 * `RINGSIDE_DIFF_MOST` says after how many different differences it stops (5). What may differ: allowed.ts.
 */
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { createRing } from '../../src/ring/ring.ts';
import { parseReply } from '../differential/reader.ts';
import { type RunReport, run, usageText } from '../differential/run.ts';
import { startStockRedis } from '../differential/stock-redis.ts';
import { type Endpoint, Wire } from '../differential/wire.ts';
import { startCluster } from '../support/cluster.ts';

const SEED = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 2 ** 31);
const COMMANDS = Number(process.env['RINGSIDE_DIFF_COMMANDS'] ?? 12_000);
const MOST = Number(process.env['RINGSIDE_DIFF_MOST'] ?? 5);
const GIVEN = process.env['RINGSIDE_DIFF_SUBJECT'];
const SHRINK_MS = 8000;
/** A generous pace: a command takes well under a millisecond, a difference its time to be cut down. */
const LIMIT_MS = 120_000 + COMMANDS * 5 + MOST * SHRINK_MS;

interface Subject extends Endpoint {
  readonly proxy: boolean;
  readonly shardOf: ((key: Buffer) => number) | null;
  stop(): Promise<void>;
}

async function givenSubject(address: string): Promise<Subject> {
  const [host = '', port] = address.split(':');
  const endpoint = { host, port: Number(port) };
  const wire = await Wire.open(endpoint);
  const info = parseReply(await wire.ask('INFO', 'everything')).text.toString();
  wire.close();
  return { ...endpoint, proxy: info.includes('# Ringside'), shardOf: null, stop: async () => undefined };
}

async function ownSubject(): Promise<Subject> {
  const cluster = await startCluster({ shards: 3, copies: 1 });
  const config = loadConfig(path.join(cluster.dir, 'ringside.yaml'));
  const ring = createRing(config.ring, config.shards);
  const shardOf = (key: Buffer): number => ring.ownerOf(key, 0, key.length);
  const nodes = cluster.clusterJson().nodes.map(({ host, port }) => ({ host, port }));
  return { host: '127.0.0.1', port: cluster.port, nodes, proxy: true, shardOf, stop: () => cluster.stop() };
}

async function compare(
  subject: Omit<Subject, 'stop'>,
  commands: number,
  seed: number,
  most = MOST,
): Promise<RunReport> {
  const reference = await startStockRedis();
  try {
    return await run({ ...subject, subject, reference, seed, commands, most, shrinkMs: SHRINK_MS });
  } finally {
    await reference.stop();
  }
}

/** Whether COMMAND COUNT, or LIST, was answered with exactly one command less than the reference has. */
function countsOneLess(failure: string): boolean {
  const counts = /^COMMAND (?:COUNT|LIST)\b.*\n +subject: +[:*](\d+)\\r.*\n +reference: [:*](\d+)\\r/i.exec(failure);
  return counts !== null && Number(counts[1]) === Number(counts[2]) - 1;
}

describe('against one stock Redis', () => {
  test(`Ringside answers ${COMMANDS} random commands alike`, { timeout: LIMIT_MS }, async () => {
    console.log(`differential: RINGSIDE_SEED=${SEED} RINGSIDE_DIFF_COMMANDS=${COMMANDS}`);
    const subject = GIVEN === undefined ? await ownSubject() : await givenSubject(GIVEN);
    try {
      const report = await compare(subject, COMMANDS, SEED);
      console.log(usageText(report, subject.proxy));
      expect(report.failures.join('\n\n')).toBe('');
      expect(report.commands).toBeGreaterThanOrEqual(COMMANDS);
      expect(report.keys).toBeGreaterThan(0);
    } finally {
      await subject.stop();
    }
  });

  test('another stock Redis shows no difference: the commands have one right answer', async () => {
    const other = await startStockRedis();
    try {
      const report = await compare({ ...other, proxy: false, shardOf: null }, 6000, SEED);
      expect(report.failures.join('\n\n')).toBe('');
    } finally {
      await other.stop();
    }
  });

  test('a server that lacks one command is found out', async () => {
    const other = await startStockRedis('--rename-command', 'ZREVRANK', '');
    try {
      const report = await compare({ ...other, proxy: false, shardOf: null }, 60_000, SEED, 1);
      const [failure = 'none'] = report.failures;
      if (!countsOneLess(failure)) expect(failure).toMatch(/zrevrank|EXECABORT/i);
    } finally {
      await other.stop();
    }
  });

  test('a server that stores one kind of value otherwise is found out', async () => {
    const other = await startStockRedis('--set-max-intset-entries', '3');
    try {
      const report = await compare({ ...other, proxy: false, shardOf: null }, 60_000, SEED, 1);
      expect(report.failures[0]).toMatch(/encoding|intset|hashtable/i);
    } finally {
      await other.stop();
    }
  });
});
