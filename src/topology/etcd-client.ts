import { readFileSync } from 'node:fs';
import {
  Etcd3,
  EtcdAuthenticationFailedError,
  EtcdPermissionDeniedError,
  GRPCResourceExhastedError,
  GRPCUnauthenticatedError,
  type IDuplexStream,
  type IOptions,
} from 'etcd3';
import { EnvironmentError } from '../base/environment-error.ts';
import type { EtcdStoreConfig, TlsClient } from '../config/config.ts';
import { StoreError } from './store.ts';

/**
 * Speaks with etcd through one of its members, and with another one after a failure.
 *
 * The library's own ways are left aside on purpose: it spreads calls over members at random, so that one dead member of
 * three would fail every third call; it repeats calls that may have been done; its leases judge their age by the wall
 * clock; its watchers throw where nobody can catch. What is used of it are its messages and its connections.
 */
export class EtcdClient {
  readonly #members: readonly Etcd3[];
  readonly #endpoints: string;
  readonly #prefix: string;
  #current = 0;

  constructor(config: EtcdStoreConfig) {
    this.#endpoints = config.endpoints.join(', ');
    this.#prefix = config.prefix;
    const shared = sharedOptions(config);
    this.#members = config.endpoints.map(hosts => new Etcd3({ ...shared, hosts }));
  }

  /**
   * One try on one member. Throws `StoreError`, in words that do not change from try to try; then it is not known
   * whether the call was done.
   */
  async call<T>(work: (etcd: Etcd3) => Promise<T>): Promise<T> {
    const member = this.#current;
    try {
      return await work(this.#members[member] as Etcd3);
    } catch (error) {
      this.#failed(member);
      throw new StoreError(this.#inWords(error as Error));
    }
  }

  /**
   * Opens a stream. `onEnd` is called once, whatever ends it; after `close` nothing is called any more.
   */
  stream<Q, A>(
    open: (etcd: Etcd3) => Promise<IDuplexStream<Q, A>>,
    onData: (answer: A) => void,
    onEnd: (problem: string) => void,
  ): EtcdStream<Q> {
    const member = this.#current;
    let stream: IDuplexStream<Q, A> | null = null;
    let isOver = false;
    const unsent: Q[] = [];
    const close = (): void => {
      isOver = true;
      stream?.cancel();
    };
    const end = (error: Error): void => {
      if (isOver) return;
      close();
      this.#failed(member);
      onEnd(this.#inWords(error));
    };
    open(this.#members[member] as Etcd3).then(opened => {
      stream = opened;
      // A stream that was cancelled still ends with an error, which must find a listener.
      opened.on('error', end).on('end', () => end(new Error('the stream has ended')));
      opened.on('data', answer => {
        if (!isOver) onData(answer);
      });
      if (isOver) return opened.cancel();
      for (const question of unsent) opened.write(question);
    }, end);
    return {
      write: question => {
        if (isOver) return;
        if (stream === null) unsent.push(question);
        else stream.write(question);
      },
      close,
      giveUp: () => {
        if (!isOver) this.#failed(member);
        close();
      },
    };
  }

  /** Ends every connection. */
  close(): void {
    for (const member of this.#members) member.close();
  }

  /** The next call goes to the next member, unless another failure has seen to that already. */
  #failed(member: number): void {
    if (member === this.#current) this.#current = (member + 1) % this.#members.length;
  }

  #inWords(error: Error): string {
    const where = `etcd at ${this.#endpoints}`;
    if (error instanceof EtcdAuthenticationFailedError || error instanceof GRPCUnauthenticatedError)
      return `${where} refuses the login: correct supervisor.store.etcd.username and password`;
    if (/user name is empty/.test(error.message))
      return `${where} asks for a login: set supervisor.store.etcd.username and password`;
    if (/authentication is not enabled/.test(error.message))
      return `${where} has no authentication enabled: enable it there, or take supervisor.store.etcd.username and password out`;
    if (error instanceof EtcdPermissionDeniedError)
      return `${where} does not let this user read and write: grant it the keys that begin with ${this.#prefix}`;
    if (error instanceof GRPCResourceExhastedError || /space exceeded/.test(error.message))
      return `${where} has used up its space: compact and defragment it, then \`etcdctl alarm disarm\``;
    return `${where} does not answer: see that a majority of its members runs, can be reached from here, and speaks the protocol (http or https) of supervisor.store.etcd.endpoints`;
  }
}

export interface EtcdStream<Q> {
  write(question: Q): void;
  close(): void;
  /** Closes it because nothing comes: the next call goes to another member. */
  giveUp(): void;
}

/** How long one call may take, the connection included. Less than a lease lasts, so that there is time for another member. */
const CALL_LIMIT_MS = 1200;

function sharedOptions(config: EtcdStoreConfig): Omit<IOptions, 'hosts'> {
  const { auth, tls } = config;
  return {
    ...(auth === null ? {} : { auth }),
    ...(tls === null ? {} : { credentials: credentialsOf(tls) }),
    // A call's end is a point in time, taken when it begins.
    defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + CALL_LIMIT_MS }),
    faultHandling: { global: onlyOnce, host: () => onlyOnce },
    grpcOptions: {
      // So that closing the client closes its connections, and no other store's.
      'grpc.use_local_subchannel_pool': 1,
      // By default a member that comes back after an hour is tried only two minutes later.
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      ...(tls?.serverName ? { 'grpc.ssl_target_name_override': tls.serverName } : {}),
    },
  };
}

function credentialsOf(tls: TlsClient): NonNullable<IOptions['credentials']> {
  const read = (file: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (error) {
      throw new EnvironmentError(`supervisor.store.etcd.tls: cannot read ${file}: ${(error as Error).message}`);
    }
  };
  if (tls.ca === null) throw new EnvironmentError('supervisor.store.etcd.tls: etcd needs `ca`, the authority to trust');
  const own = tls.cert === null || tls.key === null ? {} : { certChain: read(tls.cert), privateKey: read(tls.key) };
  return { rootCertificate: read(tls.ca), ...own };
}

/** The library's name for a way of handling faults. */
type FaultPolicy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;

const nobodyListens = (): { dispose(): void } => ({ dispose: () => undefined });
const neverAborted = new AbortController().signal;

/** No retries and no breaker: who asks knows what a repeated call would mean. */
const onlyOnce: FaultPolicy = {
  _altReturn: undefined as never,
  onSuccess: nobodyListens,
  onFailure: nobodyListens,
  execute: async work => work({ signal: neverAborted }),
};
