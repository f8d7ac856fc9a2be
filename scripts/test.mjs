/**
 * `npm test`: sets up what the tests use, builds, checks, runs every test, and counts.
 *
 *   npm test                      everything
 *   npm test -- --unit            without the tests over real processes
 *   npm test -- --system FILTER   only those, of the files whose path contains FILTER
 *
 * The last line is `N passed, N failed` (`, N skipped` where a test could not run here: each is named above it).
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureBuilt } from './build.mjs';
import { check } from './check.mjs';
import { ensureNodeVersion, ensureNpmPackages, ensurePackages, root, runScript } from './setup.mjs';

/** What the tests use of Debian, besides Node. */
const PACKAGES = [
  'redis-server',
  'redis-tools',
  'nutcracker',
  'python3-redis',
  'openssl',
  // Where several supervisors keep the topology.
  'etcd-server',
  'etcd-client',
  // The model checker writes C, which is then compiled.
  'spin',
  'gcc',
  'libc6-dev',
  // Networks of their own, to cut hosts off.
  'iproute2',
];

/** The environment of everything that this run starts names it, so that its processes are told from all others. */
const RUN = `${process.pid}-${Date.now()}`;

await runScript(async () => {
  ensureNodeVersion();
  const words = process.argv.slice(2);
  const only = words.includes('--unit') ? 'unit' : words.includes('--system') ? 'system' : 'all';
  const filters = words.filter(word => !word.startsWith('--'));
  await ensureNpmPackages();
  await ensurePackages(PACKAGES);
  await ensureBuilt();
  const total = { passed: 0, failed: 0, skipped: [] };
  if (only === 'all') add(total, { ...(await check()), skipped: [] });
  if (only !== 'system') add(total, await vitest('vitest.config.ts', filters));
  if (only !== 'unit') add(total, await vitest('vitest.system.config.ts', filters));
  const left = await leftBehind();
  for (const line of left) process.stdout.write(`left behind: ${line}\n`);
  add(total, { passed: left.length === 0 ? 1 : 0, failed: left.length === 0 ? 0 : 1, skipped: [] });
  for (const name of total.skipped) process.stdout.write(`skipped: ${name}\n`);
  const skipped = total.skipped.length === 0 ? '' : `, ${total.skipped.length} skipped`;
  if (total.failed > 0) process.exitCode = 1;
  process.stdout.write(`${total.passed} passed, ${total.failed} failed${skipped}\n`);
});

function add(total, part) {
  total.passed += part.passed;
  total.failed += part.failed;
  total.skipped.push(...part.skipped);
}

/** Runs vitest with a configuration; resolves to what it counted. */
async function vitest(config, filters) {
  const directory = mkdtempSync(path.join(tmpdir(), 'ringside-results-'));
  const file = path.join(directory, 'results.json');
  try {
    const args = [
      'run',
      '--config',
      config,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
      ...filters,
    ];
    const code = await runInherited(path.join(root, 'node_modules', '.bin', 'vitest'), args);
    const counted = readResults(file);
    // A run that broke before or after its tests counts as one failure.
    if (code !== 0 && counted.failed === 0) counted.failed = 1;
    return counted;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function runInherited(command, args) {
  return new Promise(resolve => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, RINGSIDE_TEST_RUN: RUN },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    child.on('error', () => resolve(1));
    child.on('close', code => resolve(code ?? 1));
  });
}

function readResults(file) {
  const counted = { passed: 0, failed: 0, skipped: [] };
  try {
    for (const { name, assertionResults, status } of JSON.parse(readFileSync(file, 'utf8')).testResults) {
      if (status === 'failed' && assertionResults.length === 0) counted.failed += 1;
      for (const { status: outcome, fullName } of assertionResults) {
        if (outcome === 'passed') counted.passed += 1;
        else if (outcome === 'failed') counted.failed += 1;
        else counted.skipped.push(`${path.relative(root, name)}: ${fullName}`);
      }
    }
  } catch {
    counted.failed += 1;
  }
  return counted;
}

/** Processes of this run that are still there, besides this one. */
function processesOfRun() {
  const found = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    try {
      if (!readFileSync(`/proc/${entry}/environ`, 'latin1').includes(`RINGSIDE_TEST_RUN=${RUN}`)) continue;
      found.push(`process ${entry}: ${readFileSync(`/proc/${entry}/cmdline`, 'latin1').replaceAll('\0', ' ').trim()}`);
    } catch {
      // It ended while we looked, or belongs to somebody else.
    }
  }
  return found;
}

/** What is about to end is given a moment. */
async function leftBehind() {
  for (let attempt = 0; ; attempt += 1) {
    const left = processesOfRun();
    if (left.length === 0 || attempt === 20) return left;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}
