/**
 * CLIENT UNBLOCK in the instant of a failover: connections are numbered by each node for itself, so that what was meant
 * for one must never reach another.
 */
import { afterEach, describe, expect, test } from 'vitest';
import type { Topology } from '../../src/topology/snapshot.ts';
import { until } from '../upstream/lane-stand.ts';
import { ProxyStand } from '../upstream/proxy-stand.ts';
import { ScriptedNode } from '../upstream/scripted-node.ts';

/** What was known of the primary's history when the proxy logged in. */
const OFFSET = 1000;

let nodes: ScriptedNode[] = [];
let stand: ProxyStand;

afterEach(async () => {
  await stand.stop();
  for (const node of nodes) await node.stop();
  nodes = [];
});

/** A node that waits for data for ever, and keeps what it hears of CLIENT UNBLOCK, to which it says nothing. */
async function startNode(name: string, info: Record<string, string>) {
  const unblocked: string[] = [];
  const node = await ScriptedNode.start();
  nodes.push(node);
  node.info = { ...node.info, run_id: name.repeat(40), master_repl_offset: `${OFFSET}`, ...info };
  node.onLogin = words => {
    if (words[0] !== 'CLIENT' || words[1] !== 'UNBLOCK') return undefined;
    unblocked.push(words.join(' '));
    return '';
  };
  return { node, unblocked };
}

/** A client that waits on the primary `p`; `n` was promoted out of p's history before anything was written. */
async function start() {
  const p = await startNode('a', { master_replid: 'h-p' });
  const n = await startNode('b', {
    ...{ master_replid: 'h-n', master_replid2: 'h-p', second_repl_offset: `${OFFSET + 1}` },
  });
  stand = await ProxyStand.start([p.node]);
  const { topology } = stand.proxy;
  const { port } = n.node;
  const replica = {
    id: 'n2',
    host: '127.0.0.1',
    port,
    zone: 'default',
    runId: n.node.info['run_id'] ?? null,
    draining: false,
  };
  const whole: Topology = {
    ...topology,
    version: topology.version + 1,
    nodes: [...topology.nodes, replica],
    shards: topology.shards.map(shard => ({ ...shard, nodes: ['n1', 'n2'], inSync: ['n2'] })),
  };
  stand.proxy.follow(whole);
  const [waiter, other] = [await stand.connect(), await stand.connect()];
  waiter.say('CLIENT ID');
  await until('its number is known', () => waiter.heard.endsWith('\r\n'));
  const unblock = `CLIENT UNBLOCK ${waiter.heard.slice(1, -2)}`;
  waiter.say('BLPOP k 0');
  await until('it waits', () => p.node.links.some(link => link.heard.includes('BLPOP k 0')));
  /** Makes the other node the primary; resolves once the proxy is logged in there. */
  const failOver = async () => {
    const shards = whole.shards.map(shard => ({ ...shard, primary: 'n2', inSync: [], epoch: shard.epoch + 1 }));
    stand.proxy.follow({ ...whole, version: whole.version + 1, shards });
    await until('the next primary is logged in to', () => stand.proxy.waitingFor().length === 0);
  };
  return { p, n, other, unblock, failOver };
}

describe('CLIENT UNBLOCK', () => {
  test('tells the node on which the client waits', async () => {
    const { p, other, unblock } = await start();
    other.say(unblock);
    await until('the node hears it', () => p.unblocked.length === 1);
    expect(p.unblocked).toEqual(['CLIENT UNBLOCK 7 timeout']);
  });

  test('finds nobody while there is no way to that node, and is not kept for the next primary', async () => {
    const { p, n, other, unblock, failOver } = await start();
    p.node.login['AUTH'] = null;
    // All but the one on which the client waits.
    for (const link of p.node.links) if (!link.heard.includes('BLPOP k 0')) link.socket.destroy();
    await until('the primary is not reached', () => stand.proxy.waitingFor().length === 1);
    other.say(unblock);
    await until('it is answered', () => other.heard !== '');
    expect(other.heard).toBe(':0\r\n');
    await failOver();
    other.say('PING');
    await until('the client is served', () => other.heard.endsWith('+PONG\r\n'));
    expect([...p.unblocked, ...n.unblocked]).toEqual([]);
  });

  test('that was lost on its way is not sent to the next primary, though that proves to know nothing of it', async () => {
    const { p, n, other, unblock, failOver } = await start();
    other.say(unblock);
    await until('the node hears it', () => p.unblocked.length === 1);
    await p.node.stop();
    await until('the loss is noticed', () => stand.proxy.waitingFor().length === 1);
    await failOver();
    await until('it is answered', () => other.heard !== '');
    expect(other.heard).toMatch(/^-UNCERTAIN /);
    expect(n.unblocked).toEqual([]);
  });
});
