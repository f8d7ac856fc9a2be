import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import type { TlsClient } from './config.ts';

/** Node's options for TLS as a client. Reads the files, and throws when one cannot be read. */
export function clientTlsOptions(tls: TlsClient): ConnectionOptions {
  return {
    ...(tls.ca === null ? {} : { ca: readFileSync(tls.ca) }),
    ...(tls.cert === null ? {} : { cert: readFileSync(tls.cert) }),
    ...(tls.key === null ? {} : { key: readFileSync(tls.key) }),
    ...(tls.serverName === null ? {} : { servername: tls.serverName }),
  };
}
