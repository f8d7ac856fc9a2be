import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { Redis } from 'ioredis';
import type { HostPort, TlsClient } from '../config/config.ts';
import { controlOptions } from './control-options.ts';
import type { Reply } from './core/effect.ts';

/**
 * One connection to one node, for the acting half: pieces of commands go out in one write each, replies come back as
 * plain values, and the end of the connection ends everything that waits.
 *
 * It knows nothing of users and incarnations; `act` and `probe` log in and compare before they go on.
 */
export class NodeLink {
  readonly #redis: Redis;
  readonly #onEnd: () => void;
  #ended = false;

  private constructor(redis: Redis, onEnd: () => void) {
    this.#redis = redis;
    this.#onEnd = onEnd;
    redis.on('end', () => this.#end());
  }

  /** Connects within `limitMs`; throws `LinkError`. `onEnd` hears once when the connection is no more, except by `drop`. */
  static async open(node: HostPort, tls: TlsClient | null, limitMs: number, onEnd: () => void): Promise<NodeLink> {
    const redis = new Redis(controlOptions(node, tls, limitMs));
    // The client tells of a refused connection only by this event; the promise says no more than "closed".
    let cause: Error | null = null;
    redis.on('error', (error: Error) => {
      cause ??= error;
    });
    try {
      await redis.connect();
    } catch (error) {
      redis.disconnect();
      throw linkError(cause ?? error);
    }
    if (redis.status !== 'ready') throw linkError(cause ?? new Error('Connection is closed.'));
    return new NodeLink(redis, onEnd);
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  /**
   * Sends the commands in one piece; resolves once all are answered, error replies included. Throws `LinkError` when
   * the connection ends before that: then each of them may or may not have been carried out. `binary`: words and replies
   * are bytes, a character each (latin1); else they are text.
   */
  async send(commands: readonly (readonly string[])[], binary = false): Promise<readonly Reply[]> {
    const pipeline = this.#redis.pipeline();
    for (const [name, ...args] of commands) {
      if (binary) pipeline.callBuffer(name as string, ...args.map(word => Buffer.from(word, 'latin1')));
      else pipeline.call(name as string, ...args);
    }
    const results = await pipeline.exec().catch((error: unknown) => {
      throw linkError(error);
    });
    return (results ?? []).map(([error, value]) => {
      if (error === null) return asReply(value);
      if (error.name === 'ReplyError') return { error: error.message };
      throw linkError(error);
    });
  }

  /**
   * Ends the connection without `onEnd`. What the system still holds of it is thrown away: commands that lie in a
   * send buffer, behind a cut network, must not arrive after those of the next connection. (Not so with TLS, where Node
   * offers no way to it; there they arrive late at worst, as commands of the same term that may be repeated.)
   */
  drop(): void {
    this.#ended = true;
    const { stream } = this.#redis;
    if (stream instanceof Socket && !(stream instanceof TLSSocket) && !stream.destroyed) stream.resetAndDestroy();
    this.#redis.disconnect();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
  }
}

/**
 * Why there is no connection, or no longer: `refused`: nobody listens, or the connection was broken off; `silent`:
 * nothing came, which the network may have done as well; `unusable`: somebody is there who cannot be talked to.
 */
export type LinkTrouble = 'refused' | 'silent' | 'unusable';

export class LinkError extends Error {
  override readonly name = 'LinkError';
  readonly trouble: LinkTrouble;

  constructor(trouble: LinkTrouble, message: string) {
    super(message);
    this.trouble = trouble;
  }
}

const REFUSALS = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ECONNABORTED']);
/** What says nothing of the process: the way to it is missing. */
const NO_WAY = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENOTFOUND', 'EAI_AGAIN']);

function linkError(error: unknown): LinkError {
  if (error instanceof LinkError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const text = message === '' || message === undefined ? (code ?? String(error)) : message;
  if (code !== undefined && REFUSALS.has(code)) return new LinkError('refused', text);
  if (code !== undefined && NO_WAY.has(code)) return new LinkError('silent', text);
  if (/connection is closed|isn't writeable|stream/i.test(text)) return new LinkError('refused', text);
  // A certificate that does not fit, a reply that is no Redis's: somebody is there.
  return new LinkError('unusable', text);
}

/** Replies within a reply (of `EXEC`) may be errors as well. */
function asReply(value: unknown): Reply {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string' || typeof value === 'number') return value;
  if (value instanceof Buffer) return value.toString('latin1');
  if (Array.isArray(value)) return value.map(asReply);
  if (value instanceof Error) return { error: value.message };
  return String(value);
}
