import type { HostPort, TlsClient } from '../config/config.ts';
import { clientTlsOptions } from '../config/tls-options.ts';

/**
 * How connections to nodes for control are made: with everything switched off that the client would do by itself.
 *
 * Nothing is tried again, queued or sent a second time: a broken connection is an observation, and what answers at the
 * same address afterwards may be another process. `limitMs` bounds connecting.
 */
export function controlOptions(node: HostPort, tls: TlsClient | null, limitMs: number) {
  return {
    host: node.host,
    port: node.port,
    lazyConnect: true,
    protocol: 2 as const,
    retryStrategy: () => null,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    disableClientInfo: true,
    connectTimeout: limitMs,
    ...(tls === null ? {} : { tls: clientTlsOptions(tls) }),
  };
}
