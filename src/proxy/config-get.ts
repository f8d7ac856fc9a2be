import type { ProxyConfig } from '../config/config.ts';
import type { Arguments } from '../resp/arguments.ts';
import { elementsOf } from '../resp/elements.ts';
import { bulk } from '../resp/encoder.ts';
import { CR, MINUS } from '../resp/protocol.ts';
import { decodeReply, textOf } from '../resp/reply-value.ts';
import type { Client } from './client.ts';
import { sendParts } from './every-shard.ts';
import { Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import { DATABASES } from './shard.ts';
import { reachableShard } from './shard-choice.ts';

/**
 * CONFIG GET: what a node answers, with the proxy's own values where the proxy decides and not the node.
 *
 * One node stands for all, since the configuration keeps them alike; so patterns and names are Redis's own business.
 */
export function sendConfigGet(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const gather = new Gather(client, client.reserve(), one => {
    const [reply] = one.parts as [Buffer];
    client.fulfil(one.slot, reply[0] === MINUS ? reply : withOwnValues(proxy, reply));
  });
  proxy.metrics.commands.read += 1;
  sendParts(proxy, gather, [reachableShard(proxy)], args.bytes.subarray(args.from, args.to), false);
  return Verdict.Done;
}

/** Names and values in turn, as an array (RESP2) or a map (RESP3): both lists look alike behind their first line. */
function withOwnValues(proxy: Proxy, reply: Buffer): Buffer {
  const own = ownValues(proxy.config.proxy);
  const pieces: Buffer[] = [reply.subarray(0, reply.indexOf(CR) + 2)];
  const elements = elementsOf(reply);
  for (let i = 0; i + 1 < elements.length; i += 2) {
    const name = elements[i] as Buffer;
    const value = elements[i + 1] as Buffer;
    // A name asked for exactly comes back as the client wrote it, in any case.
    const spoken = textOf(decodeReply(name)).toLowerCase();
    pieces.push(name, ownValue(proxy, own, spoken, value));
  }
  return Buffer.concat(pieces);
}

function ownValue(proxy: Proxy, own: ReadonlyMap<string, string>, name: string, value: Buffer): Buffer {
  // Each primary takes this much; the whole takes as much as all of them.
  if (name === 'maxmemory') return bulk(String(Number(textOf(decodeReply(value))) * proxy.holders.length));
  const known = own.get(name);
  return known === undefined ? value : bulk(known);
}

/** By the names that Redis 7.0 gives them. Passwords and paths of the nodes are not a client's to know. */
function ownValues({ listen, limits, slowlog, tls }: ProxyConfig): Map<string, string> {
  const tcp = listen.filter(address => address.kind === 'tcp');
  const unix = listen.find(address => address.kind === 'unix');
  const port = String(tcp[0]?.port ?? 0);
  return new Map([
    ['bind', tcp.map(address => address.host).join(' ')],
    ['port', tls === null ? port : '0'],
    ['tls-port', tls === null ? '0' : port],
    ['unixsocket', unix?.kind === 'unix' ? unix.path : ''],
    ['maxclients', String(limits.clients)],
    ['timeout', '0'],
    ['databases', String(DATABASES)],
    ['proto-max-bulk-len', String(limits.bulkBytes)],
    ['slowlog-log-slower-than', String(slowlog.keep > 0 ? Math.round(slowlog.overMs * 1000) : -1)],
    ['slowlog-max-len', String(slowlog.keep)],
    ['requirepass', ''],
    ['masterauth', ''],
    ['masteruser', ''],
    ['tls-key-file-pass', ''],
    ['tls-client-key-file-pass', ''],
    ['replicaof', ''],
    ['slaveof', ''],
  ]);
}
