import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import type { TlsClient } from '../config/config.ts';

/** The TLS options for connections to nodes; null: plain TCP. Reads the files, and throws when one cannot be read. */
export function secureOptions(tls: TlsClient | null): ConnectionOptions | null {
  if (tls === null) return null;
  return {
    ...(tls.ca === null ? {} : { ca: readFileSync(tls.ca) }),
    ...(tls.cert === null ? {} : { cert: readFileSync(tls.cert) }),
    ...(tls.key === null ? {} : { key: readFileSync(tls.key) }),
    ...(tls.serverName === null ? {} : { servername: tls.serverName }),
  };
}
