import type { ConnectionOptions, connect } from 'node:tls';
import type { TlsClient } from '../config/config.ts';
import { clientTlsOptions } from '../config/tls-options.ts';

/**
 * TLS towards nodes: the options, and the function that connects with them. Null where connections are plain TCP; then
 * Node's TLS is not even loaded, which spares the process 2 MB.
 */
export interface Secure {
  readonly options: ConnectionOptions;
  readonly connect: typeof connect;
}

/** Reads the files; rejects when one cannot be read. */
export async function secureLinks(tls: TlsClient | null): Promise<Secure | null> {
  if (tls === null) return null;
  const { connect: connectSecurely } = await import('node:tls');
  return { options: clientTlsOptions(tls), connect: connectSecurely };
}
