import { Route } from '../commands/routes.ts';
import { elementsOf } from '../resp/elements.ts';
import { array, nilArray } from '../resp/encoder.ts';
import { MINUS, SHARED } from '../resp/protocol.ts';
import { Failure, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import type { Queued, Transaction } from './block.ts';
import type { Client } from './client.ts';
import { answerConnection } from './connection-commands.ts';
import { failureReply } from './failures.ts';
import type { Proxy } from './proxy.ts';
import { learnScript } from './scripts.ts';
import { answerServer } from './server-commands.ts';

/**
 * The reply of a block that ends something for the client, or of which the proxy answers some commands itself.
 *
 * `executed`: its commands ran. `refused`: an error, or nil because a watched key has changed. `lost`: no reply came.
 */
export class BlockReply implements ReplyReceiver {
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #transaction: Transaction;
  /** It was to run only if watched keys had not changed. */
  readonly #watched: boolean;
  readonly #onDone: (outcome: 'executed' | 'refused' | 'lost') => void;
  readonly #slot: Request;
  readonly #pieces: Buffer[] = [];

  constructor(
    proxy: Proxy,
    client: Client,
    transaction: Transaction,
    watched: boolean,
    onDone: (outcome: 'executed' | 'refused' | 'lost') => void,
  ) {
    this.#proxy = proxy;
    this.#client = client;
    this.#transaction = transaction;
    this.#watched = watched;
    this.#onDone = onDone;
    this.#slot = client.reserve();
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    this.#pieces.push(Buffer.from(bytes.subarray(from, to)));
    if (!last) return;
    releaseRequest(request);
    const reply = Buffer.concat(this.#pieces);
    const executed = reply[0] !== MINUS && !reply.equals(SHARED.nullArray) && !reply.equals(SHARED.null3);
    this.#finish(executed ? this.#compose(reply) : reply, executed ? 'executed' : 'refused');
  }

  onSkipped(): void {}

  onFailure(request: Request, failure: Failure, detail: string): void {
    releaseRequest(request);
    // Nothing of it was applied: to a client that watches keys that is what nil says, and it begins anew.
    const isUnwatched = (failure === Failure.Gone || failure === Failure.Moved) && this.#watched;
    const reply = isUnwatched ? nilArray(this.#client.protocol) : failureReply(failure, detail);
    if (!isUnwatched) this.#client.port.onError(reply);
    this.#finish(reply, 'lost');
  }

  #finish(reply: Buffer, outcome: 'executed' | 'refused' | 'lost'): void {
    this.#client.fulfil(this.#slot, reply);
    this.#onDone(outcome);
  }

  #compose(reply: Buffer): Buffer {
    const { commands } = this.#transaction;
    const answered = elementsOf(reply);
    const sent = commands.filter(queued => !queued.local);
    sent.forEach((queued, i) => {
      if (teaches(queued)) learnScript(this.#proxy, queued.args, answered[i] as Buffer);
    });
    if (this.#client.gone || sent.length === commands.length) return reply;
    let next = 0;
    const pieces: Buffer[] = [];
    for (const queued of commands) {
      if (queued.local) {
        pieces.push(answerHere(this.#proxy, this.#client, queued));
      } else {
        pieces.push(answered[next] as Buffer);
        next += 1;
      }
    }
    return array(pieces);
  }
}

/** The reply to a command of a block that no node is told of. */
export function answerHere(proxy: Proxy, client: Client, { row, args }: Queued): Buffer {
  client.capture = [];
  if (row.route === Route.Connection) answerConnection(proxy, client, row, args);
  else answerServer(proxy, client, row, args);
  const reply = Buffer.concat(client.capture);
  client.capture = null;
  return reply;
}

/** An EVAL: whether its body is a script is seen in the reply only. */
export function teaches(queued: Queued): boolean {
  return queued.row.name === 'eval' || queued.row.name === 'eval_ro';
}
