/** Writes wait for their copies: a proxy in front of a real primary with two real replicas. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeCommand } from '../../src/resp/encoder.ts';
import { acquireRequest } from '../../src/upstream/request.ts';
import { fenceNode } from '../support/formed-node.ts';
import { Sent } from '../upstream/lane-stand.ts';
import { ask, CopiesStand, type CopyNode } from './copies.ts';
import { pipeline, until } from './stand.ts';

let stand: CopiesStand;
const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));
const node = (index: number): CopyNode => stand.nodes[index] as CopyNode;

beforeEach(async () => {
  stand = await CopiesStand.start();
});
afterEach(() => stand.stop());

describe('a write', () => {
  test('is answered when both replicas have it, and every copy has it then', async () => {
    const wire = await stand.connect();
    for (let i = 0; i < 50; i += 1) {
      expect(await pipeline(wire, `SET k${i} ${i}`)).toEqual(['+OK\r\n']);
      expect(await Promise.all(stand.nodes.map(one => one.redis.get(`k${i}`)))).toEqual([`${i}`, `${i}`, `${i}`]);
    }
    expect(stand.shard.cells.barriers).toBeGreaterThan(0);
  });

  test('is not answered while a replica stands still, though reads of others are; then it is', async () => {
    const [writer, reader] = await Promise.all([stand.connect(), stand.connect()]);
    await pipeline(writer, 'SET k old');
    node(2).freeze();
    const write = ask(writer, 'SET k new');
    await until(async () => (await node(0).redis.get('k')) === 'new');
    await sleep(400);
    expect(write.reply).toBe(null);
    expect(await pipeline(reader, 'GET k')).toEqual(['$3\r\nnew\r\n']);
    node(2).thaw();
    expect(await write.done).toBe('+OK\r\n');
    expect(await node(2).redis.get('k')).toBe('new');
  });

  test('is answered as soon as the topology asks for one copy less', async () => {
    const writer = await stand.connect();
    node(2).freeze();
    const writes = ask(writer, 'INCR k');
    await sleep(150);
    expect(writes.reply).toBe(null);
    stand.tell({ inSync: ['n2'] });
    expect(await writes.done).toBe(':1\r\n');
    expect(await node(1).redis.get('k')).toBe('1');
  });

  test('is held while a replica joins, and answered when that is over', async () => {
    const writer = await stand.connect();
    await stand.publish({ epoch: 2, inSync: ['n2'], joining: 'n3' });
    const write = ask(writer, 'SET k v');
    await until(async () => (await node(1).redis.get('k')) === 'v');
    await sleep(250);
    expect(write.reply).toBe(null);
    stand.tell({ inSync: ['n2', 'n3'], joining: null });
    expect(await write.done).toBe('+OK\r\n');
  });
});

describe('a change of epoch', () => {
  test('on the same primary loses nothing and errs nothing, though the fence falls on those who linger', async () => {
    const wires = await Promise.all(Array.from({ length: 4 }, () => stand.connect()));
    let running = true;
    let acknowledged = 0;
    const errors: string[] = [];
    const writers = wires.map(async wire => {
      while (running) {
        const replies = await pipeline(wire, ...Array.from({ length: 10 }, () => 'INCR counter'));
        for (const reply of replies) {
          if (reply.startsWith(':')) acknowledged += 1;
          else errors.push(reply);
        }
      }
    });
    const { port } = node(0);
    for (let epoch = 2; epoch <= 8; epoch += 1) {
      await sleep(40);
      await stand.publish({ epoch });
      await sleep(60);
      await fenceNode({ host: '127.0.0.1', port }, epoch);
    }
    running = false;
    await Promise.all(writers);
    expect(errors).toEqual([]);
    expect(await Promise.all(stand.nodes.map(one => one.redis.get('counter')))).toEqual(
      stand.nodes.map(() => String(acknowledged)),
    );
    expect(acknowledged).toBeGreaterThan(100);
  });

  test('nobody is logged in as a user of an epoch that is over', async () => {
    const wire = await stand.connect();
    await pipeline(wire, 'SET k v', 'GET k');
    await stand.publish({ epoch: 2 });
    await until(async () => {
      const list = String(await node(0).redis.client('LIST'));
      return !list.includes('user=ringside-proxy-1 ') && list.includes('user=ringside-proxy-2 ');
    });
    expect(await pipeline(wire, 'SET k w', 'GET k')).toEqual(['+OK\r\n', '$1\r\nw\r\n']);
  });
});

describe('a lost primary', () => {
  /** Rule R4 by hand: the survivors stand still, the one that has more is promoted, the other follows it. */
  async function failOver(): Promise<void> {
    const survivors = [node(1), node(2)];
    for (const one of survivors) await one.redis.call('REPLICAOF', '127.0.0.1', '1');
    const offsets = await Promise.all(survivors.map(async one => Number(await one.info('master_repl_offset'))));
    const [next, other] = (offsets[0] ?? 0) >= (offsets[1] ?? 0) ? survivors : survivors.reverse();
    await next?.redis.call('REPLICAOF', 'NO', 'ONE');
    await other?.followNode(next as CopyNode, stand.proxy.config.secret);
    await stand.publish({ epoch: 2, primary: next?.id ?? '', inSync: [other?.id ?? ''] });
  }

  test('takes no acknowledged write with it, and no write is done twice', async () => {
    const wires = await Promise.all(Array.from({ length: 8 }, () => stand.connect()));
    let running = true;
    const counts = wires.map(() => ({ acknowledged: 0, uncertain: 0, other: [] as string[] }));
    const writers = wires.map(async (wire, i) => {
      const count = counts[i] as (typeof counts)[0];
      while (running) {
        for (const reply of await pipeline(wire, `INCR c${i}`, `INCR c${i}`, `INCR c${i}`)) {
          if (reply.startsWith(':')) count.acknowledged += 1;
          else if (reply.startsWith('-UNCERTAIN')) count.uncertain += 1;
          else count.other.push(reply);
        }
      }
    });
    await sleep(300);
    await node(0).kill();
    await sleep(50);
    await failOver();
    await sleep(300);
    running = false;
    await Promise.all(writers);
    const [first, second] = await Promise.all(
      [node(1), node(2)].map(async one => (await one.redis.mget(wires.map((_, i) => `c${i}`))).map(Number)),
    );
    expect(first).toEqual(second);
    counts.forEach((count, i) => {
      expect(count.other).toEqual([]);
      expect(first?.[i]).toBeGreaterThanOrEqual(count.acknowledged);
      expect(first?.[i]).toBeLessThanOrEqual(count.acknowledged + count.uncertain);
    });
  });

  test('is no error for a write that it had answered and every copy had', async () => {
    const wire = await stand.connect();
    await pipeline(wire, 'SET k 0');
    node(1).freeze();
    node(2).freeze();
    const write = ask(wire, 'INCR k');
    await until(async () => (await node(0).redis.get('k')) === '1');
    await sleep(150);
    node(1).thaw();
    node(2).freeze();
    await until(async () => (await node(1).redis.get('k')) === '1');
    expect(write.reply).toBe(null);
    await node(0).kill();
    node(2).thaw();
    await failOver();
    expect(await write.done).toBe(':1\r\n');
    expect(stand.shard.cells.survived).toBe(1);
    expect(await node(1).redis.get('k')).toBe('1');
  });
});

describe('reads from copies', () => {
  test('go to replicas in sync, one for each client, and to the primary when there is none', async () => {
    const lanes = () => [0, 1, 2].map(client => stand.shard.readLane(0, 2, client, null));
    // Asked for the first time they connect.
    expect(lanes()).toEqual([null, null, null]);
    await until(() => lanes().filter(lane => lane !== null).length === 2);
    const runIds = await Promise.all([node(1), node(2)].map(one => one.info('run_id')));
    expect(lanes().map(lane => lane?.runId ?? null)).toEqual([null, ...runIds]);
    expect(stand.shard.readLane(0, 2, 1, 'zn3')).toBe(lanes()[2]);
    expect(stand.shard.readLane(0, 2, 0, 'elsewhere')).toBe(null);
    const [, gone] = lanes();
    stand.tell({ inSync: ['n3'] });
    expect(gone?.closed).toBe(true);
    expect([stand.shard.copies, stand.shard.readLane(0, 2, 0, 'zn2')]).toEqual([2, null]);
  });

  test('that wait on a replica which goes away are answered by the primary', async () => {
    const wire = await stand.connect();
    await pipeline(wire, 'SET k v');
    await until(() => stand.shard.readLane(0, 2, 1, null) !== null);
    const lane = stand.shard.readLane(0, 2, 1, null);
    if (lane === null) throw new Error('there is no lane');
    node(1).freeze();
    const answered: Sent[] = [];
    const sent = new Sent('GET k', answered, () => {});
    const bytes = encodeCommand(['GET', 'k']);
    lane.send(acquireRequest(sent, null, false, performance.now()), bytes, 0, bytes.length);
    await sleep(50);
    expect(sent.outcome).toBe(null);
    await node(1).kill();
    await until(() => sent.outcome !== null);
    expect(sent.outcome).toBe('$1\r\nv\r\n');
  });
});
