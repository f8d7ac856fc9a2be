import { defineConfig } from 'vitest/config';
import { longestFirst } from './test/support/longest-first.ts';

/**
 * About ten seconds and more, the longest first, and by turns what computes all the time (the simulator, the models) and
 * what waits for most of it.
 */
const LONGEST = [
  'test/sim/moves.test.ts',
  'test/topology/etcd-store.test.ts',
  'test/model/model.test.ts',
  'test/supervisor/core/real.test.ts',
  'test/supervisor/failover.test.ts',
  'test/supervisor/supervisor.test.ts',
  'test/model/move.test.ts',
  'test/proxy/terms-redis.test.ts',
  'test/proxy/all-keys.test.ts',
  'test/sim/sim.test.ts',
];

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/system/**', 'node_modules/**'],
    testTimeout: 90_000,
    hookTimeout: 90_000,
    // A poll ends what hangs; nothing here says how quickly things happen.
    expect: { poll: { timeout: 30_000 } },
    // The message alone must say what was there instead: it is all that the end of a CI's output has.
    chaiConfig: { truncateThreshold: 250 },
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: longestFirst(LONGEST) },
  },
});
