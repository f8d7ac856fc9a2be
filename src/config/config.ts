import type { RingConfig } from '../ring/ring.ts';

/**
 * The settings as every part of the program reads them: checked, with every default filled in, in plain units.
 *
 * What a person writes (durations such as `5s`, sizes such as `64kb`, `host:port`) is described by the schema; this
 * shape is what remains after it. Paths are absolute, relative ones having been taken from the file's directory.
 */
export interface Config {
  /** Absolute path of the file it was read from. */
  readonly file: string;
  readonly cluster: string;
  /** Seeds every credential; never logged. */
  readonly secret: string;
  readonly nodes: readonly NodeConfig[];
  readonly nodeAccess: NodeAccess;
  /** `CONFIG SET` values that the supervisor puts on every node, and again after each return. */
  readonly nodeSettings: Readonly<Record<string, string>>;
  /** Every shard with its nodes, named by the person or placed by `placement.ts`. */
  readonly shards: readonly ShardConfig[];
  /** The person gave numbers (`count`, `copies`), and which nodes make up which shard was not said. */
  readonly areShardsPlaced: boolean;
  readonly ring: RingConfig;
  readonly writes: WriteRule;
  readonly reads: ReadRule;
  /** By key pattern, the first match wins; what a rule leaves open is as in `writes` and `reads`, filled in here. */
  readonly rules: readonly KeyRule[];
  readonly proxy: ProxyConfig;
  readonly supervisor: SupervisorConfig;
}

/** One stock Redis process. */
export interface NodeConfig {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** What fails together: a rack, an availability zone. */
  readonly zone: string;
}

/** How proxies and supervisors log in to nodes. An empty password: no login at all. */
export interface NodeAccess {
  readonly username: string;
  readonly password: string;
  /** The nodes' default user stays on, without the right to replicate or to administrate; otherwise it is switched off. */
  readonly keepDefaultUser: boolean;
  readonly tls: TlsClient | null;
}

/** When a client hears that its write is done. */
export interface WriteRule {
  /** `all`: once every in-sync copy has it; `primary`: once the primary has it. */
  readonly acknowledge: 'all' | 'primary';
  /** How long copies may take before the write answers `-UNCERTAIN`. */
  readonly timeoutMs: number;
  /** Writes are refused while fewer copies, the primary included, are in sync. */
  readonly minimumCopies: number;
}

/** Where a read is answered from. */
export interface ReadRule {
  /** `any`: any in-sync copy; `zone`: an in-sync copy in the proxy's own zone where there is one, else the primary. */
  readonly from: 'primary' | 'any' | 'zone';
  /** A read answers only what every in-sync copy holds; always from the primary. */
  readonly strict: boolean;
}

export interface KeyRule {
  /** A glob pattern as in `KEYS`. */
  readonly match: string;
  readonly writes: WriteRule;
  readonly reads: ReadRule;
}

/** TLS as a client; all paths are absolute and were readable when the settings were loaded. */
export interface TlsClient {
  /** PEM bundle; null: the authorities that Node ships. */
  readonly ca: string | null;
  /** Client certificate and its key: both or neither. */
  readonly cert: string | null;
  readonly key: string | null;
  /** Name that the certificate must carry, where it is not the node's host. */
  readonly serverName: string | null;
}

export interface ShardConfig {
  readonly name: string;
  /** Share of the ring, in relation to the other shards. */
  readonly weight: number;
  /** Node ids; the first is the proposed primary. Never empty. */
  readonly nodes: readonly string[];
}

export type ListenAddress = TcpAddress | { readonly kind: 'unix'; readonly path: string };

export interface TcpAddress extends HostPort {
  readonly kind: 'tcp';
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export interface ProxyConfig {
  readonly listen: readonly ListenAddress[];
  /** Listening elsewhere than on loopback without `auth` or `tls` was asked for explicitly. */
  readonly insecure: boolean;
  /** Where this proxy runs, for `reads.from: zone`; null: nowhere in particular. */
  readonly zone: string | null;
  readonly workers: number;
  /** How long a command waits for a shard's primary before it is refused. */
  readonly holdMs: number;
  /** A node that leaves a command unanswered for so long is taken for hung. */
  readonly timeoutMs: number;
  /** How long SIGTERM waits for what is in flight. */
  readonly graceMs: number;
  /** Bound of connecting to a node, login included. */
  readonly connectMs: number;
  /** What clients must present; null: nothing. */
  readonly auth: { readonly username: string; readonly password: string } | null;
  readonly tls: TlsServer | null;
  readonly limits: ProxyLimits;
  readonly transactions: 'refuse' | 'split';
  /** Names of commands that are answered with `-DENIED`, in upper case. */
  readonly deny: readonly string[];
  readonly slowlog: { readonly overMs: number; readonly keep: number };
  /** Where /metrics, /healthz, /readyz and /status are served; null: nowhere. */
  readonly admin: HostPort | null;
  /** Directory for what the proxy remembers over a restart: the last topology that it was told. */
  readonly stateDir: string;
}

/** TLS as a server; all paths are absolute and were readable when the settings were loaded. */
export interface TlsServer {
  readonly cert: string;
  readonly key: string;
  /** Authorities that a client's certificate is checked against; never null unless `clientCertificates` is 'none'. */
  readonly ca: string | null;
  readonly clientCertificates: 'none' | 'optional' | 'required';
}

export interface ProxyLimits {
  /** Client connections of one proxy. */
  readonly clients: number;
  readonly bulkBytes: number;
  readonly inlineBytes: number;
  /** Arguments of one command. */
  readonly arguments: number;
  /** Requests that wait in the proxy, all clients together. */
  readonly heldBytes: number;
  /** Replies that one client has not read yet. */
  readonly unreadBytes: number;
  /** Commands queued on one lane. */
  readonly laneQueue: number;
  /** Exclusive connections of one shard. */
  readonly exclusive: number;
}

export interface SupervisorConfig {
  readonly listen: HostPort;
  /** Listening elsewhere than on loopback without a token on the status was asked for explicitly. */
  readonly insecure: boolean;
  /** Who may read status and dashboard: anyone who reaches the port, or only who has the token. */
  readonly auth: { readonly dashboard: 'open' | 'token' };
  /** Where proxies look for a supervisor, in this order: `http://host:port` without a path. Never empty. */
  readonly peers: readonly string[];
  readonly store: StoreConfig;
  readonly detect: {
    readonly everyMs: number;
    /** A node whose connections are refused or reset for so long is taken for dead. */
    readonly crashedMs: number;
    /** A node that is silent for so long is taken for dead. */
    readonly hungMs: number;
  };
  readonly rebuild: {
    /** Copies that are rebuilt at the same time, over all shards. */
    readonly parallel: number;
    /** A copy that lags no more than this may join. */
    readonly maxLagBytes: number;
  };
  readonly move: {
    /** Other shards in the settings are moved to at once, without `ringside apply`. */
    readonly auto: boolean;
    readonly keysPerSecond: number;
    /** What the shard that keys are moved from may answer later meanwhile. */
    readonly addedLatencyMs: number;
    /** Percent of the time that nodes may be busy with it. */
    readonly workPercent: number;
    /** About so many keys in one portion. */
    readonly portionKeys: number;
    /** Keys of more memory are moved one at a time. */
    readonly bigKeyBytes: number;
    /** Keys that would hold their shard up for longer are moved only with a person's leave. */
    readonly stallMs: number;
  };
}

/** Where the topology is kept: a directory of one machine (one supervisor), or etcd (several). */
export type StoreConfig = { readonly kind: 'file'; readonly directory: string } | EtcdStoreConfig;

export interface EtcdStoreConfig {
  readonly kind: 'etcd';
  /** `http://host:port` or `https://host:port`; not empty. */
  readonly endpoints: readonly string[];
  /** What every key begins with. */
  readonly prefix: string;
  /** Null: no login. */
  readonly auth: { readonly username: string; readonly password: string } | null;
  /** Certificates for `https` endpoints; null: what Node ships. */
  readonly tls: TlsClient | null;
}
