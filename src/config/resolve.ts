import { dirname, resolve } from 'node:path';
import type { RingConfig } from '../ring/ring.ts';
import { placeShards } from '../topology/placement.ts';
import type { Config, ListenAddress, NodeAccess, ProxyConfig, ShardConfig, SupervisorConfig } from './config.ts';
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
    shards: resolveShards(settings.shards, nodes),
    ring: resolveRing(settings),
    proxy: resolveProxy(settings.proxy, directory),
    supervisor: resolveSupervisor(settings.supervisor, directory),
  };
}

function resolveNodeAccess({ username, password, tls }: Settings['nodeAccess'], directory: string): NodeAccess {
  if (!tls) return { username, password, tls: null };
  const { ca, cert, key, serverName } = tls;
  return {
    username,
    password,
    tls: {
      ca: absolute(ca, directory),
      cert: absolute(cert, directory),
      key: absolute(key, directory),
      serverName: serverName ?? null,
    },
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
  const { listen, peers, store, detect } = supervisor;
  return {
    listen,
    insecure: supervisor.allowInsecure,
    auth: { dashboard: supervisor.auth.dashboard },
    peers: peers?.map(url => url.replace(/\/$/, '')) ?? [ownUrl(listen)],
    store: { file: resolve(directory, store.file) },
    detect: { everyMs: detect.every },
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
