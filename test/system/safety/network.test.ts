/**
 * The hosts that fault tests are run on: a cut cuts what it names and nothing else, without a word to either side.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HANG_MS } from '../../support/patience.ts';
import { until } from '../faults/stand.ts';
import type { Host } from './host.ts';
import { Network } from './network.ts';
import { TestProcess } from './process.ts';
import { within } from './raw-shard.ts';
import { RedisNode } from './redis-node.ts';

const obstacle = await Network.obstacle();

let network: Network;
const nodes: RedisNode[] = [];
beforeAll(async () => {
  if (obstacle !== null) return;
  network = await Network.create(3);
  for (const host of network.hosts) nodes.push(await RedisNode.start({ host, port: 6379 }));
});
afterAll(async () => {
  await Promise.all(nodes.map(node => node.close()));
  await network?.remove();
});

/** Far longer than it takes to start a client and to hear its answer. */
const CUT_OFF_MS = 2_000;

/** Whether a process on one host gets an answer from the node on another within this time. */
async function answers(from: Host, to: Host, withinMs: number): Promise<boolean> {
  const words = [`${withinMs / 1_000}`, 'redis-cli', '-h', to.address, 'PING'];
  const client = new TestProcess('redis-cli', from, 'timeout', words);
  while (!client.ended) await new Promise(resolve => setTimeout(resolve, 10));
  return client.log.includes('PONG');
}

/** Fails unless an answer comes on each of the open ways, and none on the cut ones: `ab` leads from host a to host b. */
async function expectOnly({ open = [], cut = [] }: { open?: readonly string[]; cut?: readonly string[] }) {
  const hostOf = (letter: string | undefined) => network.hosts['abc'.indexOf(letter ?? '')] as Host;
  const ask = (way: string, withinMs: number) => answers(hostOf(way[0]), hostOf(way[1]), withinMs);
  const heard = open.map(way => ask(way, HANG_MS));
  const silent = cut.map(way => ask(way, CUT_OFF_MS));
  expect(await Promise.all(heard)).toEqual(open.map(() => true));
  expect(await Promise.all(silent)).toEqual(cut.map(() => false));
}

test.skipIf(obstacle !== null)('hosts reach each other until they are cut, and again when that is healed', async () => {
  const [a, b, c] = network.hosts as [Host, Host, Host];
  await expectOnly({ open: ['ab', 'ba', 'ac'] });
  await network.cut(a, b);
  await expectOnly({ open: ['ac'], cut: ['ab', 'ba'] });
  await network.heal();
  await expectOnly({ open: ['ab', 'ba'] });
  await network.separate([a, c], network.hosts);
  await expectOnly({ open: ['ca'], cut: ['ab', 'bc'] });
  await network.heal();
});

test.skipIf(obstacle !== null)(
  'a link that is cut one way is not broken: what is sent the other way still arrives',
  async () => {
    const [primary, replica] = nodes as [RedisNode, RedisNode];
    const [onPrimary, onReplica] = [await primary.connect(), await replica.connect()];
    await onPrimary.must('CONFIG', 'SET', 'repl-diskless-sync-delay', '0');
    await onReplica.must('REPLICAOF', primary.host.address, '6379');
    await onPrimary.must('SET', 'first', '1');
    while ((await onReplica.must('GET', 'first')) !== '1') await new Promise(resolve => setTimeout(resolve, 20));
    // What the replica sends is lost, its acknowledgements of packets too; the primary's next packet still arrives.
    await network.cutOneWay(replica.host, primary.host);
    await onPrimary.must('SET', 'second', '2');
    expect(await within(HANG_MS, onPrimary.call('WAIT', '1', '250'))).toBe(0);
    await until('it has arrived', async () => (await onReplica.must('GET', 'second')) === '2');
    await network.heal();
    expect(await onPrimary.call('WAIT', '1', '10000')).toBe(1);
  },
);
