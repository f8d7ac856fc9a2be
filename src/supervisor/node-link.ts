import { connect, type Socket } from 'node:net';
import { connect as connectSecurely, TLSSocket } from 'node:tls';
import { Fifo } from '../base/fifo.ts';
import type { HostPort, TlsClient } from '../config/config.ts';
import { clientTlsOptions } from '../config/tls-options.ts';
import { REPLY_GARBAGE, REPLY_UNFINISHED, ReplyDecoder } from '../resp/reply-decoder.ts';
import { decodeTextReply, ReplyError, type TextReply } from '../resp/reply-value.ts';
import type { Reply } from './core/effect.ts';

/**
 * One connection to one node, for the acting half: pieces of commands go out in one write each, replies come back as
 * plain values, and the end of the connection ends everything that waits.
 *
 * Nothing is tried again, queued or sent a second time: a broken connection is an observation, and what answers at the
 * same address afterwards may be another process. It knows nothing of users and incarnations; `act` and `probe` log in
 * and compare before they go on. It speaks by Ringside's own RESP and not by a client library, since all keys of a move
 * go through here: a library's object for each word of each command was most of what a move cost.
 */
export class NodeLink {
  readonly #socket: Socket;
  readonly #onEnd: () => void;
  readonly #asked = new Fifo<Asked | null>(null, 8);
  readonly #decoder = new ReplyDecoder();
  /** What has come of a reply that is not whole. */
  #cut: Buffer[] = [];
  /** Why the connection ended, once that is known; null: it has not. */
  #trouble: LinkError | null = null;
  #dropped = false;

  private constructor(socket: Socket, onEnd: () => void) {
    this.#socket = socket;
    this.#onEnd = onEnd;
    socket.on('data', (bytes: Buffer) => this.#onBytes(bytes));
    socket.on('error', error => this.#end(linkError(error)));
    socket.on('end', () => this.#end(new LinkError('refused', 'the node closed the connection')));
    socket.on('close', () => this.#end(new LinkError('refused', 'the connection closed')));
  }

  /** Connects within `limitMs`; throws `LinkError`. `onEnd` hears once when the connection is no more, except by `drop`. */
  static open({ host, port }: HostPort, tls: TlsClient | null, limitMs: number, onEnd: () => void): Promise<NodeLink> {
    return new Promise((resolve, reject) => {
      const address = { host, port, noDelay: true };
      const socket = tls === null ? connect(address) : connectSecurely({ ...address, ...clientTlsOptions(tls) });
      const giveUp = (error: LinkError): void => {
        clearTimeout(timer);
        socket.destroy();
        reject(error);
      };
      const onError = (error: Error): void => giveUp(linkError(error));
      const onClose = (): void => giveUp(new LinkError('refused', 'the connection closed'));
      const timer = setTimeout(() => giveUp(new LinkError('silent', `no connection within ${limitMs} ms`)), limitMs);
      socket.on('error', onError);
      socket.once('close', onClose);
      socket.once(tls === null ? 'connect' : 'secureConnect', () => {
        clearTimeout(timer);
        socket.off('close', onClose);
        resolve(new NodeLink(socket, onEnd));
        socket.off('error', onError);
      });
    });
  }

  get isEnded(): boolean {
    return this.#dropped || this.#trouble !== null;
  }

  /**
   * Sends the commands in one piece; resolves once all are answered, error replies included. Rejects with a `LinkError`
   * when the connection ends before that: then each of them may or may not have been carried out. `binary`: words and
   * replies are bytes, a character each (latin1); else they are text.
   */
  send(commands: readonly (readonly string[])[], binary = false): Promise<readonly Reply[]> {
    return new Promise((resolve, reject) => {
      if (this.isEnded) return reject(this.#trouble ?? DROPPED);
      if (commands.length === 0) return resolve([]);
      const encoding = binary ? 'latin1' : 'utf8';
      this.#asked.push({ due: commands.length, encoding, replies: [], resolve, reject });
      this.#socket.write(commandsText(commands, encoding), encoding);
    });
  }

  /**
   * Ends the connection without `onEnd`. What the system still holds of it is thrown away: commands that lie in a
   * send buffer, behind a cut network, must not arrive after those of the next connection. (Not so with TLS, where Node
   * offers no way to it; there they arrive late at worst, as commands of the same term that may be repeated.)
   */
  drop(): void {
    if (this.#dropped) return;
    this.#dropped = true;
    if (this.#socket instanceof TLSSocket) this.#socket.destroy();
    else if (!this.#socket.destroyed) this.#socket.resetAndDestroy();
    this.#failAll(DROPPED);
  }

  #onBytes(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && !this.isEnded; ) {
      const next = this.#decoder.frame(bytes, at, bytes.length);
      if (next === REPLY_GARBAGE)
        return this.#end(new LinkError('unusable', 'the node sent something that is not RESP'));
      if (next === REPLY_UNFINISHED) {
        this.#cut.push(bytes.subarray(at));
        return;
      }
      const piece = bytes.subarray(at, next);
      at = next;
      const whole = this.#cut.length === 0 ? piece : Buffer.concat([...this.#cut, piece]);
      this.#cut = [];
      this.#onReply(whole);
    }
  }

  #onReply(whole: Buffer): void {
    const asked = this.#asked.peek();
    if (asked === null) return this.#end(new LinkError('unusable', 'the node sent a reply that nobody had asked for'));
    asked.replies.push(asReply(decodeTextReply(whole, asked.encoding)));
    asked.due -= 1;
    if (asked.due > 0) return;
    this.#asked.shift();
    asked.resolve(asked.replies);
  }

  #end(trouble: LinkError): void {
    if (this.isEnded) return;
    this.#trouble = trouble;
    this.#socket.destroy();
    this.#failAll(trouble);
    this.#onEnd();
  }

  #failAll(trouble: LinkError): void {
    for (let asked = this.#asked.shift(); asked !== null; asked = this.#asked.shift()) asked.reject(trouble);
  }
}

/** Commands that were sent together, and wait for their replies. */
interface Asked {
  due: number;
  readonly encoding: 'utf8' | 'latin1';
  readonly replies: Reply[];
  readonly resolve: (replies: readonly Reply[]) => void;
  readonly reject: (trouble: LinkError) => void;
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

const DROPPED = new LinkError('refused', 'the connection was given up');

const REFUSALS = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ECONNABORTED']);
/** What says nothing of the process: the way to it is missing. */
const NO_WAY = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENOTFOUND', 'EAI_AGAIN']);

function linkError(error: NodeJS.ErrnoException): LinkError {
  const { code, message } = error;
  const text = message === '' ? (code ?? String(error)) : message;
  if (code !== undefined && REFUSALS.has(code)) return new LinkError('refused', text);
  if (code !== undefined && NO_WAY.has(code)) return new LinkError('silent', text);
  // A certificate that does not fit, a protocol that is not ours: somebody is there.
  return new LinkError('unusable', text);
}

/** All commands as one text, which is sent in `encoding`. */
function commandsText(commands: readonly (readonly string[])[], encoding: 'utf8' | 'latin1'): string {
  let text = '';
  for (const words of commands) {
    text += `*${words.length}\r\n`;
    for (const word of words) {
      text += `$${encoding === 'latin1' ? word.length : Buffer.byteLength(word)}\r\n${word}\r\n`;
    }
  }
  return text;
}

/** Replies within a reply (of `EXEC`) may be errors as well. */
function asReply(value: TextReply): Reply {
  if (value instanceof ReplyError) return { error: value.text };
  if (typeof value === 'boolean') return value ? 1 : 0;
  return Array.isArray(value) ? value.map(asReply) : value;
}
