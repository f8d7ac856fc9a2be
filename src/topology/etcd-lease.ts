import { EtcdLeaseInvalidError, type ILeaseKeepAliveRequest } from 'etcd3';
import type { Clock } from '../base/clock.ts';
import type { EtcdClient, EtcdStream } from './etcd-client.ts';
import { StoreError } from './store.ts';

/**
 * A lease of etcd that is kept alive, and that is known to be over before etcd knows it.
 *
 *   sent ──── answered: alive until sent + ttl, whatever the answer took ────┐
 *    └─ beat ─ beat ─ beat ─ …  nothing answered ──▶ over at sent + 0.8·ttl   └─ etcd gives the key to another
 *
 * Time is counted from the sending of the last question that was answered, by a clock that nobody sets: so a slow
 * network and a process that was stopped are on the safe side.
 */
export class EtcdLease {
  /** As etcd numbers it. */
  readonly id: string;
  readonly #client: EtcdClient;
  readonly #clock: Clock;
  readonly #onLost: (reason: string) => void;
  readonly #ttlMs: number;
  /** When the last question that was answered had been sent. */
  #provenMs: number;
  #sentMs = 0;
  #isAnswered = true;
  #stream: EtcdStream<ILeaseKeepAliveRequest> | null = null;
  #beat: NodeJS.Timeout | null = null;
  #isOver = false;
  #trouble = 'this process did not get to ask etcd in time';

  private constructor(client: EtcdClient, clock: Clock, granted: Granted, onLost: (reason: string) => void) {
    this.#client = client;
    this.#clock = clock;
    this.#onLost = onLost;
    this.id = granted.id;
    this.#ttlMs = granted.ttlMs;
    this.#provenMs = granted.sentMs;
  }

  /** Throws `StoreError` when none was granted. `onLost` is called at most once, and not after `release`. */
  static async grant(client: EtcdClient, clock: Clock, onLost: (reason: string) => void): Promise<EtcdLease> {
    const sentMs = clock.nowMs();
    const { ID, TTL } = await client.call(etcd => etcd.leaseClient.leaseGrant({ TTL: ASKED_SECONDS }));
    const lease = new EtcdLease(client, clock, { id: ID, ttlMs: Number(TTL) * 1000, sentMs }, onLost);
    lease.#schedule(lease.#ttlMs / BEATS);
    return lease;
  }

  /** Whether etcd cannot have given it up yet. Ends it when it may have. */
  get isAlive(): boolean {
    if (!this.#isOver && this.#clock.nowMs() >= this.#endMs) this.#lost(`etcd has not renewed it: ${this.#trouble}`);
    return !this.#isOver;
  }

  /** Gives it back: whatever hangs on it is deleted at once, or, when etcd cannot be told, with its end. Never rejects. */
  async release(): Promise<void> {
    this.#stop();
    for (let tries = 0; tries < RELEASE_TRIES; tries += 1) {
      try {
        await this.#client.call(etcd =>
          etcd.leaseClient.leaseRevoke({ ID: this.id }).then(() => undefined, acceptGone),
        );
        return;
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
      }
    }
  }

  get #endMs(): number {
    return this.#provenMs + this.#ttlMs * SAFE_SHARE;
  }

  #schedule(beatMs: number): void {
    if (this.#beat !== null) clearTimeout(this.#beat);
    // Whatever else happens, nobody leads beyond the end.
    const leftMs = Math.max(0, this.#endMs - this.#clock.nowMs());
    this.#beat = setTimeout(() => this.#onBeat(), Math.min(beatMs, leftMs));
  }

  #onBeat(): void {
    if (!this.isAlive) return;
    if (!this.#isAnswered) this.#closeStream();
    this.#stream ??= this.#client.stream(
      etcd => etcd.leaseClient.leaseKeepAlive(),
      answer => this.#onAnswer(Number(answer.TTL)),
      problem => {
        this.#trouble = problem;
        this.#closeStream();
        this.#schedule(AGAIN_MS);
      },
    );
    this.#isAnswered = false;
    this.#sentMs = this.#clock.nowMs();
    this.#stream.write({ ID: this.id });
    this.#schedule(this.#ttlMs / BEATS);
  }

  #onAnswer(ttlSeconds: number): void {
    if (this.#isOver || this.#isAnswered) return;
    this.#isAnswered = true;
    if (ttlSeconds <= 0) return this.#lost('etcd has ended the lease');
    this.#provenMs = this.#sentMs;
  }

  /** The stream's answer may still be on its way: it must not be taken for the answer to a later question. */
  #closeStream(): void {
    if (this.#isAnswered) this.#stream?.close();
    else this.#stream?.giveUp();
    this.#stream = null;
    this.#isAnswered = true;
  }

  #lost(reason: string): void {
    this.#stop();
    this.#onLost(reason);
  }

  #stop(): void {
    this.#isOver = true;
    if (this.#beat !== null) clearTimeout(this.#beat);
    this.#stream?.close();
    this.#stream = null;
  }
}

interface Granted {
  readonly id: string;
  readonly ttlMs: number;
  readonly sentMs: number;
}

/** etcd grants no less than one and a half times its election timeout, rounded up: with its defaults this. */
const ASKED_SECONDS = 2;
/** Questions in the time of the lease. */
const BEATS = 5;
/** After a stream has broken. */
const AGAIN_MS = 50;
/** Of the time for which the lease was granted. */
const SAFE_SHARE = 0.8;
/** One for the member at hand, one for the next. */
const RELEASE_TRIES = 2;

/** A lease that is gone already is given back. */
function acceptGone(error: Error): void {
  if (!(error instanceof EtcdLeaseInvalidError)) throw error;
}
