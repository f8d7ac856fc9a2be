import type { ICompare, IRangeResponse, IRequestOp } from 'etcd3';
import { assert } from '../base/assert.ts';
import { Backoff } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { EtcdStoreConfig } from '../config/config.ts';
import { EtcdClient } from './etcd-client.ts';
import { type ClusterKeys, clusterKeys, type Look, lookOf, UnusableError } from './etcd-keys.ts';
import { EtcdLeadership } from './etcd-leadership.ts';
import { EtcdLease } from './etcd-lease.ts';
import { EtcdWatch } from './etcd-watch.ts';
import { pause } from './pause.ts';
import type { Topology } from './snapshot.ts';
import { type Leadership, StoreError, type TopologyStore } from './store.ts';
import { StoreProblem } from './store-problem.ts';

/**
 * Keeps the topology in etcd, for several supervisors of which one leads.
 *
 *   <prefix><cluster>/leader    the leader's URL, on its lease; whoever creates it leads
 *   <prefix><cluster>/term      the last term that was given out, raised in the transaction that creates the leader's key
 *   <prefix><cluster>/topology  the document
 *
 * The term is a counter of our own and not etcd's revision, which would rise as well: it must outlive an etcd that was
 * set up anew from a copy of the keys, it can be raised above a term that was met on a node, and it is short in the
 * names of users.
 */
export class EtcdStore implements TopologyStore {
  readonly #client: EtcdClient;
  readonly #keys: ClusterKeys;
  readonly #cluster: string;
  readonly #clock: Clock;
  readonly #problem: StoreProblem<'watch' | 'campaign'>;
  readonly #backoff: Backoff;
  readonly #watch: EtcdWatch;
  readonly #watchers: ((topology: Topology) => void)[] = [];
  readonly #closed = new AbortController();
  #isWatching = false;
  /** The watch has met trouble, and has seen nothing since. */
  #isBlind = false;
  /** What the last look showed; null: no look yet, or none since the store could not be reached. */
  #lastLook: Look | null = null;
  #onLook: (() => void) | null = null;
  /** Of the document that the watchers were told last. */
  #toldRevision = '0';
  #isUsable = true;
  #leadership: EtcdLeadership | null = null;

  /** Connects with the first call; throws `EnvironmentError` when a certificate cannot be read. */
  constructor(config: EtcdStoreConfig, options: EtcdStoreOptions) {
    this.#client = new EtcdClient(config);
    this.#keys = clusterKeys(`${config.prefix}${options.cluster}/`);
    this.#cluster = options.cluster;
    this.#clock = options.clock;
    this.#problem = new StoreProblem(options.onProblem);
    this.#backoff = new Backoff(RETRY.baseMs, RETRY.capMs, options.random);
    this.#watch = new EtcdWatch(this.#client, this.#keys, new Backoff(RETRY.baseMs, RETRY.capMs, options.random), {
      look: found => this.#looked(found),
      problem: problem => {
        this.#lastLook = null;
        this.#isBlind = true;
        this.#problem.met('watch', problem);
      },
    });
  }

  async read(): Promise<Topology | null> {
    return (await this.#look()).topology();
  }

  async campaign(advertise: string, signal: AbortSignal, aboveTerm = 0): Promise<Leadership> {
    assert(this.#leadership === null, 'a store leads once at a time');
    const end = AbortSignal.any([signal, this.#closed.signal]);
    this.#startWatch();
    for (;;) {
      end.throwIfAborted();
      try {
        const seen = await this.#look();
        const leadership = seen.leader === null ? await this.#tryToLead(seen, advertise, aboveTerm) : null;
        this.#problem.over('campaign');
        this.#backoff.reset();
        if (leadership === null) {
          await this.#leaderGone(seen.revision, end);
          continue;
        }
        if (!end.aborted) return leadership;
        await leadership.resign();
      } catch (error) {
        end.throwIfAborted();
        if (!(error instanceof StoreError) || error instanceof UnusableError) throw error;
        this.#problem.met('campaign', error.message);
        await pause(this.#backoff.nextMs(), end);
      }
    }
  }

  async leader(): Promise<string | null> {
    if (this.#isBlind) return null;
    // The last look may be older than the leader.
    const look = await this.#look().catch(() => null);
    return look?.leader ?? null;
  }

  watch(onTopology: (topology: Topology) => void): void {
    this.#watchers.push(onTopology);
    const seen = this.#lastLook;
    if (seen !== null) this.#tell(seen, [onTopology]);
    this.#startWatch();
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(new StoreError('the store was closed'));
    this.#watch.close();
    await this.#leadership?.resign();
    this.#client.close();
  }

  /** Null: another was quicker. Throws `StoreError` when etcd does not say. */
  async #tryToLead(seen: Look, advertise: string, aboveTerm: number): Promise<EtcdLeadership | null> {
    // A document that cannot be read is told before anybody acts on nodes.
    const term = Math.max(seen.term(), seen.topology()?.term ?? 0, aboveTerm) + 1;
    let leadership: EtcdLeadership | null = null;
    const lease = await EtcdLease.grant(this.#client, this.#clock, reason => leadership?.end(reason));
    const { leader, term: termKey } = this.#keys;
    const compare: ICompare[] = [
      { key: leader, target: 'Create', create_revision: '0' },
      { key: termKey, target: 'Mod', mod_revision: seen.termRevision },
    ];
    const success: IRequestOp[] = [
      { request_put: { key: leader, value: Buffer.from(advertise), lease: lease.id } },
      { request_put: { key: termKey, value: Buffer.from(String(term)) } },
    ];
    try {
      const { succeeded, header } = await this.#client.call(etcd => etcd.kv.txn({ compare, success }));
      if (succeeded && lease.isAlive) {
        const proof = { revision: header.revision, lease, term };
        leadership = new EtcdLeadership(this.#client, this.#keys, proof, () => {
          this.#leadership = null;
        });
        this.#leadership = leadership;
      }
    } finally {
      // Also where it is not known whether the key was created: with the lease it goes.
      if (leadership === null) await lease.release();
    }
    return leadership;
  }

  /** Waits until a look later than `revision` shows no leader, or until it is time to try all the same. */
  async #leaderGone(revision: number, end: AbortSignal): Promise<void> {
    const gone = new AbortController();
    this.#onLook = () => {
      const look = this.#lastLook;
      if (look !== null && look.revision > revision && look.leader === null) gone.abort();
    };
    this.#onLook();
    await pause(TRY_AGAIN_MS, AbortSignal.any([end, gone.signal])).catch(() => undefined);
    this.#onLook = null;
  }

  async #look(): Promise<Look> {
    const { key, end } = this.#keys;
    const found = await this.#client.call(etcd => etcd.kv.range({ key, range_end: end }));
    return lookOf(found, this.#keys, this.#cluster);
  }

  #startWatch(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#watch.start();
  }

  #looked(found: IRangeResponse): void {
    const look = lookOf(found, this.#keys, this.#cluster);
    this.#lastLook = look;
    this.#isBlind = false;
    if (look.topologyRevision !== this.#toldRevision) {
      this.#toldRevision = look.topologyRevision;
      this.#isUsable = this.#tell(look, this.#watchers);
    }
    if (this.#isUsable) this.#problem.over('watch');
    this.#onLook?.();
  }

  /** False: what is kept is no usable topology. */
  #tell(look: Look, watchers: readonly ((topology: Topology) => void)[]): boolean {
    let topology: Topology | null;
    try {
      topology = look.topology();
    } catch (error) {
      this.#problem.met('watch', (error as Error).message);
      return false;
    }
    if (topology === null) return true;
    for (const onTopology of watchers) onTopology(topology);
    return true;
  }
}

export interface EtcdStoreOptions {
  readonly cluster: string;
  readonly clock: Clock;
  readonly random: Random;
  /** See `openStore`. */
  readonly onProblem: (problem: string | null) => void;
}

const RETRY = { baseMs: 100, capMs: 5000 };
/** Should every sign that the leader has gone be missed. */
const TRY_AGAIN_MS = 1000;
