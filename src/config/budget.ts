import type { Config } from './config.ts';

/**
 * How many connections to each node a proxy may need, held against what a node takes.
 *
 *   per proxy and node = workers × (lanes + lent connections in use + lent ones kept idle + subscriptions + control)
 *   proxies            = (maxclients − what supervisors and replicas need) ÷ that
 *
 * It is a worst case. Usual is one lane per worker and node, with one more for each further database and protocol that
 * clients use, and lent connections only while clients block or watch keys. While `ringside proxy --replace` goes on,
 * old and new workers have theirs side by side.
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

/** One for each of 16 databases in each of two protocols; all but the first are closed when idle. */
export const MOST_LANES = 32;
/** Lent connections that were given back and are kept for the next client. */
export const MOST_IDLE = 16;
/** The subscriptions of all clients, and a SCRIPT KILL while it lasts. */
const SINGLE = 2;
/** Supervisors, replicas, and a person with redis-cli. */
const RESERVED = 32;
/** Redis's own default. */
const MAX_CLIENTS = 10_000;
const FEW_PROXIES = 10;

export function connectionBudget(config: Config, maxClients: number = MAX_CLIENTS): ConnectionBudget {
  const { workers, limits } = config.proxy;
  const perProxy = workers * (MOST_LANES + limits.exclusive + MOST_IDLE + SINGLE);
  const proxies = Math.max(0, Math.floor((maxClients - RESERVED) / perProxy));
  const text =
    `usually 1 to a node from each of ${workers} workers, and 1 per further database and protocol in use; at most ` +
    `${perProxy} (workers ${workers} × (${MOST_LANES} lanes + ${limits.exclusive} exclusive + ${MOST_IDLE} idle + ` +
    `${SINGLE} for subscriptions and SCRIPT KILL)), so that ${proxies} proxies fit into a node's maxclients of ` +
    `${maxClients} even then`;
  const warning =
    proxies < FEW_PROXIES
      ? `at worst only ${proxies} proxies fit into a node's maxclients of ${maxClients}: lower proxy.limits.exclusive ` +
        `(${limits.exclusive}) or proxy.workers (${workers}), or raise maxclients on the nodes`
      : null;
  return { perProxy, proxies, text, warning };
}
