/**
 * `npm start`: sets up what is missing, builds what has changed, and runs `ringside up` with the arguments given.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuilt } from './build.mjs';
import { ensureNodeVersion, ensureNpmPackages, ensurePackages, root, runScript } from './setup.mjs';

const args = process.argv.slice(2);

await runScript(async () => {
  ensureNodeVersion();
  const asksForHelp = args.includes('--help') || args.includes('-h');
  if (!asksForHelp) await ensurePackages(asksForEtcd() ? ['redis-server', 'etcd-server'] : ['redis-server']);
  await ensureNpmPackages();
  await ensureBuilt();
});

/** Several supervisors keep the topology in etcd. A directory that was made with several needs no flag to say so again. */
function asksForEtcd() {
  const count = valueOf('--supervisors');
  if (count !== null) return Number(count) > 1;
  const settings = path.join(valueOf('--dir') ?? '.ringside', 'ringside.yaml');
  return existsSync(settings) && /^ +store: \{ etcd: /m.test(readFileSync(settings, 'utf8'));
}

/** The value of a flag, written `--flag value` or `--flag=value`; null: it is not there. */
function valueOf(flag) {
  const index = args.findIndex(word => word === flag || word.startsWith(`${flag}=`));
  if (index < 0) return null;
  return args[index] === flag ? (args[index + 1] ?? null) : args[index].slice(flag.length + 1);
}

// In this process, so that a signal reaches `up` itself and there is no process in between to lose.
const main = path.join(root, 'dist', 'main.js');
process.argv = [process.execPath, main, 'up', ...args];
await import(pathToFileURL(main).href);
