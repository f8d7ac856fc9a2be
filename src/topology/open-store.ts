import { systemClock } from '../base/clock.ts';
import { EnvironmentError } from '../base/environment-error.ts';
import { Random } from '../base/random.ts';
import type { StoreConfig } from '../config/config.ts';
import { LockError } from './file-lock.ts';
import { FileStore } from './file-store.ts';
import type { TopologyStore } from './store.ts';

/**
 * Opens the store that the settings name.
 *
 * `onProblem` hears, once for each change, why the store is of no use at present, and null when it works again: for log
 * and status. Throws `EnvironmentError` when a file store's directory cannot be had; etcd may be away at this time.
 */
export async function openStore(
  config: StoreConfig,
  cluster: string,
  onProblem: (problem: string | null) => void,
): Promise<TopologyStore> {
  const random = new Random(Date.now() ^ (process.pid << 12));
  if (config.kind === 'etcd') {
    // The library for etcd is large, and one supervisor with a file needs none of it.
    const { EtcdStore } = await import('./etcd-store.ts');
    return new EtcdStore(config, { cluster, clock: systemClock, random, onProblem });
  }
  try {
    return await FileStore.open(config.directory, { cluster, random, onProblem });
  } catch (error) {
    if (!(error instanceof LockError)) throw error;
    throw new EnvironmentError(`supervisor.store.file: ${error.message}`);
  }
}
