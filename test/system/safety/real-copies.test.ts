/**
 * Why some of the words of the protocol are there, continued: what stock Redis says of a copy that is none, and what
 * wipes one. Each test does the same thing with the safeguard and without it.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { freePorts } from '../../support/ports.ts';
import { sleep, until } from '../faults/stand.ts';
import { historyOffset, isAttached, RawShard, replicaOffset, settled } from './raw-shard.ts';
import type { RedisNode } from './redis-node.ts';
import type { RespConnection } from './resp.ts';

let shard: RawShard;
beforeEach(() => {
  shard = new RawShard();
});
afterEach(() => shard.close());

describe('R3.4: has the offset', () => {
  /** Of every key that a primary sends. */
  const DELAY_US = 5_000;

  /**
   * A primary with a write, and a node that was a busier primary before, in the middle of its full sync, which takes at
   * least so long.
   */
  async function joiningNode(syncMs: number) {
    const [primary, joining] = [await shard.node('--rdb-key-save-delay', `${DELAY_US}`), await shard.node()];
    const writer = await primary.connect();
    const keys = (syncMs * 1_000) / DELAY_US;
    await writer.must('EVAL', `for i = 1, ${keys} do redis.call('SET', 'k' .. i, i) end`, '0');
    await writer.must('SET', 'written', 'yes');
    const own = await joining.connect();
    // A longer history of its own, as that of a former primary: a replica that it once had makes Redis count it.
    const former = await shard.node();
    await shard.follow(former, joining.port);
    for (let i = 0; i < 20; i += 1) await own.must('SET', `old${i}`, 'x'.repeat(10_000));
    await former.kill();
    await shard.beginToFollow(joining, primary.port);
    await until('a full sync is under way', async () =>
      /master_sync_in_progress:1/.test(String(await own.must('INFO', 'replication'))),
    );
    return { primary, joining, own, wanted: await historyOffset(writer) };
  }

  test('in mid-sync an old and larger offset is shown: a copy that is counted by it has nothing', async () => {
    const { primary, joining, own, wanted } = await joiningNode(5_000);
    expect(await replicaOffset(own)).toBeGreaterThanOrEqual(wanted);
    expect(await isAttached(own)).toBe(false);
    const promoted = await shard.failOver(primary, joining);
    expect(await promoted.must('GET', 'written')).toBeNull();
  });

  test('a copy that is attached and has the offset has the write', async () => {
    const { primary, joining, own, wanted } = await joiningNode(1_000);
    await until(
      'attached, and has the offset',
      async () => (await isAttached(own)) && (await replicaOffset(own)) >= wanted,
    );
    const promoted = await shard.failOver(primary, joining);
    expect(await promoted.must('GET', 'written')).toBe('yes');
  });
});

describe('R4.1: with the mark', () => {
  const MARK = '#!lua name=ringside_mark\nredis.register_function("ringside_mark", function() return "c/s1/1/1" end)';
  /** An address where nobody answers: a copy that is pointed there stands still. */
  const NOBODY = ['127.0.0.1', '1'] as const;

  interface Candidate {
    readonly node: RedisNode;
    readonly own: RespConnection;
    readonly offset: number;
    readonly hasMark: boolean;
  }

  /**
   * Two copies that hold an acknowledged write; the first is a little ahead, and was then emptied by a full sync from a
   * primary of a newer version, the payload of which it cannot load.
   */
  async function candidates(): Promise<Candidate[]> {
    const [primary, emptied, whole] = [await shard.node(), await shard.node(), await shard.node()];
    const relay = await shard.relayTo(primary);
    await shard.follow(emptied, primary.port);
    await shard.follow(whole, relay.port);
    const writer = await primary.connect();
    await writer.must('FUNCTION', 'LOAD', MARK);
    await writer.must('SET', 'acknowledged', 'yes');
    await settled(writer, 2);
    relay.behave({ kind: 'silent' });
    await writer.must('SET', 'unacknowledged', 'yes');
    await settled(writer, 1);
    await primary.kill();
    const newer = await NewerPrimary.start();
    try {
      await shard.beginToFollow(emptied, newer.port);
      await until(
        () => `the load has failed; the node said: ${emptied.log.slice(-600)}`,
        () => /Failed trying to load|Can't handle RDB format/.test(emptied.log),
      );
    } finally {
      await newer.stop();
    }
    return Promise.all(
      [emptied, whole].map(async node => {
        const own = await node.connect();
        await own.must('REPLICAOF', ...NOBODY);
        const libraries = await own.must('FUNCTION', 'LIST', 'LIBRARYNAME', 'ringside_mark');
        const hasMark = Array.isArray(libraries) && libraries.length === 1;
        return { node, own, offset: await historyOffset(own), hasMark };
      }),
    );
  }

  async function valueAfterPromoting(chosen: Candidate | undefined): Promise<unknown> {
    if (chosen === undefined) throw new Error('nobody was chosen');
    await chosen.own.must('REPLICAOF', 'NO', 'ONE');
    return chosen.own.must('GET', 'acknowledged');
  }

  const byOffset = (a: Candidate, b: Candidate): number => b.offset - a.offset;

  test('by the offset alone the emptied copy is promoted, which lives on with its old offset', async () => {
    const found = await candidates();
    expect(await valueAfterPromoting(found.toSorted(byOffset)[0])).toBeNull();
  });

  test('the emptied copy has lost the mark; the greatest offset of those that carry it has the write', async () => {
    const found = await candidates();
    expect(found.map(({ hasMark }) => hasMark)).toEqual([false, true]);
    expect(await valueAfterPromoting(found.filter(({ hasMark }) => hasMark).toSorted(byOffset)[0])).toBe('yes');
  });
});

/** Says what a primary says before a full sync, and sends a payload of a version that no Redis of today can load. */
class NewerPrimary {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(port: number) {
    this.port = port;
    this.#server = createServer(socket => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).on('data', bytes => this.#answer(socket, bytes.toString('latin1')));
    });
  }

  static async start(): Promise<NewerPrimary> {
    const primary = new NewerPrimary(await freePorts(1));
    primary.#server.listen(primary.port, '127.0.0.1');
    await once(primary.#server, 'listening');
    return primary;
  }

  #answer(socket: Socket, text: string): void {
    if (text.includes('PSYNC')) {
      const payload = 'REDIS9999\xff\0\0\0\0\0\0\0\0';
      socket.write(`+FULLRESYNC ${'a'.repeat(40)} 1\r\n$${payload.length}\r\n${payload}`, 'latin1');
    } else if (text.includes('PING')) {
      socket.write('+PONG\r\n');
    } else {
      socket.write('+OK\r\n'.repeat(text.split('REPLCONF').length - 1));
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

describe('R0: never saved users', () => {
  /** A primary with a file of its own, its replica, and what a person does to the primary's users. */
  async function restartedEmpty(args: string[], save: (admin: RespConnection, node: RedisNode) => Promise<unknown>) {
    const primary = await shard.node(...args);
    const replica = await shard.node();
    await shard.letIn(primary, 'r');
    const admin = await primary.connect();
    // As on a real node: nobody but the replica's user may replicate.
    await admin.must('ACL', 'SETUSER', 'default', '-psync', '-sync', '-replconf');
    await admin.must('SET', 'acknowledged', 'yes');
    await shard.follow(replica, primary.port, 'r');
    await settled(admin, 1);
    await save(admin, primary);
    await primary.kill();
    await primary.start();
    return replica;
  }

  /** The node's own file, which CONFIG REWRITE writes. */
  async function withFile(): Promise<string[]> {
    const file = path.join(await scratch(), 'redis.conf');
    writeFileSync(file, '');
    return [file];
  }

  async function withUsersFile(): Promise<string[]> {
    const file = path.join(await scratch(), 'users.acl');
    writeFileSync(file, '');
    return ['--aclfile', file];
  }

  /** A directory that goes with the nodes of this test. */
  async function scratch(): Promise<string> {
    const node = await shard.node();
    return node.dir;
  }

  async function wiped(replica: RedisNode): Promise<void> {
    const own = await replica.connect();
    await until('the replica was wiped', async () => (await own.must('EXISTS', 'acknowledged')) === 0);
  }

  test('after CONFIG REWRITE a primary comes back empty with its old users, and wipes its replica', async () => {
    await wiped(await restartedEmpty(await withFile(), admin => admin.must('CONFIG', 'REWRITE')));
  });

  test('after ACL SAVE as well', async () => {
    await wiped(await restartedEmpty(await withUsersFile(), admin => admin.must('ACL', 'SAVE')));
  });

  test('users that were never saved are gone with the process: the replica is refused, and keeps what it has', async () => {
    // Of all of Ringside's users the default user's rights outlive nothing either: close the door to it again.
    const replica = await restartedEmpty(await withFile(), async () => undefined);
    const own = await replica.connect();
    // Replicas try once a second.
    await until('the replica was refused', () => /WRONGPASS|NOPERM|Unable to AUTH/.test(replica.log));
    await sleep(1_500);
    expect(await own.must('GET', 'acknowledged')).toBe('yes');
    expect(await isAttached(own)).toBe(false);
  });
});
