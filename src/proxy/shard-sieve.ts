import { Route } from '../commands/routes.ts';
import type { Sieve, SievedLane } from '../upstream/lane-queue.ts';
import { Failure, type Request } from '../upstream/request.ts';
import { KEYS_NONE } from './forward.ts';
import type { Proxy } from './proxy.ts';
import { ownerOfSent, rowOfSent } from './sent-commands.ts';
import type { Shard } from './shard.ts';

/**
 * Sends commands that were meant for one shard to another, when their keys have gone there meanwhile.
 *
 * A command waits in a lane while its shard is away, and its keys may be given away before it was ever sent, or before it
 * is sent again. Then it goes to whoever owns them now, as it stands, in the order in which it came. So nothing is executed
 * where its keys are no more; and nothing is overtaken, since a client that had something in flight when keys got other
 * owners sends nothing more until that is answered (`Client.settling`).
 */
export class ShardSieve implements Sieve {
  readonly #proxy: Proxy;
  readonly #shard: Shard;

  constructor(proxy: Proxy, shard: Shard) {
    this.#proxy = proxy;
    this.#shard = shard;
  }

  get version(): number {
    return this.#proxy.ownersVersion;
  }

  stays(request: Request, bytes: Buffer, from: number, to: number): boolean {
    const shard = this.#shard;
    if (request.fixed) return !shard.retired && !(request.isWrite && this.#isAboutAllKeys(bytes, from));
    const owner = ownerOfSent(this.#proxy, bytes, from, to);
    if (owner !== KEYS_NONE) return owner === shard.index;
    return !shard.retired && !this.#isAboutAllKeys(bytes, from);
  }

  take(request: Request, bytes: Buffer, { lent, database, protocol }: SievedLane): void {
    if (this.#isAboutAllKeys(bytes, 0)) return this.#refuse(request, 'keys have gone to another shard meanwhile');
    const isOwn = request.fixed || (request.origin === null && ownerOfSent(this.#proxy, bytes, 0, bytes.length) < 0);
    if (isOwn) return this.#refuse(request, 'it is no longer part of the cluster');
    // What a client has set up on a connection of its own cannot be moved to another one.
    if (lent) return this.#refuse(request, 'its keys have gone to another shard');
    this.#proxy.gate.reroute(request, bytes, 0, bytes.length, database, protocol);
  }

  /**
   * FLUSHALL and its kin were sent to those who had all keys at that time, and would now meet others. Those that only
   * read are asked anew as a whole (`everywhere.ts`).
   */
  #isAboutAllKeys(bytes: Buffer, from: number): boolean {
    return rowOfSent(this.#proxy, bytes, from)?.route === Route.Everywhere;
  }

  #refuse(request: Request, problem: string): void {
    request.receiver.onFailure(request, Failure.Moved, `shard ${this.#shard.name}: ${problem}`);
  }
}
