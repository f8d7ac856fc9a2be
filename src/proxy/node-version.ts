import { encodeCommand } from '../resp/encoder.ts';
import { decodeReply, textOf } from '../resp/reply-value.ts';
import { readInfo } from '../upstream/login.ts';
import { acquireRequest, type ReplyReceiver, type Request, releaseRequest } from '../upstream/request.ts';
import type { Client } from './client.ts';
import type { Proxy } from './proxy.ts';

/**
 * Which Redis the nodes run, so that clients are told the version that answers them.
 *
 * Asked of one primary when the first client wants to know, and taken from every INFO that passes afterwards.
 */
export function knownNodeVersion(proxy: Proxy): string {
  return VERSIONS.get(proxy) ?? UNKNOWN;
}

/** Remembers the version that an INFO reply names. */
export function noteNodeVersion(proxy: Proxy, version: string | undefined): void {
  if (version !== undefined && version !== '') VERSIONS.set(proxy, version);
}

/** Asks if it must and can; true: the client is held until the answer is here, then its command is presented again. */
export function learnNodeVersion(proxy: Proxy, client: Client): boolean {
  if (VERSIONS.has(proxy)) return false;
  const shard = proxy.shards.find(one => one.up);
  if (shard === undefined) return false;
  client.held = true;
  const request = acquireRequest(new VersionReply(proxy, client), null, false, proxy.nowMs);
  shard.lane(0, 2).send(request, INFO_SERVER, 0, INFO_SERVER.length);
  return true;
}

class VersionReply implements ReplyReceiver {
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #pieces: Buffer[] = [];

  constructor(proxy: Proxy, client: Client) {
    this.#proxy = proxy;
    this.#client = client;
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    this.#pieces.push(Buffer.from(bytes.subarray(from, to)));
    if (!last) return;
    releaseRequest(request);
    const info = readInfo(textOf(decodeReply(Buffer.concat(this.#pieces))));
    this.#end(info.get('redis_version') ?? '');
  }

  onSkipped(): void {}

  onFailure(request: Request): void {
    releaseRequest(request);
    this.#end('');
  }

  /** A node that does not say leaves it at what is taken for granted: the client is not kept waiting for ever. */
  #end(version: string): void {
    noteNodeVersion(this.#proxy, version || UNKNOWN);
    this.#client.release();
  }
}

const VERSIONS = new WeakMap<Proxy, string>();
/** The version whose behaviour this program follows. */
const UNKNOWN = '7.0.15';
const INFO_SERVER = encodeCommand(['INFO', 'server']);
