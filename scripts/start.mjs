/**
 * `npm start`: sets up what is missing, builds what has changed, and runs `ringside up` with the arguments given.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuilt } from './build.mjs';
import { ensureNodeVersion, ensureNpmPackages, ensurePackages, root, runScript } from './setup.mjs';

const args = process.argv.slice(2);

await runScript(async () => {
  ensureNodeVersion();
  const asksForHelp = args.includes('--help') || args.includes('-h');
  if (!asksForHelp) await ensurePackages(['redis-server']);
  await ensureNpmPackages();
  await ensureBuilt();
});

// In this process, so that a signal reaches `up` itself and there is no process in between to lose.
const main = path.join(root, 'dist', 'main.js');
process.argv = [process.execPath, main, 'up', ...args];
await import(pathToFileURL(main).href);
