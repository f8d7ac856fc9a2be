import { defineConfig } from 'vitest/config';
import { longestFirst } from './test/support/longest-first.ts';

/**
 * One file at a time: these need the whole machine, since they run many processes that take each other for dead when they
 * are kept waiting, or measure memory, or load the machine themselves.
 */
const ALONE = [
  'test/system/moves/**/*.test.ts',
  'test/system/nodes/**/*.test.ts',
  'test/system/safety/{bad-days,network,partitions,safety}.test.ts',
  'test/system/migration/**/*.test.ts',
  'test/system/supervisors.test.ts',
  'test/system/faults/limits.test.ts',
  'test/system/clients/redis-benchmark.test.ts',
];

/** Of the others, twelve seconds and more, the longest first. */
const LONGEST = [
  'test/system/up.test.ts',
  'test/system/proxy-parent.test.ts',
  'test/system/faults/failed-node.test.ts',
  'test/system/faults/hostile-node.test.ts',
  'test/system/twemproxy-ring.test.ts',
  'test/system/command-line.test.ts',
  'test/system/migration/from-redis.test.ts',
  'test/system/faults/replacement.test.ts',
];

/**
 * Tests over real processes. Most of them wait for most of their time, with processes of their own on ports of their own:
 * two files go on beside each other, and then the rest, each alone.
 */
export default defineConfig({
  test: {
    globalSetup: ['test/support/build.ts'],
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // A poll ends what hangs; nothing here says how quickly things happen.
    expect: { poll: { timeout: 30_000 } },
    teardownTimeout: 30_000,
    // The message alone must say what was there instead: it is all that the end of a CI's output has.
    chaiConfig: { truncateThreshold: 250 },
    pool: 'forks',
    sequence: { sequencer: longestFirst(LONGEST) },
    projects: [
      {
        extends: true,
        test: {
          name: 'two at a time',
          include: ['test/system/**/*.test.ts'],
          exclude: ALONE,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'alone', include: ALONE, maxWorkers: 1, fileParallelism: false, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
