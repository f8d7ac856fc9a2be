/**
 * What one of several workers may take of the bounds that hold for the whole proxy.
 */
import type { Config } from '../config/config.ts';

/** The settings of one worker. Bounds of a single client, lane or shard are the same in each. */
export function workerShare(config: Config): Config {
  const { workers, limits } = config.proxy;
  if (workers === 1) return config;
  const clients = Math.ceil(limits.clients / workers);
  // One value of the largest size must always find room.
  const heldBytes = Math.max(Math.ceil(limits.heldBytes / workers), limits.bulkBytes);
  return { ...config, proxy: { ...config.proxy, limits: { ...limits, clients, heldBytes } } };
}
