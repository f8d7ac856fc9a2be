import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { AS_UMASK, makeDirectorySync } from '../base/directory.ts';
import { EnvironmentError } from '../base/environment-error.ts';
import type { Config } from '../config/config.ts';
import { ConfigError } from '../config/mistakes.ts';
import { EndSignals } from './end-signals.ts';
import { etcdVersion } from './etcd-command.ts';
import { LocalCluster } from './local-cluster.ts';
import { directorySettings, givenSettings, type LocalFlags } from './local-settings.ts';
import { overview } from './overview.ts';
import { waitUntilReady } from './readiness.ts';
import { reasonOf } from './reason.ts';
import { redisServerVersion } from './redis-command.ts';
import { rolesOf } from './roles.ts';
import { lockDirectory, unlockDirectory } from './run-record.ts';

/**
 * `ringside up`: a whole cluster on this machine, from its first start to its end by a signal.
 */
export interface UpOptions extends LocalFlags {
  /** Holds data, settings and what a run leaves for the next. */
  readonly dir: string;
  /** A person's own settings file, instead of the directory's. */
  readonly config?: string | undefined;
  /** Switch the nodes' default user off. */
  readonly closed?: boolean | undefined;
  /** Start nodes that have ended again, empty, after a second. */
  readonly respawn?: boolean | undefined;
}

/** Runs until SIGINT, SIGTERM or SIGHUP; the exit status: 0 after an orderly end, 2 when the machine or the settings do not allow a start. */
export async function runUp(options: UpOptions): Promise<number> {
  const directory = path.resolve(options.dir);
  const lock = path.join(directory, 'up.lock');
  const signals = new EndSignals();
  let cluster: LocalCluster | null = null;
  let locked = false;
  let over = false;
  surviveClosedTerminal();
  try {
    const redisVersion = await redisServerVersion();
    takeDirectory(directory, lock);
    locked = true;
    const config = settingsOf(directory, options);
    const roles = rolesOf(config, directory);
    if (roles.etcd.length > 0) await etcdVersion();
    const running = new LocalCluster({ config, directory, roles, respawn: options.respawn === true }, say);
    cluster = running;
    signals.onSecond(() => running.kill());
    const awaited = { proxy: config.proxy, supervisors: roles.supervisors, view: running.view };
    const start = running.start().then(() => waitUntilReady(awaited, () => over || signals.received, say));
    // Ended in between, it may fail in any way: that is no news.
    start.catch(() => undefined);
    await Promise.race([start, signals.first, running.failure]);
    if (!signals.received) {
      running.settled();
      const { pids, view } = running;
      process.stdout.write(overview({ config, directory, redisVersion, roles, view, pids }));
      await signals.first;
    }
    return 0;
  } catch (error) {
    return told(error);
  } finally {
    over = true;
    if (signals.received && cluster !== null) say('ending, data are saved (once more to end at once)');
    await cluster?.stop();
    if (locked) unlockDirectory(lock);
    signals.release();
  }
}

function say(line: string): void {
  process.stderr.write(`ringside: ${line}\n`);
}

/** Whoever read our output may have gone, by a closed terminal or pipe: the nodes must be ended in order all the same. */
function surviveClosedTerminal(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}

/** Tells what kept the cluster from starting, one line each, and gives the exit status. Bugs are passed on. */
function told(error: unknown): number {
  if (error instanceof ConfigError) {
    process.stderr.write(`${error.mistakes.join('\n')}\n`);
    return 2;
  }
  if (!(error instanceof EnvironmentError)) throw error;
  say(error.message);
  return 2;
}

function takeDirectory(directory: string, lock: string): void {
  try {
    makeDirectorySync(directory, AS_UMASK);
    accessSync(directory, constants.W_OK);
    lockDirectory(lock, directory);
  } catch (error) {
    if (error instanceof EnvironmentError) throw error;
    throw new EnvironmentError(
      `cannot write in ${directory} (${reasonOf(error)}): choose another directory with --dir`,
    );
  }
}

function settingsOf(directory: string, options: UpOptions): Config {
  const { dir, config: file, respawn, closed = false, ...flags } = options;
  const config = file === undefined ? directorySettings(directory, flags, closed) : givenSettings(file, flags, closed);
  if (config.nodeAccess.tls !== null) {
    throw new EnvironmentError(
      `${config.file}: nodeAccess.tls: \`up\` starts nodes without TLS; take it out for a local cluster`,
    );
  }
  return config;
}
