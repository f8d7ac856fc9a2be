/**
 * Real nodes that a test arranges by hand, by the very commands that the rules name: to see what a safeguard is for, it
 * must be possible to leave it out.
 */

import { freePorts } from '../../support/ports.ts';
import { Relay } from '../faults/relay.ts';
import { until } from '../faults/stand.ts';
import { infoField, RedisNode } from './redis-node.ts';
import type { Reply, RespConnection } from './resp.ts';

export const REPLICA_PASSWORD = 'what a replica shows';
export const PROXY_PASSWORD = 'what a proxy shows';

/** The word that moves a connection's offset: on a channel that nobody has, it touches no key. */
export const THE_WORD: readonly string[] = ['SPUBLISH', 'ringside', ''];

/** Everything that one test has started. */
export class RawShard {
  readonly #nodes: RedisNode[] = [];
  readonly #relays: Relay[] = [];

  async node(...args: string[]): Promise<RedisNode> {
    // A sync that waits for further replicas, as it does by default, only makes these tests slow.
    const quick = ['--repl-diskless-sync-delay', '0'];
    const node = await RedisNode.start({ port: await freePorts(1), args: [...args, ...quick] });
    this.#nodes.push(node);
    return node;
  }

  /** A way to a node that can be told to swallow what the node sends. */
  async relayTo(node: RedisNode): Promise<Relay> {
    const relay = await Relay.start(await freePorts(1), node.port);
    this.#relays.push(relay);
    return relay;
  }

  /** A user with which a replica named `name` may open a link to this node, and do nothing else. */
  async letIn(node: RedisNode, name: string): Promise<void> {
    const admin = await node.connect();
    const rights = ['reset', 'on', `>${REPLICA_PASSWORD}`, '+psync', '+replconf', '+ping'];
    await admin.must('ACL', 'SETUSER', `ringside-replica-${name}`, ...rights);
  }

  /** Logs in as proxies do, with a user for one epoch, which `admin` creates: the default user, if nobody is named. */
  async letProxiesIn(node: RedisNode, epoch: number, admin?: RespConnection): Promise<RespConnection> {
    const rights = ['reset', 'on', `>${PROXY_PASSWORD}`, '~*', '&*', '+@all', '-@admin', '-@dangerous'];
    await (admin ?? (await node.connect())).must('ACL', 'SETUSER', `ringside-proxy-${epoch}`, ...rights);
    return node.connect(`ringside-proxy-${epoch}`, PROXY_PASSWORD);
  }

  /** Makes `replica` a copy of what answers on `port`, and waits until it is. `as`: which replica's user it logs in as. */
  async follow(replica: RedisNode, port: number, as: string | null = null): Promise<void> {
    await this.beginToFollow(replica, port, as);
    const own = await replica.connect();
    await until(
      () => `the replica on ${replica.port} is attached; it said: ${replica.log.slice(-800)}`,
      () => isAttached(own),
    );
  }

  async beginToFollow(replica: RedisNode, port: number, as: string | null = null): Promise<void> {
    const own = await replica.connect();
    await own.must('CONFIG', 'SET', 'masteruser', as === null ? '' : `ringside-replica-${as}`);
    await own.must('CONFIG', 'SET', 'masterauth', as === null ? '' : REPLICA_PASSWORD);
    await own.must('REPLICAOF', '127.0.0.1', `${port}`);
  }

  /** Kills the primary and makes the replica one: what it holds now is what the shard has kept. */
  async failOver(from: RedisNode, to: RedisNode): Promise<RespConnection> {
    await from.kill();
    const promoted = await to.connect();
    await promoted.must('REPLICAOF', 'NO', 'ONE');
    return promoted;
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map(node => node.close()));
    await Promise.all(this.#relays.map(relay => relay.stop()));
  }
}

/** What a node says of itself: link up, no sync under way, nothing being loaded. */
export async function isAttached(replica: RespConnection): Promise<boolean> {
  const text = String(await replica.must('INFO', 'replication', 'persistence'));
  return (
    /^master_link_status:up\r$/m.test(text) &&
    /^master_sync_in_progress:0\r$/m.test(text) &&
    /^loading:0\r$/m.test(text)
  );
}

/** Waits until so many links of the primary have confirmed what was written so far. */
export async function settled(primary: RespConnection, replicas: number): Promise<void> {
  await primary.must(...THE_WORD);
  const confirmed = await primary.must('WAIT', `${replicas}`, '5000');
  if (Number(confirmed) < replicas) throw new Error(`only ${confirmed} of ${replicas} replicas confirmed`);
}

/**
 * Waits until so many links have confirmed all there is. The question that WAIT sends to replicas moves the offset too;
 * a replica says once a second, unasked, how far it is.
 */
export async function quiet(primary: RespConnection, replicas: number): Promise<void> {
  await until(`${replicas} replicas have confirmed everything`, async () => {
    const text = String(await primary.must('INFO', 'replication'));
    const wanted = /^master_repl_offset:(\d+)/m.exec(text)?.[1];
    const links = [...text.matchAll(/^slave\d+:.*,offset=(\d+),/gm)];
    return links.filter(([, offset]) => offset === wanted).length >= replicas;
  });
}

/** Bytes of the history that a replica says it has applied. */
export async function replicaOffset(replica: RespConnection): Promise<number> {
  return Number(await infoField(replica, 'replication', 'slave_repl_offset'));
}

/** Bytes of the history that a node has, as candidates are compared. */
export async function historyOffset(node: RespConnection): Promise<number> {
  return Number(await infoField(node, 'replication', 'master_repl_offset'));
}

/** A promise's answer, or `pending` when there is none within the time. */
export async function within(ms: number, answer: Promise<Reply>): Promise<Reply | 'pending'> {
  return Promise.race([answer, new Promise<'pending'>(resolve => setTimeout(() => resolve('pending'), ms))]);
}
