import net from 'node:net';
import { READ_BUFFER } from '../base/socket-reads.ts';
import { REPLY_GARBAGE, REPLY_UNFINISHED, ReplyDecoder } from '../resp/reply-decoder.ts';
import { decodeReplies } from '../resp/reply-value.ts';
import { encodeLogin, type History, judgeLogin, type Target } from './login.ts';
import type { Secure } from './secure.ts';

/**
 * One connection to a node, from the first packet to the last: connect, log in, carry bytes, end once.
 *
 *   connecting ──► logging in ──► ready ──► ended
 *        └──────────────┴───────────┴─────────▲
 *
 * It never repeats and never reconnects; its owner hears `onEnded` exactly once, with the reason in words.
 */
export interface ConnectionOwner {
  onReady(connection: Connection): void;
  /** Bytes from the node; they are valid during the call only. */
  onBytes(length: number, bytes: Buffer): void;
  onEnded(connection: Connection, reason: string): void;
}

export class Connection {
  readonly target: Target;
  ready = false;
  /** The incarnation that answered the login, and this connection's number there; empty and 0 before. */
  runId = '';
  /** The version of Redis there; empty before the login. */
  version = '';
  clientId = 0;
  /** Which writes the node held when it answered the login; null before, and after a login for control. */
  history: History | null = null;
  readonly #owner: ConnectionOwner;
  readonly #socket: net.Socket;
  #ended = false;
  #timer: NodeJS.Timeout | null;
  #login: Buffer[] = [];
  #loginReplies = 0;
  #loginBytes = 0;
  readonly #decoder = new ReplyDecoder();

  /** `secure`: TLS options; null for plain TCP. `connectMs` bounds everything until the connection is ready. */
  constructor(target: Target, secure: Secure | null, connectMs: number, owner: ConnectionOwner) {
    this.target = target;
    this.#owner = owner;
    const onread = {
      buffer: READ_BUFFER,
      callback: (length: number, bytes: Uint8Array): boolean => {
        this.#onBytes(length, bytes as Buffer);
        return true;
      },
    };
    const address = { host: target.host, port: target.port, noDelay: true };
    if (secure === null) {
      this.#socket = net.connect({ ...address, onread });
      this.#socket.once('connect', () => this.#logIn());
    } else {
      this.#socket = secure.connect({ ...address, ...secure.options });
      this.#socket.once('secureConnect', () => this.#logIn());
      this.#socket.on('data', (chunk: Buffer) => this.#onBytes(chunk.length, chunk));
    }
    this.#socket.setKeepAlive(true, 10_000);
    this.#socket.on('error', error => this.end(`${error.message}`));
    this.#socket.on('end', () => this.end('the node closed the connection'));
    this.#socket.on('close', () => this.end('the connection closed'));
    this.#timer = setTimeout(() => this.end(`no answer within ${connectMs} ms`), connectMs);
  }

  /** Sends bytes, which must stay untouched until what they ask for was answered, or the connection has ended. */
  write(bytes: Buffer): void {
    if (!this.#ended) this.#socket.write(bytes);
  }

  /** Holds back what is written until `uncork`, so that several pieces leave as one. */
  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  /** Ends the connection at once; the owner hears of it, once. */
  end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.ready = false;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#socket.destroy();
    this.#owner.onEnded(this, reason);
  }

  #logIn(): void {
    const { bytes, replies } = encodeLogin(this.target);
    this.#loginReplies = replies;
    this.#socket.write(bytes);
  }

  #onBytes(length: number, bytes: Buffer): void {
    if (this.#ended) return;
    if (this.ready) this.#owner.onBytes(length, bytes);
    else this.#onLoginBytes(length, bytes);
  }

  #onLoginBytes(length: number, bytes: Buffer): void {
    this.#loginBytes += length;
    if (this.#loginBytes > MOST_LOGIN_BYTES)
      return this.end('the node answered the login with more than a login needs');
    this.#login.push(Buffer.from(bytes.subarray(0, length)));
    let at = 0;
    while (at < length && this.#loginReplies > 0) {
      const next = this.#decoder.frame(bytes, at, length);
      if (next === REPLY_GARBAGE) return this.end('the node answered the login with something that is not RESP');
      if (next === REPLY_UNFINISHED) return;
      this.#loginReplies -= 1;
      at = next;
    }
    if (this.#loginReplies > 0) return;
    if (at < length) return this.end('the node answered the login with more replies than it was asked for');
    const login = judgeLogin(this.target, decodeReplies(Buffer.concat(this.#login)));
    if (login.problem !== '') return this.end(login.problem);
    this.runId = login.runId;
    this.version = login.version;
    this.clientId = login.clientId;
    this.history = login.history;
    this.#login = [];
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.ready = true;
    this.#owner.onReady(this);
  }
}

const MOST_LOGIN_BYTES = 1024 * 1024;
