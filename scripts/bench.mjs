/**
 * `npm run bench`: sets up what is missing, builds what has changed, and runs the proxy benchmark with the arguments given.
 */
import { ensureBuilt } from './build.mjs';
import { ensureNodeVersion, ensureNpmPackages, ensurePackages, runScript } from './setup.mjs';

const args = process.argv.slice(2);

await runScript(async () => {
  ensureNodeVersion();
  if (args.includes('--help') || args.includes('--list')) return;
  await ensurePackages(['redis-server', 'redis-tools', 'nutcracker', 'haproxy']);
  await ensureNpmPackages();
  if (!args.includes('--without-ringside')) await ensureBuilt();
});

// In this process, so that a signal reaches the benchmark itself, which then ends what it has started.
await import('../bench/proxy.mjs');
