/**
 * Why listening at an address failed, in one line that says what to do about it.
 */

/** Turns the system's error into a line for people; `setting` is the key that says where to listen. */
export function listenErrorLine(error: unknown, setting: string): string {
  const { code, address, port, message } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  const where = port === undefined || port < 0 ? (address ?? 'the address') : `${address ?? ''}:${port}`;
  if (code === 'EADDRINUSE') return `${where} is taken by another process: ${remedy(setting, port)}`;
  if (code === 'EACCES') return `${where} may not be listened on by this user: ${remedy(setting, port)}`;
  if (code === 'EADDRNOTAVAIL') return `${where} is no address of this machine: correct ${setting}`;
  if (code === 'ENOTFOUND') return `${message}: correct ${setting}`;
  return `listening on ${where} failed (${message}): check ${setting}`;
}

function remedy(setting: string, port: number | undefined): string {
  if (port === undefined || port < 0) return `end that process, or set another path in ${setting}`;
  if (port === 6379) {
    return `a Redis server may run there; set another port in ${setting} such as 6380 (with "ringside up": --port 6380)`;
  }
  return `end that process, or set another port in ${setting}`;
}
