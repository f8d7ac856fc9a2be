import type { IRangeResponse, IWatchRequest, IWatchResponse } from 'etcd3';
import type { Backoff } from '../base/backoff.ts';
import type { EtcdClient, EtcdStream } from './etcd-client.ts';

/**
 * Follows the few keys of one cluster in etcd, for as long as it takes.
 *
 *   open stream ──created──▶ look ──event──▶ look ──event──▶ look …       a look every second besides
 *        ▲                    └──────── failed, or it saw what no event told ────┐
 *        └──────────────── pause ◀──────────── stream ended ◀────────────────────┘
 *
 * What the stream says is only a hint to look; what counts is what a read of all the keys shows. So nothing hangs on
 * revisions: events that were missed and a history that was compacted need no care of their own.
 */
export class EtcdWatch {
  readonly #client: EtcdClient;
  readonly #range: KeyRange;
  readonly #backoff: Backoff;
  readonly #on: WatchEvents;
  #stream: EtcdStream<IWatchRequest> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isLooking = false;
  /** Something was told while a look was on its way: it may have come too early. */
  #isOutdated = false;
  /** What the last look saw: the keys with their revisions. */
  #seen = '';
  #isClosed = false;

  constructor(client: EtcdClient, range: KeyRange, backoff: Backoff, on: WatchEvents) {
    this.#client = client;
    this.#range = range;
    this.#backoff = backoff;
    this.#on = on;
  }

  start(): void {
    this.#open();
  }

  /** Nothing is called afterwards. */
  close(): void {
    this.#isClosed = true;
    this.#stream?.close();
    this.#stream = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #open(): void {
    this.#stream = this.#client.stream<IWatchRequest, IWatchResponse>(
      etcd => etcd.watchClient.watch(),
      answer => this.#onAnswer(answer),
      problem => this.#again(problem),
    );
    const { key, end } = this.#range;
    this.#stream.write({ create_request: { key, range_end: end } });
    this.#timer = setTimeout(() => this.#onSilence(), CREATE_LIMIT_MS);
  }

  #onAnswer({ created, canceled, events }: IWatchResponse): void {
    if (canceled) return this.#giveUp('etcd has ended the watch');
    if (created || events.length > 0) void this.#look('told');
  }

  #onSilence(): void {
    this.#giveUp('etcd does not answer the watch');
  }

  /** `told`: the stream has just spoken. Otherwise this is to find out whether it is deaf. */
  async #look(cause: 'told' | 'unasked'): Promise<void> {
    if (this.#isLooking) {
      this.#isOutdated ||= cause === 'told';
      return;
    }
    this.#isLooking = true;
    const stream = this.#stream;
    const { key, end } = this.#range;
    const found = await this.#client
      .call(etcd => etcd.kv.range({ key, range_end: end }))
      .catch((error: Error) => error.message);
    this.#isLooking = false;
    if (this.#isClosed || stream !== this.#stream) return;
    if (typeof found === 'string') return this.#giveUp(found);
    this.#backoff.reset();
    const news = found.kvs.map(pair => `${pair.key} ${pair.mod_revision}`).join();
    const isDeaf = cause === 'unasked' && news !== this.#seen && !this.#isOutdated;
    this.#seen = news;
    this.#on.look(found);
    if (this.#isClosed) return;
    if (isDeaf) return this.#giveUp(null);
    if (this.#isOutdated) {
      this.#isOutdated = false;
      return this.#look('told');
    }
    this.#lookLater();
  }

  #lookLater(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look('unasked'), LOOK_MS);
  }

  #giveUp(problem: string | null): void {
    this.#stream?.giveUp();
    this.#again(problem);
  }

  #again(problem: string | null): void {
    this.#stream = null;
    this.#isOutdated = false;
    if (this.#isClosed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), this.#backoff.nextMs());
    if (problem !== null) this.#on.problem(problem);
  }
}

/** From `key` up to and without `end`, in the order of bytes. */
export interface KeyRange {
  readonly key: Buffer;
  readonly end: Buffer;
}

export interface WatchEvents {
  /** All keys of the range as they are now, after every change and now and then. */
  look(found: IRangeResponse): void;
  /** They cannot be followed at present. */
  problem(problem: string): void;
}

const CREATE_LIMIT_MS = 1500;
const LOOK_MS = 1000;
