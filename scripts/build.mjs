/**
 * Builds dist/ from src/ when the sources have changed: compiled JavaScript, and the JSON files that it reads.
 *
 * The build is made aside and moved in file by file, so that whoever starts meanwhile finds whole files, and a build
 * with errors leaves the last good one in place.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureNodeVersion, ensureNpmPackages, root, run, runScript, SetupError, say, withLock } from './setup.mjs';

const source = path.join(root, 'src');
const output = path.join(root, 'dist');
const stamp = path.join(output, '.stamp');

/** Builds unless dist/ is what the sources make; true when something was built. */
export async function ensureBuilt() {
  if (isCurrent(hashOfSources())) return false;
  return await withLock('dist', async () => {
    const hash = hashOfSources();
    if (isCurrent(hash)) return false;
    const startedAt = performance.now();
    const aside = path.join(root, '.build', `dist-${process.pid}`);
    try {
      await compile(aside);
      writeFileSync(path.join(aside, '.stamp'), hash);
      moveIn(aside);
    } finally {
      rmSync(aside, { recursive: true, force: true });
    }
    say(`built dist/ in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
    return true;
  });
}

function isCurrent(hash) {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === hash;
}

/** A hash of every source's path and content, and of what decides how they are compiled. */
function hashOfSources() {
  const hash = createHash('sha256');
  const settings = ['tsconfig.json', 'tsconfig.build.json', 'package.json', 'scripts/build.mjs'];
  const files = [...filesUnder(source).map(file => path.join('src', file)), ...settings];
  for (const file of files)
    hash
      .update(`${file}\0`)
      .update(readFileSync(path.join(root, file)))
      .update('\0');
  return hash.digest('hex');
}

/** Relative paths of all files under a directory, sorted. */
function filesUnder(directory) {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter(entry => entry.isFile());
  return files.map(file => path.relative(directory, path.join(file.parentPath, file.name))).sort();
}

async function compile(target) {
  rmSync(target, { recursive: true, force: true });
  const tsc = path.join(root, 'node_modules', '.bin', 'tsc');
  const status = await run(tsc, ['-p', 'tsconfig.build.json', '--outDir', target]);
  if (status !== 0) throw new SetupError('the sources do not compile: see the errors above; dist/ is left as it was');
  for (const file of filesUnder(source).filter(file => file.endsWith('.json'))) {
    mkdirSync(path.dirname(path.join(target, file)), { recursive: true });
    cpSync(path.join(source, file), path.join(target, file));
  }
  const main = path.join(target, 'main.js');
  if (existsSync(main)) chmodSync(main, 0o755);
}

/** Replaces what differs, removes what the sources no longer make; the stamp, which says "whole", comes last. */
function moveIn(aside) {
  rmSync(stamp, { force: true });
  const made = filesUnder(aside).filter(file => file !== '.stamp');
  for (const file of made) {
    const to = path.join(output, file);
    if (existsSync(to) && readFileSync(to).equals(readFileSync(path.join(aside, file)))) continue;
    mkdirSync(path.dirname(to), { recursive: true });
    renameSync(path.join(aside, file), to);
  }
  const wanted = new Set(made);
  for (const file of filesUnder(output)) if (!wanted.has(file)) rmSync(path.join(output, file));
  removeEmptyDirectories(output);
  renameSync(path.join(aside, '.stamp'), stamp);
}

function removeEmptyDirectories(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const child = path.join(directory, entry.name);
    removeEmptyDirectories(child);
    if (readdirSync(child).length === 0) rmdirSync(child);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await runScript(async () => {
    ensureNodeVersion();
    await ensureNpmPackages();
    if (!(await ensureBuilt())) say('dist/ is up to date');
  });
}
