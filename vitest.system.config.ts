import { defineConfig } from 'vitest/config';

/** Tests over real processes: one file at a time, since each needs the whole machine. */
export default defineConfig({
  test: {
    include: ['test/system/**/*.test.ts'],
    globalSetup: ['test/support/build.ts'],
    fileParallelism: false,
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // A poll ends what hangs; nothing here says how quickly things happen.
    expect: { poll: { timeout: 30_000 } },
    teardownTimeout: 30_000,
    // The message alone must say what was there instead: it is all that the end of a CI's output has.
    chaiConfig: { truncateThreshold: 250 },
    pool: 'forks',
  },
});
