import { defineConfig } from 'vitest/config';

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
  },
});
