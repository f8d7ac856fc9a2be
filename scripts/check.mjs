/**
 * What needs no running program: types, format and lint, layers, dead code. Under 20 seconds.
 */

import { spawn } from 'node:child_process';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureNodeVersion, ensureNpmPackages, root, runScript } from './setup.mjs';

/** Name, command and arguments of each check; they run side by side. */
const CHECKS = [
  ['types', 'tsc', ['-p', '.']],
  ['format and lint', 'biome', ['check', '.']],
  ['dead code', 'knip', []],
  ['layers', 'vitest', ['run', 'test/layers.test.ts']],
];

/** Runs every check; prints what the failed ones say. Resolves to { passed, failures }, of each its name and its words. */
export async function check() {
  const results = await Promise.all(CHECKS.map(([name, command, args]) => runCheck(name, command, args)));
  for (const { name, ok, output } of results) {
    process.stdout.write(`${ok ? 'ok    ' : 'FAILED'} ${name}\n`);
    if (!ok) process.stdout.write(`${output}\n`);
  }
  const failures = results.filter(({ ok }) => !ok).map(({ name, output }) => ({ name, text: output }));
  return { passed: results.length - failures.length, failures };
}

function runCheck(name, command, args) {
  return new Promise(resolve => {
    const child = spawn(path.join(root, 'node_modules', '.bin', command), args, {
      cwd: root,
      env: { ...process.env, NO_COLOR: '1' },
    });
    let output = '';
    child.stdout.on('data', chunk => (output += chunk));
    child.stderr.on('data', chunk => (output += chunk));
    child.on('error', error => resolve({ name, ok: false, output: error.message }));
    child.on('close', code => resolve({ name, ok: code === 0, output }));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await runScript(async () => {
    ensureNodeVersion();
    await ensureNpmPackages();
    const { failures } = await check();
    if (failures.length > 0) process.exitCode = 1;
  });
}
