import { anyShard } from './forward.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';

/**
 * Chooses the shard that may answer for all: the first whose primary is logged in to.
 */
export function reachableShard(proxy: Proxy): Shard {
  return proxy.holders.find(shard => shard.up) ?? anyShard(proxy);
}
