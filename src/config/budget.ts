import type { Config } from './config.ts';

/**
 * How many connections to each node a proxy may need, held against what a node takes.
 *
 *   per proxy and node = workers × (lanes + barriers + lent connections in use + lent ones kept idle + subscriptions + control)
 *   proxies            = (maxclients − what supervisors and replicas need) ÷ that
 *
 * It is a worst case. Lanes that read from copies go to nodes that have none of the others, and so add nothing to a node. Usual is one lane per worker and node, with one more for each further database and protocol that
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
/** Connections on which a proxy asks whether its writes have reached the copies. */
export const MOST_BARRIERS = 4;
/** Lent connections that were given back and are kept for the next client. */
export const MOST_IDLE = 16;
/** The subscriptions of all clients, and a SCRIPT KILL while it lasts. */
const SINGLE = 2;
/** Supervisors, replicas, and a person with redis-cli. */
const RESERVED = 32;
/** Redis's own default. */
const MAX_CLIENTS = 10_000;
const FEW_PROXIES = 10;

/** `maxClients`: of each node; by default what `nodeSettings` gives it, or else Redis's own default. */
export function connectionBudget(config: Config, maxClients: number = maxClientsOf(config)): ConnectionBudget {
  const { workers, limits } = config.proxy;
  const perProxy = workers * (MOST_LANES + MOST_BARRIERS + limits.exclusive + MOST_IDLE + SINGLE);
  const proxies = Math.max(0, Math.floor((maxClients - RESERVED) / perProxy));
  const text =
    `usually 2 to a node from each of ${workers} workers, and 1 per further database and protocol in use; at most ` +
    `${perProxy} (workers ${workers} × (${MOST_LANES} lanes + ${MOST_BARRIERS} barriers + ${limits.exclusive} exclusive + ` +
    `${MOST_IDLE} idle + ${SINGLE} for subscriptions and SCRIPT KILL)), so that ${proxies} proxies fit into a node's maxclients of ` +
    `${maxClients} even then`;
  const warning =
    proxies < FEW_PROXIES
      ? `at worst only ${proxies} proxies fit into a node's maxclients of ${maxClients}: lower proxy.limits.exclusive ` +
        `(${limits.exclusive}) or proxy.workers (${workers}), or raise maxclients on the nodes`
      : null;
  return { perProxy, proxies, text, warning };
}

function maxClientsOf({ nodeSettings }: Config): number {
  const given = Number(nodeSettings['maxclients']);
  return Number.isInteger(given) && given > 0 ? given : MAX_CLIENTS;
}
