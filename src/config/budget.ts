import type { Config } from './config.ts';

/**
 * How many connections to each node a proxy may need, held against what a node takes.
 *
 *   per proxy and node = workers × (lanes of one shard + exclusive connections of one shard)
 *   proxies            = (maxclients − what supervisors and replicas need) ÷ that
 *
 * The limits are worst cases: lanes open as needed, and exclusive connections only while clients block or watch.
 */
export interface ConnectionBudget {
  /** Connections of one proxy to one node at the most. */
  readonly perProxy: number;
  /** Proxies whose worst cases fit together into `maxclients`. */
  readonly proxies: number;
  /** The same as a sentence. */
  readonly text: string;
  /** What to change, where fewer proxies fit than a small deployment has; null: nothing. */
  readonly warning: string | null;
}

/** Connections for databases and protocols in use; idle ones are closed. */
const LANES_PER_SHARD = 4;
/** Supervisors, replicas, and a person with redis-cli. */
const RESERVED = 32;
/** Redis's own default. */
const MAX_CLIENTS = 10_000;
const FEW_PROXIES = 10;

export function connectionBudget(config: Config, maxClients: number = MAX_CLIENTS): ConnectionBudget {
  const { workers, limits } = config.proxy;
  const perProxy = workers * (LANES_PER_SHARD + limits.exclusive);
  const proxies = Math.max(0, Math.floor((maxClients - RESERVED) / perProxy));
  const text =
    `one proxy opens at most ${perProxy} connections to a node (workers ${workers} × (${LANES_PER_SHARD} lanes + ` +
    `${limits.exclusive} exclusive)), so that ${proxies} proxies fit into a node's maxclients of ${maxClients}`;
  const warning =
    proxies < FEW_PROXIES
      ? `only ${proxies} proxies fit into a node's maxclients of ${maxClients}: lower proxy.limits.exclusive ` +
        `(${limits.exclusive}) or proxy.workers (${workers}), or raise maxclients on the nodes`
      : null;
  return { perProxy, proxies, text, warning };
}
