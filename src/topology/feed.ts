import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { Backoff } from '../base/backoff.ts';
import type { Random } from '../base/random.ts';
import { EventStream } from './event-stream.ts';
import type { Topology } from './snapshot.ts';
import { validateTopology } from './validate.ts';

/**
 * The receiving end of the topology: holds one stream open to one supervisor, whichever of the list answers.
 *
 *   peers in turn: connect ──200──▶ topology, topology, … ──silence, end, error──▶ next peer
 *                     └─refused──▶ next peer; after the last one a pause that grows
 *
 * Supervisors send something at least every second, so that a connection on which nothing comes is dead, whatever TCP
 * says. A supervisor that lags behind its peers offers an older version: it is told and not taken.
 */
export interface FeedOptions {
  /** `http://host:port` of each supervisor; not empty. */
  readonly peers: readonly string[];
  /** See `feedToken`. */
  readonly token: string;
  readonly cluster: string;
  /** Only higher versions are passed on; 0: nothing is known yet. */
  readonly knownVersion: number;
  readonly random: Random;
  /** Called with versions that only grow; what it throws is not caught. */
  readonly onTopology: (topology: Topology) => void;
  /** For log and metrics. */
  readonly onEvent: (event: FeedEvent) => void;
  /** How long nothing may come before the connection counts as dead; connecting included. Default 5 s. */
  readonly silenceMs?: number;
  /** Pauses after all peers failed: drawn up to `baseMs` · 2^n, at most `capMs`. Default 100 ms and 5 s. */
  readonly backoff?: { readonly baseMs: number; readonly capMs: number };
}

export type FeedEvent =
  | { readonly kind: 'connected'; readonly peer: string }
  /** A stream that was open has ended. */
  | { readonly kind: 'lost'; readonly peer: string; readonly reason: string }
  /** No stream came about. */
  | { readonly kind: 'refused'; readonly peer: string; readonly reason: string }
  /** A topology came that is not taken. */
  | { readonly kind: 'ignored'; readonly peer: string; readonly reason: string };

const SILENCE_MS = 5000;
const BACKOFF = { baseMs: 100, capMs: 5000 };
/** A thousand shards of five nodes are about half a megabyte. */
const MAX_EVENT_LENGTH = 64 * 1024 * 1024;

export class TopologyFeed {
  readonly #options: FeedOptions;
  readonly #backoff: Backoff;
  readonly #silenceMs: number;
  #version: number;
  #peer = 0;
  #request: ClientRequest | null = null;
  #isConnected = false;
  #pause: NodeJS.Timeout | null = null;
  #silence: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#version = options.knownVersion;
    this.#silenceMs = options.silenceMs ?? SILENCE_MS;
    const { baseMs, capMs } = options.backoff ?? BACKOFF;
    this.#backoff = new Backoff(baseMs, capMs, options.random);
  }

  /** Whether a supervisor's stream is open. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** The highest version passed on, or known at the start. */
  get version(): number {
    return this.#version;
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
    const peer = this.#options.peers[this.#peer] as string;
    const headers = { authorization: `Bearer ${this.#options.token}`, accept: 'text/event-stream' };
    const started = request(`${peer}/v1/topology/feed`, { headers, agent: false });
    this.#request = started;
    // One attempt ends once, whichever of its several ends is heard first.
    const end = (reason: string) => {
      if (this.#request === started) this.#onEnd(peer, reason);
    };
    this.#silence = setTimeout(() => end(`nothing came for ${this.#silenceMs} ms`), this.#silenceMs);
    started.on('error', error => end(error.message));
    started.on('response', response => {
      if (this.#request === started) this.#onResponse(peer, response, end);
    });
    started.end();
  }

  #onResponse(peer: string, response: IncomingMessage, end: (reason: string) => void): void {
    if (response.statusCode !== 200) {
      end(refusal(response.statusCode));
      return;
    }
    this.#isConnected = true;
    this.#silence?.refresh();
    this.#options.onEvent({ kind: 'connected', peer });
    const stream = new EventStream(MAX_EVENT_LENGTH, (name, data) => {
      if (name === 'topology' && !this.#isClosed) this.#onData(peer, data);
    });
    response.setEncoding('utf8');
    response.on('data', (text: string) => {
      this.#silence?.refresh();
      if (!stream.push(text)) end(`it sends an event of more than ${MAX_EVENT_LENGTH} characters`);
    });
    response.on('error', error => end(error.message));
    response.on('close', () => end('the supervisor has ended the stream'));
  }

  #onData(peer: string, data: string): void {
    const topology = this.#read(peer, data);
    if (topology === null) return;
    this.#backoff.reset();
    if (topology.version <= this.#version) {
      // The same version is what every new stream begins with.
      if (topology.version < this.#version) {
        const remedy = 'if its store was lost, delete last-topology.json in proxy.state and start the proxy again';
        this.#ignore(peer, `it offers version ${topology.version}, version ${this.#version} is known; ${remedy}`);
      }
      return;
    }
    this.#version = topology.version;
    this.#options.onTopology(topology);
  }

  #read(peer: string, data: string): Topology | null {
    try {
      const topology = validateTopology(JSON.parse(data));
      if (topology.cluster === this.#options.cluster) return topology;
      this.#ignore(peer, `it is of the cluster ${topology.cluster}, not ${this.#options.cluster}`);
    } catch (error) {
      this.#ignore(peer, (error as Error).message);
    }
    return null;
  }

  #ignore(peer: string, reason: string): void {
    this.#options.onEvent({ kind: 'ignored', peer, reason });
  }

  #onEnd(peer: string, reason: string): void {
    if (this.#silence) clearTimeout(this.#silence);
    this.#request?.destroy();
    this.#request = null;
    const kind = this.#isConnected ? 'lost' : 'refused';
    this.#isConnected = false;
    this.#peer = (this.#peer + 1) % this.#options.peers.length;
    const pauseMs = this.#peer === 0 ? this.#backoff.nextMs() : 0;
    this.#pause = setTimeout(() => this.#connect(), pauseMs);
    this.#options.onEvent({ kind, peer, reason });
  }
}

function refusal(status: number | undefined): string {
  if (status === 401 || status === 403)
    return 'it refuses the token: cluster and secret must be the same on both sides';
  return `it answers HTTP status ${status}`;
}
