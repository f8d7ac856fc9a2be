import type { ICompare, IKeyValue, IRequestOp } from 'etcd3';
import type { EtcdClient } from './etcd-client.ts';
import type { ClusterKeys } from './etcd-keys.ts';
import type { EtcdLease } from './etcd-lease.ts';
import type { Topology } from './snapshot.ts';
import { type Leadership, StoreConflict, StoreError } from './store.ts';
import { validateTopology } from './validate.ts';

/**
 * One term of leading, proven to etcd with every write.
 *
 * A write is one transaction: if the leader's key is still the one that this leadership created, and the document is
 * still the one that was read, then put the next. The lease and its clock only tell early that it is over.
 */
export class EtcdLeadership implements Leadership {
  readonly term: number;
  readonly #client: EtcdClient;
  readonly #keys: ClusterKeys;
  readonly #proof: Proof;
  readonly #onEnd: () => void;
  readonly #lost = new AbortController();
  /** The document that was last seen or written here. */
  #known: Known | null = null;
  #lastWrite: Promise<unknown> = Promise.resolve();
  /** Giving the lease back; null: this leadership is on. */
  #ending: Promise<void> | null = null;

  constructor(client: EtcdClient, keys: ClusterKeys, proof: Proof, onEnd: () => void) {
    this.term = proof.term;
    this.#client = client;
    this.#keys = keys;
    this.#proof = proof;
    this.#onEnd = onEnd;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async write(topology: Topology, expectedVersion: number): Promise<void> {
    validateTopology(topology);
    const write = this.#lastWrite.then(() => this.#write(topology, expectedVersion));
    this.#lastWrite = write.catch(error => this.end((error as Error).message));
    await this.#lastWrite;
    return write;
  }

  async resign(): Promise<void> {
    this.end('it was given up');
    await this.#ending;
  }

  /** Aborts `lost`, and gives the lease back in the background. */
  end(reason: string): void {
    if (this.#ending !== null) return;
    this.#ending = this.#proof.lease.release();
    this.#onEnd();
    this.#lost.abort(new StoreError(reason));
  }

  async #write(topology: Topology, expectedVersion: number): Promise<void> {
    const key = this.#keys.topology;
    this.#requireLease();
    const known = await this.#knownAt(expectedVersion);
    if (topology.version !== expectedVersion + 1)
      throw new StoreConflict(`etcd's key ${key}`, topology.version - 1, known.version);
    const compare: ICompare[] = [
      { key: this.#keys.leader, target: 'Create', create_revision: this.#proof.revision },
      { key, target: 'Mod', mod_revision: known.revision },
    ];
    const success: IRequestOp[] = [{ request_put: { key, value: Buffer.from(JSON.stringify(topology)) } }];
    const failure: IRequestOp[] = [{ request_range: { key: this.#keys.leader } }, { request_range: { key } }];
    const sending = this.#client.call(etcd => etcd.kv.txn({ compare, success, failure }));
    const { succeeded, responses, header } = await sending.catch(error => {
      throw new StoreError(`version ${topology.version} may or may not have been written: ${(error as Error).message}`);
    });
    if (!succeeded) {
      const [leader, present] = responses.map(response => response.response_range.kvs[0]);
      throw this.#refusal(leader, present, expectedVersion);
    }
    this.#known = { version: topology.version, revision: header.revision };
  }

  #requireLease(): void {
    if (this.#proof.lease.isAlive && !this.lost.aborted) return;
    const reason = this.lost.aborted ? (this.lost.reason as Error).message : 'its lease is over';
    throw new StoreError(`term ${this.term} is over: ${reason}`);
  }

  /** The document's revision, if its version is the expected one; throws `StoreConflict` if it is not. */
  async #knownAt(expectedVersion: number): Promise<Known> {
    if (this.#known?.version === expectedVersion) return this.#known;
    const { kvs } = await this.#client.call(etcd => etcd.kv.range({ key: this.#keys.topology }));
    const known = { version: versionOf(kvs[0]), revision: kvs[0]?.mod_revision ?? '0' };
    if (known.version !== expectedVersion)
      throw new StoreConflict(`etcd's key ${this.#keys.topology}`, expectedVersion, known.version);
    return known;
  }

  #refusal(leader: IKeyValue | undefined, present: IKeyValue | undefined, expectedVersion: number): StoreError {
    if (leader === undefined) return new StoreError(`term ${this.term} is over: its lease has ended`);
    if (leader.create_revision !== this.#proof.revision)
      return new StoreError(`term ${this.term} is over: ${leader.value} leads now`);
    return new StoreConflict(`etcd's key ${this.#keys.topology}`, expectedVersion, versionOf(present));
  }
}

/** What shows that this leadership is on. */
export interface Proof {
  /** Of the creation of the leader's key. */
  readonly revision: string;
  readonly lease: EtcdLease;
  readonly term: number;
}

interface Known {
  /** 0: there is no document. */
  readonly version: number;
  /** etcd's, of the last change; '0': there is none. */
  readonly revision: string;
}

/** 0: nothing is there, or nothing that has a version. */
function versionOf(pair: IKeyValue | undefined): number {
  if (pair === undefined) return 0;
  try {
    const { version } = JSON.parse(pair.value.toString()) as { version?: unknown };
    return typeof version === 'number' ? version : 0;
  } catch {
    return 0;
  }
}
