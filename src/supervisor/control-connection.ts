import { Redis } from 'ioredis';
import type { HostPort, NodeAccess } from '../config/config.ts';
import { clientTlsOptions } from '../config/tls-options.ts';

/**
 * One connection to one node for control, which ends for good when it breaks.
 *
 * Nothing is tried again, queued or sent a second time on its own: a broken connection is an observation, and what
 * answers at the same address afterwards may be another process. Whoever opens a new one asks its `run_id` first.
 */
export async function openControl(node: HostPort, access: NodeAccess, limitMs: number): Promise<Redis> {
  const redis = new Redis({
    host: node.host,
    port: node.port,
    lazyConnect: true,
    protocol: 2,
    retryStrategy: () => null,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    disableClientInfo: true,
    connectTimeout: limitMs,
    commandTimeout: limitMs,
    ...(access.tls === null ? {} : { tls: clientTlsOptions(access.tls) }),
  });
  // The client tells of a refused connection only by this event; the promise says no more than "closed".
  let cause: Error | null = null;
  redis.on('error', (error: Error) => {
    cause ??= error;
  });
  try {
    await redis.connect();
    if (access.password !== '') await redis.auth(access.username, access.password);
    return redis;
  } catch (error) {
    redis.disconnect();
    throw cause ?? error;
  }
}
