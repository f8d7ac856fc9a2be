import type { Client } from './client.ts';
import type { Proxy } from './proxy.ts';

/**
 * Describes a client in one line, as CLIENT LIST and CLIENT INFO show it.
 *
 * Fields and their order are those of `catClientInfoString` in Redis 7.0; `lib-name` and `lib-ver` of 7.2 follow when
 * the client has told them. Where the proxy has nothing of the kind (buffers of the query, of the arguments) it says 0.
 */
export function clientLine(proxy: Proxy, client: Client): string {
  const { port, transaction } = client;
  const queuedBytes = transaction?.bytes ?? 0;
  const fields = [
    `id=${client.id}`,
    `addr=${port.remoteAddress}`,
    `laddr=${port.localAddress}`,
    'fd=-1',
    `name=${client.name}`,
    `age=${secondsSince(proxy, port.connectedMs)}`,
    `idle=${secondsSince(proxy, client.lastActiveMs)}`,
    `flags=${flagsOf(client)}`,
    `db=${client.database}`,
    `sub=${client.channels?.size ?? 0}`,
    `psub=${client.patterns?.size ?? 0}`,
    `ssub=${client.shardChannels?.size ?? 0}`,
    `multi=${transaction === null ? -1 : transaction.commands.length}`,
    'qbuf=0 qbuf-free=0 argv-mem=0',
    `multi-mem=${queuedBytes}`,
    'rbs=0 rbp=0',
    `obl=${client.outBytes}`,
    'oll=0 omem=0',
    `tot-mem=${client.outBytes + queuedBytes}`,
    'events=r',
    `cmd=${client.lastCommand || 'NULL'}`,
    `user=${client.user}`,
    'redir=-1',
    `resp=${client.protocol}`,
  ];
  if (client.libName !== '' || client.libVersion !== '') {
    fields.push(`lib-name=${client.libName}`, `lib-ver=${client.libVersion}`);
  }
  return `${fields.join(' ')}\n`;
}

/** What `TYPE` of CLIENT LIST and CLIENT KILL selects by. */
export type ClientType = 'normal' | 'pubsub' | 'replica' | 'master';

/** A type by its name in any case; null when there is none such. */
export function clientTypeByName(name: string): ClientType | null {
  switch (name.toLowerCase()) {
    case 'normal':
      return 'normal';
    case 'pubsub':
      return 'pubsub';
    case 'slave':
    case 'replica':
      return 'replica';
    case 'master':
      return 'master';
    default:
      return null;
  }
}

/** Neither replicas nor masters ever connect to a proxy. */
export function typeOf(client: Client): ClientType {
  return client.subscriptions > 0 ? 'pubsub' : 'normal';
}

/** Whether it waits for data in a command of its own. */
export function isBlocked(client: Client): boolean {
  return client.borrowed !== null;
}

function flagsOf(client: Client): string {
  let flags = '';
  if (client.subscriptions > 0) flags += 'P';
  if (client.transaction !== null) flags += 'x';
  if (isBlocked(client)) flags += 'b';
  if (client.ending) flags += 'c';
  if (client.port.localAddress.startsWith('/') || client.port.localAddress.startsWith('unix')) flags += 'U';
  if (client.noEvict) flags += 'e';
  if (client.noTouch) flags += 'T';
  return flags || 'N';
}

/** Whole seconds since a moment of the clock of `Proxy.nowMs`. */
function secondsSince(proxy: Proxy, momentMs: number): number {
  return Math.max(0, Math.floor((proxy.nowMs - momentMs) / 1000));
}
