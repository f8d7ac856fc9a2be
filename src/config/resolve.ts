import { dirname, resolve } from 'node:path';
import type { RingConfig } from '../ring/ring.ts';
import { placeShards } from '../topology/placement.ts';
import type {
  Config,
  KeyRule,
  ListenAddress,
  NodeAccess,
  ProxyConfig,
  ShardConfig,
  StoreConfig,
  SupervisorConfig,
  TlsClient,
  WriteRule,
} from './config.ts';
import { shardNumbers } from './cross-checks.ts';
import { joinHostPort } from './scalars.ts';
import type { Settings } from './schema.ts';

/**
 * Turns checked settings into the shape that every part reads: paths absolute, shards placed, the ring decided.
 */
export function resolveConfig(file: string, settings: Settings, secret: string): Config {
  const directory = dirname(file);
  const nodes = settings.nodes.map(({ id, address, zone }) => ({ id, host: address.host, port: address.port, zone }));
  return {
    file,
    cluster: settings.cluster,
    secret,
    nodes,
    nodeAccess: resolveNodeAccess(settings.nodeAccess, directory),
    nodeSettings: resolveNodeSettings(settings),
    shards: resolveShards(settings.shards, nodes),
    areShardsPlaced: !Array.isArray(settings.shards),
    ring: resolveRing(settings),
    writes: resolveWrites(settings.writes),
    reads: settings.reads,
    rules: settings.rules.map(rule => resolveRule(rule, settings)),
    proxy: resolveProxy(settings.proxy, directory),
    supervisor: resolveSupervisor(settings.supervisor, directory),
  };
}

function resolveNodeAccess(access: Settings['nodeAccess'], directory: string): NodeAccess {
  const { username, password, keepDefaultUser, tls } = access;
  return { username, password, keepDefaultUser, tls: resolveClientTls(tls, directory) };
}

function resolveClientTls(tls: Settings['nodeAccess']['tls'], directory: string): TlsClient | null {
  if (!tls) return null;
  const { ca, cert, key, serverName } = tls;
  return {
    ca: absolute(ca, directory),
    cert: absolute(cert, directory),
    key: absolute(key, directory),
    serverName: serverName ?? null,
  };
}

/** Redis's own bound of a single argument, and so of what a copy is sent. */
const DEFAULT_BULK = 512 * 1024 ** 2;

/** What proxies let through, nodes must take. */
function resolveNodeSettings({ nodeSettings, proxy }: Settings): Config['nodeSettings'] {
  const longest = Math.max(DEFAULT_BULK, proxy.limits.bulk);
  const given = Object.entries(nodeSettings).map(([name, value]) => [name, String(value)]);
  return { 'proto-max-bulk-len': String(longest), ...Object.fromEntries(given) };
}

function resolveWrites({ acknowledge, timeout, minimumCopies }: Settings['writes']): WriteRule {
  return { acknowledge, timeoutMs: timeout, minimumCopies };
}

/** A strict read is one of the primary: a rule that asks for strictness need not say so. */
function resolveRule(rule: Settings['rules'][number], { writes, reads }: Settings): KeyRule {
  const strict = rule.reads?.strict ?? reads.strict;
  const from = rule.reads?.from ?? (rule.reads?.strict === true ? 'primary' : reads.from);
  const own = rule.writes;
  return {
    match: rule.match,
    writes: resolveWrites({
      acknowledge: own?.acknowledge ?? writes.acknowledge,
      timeout: own?.timeout ?? writes.timeout,
      minimumCopies: own?.minimumCopies ?? writes.minimumCopies,
    }),
    reads: { from, strict },
  };
}

function resolveShards(shards: Settings['shards'], nodes: Config['nodes']): ShardConfig[] {
  if (Array.isArray(shards)) return shards;
  const { count, copies } = shardNumbers(shards, nodes.length);
  return placeShards(nodes, count, copies).shards.map(({ name, nodes }) => ({ name, weight: 1, nodes }));
}

const DEFAULT_VNODES = 256;

function resolveRing({ ring, shards }: Settings): RingConfig {
  if (ring.like === 'twemproxy') {
    const hash = ring.hash === undefined || ring.hash === 'murmur3' ? 'fnv1a_64' : ring.hash;
    return { kind: 'twemproxy', hash, distribution: ring.distribution ?? 'ketama', hashTag: ring.hashTag ?? '' };
  }
  const vnodes = (Array.isArray(shards) ? undefined : shards.vnodes) ?? ring.vnodes ?? DEFAULT_VNODES;
  return { kind: 'murmur3', hash: 'murmur3', hashTag: ring.hashTag ?? '{}', vnodes };
}

function resolveProxy(proxy: Settings['proxy'], directory: string): ProxyConfig {
  const { limits, slowlog, tls, auth } = proxy;
  return {
    listen: proxy.listen.map(address => resolveListen(address, directory)),
    insecure: proxy.allowInsecure,
    zone: proxy.zone ?? null,
    workers: proxy.workers,
    holdMs: proxy.hold,
    timeoutMs: proxy.timeout,
    graceMs: proxy.grace,
    connectMs: proxy.connect,
    auth: auth ?? null,
    tls: tls
      ? {
          cert: resolve(directory, tls.cert),
          key: resolve(directory, tls.key),
          ca: absolute(tls.ca, directory),
          clientCertificates: tls.clientCertificates,
        }
      : null,
    limits: {
      clients: limits.clients,
      bulkBytes: limits.bulk,
      inlineBytes: limits.inline,
      arguments: limits.arguments,
      heldBytes: limits.heldBytes,
      unreadBytes: limits.unreadBytes,
      laneQueue: limits.laneQueue,
      exclusive: limits.exclusive,
    },
    transactions: proxy.transactions,
    deny: proxy.deny.map(name => name.toUpperCase()),
    slowlog: { overMs: slowlog.over, keep: slowlog.keep },
    admin: proxy.admin,
    stateDir: resolve(directory, proxy.state),
  };
}

function resolveListen(address: ListenAddress, directory: string): ListenAddress {
  return address.kind === 'unix' ? { kind: 'unix', path: resolve(directory, address.path) } : address;
}

function resolveSupervisor(supervisor: Settings['supervisor'], directory: string): SupervisorConfig {
  const { listen, peers, store, detect, rebuild, move } = supervisor;
  return {
    listen,
    insecure: supervisor.allowInsecure,
    auth: { dashboard: supervisor.auth.dashboard },
    peers: peers?.map(url => url.replace(/\/$/, '')) ?? [ownUrl(listen)],
    store: resolveStore(store, directory),
    detect: { everyMs: detect.every, crashedMs: detect.crashed, hungMs: detect.hung },
    rebuild: { parallel: rebuild.parallel, maxLagBytes: rebuild.maxLag },
    move: {
      auto: move.auto,
      keysPerSecond: move.keysPerSecond,
      addedLatencyMs: move.addedLatency,
      workPercent: move.workPercent,
      portionKeys: move.portionKeys,
      bigKeyBytes: move.bigKey,
      stallMs: move.stall,
    },
  };
}

function resolveStore({ file, etcd }: Settings['supervisor']['store'], directory: string): StoreConfig {
  if (etcd === undefined) return { kind: 'file', directory: resolve(directory, file ?? './state') };
  const { endpoints, prefix, username, password, tls } = etcd;
  return {
    kind: 'etcd',
    endpoints: endpoints.map(url => url.replace(/\/$/, '')),
    prefix,
    auth: username === undefined ? null : { username, password: password ?? '' },
    tls: resolveClientTls(tls, directory),
  };
}

/** How a process on the same machine reaches `listen`: a wildcard address is none to connect to. */
function ownUrl({ host, port }: { host: string; port: number }): string {
  if (host === '0.0.0.0') return `http://127.0.0.1:${port}`;
  return `http://${joinHostPort({ host: host === '::' ? '::1' : host, port })}`;
}

function absolute(file: string | undefined, directory: string): string | null {
  return file === undefined ? null : resolve(directory, file);
}
