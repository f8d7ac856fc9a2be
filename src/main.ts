#!/usr/bin/env node
/**
 * The program: one role or one command, by what it was called with.
 *
 * What the command at hand does not need is not loaded: the proxy's parent stays small, and a worker never sees the
 * command line.
 */
import cluster from 'node:cluster';
import { existsSync } from 'node:fs';
import { SETTINGS_WORD } from './admin/settings-reader.ts';
import { proxyFile } from './cli/proxy-arguments.ts';

const words = process.argv.slice(2);
const file = proxyFile(words);

if (cluster.isWorker) {
  const { runWorkerProcess } = await import('./admin/proxy-worker-process.ts');
  runWorkerProcess();
} else if (process.send !== undefined && words[0] === SETTINGS_WORD) {
  const { tellSettings } = await import('./admin/settings-process.ts');
  tellSettings();
} else if (file !== null && existsSync(file)) {
  const { runProxyParent } = await import('./admin/proxy-parent.ts');
  process.exit(await runProxyParent(file));
} else {
  const { runCommandLine } = await import('./cli/command-line.ts');
  process.exitCode = await runCommandLine(words);
}
