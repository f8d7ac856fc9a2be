import { encodeCommand } from '../resp/encoder.ts';
import { LF, MINUS } from '../resp/protocol.ts';
import type { Connection, ConnectionOwner } from '../upstream/connection.ts';
import { Failure } from '../upstream/request.ts';
import type { Client } from './client.ts';
import { failureReply } from './failures.ts';
import { Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';

/**
 * SCRIPT KILL and FUNCTION KILL: ends what keeps a node busy, whichever node that is.
 *
 * On a lane it would stand behind the very script that it is to end. So each node is told on a connection of its own,
 * past this client's earlier commands too: one of them may be what hangs. Its later ones wait for the answer.
 */
export function sendKill(proxy: Proxy, client: Client, container: 'SCRIPT' | 'FUNCTION'): Verdict {
  const gather = new Gather(client, client.reserve(), one => {
    client.fulfil(one.slot, mergeKilled(one.parts));
    client.release();
  });
  client.held = true;
  proxy.metrics.commands.split += 1;
  const bytes = encodeCommand([container, 'KILL']);
  for (const _ of proxy.holders) gather.addPart();
  proxy.holders.forEach((shard, tag) => {
    new KillCall(gather, tag, shard, bytes, proxy.config.proxy.timeoutMs);
  });
  return Verdict.Done;
}

/** A script runs on one shard; the others say that none does. */
function mergeKilled(parts: readonly Buffer[]): Buffer {
  const well = parts.find(part => part[0] !== MINUS);
  const unkillable = parts.find(part => part.toString('latin1', 0, 11) === '-UNKILLABLE');
  const odd = parts.find(part => part.toString('latin1', 0, 8) !== '-NOTBUSY');
  return well ?? unkillable ?? odd ?? (parts[0] as Buffer);
}

/** The command on its way to one node, on a connection that lives no longer. */
class KillCall implements ConnectionOwner {
  readonly #gather: Gather;
  readonly #tag: number;
  readonly #shard: Shard;
  readonly #bytes: Buffer;
  readonly #timeoutMs: number;
  #connection: Connection | null = null;
  #timer: NodeJS.Timeout | null = null;
  #reply = '';

  constructor(gather: Gather, tag: number, shard: Shard, bytes: Buffer, timeoutMs: number) {
    this.#gather = gather;
    this.#tag = tag;
    this.#shard = shard;
    this.#bytes = bytes;
    this.#timeoutMs = timeoutMs;
    shard.openControl(this);
  }

  onReady(connection: Connection): void {
    const end = (): void => connection.end(`the node left it unanswered for ${this.#timeoutMs} ms`);
    this.#timer = setTimeout(end, this.#timeoutMs);
    this.#connection = connection;
    connection.write(this.#bytes);
  }

  /** All that a node answers to it is one line. */
  onBytes(length: number, bytes: Buffer): void {
    this.#reply += bytes.toString('latin1', 0, length);
    if (bytes[length - 1] === LF) this.#connection?.end('it is answered');
  }

  onEnded(_connection: Connection, reason: string): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#reply.endsWith('\r\n')) return this.#gather.settle(this.#tag, Buffer.from(this.#reply, 'latin1'));
    const failure = this.#connection === null ? Failure.Down : Failure.Uncertain;
    this.#gather.fail(this.#tag, failureReply(failure, `shard ${this.#shard.name}: ${reason}`));
  }
}
