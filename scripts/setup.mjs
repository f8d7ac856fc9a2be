/**
 * What must be on the machine before Ringside can be built or run: Node, Debian packages, npm packages.
 *
 * Plain JavaScript on Node's own modules, because it runs before there is a node_modules directory.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The directory of package.json. */
export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

const POLICY = '/usr/sbin/policy-rc.d';
const POLICY_MARK = '# Temporary, by the set-up of Ringside, process';

/** The command that shows that a package is there, whoever installed it; packages that bring none ask dpkg. */
const COMMAND_OF = {
  'redis-server': 'redis-server',
  'redis-tools': 'redis-cli',
  nutcracker: 'nutcracker',
  haproxy: 'haproxy',
  'etcd-server': 'etcd',
  'etcd-client': 'etcdctl',
  spin: 'spin',
  gcc: 'gcc',
  iproute2: 'ip',
};

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** The signal that asked this process to end while it could not, or null. */
let interruption = null;

/** Ends with one line on standard error and exit status 2: the machine, not Ringside, is at fault. */
export class SetupError extends Error {
  name = 'SetupError';
}

/** Runs a script's main function; a SetupError becomes one line and exit status 2. */
export async function runScript(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`ringside: ${error.message}\n`);
    process.exit(2);
  }
}

/** What set-up does is said on standard error: standard output belongs to the program that is started. */
export function say(line) {
  process.stderr.write(`ringside: ${line}\n`);
}

/** Throws unless this Node is at least the one that package.json asks for. */
export function ensureNodeVersion() {
  const wanted = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).engines.node.replace(/[^\d.]/g, '');
  if (olderThan(process.versions.node, wanted)) {
    throw new SetupError(
      `this is Node ${process.versions.node}, Ringside needs ${wanted} or newer: install it and start again`,
    );
  }
}

function olderThan(version, wanted) {
  const have = version.split('.').map(Number);
  const want = wanted.split('.').map(Number);
  for (let i = 0; i < want.length; i += 1) {
    if ((have[i] ?? 0) !== want[i]) return (have[i] ?? 0) < want[i];
  }
  return false;
}

/** Installs the Debian packages that are missing, without letting any of them start its service. */
export async function ensurePackages(names) {
  const missing = names.filter(name => !isInstalled(name));
  if (missing.length === 0) return;
  if (findCommand('apt-get') === null) {
    throw new SetupError(`${missing.join(', ')} missing and no apt-get here: install what provides it and start again`);
  }
  if (process.getuid?.() !== 0) {
    throw new SetupError(
      `${missing.join(', ')} missing; only root can install packages: sudo apt-get install -y ${missing.join(' ')}`,
    );
  }
  await withLock('packages', async () => {
    const still = missing.filter(name => !isInstalled(name));
    if (still.length > 0) await withServicesHeldBack(still, () => install(still));
  });
  const absent = missing.filter(name => !isInstalled(name));
  if (absent.length > 0)
    throw new SetupError(`apt-get has not brought ${absent.join(', ')}: install by hand and start again`);
}

function isInstalled(name) {
  const command = COMMAND_OF[name];
  if (command !== undefined) return findCommand(command) !== null;
  const asked = spawnSync('dpkg', ['-s', name], { encoding: 'utf8' });
  return asked.status === 0 && asked.stdout.includes('\nStatus: install ok installed\n');
}

/** The path of a command, or null; looks where root's daemons live too, since a user's PATH often leaves that out. */
export function findCommand(name) {
  for (const directory of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']) {
    const file = path.join(directory || '.', name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not here: the next directory.
    }
  }
  return null;
}

async function install(names) {
  say(`installing with apt-get, services not started: ${names.join(' ')}`);
  const lists = '/var/lib/apt/lists';
  const listed = existsSync(lists) && readdirSync(lists).some(file => /_Packages(\.\w+)?$/.test(file));
  if (!listed) await aptGet(['update']);
  const args = ['install', '-y', '--no-install-recommends', ...names];
  // Lists that are out of date name versions that the mirror no longer has.
  if (!(await aptGet(args, listed))) {
    await aptGet(['update']);
    await aptGet(args);
  }
  if (existsSync('/run/systemd/system')) {
    say('the packages may have enabled services for the next boot: `systemctl disable NAME` if you do not want them');
  }
}

/** True when apt-get succeeded; a failure throws unless there is something left to try. */
async function aptGet(args, mayFail = false) {
  const status = await run('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=120', '-o', 'Dpkg::Use-Pty=0', ...args], {
    DEBIAN_FRONTEND: 'noninteractive',
    NEEDRESTART_SUSPEND: '1',
  });
  if (status !== 0 && !mayFail)
    throw new SetupError(`apt-get ${args[0]} failed (status ${status}): see what it says above`);
  return status === 0;
}

/**
 * Runs `work` while Debian's own switch (policy-rc.d, exit status 101: "do not start") holds back services.
 *
 * A switch that is there already is somebody else's and stays as it is.
 */
async function withServicesHeldBack(names, work) {
  removeForgottenPolicy();
  let ours = true;
  try {
    writeFileSync(POLICY, `#!/bin/sh\n${POLICY_MARK} ${process.pid}\nexit 101\n`, { flag: 'wx', mode: 0o755 });
  } catch (error) {
    if (error.code !== 'EEXIST')
      throw new SetupError(`cannot write ${POLICY} (${error.code}): install ${names.join(' ')} by hand`);
    ours = false;
    const refusal = spawnSync(POLICY, [names[0], 'start'], { stdio: 'ignore' });
    if (refusal.status !== 101) {
      throw new SetupError(
        `${POLICY} here lets packages start services: install ${names.join(' ')} by hand and start again`,
      );
    }
  }
  const removePolicy = () => {
    if (ours) unlinkSync(POLICY);
    ours = false;
  };
  // A signal must not end this process while packages may still be on the way in: `run` tells of it afterwards.
  const note = signal => {
    interruption = signal;
  };
  for (const signal of SIGNALS) process.on(signal, note);
  process.on('exit', removePolicy);
  try {
    return await work();
  } finally {
    removePolicy();
    process.off('exit', removePolicy);
    for (const signal of SIGNALS) process.off(signal, note);
  }
}

/** A set-up that was killed outright could not take its switch away: the next one does. */
function removeForgottenPolicy() {
  if (!existsSync(POLICY)) return;
  const pid = readFileSync(POLICY, 'utf8').split(`${POLICY_MARK} `)[1];
  if (pid !== undefined && !isAlive(Number.parseInt(pid, 10))) unlinkSync(POLICY);
}

/**
 * Installs the versions of package-lock.json when what is installed is not what it names.
 *
 * Not by `npm ci`: that refuses a lock file without an entry for every other platform, and a registry that mirrors only
 * some platforms gives no such lock file. With --no-save the lock file stays as it is.
 */
export async function ensureNpmPackages() {
  if (npmPackagesAreThere()) return;
  await withLock('npm', async () => {
    if (npmPackagesAreThere()) return;
    say('installing npm packages');
    const status = await run('npm', [
      'install',
      '--no-save',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      '--no-progress',
    ]);
    if (status !== 0) throw new SetupError(`npm install failed (status ${status}): see what it says above`);
    if (!npmPackagesAreThere()) {
      throw new SetupError(
        'npm install has not brought what package-lock.json names: remove node_modules and start again',
      );
    }
  });
}

/** Compares versions, not times: a checkout touches the lock file without changing it. */
function npmPackagesAreThere() {
  const read = file => JSON.parse(readFileSync(path.join(root, file), 'utf8')).packages;
  let installed;
  try {
    installed = read('node_modules/.package-lock.json');
  } catch {
    return false;
  }
  const wanted = Object.entries(read('package-lock.json')).filter(([name, entry]) => name !== '' && !entry.optional);
  return wanted.every(
    ([name, entry]) => installed[name]?.version === entry.version && existsSync(path.join(root, name)),
  );
}

/**
 * Runs a program, its output on our standard error; resolves to its exit status.
 *
 * A signal meant for us goes to the program, and takes effect here only after it has ended.
 */
export function run(command, args, environment = {}) {
  return new Promise((resolve, reject) => {
    if (interruption !== null) throw new SetupError(`interrupted (${interruption})`);
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...environment }, stdio: ['ignore', 2, 2] });
    const forward = signal => {
      interruption = signal;
      child.kill(signal);
    };
    for (const signal of SIGNALS) process.on(signal, forward);
    const done = () => {
      for (const signal of SIGNALS) process.off(signal, forward);
    };
    child.once('error', error => {
      done();
      reject(new SetupError(`cannot run ${command} (${error.code})`));
    });
    child.once('close', status => {
      done();
      if (interruption !== null) reject(new SetupError(`${command} was interrupted (${interruption})`));
      else resolve(status ?? 1);
    });
  });
}

/** Runs `work` while no other set-up or build of this checkout does the same; a dead holder's lock is taken over. */
export async function withLock(name, work) {
  const directory = path.join(root, '.build');
  const file = path.join(directory, `${name}.lock`);
  mkdirSync(directory, { recursive: true });
  for (;;) {
    try {
      writeFileSync(file, `${process.pid}\n`, { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST')
        throw new SetupError(`cannot write ${file} (${error.code}): make the directory writable`);
    }
    if (!isAlive(holderOf(file))) unlinkIfThere(file);
    else await sleep(25);
  }
  const release = () => unlinkIfThere(file);
  process.on('exit', release);
  try {
    return await work();
  } finally {
    release();
    process.off('exit', release);
  }
}

function holderOf(file) {
  try {
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10);
    // Created and not yet filled: whoever is doing so lives.
    return Number.isNaN(pid) ? process.pid : pid;
  } catch {
    return process.pid;
  }
}

function unlinkIfThere(file) {
  try {
    unlinkSync(file);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
