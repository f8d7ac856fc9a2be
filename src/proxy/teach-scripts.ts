import { encodeCommand } from '../resp/encoder.ts';
import { acquireRequest, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import { UNCONFIRMED } from './commitment.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';

/**
 * Gives a shard that has just joined the scripts that this proxy knows, before keys come to it: each proxy those that its
 * own clients have loaded, so that together the shard has what all the others have.
 *
 * A script is also loaded where it is found missing (`scripts.ts`); but not for a client of another proxy, nor in the
 * midst of a pipeline.
 */
export function teachScripts(proxy: Proxy, shard: Shard): void {
  new Lesson(proxy, shard).next();
}

class Lesson implements ReplyReceiver {
  readonly #proxy: Proxy;
  readonly #shard: Shard;
  readonly #runId: string;
  readonly #left: [string, Buffer][];
  #underWay: string[] = [];

  constructor(proxy: Proxy, shard: Shard) {
    this.#proxy = proxy;
    this.#shard = shard;
    this.#runId = shard.lane(0, 2).runId;
    this.#left = proxy.scripts.entries();
  }

  next(): void {
    const lane = this.#shard.lane(0, 2);
    if (!this.#shard.up || lane.runId !== this.#runId) return;
    const batch = this.#left.splice(-MOST_IN_ONE);
    if (batch.length === 0) return;
    this.#underWay = batch.map(([digest]) => digest);
    const bytes = Buffer.concat(batch.map(([, body]) => encodeCommand(['SCRIPT', 'LOAD', body])));
    const request = acquireRequest(this, null, true, this.#proxy.nowMs);
    request.confirm = UNCONFIRMED;
    request.fixed = true;
    request.skip = batch.length - 1;
    lane.send(request, bytes, 0, bytes.length);
  }

  onReply(request: Request, _bytes: Buffer, _from: number, _to: number, last: boolean): void {
    if (!last) return;
    releaseRequest(request);
    for (const digest of this.#underWay) this.#shard.scripts.add(digest);
    this.next();
  }

  onSkipped(): void {}

  onFailure(request: Request): void {
    releaseRequest(request);
  }
}

const MOST_IN_ONE = 50;
