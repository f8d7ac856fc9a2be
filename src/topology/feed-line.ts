import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { Backoff } from '../base/backoff.ts';
import { EventStream } from './event-stream.ts';

/**
 * One stream to one supervisor, opened again and again.
 *
 *   connect ──200──▶ event, event, … ──silence, end, error──▶ pause ──▶ connect
 *      └────refused────────────────────────────────────────────▲
 *
 * Supervisors send something at least every second, so that a connection on which nothing comes is dead, whatever TCP
 * says.
 */
export class FeedLine {
  /** `http://host:port` */
  readonly peer: string;
  readonly #options: FeedLineOptions;
  #request: ClientRequest | null = null;
  #isConnected = false;
  #pause: NodeJS.Timeout | null = null;
  #silence: NodeJS.Timeout | null = null;
  #isClosed = false;
  /** Why the last attempt failed, if nothing has gone well since: the same is not told again. */
  #told = '';

  constructor(peer: string, options: FeedLineOptions) {
    this.peer = peer;
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  start(): void {
    this.#connect();
  }

  /** Ends the stream and every try; nothing is called afterwards. */
  close(): void {
    this.#isClosed = true;
    this.#isConnected = false;
    if (this.#pause) clearTimeout(this.#pause);
    if (this.#silence) clearTimeout(this.#silence);
    this.#request?.destroy();
    this.#request = null;
  }

  #connect(): void {
    const { token, silenceMs } = this.#options;
    const headers = { authorization: `Bearer ${token}`, accept: 'text/event-stream' };
    const started = request(`${this.peer}/v1/topology/feed`, { headers, agent: false });
    this.#request = started;
    // One attempt ends once, whichever of its several ends is heard first.
    const end = (reason: string) => {
      if (this.#request === started) this.#onEnd(reason);
    };
    this.#silence = setTimeout(() => end(`nothing came for ${silenceMs} ms`), silenceMs);
    started.on('error', error => end(error.message));
    started.on('response', response => {
      if (this.#request === started) this.#onResponse(response, end);
    });
    started.end();
  }

  #onResponse(response: IncomingMessage, end: (reason: string) => void): void {
    if (response.statusCode !== 200) {
      end(refusal(response.statusCode));
      return;
    }
    this.#isConnected = true;
    this.#told = '';
    this.#silence?.refresh();
    this.#options.onConnected(this);
    const stream = new EventStream(MAX_EVENT_LENGTH, (name, data) => {
      if (!this.#isClosed && this.#options.onData(this, name, data)) this.#options.backoff.reset();
    });
    response.setEncoding('utf8');
    response.on('data', (text: string) => {
      this.#silence?.refresh();
      if (!stream.push(text)) end(`it sends an event of more than ${MAX_EVENT_LENGTH} characters`);
    });
    response.on('error', error => end(error.message));
    response.on('close', () => end('the supervisor has ended the stream'));
  }

  #onEnd(reason: string): void {
    if (this.#silence) clearTimeout(this.#silence);
    this.#request?.destroy();
    this.#request = null;
    const kind = this.#isConnected ? 'lost' : 'refused';
    this.#isConnected = false;
    this.#pause = setTimeout(() => this.#connect(), this.#options.backoff.nextMs());
    if (kind === 'refused' && reason === this.#told) return;
    this.#told = kind === 'refused' ? reason : '';
    this.#options.onEnd(this, kind, reason);
  }
}

export interface FeedLineOptions {
  readonly token: string;
  /** How long nothing may come before the connection counts as dead; connecting included. */
  readonly silenceMs: number;
  readonly backoff: Backoff;
  onConnected(line: FeedLine): void;
  /** True: it was of use, so that this supervisor is worth the next try soon. */
  onData(line: FeedLine, name: string, data: string): boolean;
  /** `lost`: a stream that was open has ended. `refused`: none came about; the same reason is told once. */
  onEnd(line: FeedLine, kind: 'lost' | 'refused', reason: string): void;
}

/** A thousand shards of five nodes are about half a megabyte. */
const MAX_EVENT_LENGTH = 64 * 1024 * 1024;

function refusal(status: number | undefined): string {
  if (status === 401 || status === 403)
    return 'it refuses the token: cluster and secret must be the same on both sides';
  return `it answers HTTP status ${status}`;
}
