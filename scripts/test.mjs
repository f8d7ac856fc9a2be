/**
 * `npm test`: sets up what the tests use, builds, checks, runs every test, and counts.
 *
 *   npm test                      everything
 *   npm test -- --unit            without the tests over real processes
 *   npm test -- --system FILTER   only those, of the files whose path contains FILTER
 *
 * The last line is `N passed, N failed` (`, N skipped` where a test could not run here: each is named above it). Right
 * above it stands every failure with the beginning of its error: whoever sees only the end of the output, as in most
 * CIs, can tell what has failed.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
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

/** What is told of all failures together, and of one, before the last line. */
const PAGE_LINES = 80;
const MOST_LINES = 16;
const LINE_LENGTH = 300;

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
  const total = { passed: 0, failures: [], skipped: [] };
  if (only === 'all') {
    const { passed, failures } = await check();
    add(total, { passed, failures, skipped: [] });
  }
  if (only !== 'system') add(total, await vitest('vitest.config.ts', filters));
  if (only !== 'unit') add(total, await vitest('vitest.system.config.ts', filters));
  const left = await leftBehind();
  const failures = left.length === 0 ? [] : [{ name: 'processes were left behind', text: left.join('\n') }];
  add(total, { passed: left.length === 0 ? 1 : 0, failures, skipped: [] });
  for (const name of total.skipped) process.stdout.write(`skipped: ${name}\n`);
  const failed = total.failures.length;
  if (failed > 0) {
    process.exitCode = 1;
    process.stdout.write(toldOf(total.failures));
  }
  const skipped = total.skipped.length === 0 ? '' : `, ${total.skipped.length} skipped`;
  process.stdout.write(`${total.passed} passed, ${failed} failed${skipped}\n`);
});

function add(total, part) {
  total.passed += part.passed;
  total.failures.push(...part.failures);
  total.skipped.push(...part.skipped);
}

/** Each failure by name, with as much of its error as leaves all of them on one page. */
function toldOf(failures) {
  const most = Math.max(1, Math.min(MOST_LINES, Math.floor(PAGE_LINES / failures.length) - 1));
  return failures.map(({ name, text }) => `FAILED ${name}\n${beginningOf(text, most)}`).join('');
}

/** The first lines of an error, without its stack; long ones cut. */
function beginningOf(text, most) {
  const lines = stripVTControlCharacters(text)
    .split('\n')
    .filter(line => line.trim() !== '' && !/^\s+at /.test(line))
    .map(line => (line.length > LINE_LENGTH ? `${line.slice(0, LINE_LENGTH)}…` : line));
  const shown = lines.slice(0, most).map(line => `    ${line}\n`);
  return `${shown.join('')}${lines.length > most ? `    … ${lines.length - most} lines more, above\n` : ''}`;
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
    if (code !== 0 && counted.failures.length === 0)
      counted.failures.push({ name: `vitest of ${config}`, text: `ended with status ${code}: see above` });
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
  const counted = { passed: 0, failures: [], skipped: [] };
  try {
    for (const { name, assertionResults, status, message } of JSON.parse(readFileSync(file, 'utf8')).testResults) {
      const where = path.relative(root, name);
      const failed = assertionResults.filter(({ status: outcome }) => outcome === 'failed');
      for (const { fullName, failureMessages } of failed)
        counted.failures.push({ name: `${where}: ${fullName}`, text: failureMessages.join('\n') });
      // What all its tests need has failed, or it could not be loaded: then they count as skipped.
      if (status === 'failed' && failed.length === 0) counted.failures.push({ name: where, text: message });
      for (const { status: outcome, fullName } of assertionResults) {
        if (outcome === 'passed') counted.passed += 1;
        else if (outcome !== 'failed') counted.skipped.push(`${where}: ${fullName}`);
      }
    }
  } catch (error) {
    counted.failures.push({ name: 'the results of vitest', text: String(error) });
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
