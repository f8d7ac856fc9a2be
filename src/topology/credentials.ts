import { createHmac } from 'node:crypto';

/**
 * What the parts of one cluster prove themselves with, derived from the one secret that they share.
 *
 * Every derivation names its purpose in the message, so that a value that leaks opens one door and no other.
 */

/** The bearer token for a supervisor's HTTP interface: 64 hexadecimal characters. */
export function feedToken(secret: string, cluster: string): string {
  return createHmac('sha256', secret).update(`ringside supervisor-http 1\0${cluster}`).digest('hex');
}
