/**
 * Bare redis-servers made ready for proxies, as a supervisor would: the user of the shard's epoch on its primary, and on
 * its replicas for reading, with the incarnation written into the topology.
 */
import { Redis } from 'ioredis';
import { passwordHash, proxyUser, userPassword } from '../../src/topology/credentials.ts';
import { PROXY_RIGHTS, READER_RIGHTS } from '../../src/topology/proxy-rights.ts';
import type { Topology } from '../../src/topology/snapshot.ts';

/** How the test itself gets in to a node. */
export interface NodeLogin {
  readonly password?: string;
  readonly tls?: { readonly ca: Buffer };
  readonly connectTimeout?: number;
  readonly commandTimeout?: number;
}

export interface FormOptions {
  /** Every password is derived from it. */
  readonly secret: string;
  /** How the test itself gets in to the nodes, where not without a login. */
  readonly access?: NodeLogin;
  /** Nodes that are left alone. */
  readonly except?: readonly string[];
}

/** Creates the user of this epoch on a node; resolves to the incarnation that answered. */
export async function formNode(
  address: { readonly host: string; readonly port: number },
  epoch: number,
  { secret, access = {} }: FormOptions,
  rights: readonly string[] = PROXY_RIGHTS,
): Promise<string> {
  const redis = new Redis({
    retryStrategy: () => null,
    ...access,
    host: address.host,
    port: address.port,
    lazyConnect: true,
  });
  redis.on('error', () => {});
  try {
    await redis.connect();
    const runId = /run_id:(\w+)/.exec(await redis.info('server'))?.[1] ?? '';
    const user = proxyUser(epoch);
    const hash = passwordHash(userPassword(secret, user, runId));
    await redis.call('ACL', 'SETUSER', user, 'reset', 'on', hash, ...rights);
    return runId;
  } finally {
    redis.disconnect();
  }
}

/** Deletes the users of every epoch below this one, as a fence does. */
export async function fenceNode(
  address: { readonly host: string; readonly port: number },
  epoch: number,
  access: NodeLogin = {},
): Promise<void> {
  const redis = new Redis({ ...access, host: address.host, port: address.port });
  try {
    for (let old = 1; old < epoch; old += 1) await redis.call('ACL', 'DELUSER', proxyUser(old));
  } finally {
    redis.disconnect();
  }
}

/** Forms every primary and every in-sync replica that the topology names; the same topology with their incarnations. */
export async function formTopology(topology: Topology, options: FormOptions): Promise<Topology> {
  const runIds = new Map<string, string>();
  const form = async (id: string, epoch: number, rights: readonly string[]): Promise<void> => {
    const node = topology.nodes.find(one => one.id === id);
    if (node === undefined || options.except?.includes(id)) return;
    runIds.set(id, await formNode(node, epoch, options, rights));
  };
  for (const shard of topology.shards) {
    await form(shard.primary, shard.epoch, PROXY_RIGHTS);
    for (const id of shard.inSync) await form(id, shard.epoch, READER_RIGHTS);
  }
  return { ...topology, nodes: topology.nodes.map(node => ({ ...node, runId: runIds.get(node.id) ?? node.runId })) };
}
