import { Backoff } from '../base/backoff.ts';
import type { Random } from '../base/random.ts';
import { FeedLine } from './feed-line.ts';
import type { Topology } from './snapshot.ts';
import { validateTopology } from './validate.ts';

/**
 * The receiving end of the topology: holds a stream open to every supervisor, and takes the newest that any of them has.
 *
 * One stream, and another supervisor when it breaks, would do while supervisors die outright. But one whose host is cut
 * off looks alive until the silence has lasted long enough, and one that has lost the store alone goes on feeding what
 * it knows: meanwhile this proxy would not hear of its new primaries. A stream costs a supervisor next to nothing.
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
  /** Called with versions that only grow, and with whose it was; what it throws is not caught. */
  readonly onTopology: (topology: Topology, peer: string) => void;
  /** For log and metrics. */
  readonly onEvent: (event: FeedEvent) => void;
  /** How long nothing may come before a connection counts as dead; connecting included. Default 5 s. */
  readonly silenceMs?: number;
  /** Pauses after a failure: drawn up to `baseMs` · 2^n, at most `capMs`. Default 100 ms and 5 s. */
  readonly backoff?: { readonly baseMs: number; readonly capMs: number };
}

export type FeedEvent =
  | { readonly kind: 'connected'; readonly peer: string }
  /** A stream that was open has ended. */
  | { readonly kind: 'lost'; readonly peer: string; readonly reason: string }
  /** No stream came about; told once for each reason, as long as none does. */
  | { readonly kind: 'refused'; readonly peer: string; readonly reason: string }
  /** A topology came that is not taken. */
  | { readonly kind: 'ignored'; readonly peer: string; readonly reason: string };

const SILENCE_MS = 5000;
const BACKOFF = { baseMs: 100, capMs: 5000 };

export class TopologyFeed {
  readonly #options: FeedOptions;
  readonly #lines: readonly FeedLine[];
  /** The version that each open stream brought last. */
  readonly #offered = new Map<FeedLine, number>();
  #version: number;
  #isClosed = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#version = options.knownVersion;
    const { token, random, silenceMs = SILENCE_MS, onEvent } = options;
    const { baseMs, capMs } = options.backoff ?? BACKOFF;
    this.#lines = options.peers.map(
      peer =>
        new FeedLine(peer, {
          token,
          silenceMs,
          backoff: new Backoff(baseMs, capMs, random),
          onConnected: () => onEvent({ kind: 'connected', peer }),
          onData: (line, name, data) => name === 'topology' && !this.#isClosed && this.#onTopology(line, data),
          onEnd: (line, kind, reason) => {
            this.#offered.delete(line);
            onEvent({ kind, peer, reason });
          },
        }),
    );
  }

  /** Whether a supervisor's stream is open. */
  get isConnected(): boolean {
    return this.#lines.some(line => line.isConnected);
  }

  /** The supervisors whose streams are open, in the order given. */
  get connectedPeers(): readonly string[] {
    return this.#lines.filter(line => line.isConnected).map(line => line.peer);
  }

  /** The highest version passed on, or known at the start. */
  get version(): number {
    return this.#version;
  }

  start(): void {
    for (const line of this.#lines) line.start();
  }

  /** Ends every stream and every try; nothing is called afterwards. */
  close(): void {
    this.#isClosed = true;
    for (const line of this.#lines) line.close();
  }

  /** True: it was a topology of this cluster. */
  #onTopology(line: FeedLine, data: string): boolean {
    const topology = this.#read(line.peer, data);
    if (topology === null) return false;
    const { version } = topology;
    this.#offered.set(line, version);
    if (version > this.#version) {
      this.#version = version;
      this.#options.onTopology(topology, line.peer);
    } else if (Math.max(...this.#offered.values()) < this.#version) {
      // A follower may lag behind; when nobody has what is known here, the store has.
      const remedy = 'if its store was lost, delete last-topology.json in proxy.state and start the proxy again';
      this.#ignore(line.peer, `it offers version ${version}, version ${this.#version} is known; ${remedy}`);
    }
    return true;
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
}
