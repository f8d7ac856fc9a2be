/**
 * Why some of the words of the protocol are there: what stock Redis does without them. Each test does the same thing
 * twice, with the safeguard and without it, and the second time an acknowledged write is lost.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HANG_MS } from '../../support/patience.ts';
import { until } from '../faults/stand.ts';
import { PROXY_PASSWORD, quiet, RawShard, settled, THE_WORD, within } from './raw-shard.ts';
import type { RedisNode } from './redis-node.ts';
import { ErrorReply, type RespConnection } from './resp.ts';

let shard: RawShard;
beforeEach(() => {
  shard = new RawShard();
});
afterEach(() => shard.close());

/** How long a barrier waits here for copies that will not confirm. */
const SHORT_MS = '300';

describe('R1: the word before WAIT', () => {
  /** A primary, and a replica that has all so far and hears nothing from now on. */
  async function deafReplica() {
    const [primary, replica] = [await shard.node(), await shard.node()];
    const relay = await shard.relayTo(primary);
    await shard.follow(replica, relay.port);
    const writer = await primary.connect();
    await writer.must('SET', 'first', '1');
    await quiet(await primary.connect(), 1);
    return { primary, replica, writer, goDeaf: () => relay.behave({ kind: 'silent' }) };
  }

  test('a BLMOVE that had to wait is confirmed without it, and lost', async () => {
    const { primary, replica, writer, goDeaf } = await deafReplica();
    const moved = writer.call('BLMOVE', 'from', 'to', 'LEFT', 'LEFT', '0');
    const confirmed = writer.call('WAIT', '1', SHORT_MS);
    goDeaf();
    await (await primary.connect()).must('RPUSH', 'from', 'x');
    expect(await moved).toBe('x');
    // This is what a client would have been told: one copy has it.
    expect(await confirmed).toBe(1);
    const promoted = await shard.failOver(primary, replica);
    expect(await promoted.must('LLEN', 'to')).toBe(0);
  });

  test('with it, the BLMOVE is not confirmed', async () => {
    const { primary, writer, goDeaf } = await deafReplica();
    const moved = writer.call('BLMOVE', 'from', 'to', 'LEFT', 'LEFT', '0');
    const word = writer.call(...THE_WORD);
    const confirmed = writer.call('WAIT', '1', SHORT_MS);
    goDeaf();
    await (await primary.connect()).must('RPUSH', 'from', 'x');
    expect(await moved).toBe('x');
    expect(await word).toBe(0);
    expect(await confirmed).toBe(0);
  });

  test('WAIT on another connection covers nothing that this one wrote, unless the word went before it', async () => {
    const { primary, replica, writer, goDeaf } = await deafReplica();
    const barrier = await primary.connect();
    goDeaf();
    await writer.must('SET', 'second', '2');
    expect(await barrier.call('WAIT', '1', SHORT_MS)).toBe(1);
    await barrier.must(...THE_WORD);
    expect(await barrier.call('WAIT', '1', SHORT_MS)).toBe(0);
    const promoted = await shard.failOver(primary, replica);
    expect(await promoted.must('GET', 'second')).toBeNull();
  });

  test('with it, a barrier is confirmed as soon as the replica has what was answered before', async () => {
    const { primary, replica, writer } = await deafReplica();
    const barrier = await primary.connect();
    await writer.must('SET', 'second', '2');
    await barrier.must(...THE_WORD);
    expect(await barrier.call('WAIT', '1', '5000')).toBe(1);
    const promoted = await shard.failOver(primary, replica);
    expect(await promoted.must('GET', 'second')).toBe('2');
  });
});

describe('R0: nobody else replicates', () => {
  /** A primary with its replica, which hears nothing from now on, and a backup tool that asks for a copy. */
  async function withBackupTool(waitMs: string, prepare: (admin: RespConnection) => Promise<void>) {
    const [primary, replica, tool] = [await shard.node(), await shard.node(), await shard.node()];
    const relay = await shard.relayTo(primary);
    const admin = await primary.connect();
    await shard.letIn(primary, 'r');
    await shard.follow(replica, relay.port, 'r');
    await shard.beginToFollow(tool, primary.port);
    await until('the backup tool has a link, or was refused', async () =>
      /state=online.*\r\nslave1:.*state=online|NOPERM|NOAUTH|not permitted/s.test(
        `${await admin.must('INFO', 'replication')}${tool.log}`,
      ),
    );
    await prepare(admin);
    const writer = await shard.letProxiesIn(primary, 1, admin);
    await writer.must('SET', 'first', '1');
    await settled(admin, 1);
    relay.behave({ kind: 'silent' });
    await writer.must('SET', 'second', '2');
    await writer.must(...THE_WORD);
    return { primary, replica, confirmed: await writer.must('WAIT', '1', waitMs) };
  }

  test('without it, a backup tool stands in for the copy, and the write is lost', async () => {
    const { primary, replica, confirmed } = await withBackupTool('5000', async () => undefined);
    expect(confirmed).toBe(1);
    const promoted = await shard.failOver(primary, replica);
    expect(await promoted.must('GET', 'second')).toBeNull();
  });

  test('with the default user switched off and its connections killed, the tool counts for nothing', async () => {
    const { confirmed } = await withBackupTool(SHORT_MS, async admin => {
      await admin.must('ACL', 'SETUSER', 'keeper', 'on', 'nopass', '+@all', '~*', '&*');
      await admin.must('AUTH', 'keeper', 'any');
      await admin.must('ACL', 'SETUSER', 'default', 'off');
      // Switching off closes nothing: the link of the tool is open, and counted, until it is killed.
      expect(
        String(await admin.must('CLIENT', 'LIST', 'TYPE', 'replica'))
          .trim()
          .split('\n'),
      ).toHaveLength(2);
      await admin.must('CLIENT', 'KILL', 'USER', 'default');
    });
    expect(confirmed).toBe(0);
  });

  test('with the default user kept, but not to replicate, the tool counts for nothing either', async () => {
    const { confirmed } = await withBackupTool(SHORT_MS, async admin => {
      await admin.must('ACL', 'SETUSER', 'default', '-psync', '-sync', '-replconf');
      const links = String(await admin.must('CLIENT', 'LIST', 'TYPE', 'replica'))
        .trim()
        .split('\n');
      const ofTool = links.find(line => /\buser=default\b/.test(line));
      await admin.must('CLIENT', 'KILL', 'ID', /\bid=(\d+)/.exec(ofTool ?? '')?.[1] ?? '');
    });
    expect(confirmed).toBe(0);
  });
});

describe('R1: nothing that changes the connection, under the fence of R3.3', () => {
  /** What an old proxy's connection is told before its epoch ends. */
  type Change = (connection: RespConnection) => Promise<unknown>;

  /**
   * A copy r that is in sync and far behind at the moment, a copy n that has just joined, and a proxy that has not heard
   * of it: it asks for one confirmation, as its epoch did, and is fenced before n may be counted.
   */
  async function underTheFence(change: Change) {
    const [primary, r, n] = [await shard.node(), await shard.node(), await shard.node()];
    const relay = await shard.relayTo(primary);
    for (const name of ['r', 'n']) await shard.letIn(primary, name);
    await shard.follow(r, relay.port, 'r');
    const oldProxy = await shard.letProxiesIn(primary, 1);
    await oldProxy.must('SET', 'first', '1');
    await settled(await primary.connect(), 1);
    await change(oldProxy);
    const admin = await primary.connect();
    await shard.letProxiesIn(primary, 2);
    expect(await admin.must('ACL', 'DELUSER', 'ringside-proxy-1')).toBe(1);
    await shard.follow(n, primary.port, 'n');
    relay.behave({ kind: 'silent' });
    return { primary, r, n, oldProxy };
  }

  /** The primary and n are lost: r alone is left, which is in sync and must have all that was acknowledged. */
  async function leaveOnly(r: RedisNode, primary: RedisNode, n: RedisNode): Promise<RespConnection> {
    await n.kill();
    return shard.failOver(primary, r);
  }

  const changes: [string, Change][] = [
    ['RESET', connection => connection.must('RESET')],
    ['AUTH', connection => connection.must('AUTH', 'default', 'any')],
  ];

  test.each(changes)(
    'after %s the fence misses the connection, and its acknowledged write is lost',
    async (_, change) => {
      const { primary, r, n, oldProxy } = await underTheFence(change);
      await oldProxy.must('SET', 'second', '2');
      await oldProxy.must(...THE_WORD);
      expect(await oldProxy.must('WAIT', '1', '5000')).toBe(1);
      const promoted = await leaveOnly(r, primary, n);
      expect(await promoted.must('GET', 'second')).toBeNull();
    },
  );

  test('a connection that stayed what it was is closed by the fence, and let in no more', async () => {
    const { primary, oldProxy } = await underTheFence(async () => undefined);
    await expect(oldProxy.call('SET', 'second', '2')).rejects.toThrow();
    await expect(primary.connect('ringside-proxy-1', PROXY_PASSWORD)).rejects.toThrow(/WRONGPASS/);
    expect(await (await primary.connect()).must('GET', 'second')).toBeNull();
  });
});

describe('R7: a script that cannot be killed', () => {
  /** Writes, and never ends: Redis will not kill what would leave half of a script's writes behind. */
  const ENDLESS = "redis.call('SET', 'half', '1') while true do end";

  async function primaryThatNeverAnswers() {
    const [primary, replica] = [await shard.node('--busy-reply-threshold', '50'), await shard.node()];
    await shard.letIn(primary, 'r');
    await shard.follow(replica, primary.port, 'r');
    const writer = await shard.letProxiesIn(primary, 1);
    await writer.must('SET', 'first', '1');
    await settled(await primary.connect(), 1);
    const admin = await primary.connect();
    void writer.call('EVAL', ENDLESS, '1', 'half').catch(() => undefined);
    await until('the node is busy', async () => isBusy(await admin.call('PING')));
    return { primary, replica, admin };
  }

  function isBusy(reply: unknown): boolean {
    return reply instanceof ErrorReply && reply.code === 'BUSY';
  }

  test('without a fail-over nobody is served, nor can anybody be fenced', async () => {
    const { admin } = await primaryThatNeverAnswers();
    expect(await admin.call('SCRIPT', 'KILL')).toMatchObject({ text: expect.stringMatching(/^UNKILLABLE/) });
    expect(isBusy(await admin.call('ACL', 'DELUSER', 'ringside-proxy-1'))).toBe(true);
    expect(isBusy(await admin.call('SET', 'second', '2'))).toBe(true);
    expect(isBusy(await admin.call('REPLICAOF', 'NO', 'ONE'))).toBe(true);
  });

  test('the replica takes over with all that was acknowledged, and nothing of the half script; then the node is ended', async () => {
    const { primary, replica, admin } = await primaryThatNeverAnswers();
    const promoted = await replica.connect();
    // R4.1: first it leaves the busy primary, which can have nothing acknowledged from then on.
    await promoted.must('REPLICAOF', '127.0.0.1', '1');
    await promoted.must('REPLICAOF', 'NO', 'ONE');
    expect(await promoted.must('GET', 'first')).toBe('1');
    expect(await promoted.must('EXISTS', 'half')).toBe(0);
    expect(await promoted.must('SET', 'second', '2')).toBe('OK');
    expect(
      await within(
        HANG_MS,
        admin.call('SHUTDOWN', 'NOSAVE', 'NOW').catch(() => 'gone'),
      ),
    ).toBe('gone');
    await until('the busy process has ended', () => !primary.running);
  });
});
