import { createHash } from 'node:crypto';
import { CommandReplyError } from '../commands/command-reply.ts';
import { encodeCommand } from '../resp/encoder.ts';
import { decodeReply } from '../resp/reply-value.ts';
import { acquireRequest, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';

/**
 * Takes over a node's own table of commands, so that a newer Redis, or a module, is routed without a new release.
 *
 * Asked of every primary that is logged in to for the first time. Most nodes are alike: an answer that was seen before
 * is not even decoded. What cannot be understood leaves the table as it was.
 */
export function learnCommands(proxy: Proxy, shard: Shard): void {
  const request = acquireRequest(new CommandTableReply(proxy, shard), null, false, proxy.nowMs);
  shard.lane(0, 2).send(request, COMMAND, 0, COMMAND.length);
}

class CommandTableReply implements ReplyReceiver {
  readonly #proxy: Proxy;
  readonly #shard: Shard;
  readonly #pieces: Buffer[] = [];

  constructor(proxy: Proxy, shard: Shard) {
    this.#proxy = proxy;
    this.#shard = shard;
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    this.#pieces.push(Buffer.from(bytes.subarray(from, to)));
    if (!last) return;
    releaseRequest(request);
    this.#take(Buffer.concat(this.#pieces));
  }

  onSkipped(): void {}

  /** The node is gone again; the next login asks anew. */
  onFailure(request: Request): void {
    releaseRequest(request);
  }

  #take(reply: Buffer): void {
    const proxy = this.#proxy;
    const digest = createHash('sha1').update(reply).digest('hex');
    if (digest === proxy.commandsDigest) return;
    try {
      proxy.table.replaceFrom(decodeReply(reply));
      proxy.commandsDigest = digest;
      proxy.log.info(
        `shard ${this.#shard.name}: its node's own table of ${proxy.table.rows.length} commands is in use`,
      );
    } catch (problem) {
      if (!(problem instanceof CommandReplyError)) throw problem;
      proxy.log.warn(`shard ${this.#shard.name}: its node's table of commands is of no use: ${problem.message}`);
    }
  }
}

const COMMAND = encodeCommand(['COMMAND']);
