/**
 * Connections lent to one client while another epoch begins on the same primary: what was sent on them gets its outcome,
 * soon and truly, whatever becomes of the connection.
 */
import { afterEach, describe, expect, test } from 'vitest';
import type { Lane } from '../../src/upstream/lane.ts';
import { until } from '../upstream/lane-stand.ts';
import { ProxyStand, type RawClient } from '../upstream/proxy-stand.ts';
import { type Link, ScriptedNode } from '../upstream/scripted-node.ts';
import { allTold, Stage, sleep } from './commit-stand.ts';

/** A hold that no test outlives: what waits for its end has been forgotten. */
const HOLD = '10m';
const HOLD_MS = 600_000;

describe('a connection on which an answer is due', () => {
  const stage = new Stage();
  afterEach(() => stage.end());

  /** EXEC is due on a lent connection that another epoch has barred, and that the fence then cuts. */
  async function startFenced() {
    const { primary, stand } = await stage.startShard({}, { holdMs: HOLD_MS, writeMs: HOLD_MS });
    primary.reply = words => (words[0] === 'EXEC' ? null : '+OK\r\n');
    const lane = stand.shard.borrow(0, 2) as Lane;
    const sent = stand.send('EXEC', { lane });
    await until('it was heard', () => primary.heard.includes('EXEC'));
    stand.follow({ epoch: 2 });
    const link = primary.node.links.find(one => one.heard.includes('EXEC')) as Link;
    return { primary, stand, lane, sent, link };
  }

  test('and that the fence cuts is told as uncertain at once: the same primary goes on', async () => {
    const { primary, lane, sent, link } = await startFenced();
    link.socket.destroy();
    await allTold(sent);
    expect([sent.outcome, lane.closed, primary.heard]).toEqual(['<Uncertain>', true, ['EXEC']]);
  });

  test('and that is lost with its primary is told what the next one knows', async () => {
    for (const [at, outcome] of [
      [1000, '<Gone>'],
      [1050, '<Uncertain>'],
    ] as const) {
      const { primary, stand, lane, sent } = await startFenced();
      const next = await stage.successor(at);
      await primary.node.stop();
      await until('it is lost', () => lane.runId === '');
      expect(sent.outcome).toBe(null);
      stand.follow({ epoch: 3, primary: next.address });
      await allTold(sent);
      expect([sent.outcome, lane.closed, next.heard]).toEqual([outcome, true, []]);
    }
  });

  test('and that is lost while its primary is about to give way is told what the next one knows', async () => {
    const { stand, lane, sent, link } = await startFenced();
    const next = await stage.successor(1000);
    stand.follow({ epoch: 3, paused: true });
    link.socket.destroy();
    await until('it is lost', () => lane.runId === '');
    // Time to log in to the one that gives way.
    await sleep(100);
    expect(sent.outcome).toBe(null);
    stand.follow({ epoch: 4, paused: false, primary: next.address });
    await allTold(sent);
    expect([sent.outcome, lane.closed, next.heard]).toEqual(['<Gone>', true, []]);
  });
});

test('what is sent on a shared lane does not go out at once while another connection waits to take over', async () => {
  const stage = new Stage();
  try {
    const { primary, stand } = await stage.startShard();
    primary.reply = words => (words[1] === 'slow' ? null : '+OK\r\n');
    const slow = stand.send('GET slow');
    await until('it was heard', () => primary.heard.includes('GET slow'));
    const lane = stand.shard.lane(0, 2);
    expect(lane.quick).toBe(true);
    stand.follow({ epoch: 2 });
    await until('the other is logged in', () => lane.ready && !lane.quick);
    const behind = stand.send('GET behind');
    primary.node.links.find(link => link.heard.includes('GET slow'))?.say('$-1\r\n');
    await allTold(slow, behind);
    expect([lane.quick, lane.epoch]).toEqual([true, 2]);
  } finally {
    await stage.end();
  }
});

describe('a client that waits for data', () => {
  const WAIT = 'BLPOP k 0';
  const SERVED = '*2\r\n$1\r\nk\r\n$1\r\nv\r\n';
  let node: ScriptedNode;
  let stand: ProxyStand;
  let unblocked: string[];
  /** What the node says to CLIENT UNBLOCK, and to a wait. */
  let onUnblock: () => string;
  let onWait: () => string | null;
  /** Whether the copy has all that it is asked for. */
  let confirms: boolean;

  afterEach(async () => {
    await stand.stop();
    await node.stop();
  });

  /** A shard with one copy, and a client. */
  async function start(settings = ''): Promise<RawClient> {
    [unblocked, onUnblock, onWait, confirms] = [[], () => ':0\r\n', () => null, true];
    node = await ScriptedNode.start(([name]) => {
      if (name === 'BLPOP') return onWait();
      if (name === 'ROLE') return '*3\r\n$6\r\nmaster\r\n:1000\r\n*0\r\n';
      return name === 'WAIT' && confirms ? ':1\r\n' : ':0\r\n';
    });
    node.info = { ...node.info, master_replid: 'h', master_repl_offset: '1000' };
    let connections = 0;
    node.onLogin = words => {
      if (words[0] !== 'CLIENT') return undefined;
      if (words[1] === 'ID') {
        connections += 1;
        return `:${connections}\r\n`;
      }
      if (words[1] !== 'UNBLOCK') return undefined;
      unblocked.push(words.join(' '));
      return onUnblock();
    };
    stand = await ProxyStand.start([node], `  hold: ${HOLD}\n${settings}`);
    const { topology } = stand.proxy;
    const copy = { ...(topology.nodes[0] as (typeof topology.nodes)[0]), id: 'n2', runId: 'c'.repeat(40) };
    const shards = topology.shards.map(shard => ({ ...shard, nodes: ['n1', 'n2'], inSync: ['n2'] }));
    stand.proxy.follow({ ...topology, version: topology.version + 1, nodes: [...topology.nodes, copy], shards });
    return stand.connect();
  }

  const links = (): Link[] => node.links.filter(link => link.heard.includes(WAIT));
  const heard = (): number => node.links.flatMap(link => link.heard).filter(words => words === WAIT).length;
  const lane = (): Lane | undefined =>
    [...stand.proxy.clients.values()].find(({ borrowed }) => borrowed !== null)?.borrowed?.lane;

  /** Another epoch begins on the same primary; `paused`: that is about to give way to another, as planned. */
  function renew(paused = false): void {
    const { topology } = stand.proxy;
    const shards = topology.shards.map(shard => ({ ...shard, epoch: shard.epoch + 1, paused }));
    stand.proxy.follow({ ...topology, version: topology.version + 1, shards });
  }

  /** Once a connection was lent to a client, behind this read from its socket, and before anything is sent. */
  function renewAtNextLoan(): void {
    const shard = stand.proxy.shards[0] as (typeof stand.proxy.shards)[0];
    const borrow = shard.borrow.bind(shard);
    shard.borrow = (database, protocol) => {
      shard.borrow = borrow;
      queueMicrotask(() => renew());
      return borrow(database, protocol);
    };
  }

  test.each([
    ['another epoch begins', [false]],
    ['a change of primary is planned, and given up', [true, false]],
  ])('is let go though the node hears of that before it hears of the wait, when %s', async (_when, epochs) => {
    const client = await start();
    client.say(WAIT);
    await until('it waits', () => heard() === 1);
    const [first] = links() as [Link];
    onUnblock = () => {
      if (unblocked.length < 3) return ':0\r\n';
      first.say('*-1\r\n');
      return ':1\r\n';
    };
    const id = lane()?.clientId;
    for (const paused of epochs) {
      renew(paused);
      await until('the node has heard of it', () => unblocked.length === 3);
    }
    await until('it waits on another connection', () => heard() === 2);
    expect(unblocked).toEqual(new Array(3).fill(`CLIENT UNBLOCK ${id} timeout`));
    (links()[1] as Link).say(SERVED);
    await until('it is served', () => client.heard === SERVED);
  });

  test('is let go though the shared connection to its node is lost', async () => {
    const client = await start();
    client.say(WAIT);
    await until('it waits', () => heard() === 1);
    const [first] = links() as [Link];
    onUnblock = () => {
      first.say('*-1\r\n');
      return ':1\r\n';
    };
    node.login['AUTH'] = '-WRONGPASS\r\n';
    for (const link of node.links) if (link !== first) link.socket.destroy();
    await until('the primary is not reached', () => stand.proxy.waitingFor().length === 1);
    node.login = {};
    renew();
    await until('it waits on another connection', () => heard() === 2);
  });

  test('is not waited for without end, when its connection is dead and does not say so', async () => {
    const client = await start('  timeout: 100ms');
    client.say(WAIT);
    await until('it waits', () => heard() === 1);
    renew();
    await until('it is told', () => client.heard !== '');
    expect([client.heard.split(' ')[0], heard()]).toEqual(['-UNCERTAIN', 1]);
  });

  test('is told that nobody knows what it took, when its connection broke just before', async () => {
    const client = await start();
    client.say(WAIT);
    await until('it waits', () => heard() === 1);
    const [link] = links() as [Link];
    // No connection can be made as the user of the epoch that ends.
    node.login['AUTH'] = '-WRONGPASS\r\n';
    link.socket.destroy();
    await until('it is lost', () => lane()?.clientId === 0);
    node.login = {};
    renew();
    await until('it is told', () => client.heard !== '');
    expect([client.heard.split(' ')[0], heard()]).toEqual(['-UNCERTAIN', 1]);
  });

  test('gets what it was given, though its connection breaks and another epoch begins before the copy has that', async () => {
    const client = await start();
    confirms = false;
    onWait = () => SERVED;
    client.say(WAIT);
    await until('its answer is kept', () => lane()?.kept === 1);
    (links()[0] as Link).socket.destroy();
    await until('it is lost', () => lane()?.clientId === 0);
    renew();
    confirms = true;
    await until('it is told', () => client.heard !== '');
    expect([client.heard, heard()]).toEqual([SERVED, 1]);
  });

  test('whose command has not left yet when another epoch begins does not wait on the connection that ends', async () => {
    const client = await start();
    // A connection that stands, from the pool of those that may be lent.
    onWait = () => '*-1\r\n';
    client.say(WAIT);
    await until('it is answered', () => client.heard === '*-1\r\n');
    onWait = () => null;
    renewAtNextLoan();
    client.say(WAIT);
    await until('it waits', () => heard() === 2);
    expect([unblocked, links().map(link => link.heard)]).toEqual([[], [[WAIT], [WAIT]]]);
  });

  test('begins anew on no other connection that ends', async () => {
    const [client, other] = [await start(), await stand.connect()];
    // Two connections that stand, from the pool of those that may be lent.
    client.say(WAIT);
    other.say(WAIT);
    await until('they wait', () => heard() === 2);
    for (const link of links()) link.say('*-1\r\n');
    await until('both are answered', () => client.heard === '*-1\r\n' && other.heard === '*-1\r\n');
    const before = links();
    renewAtNextLoan();
    client.say(WAIT);
    await until('it waits', () => heard() === 3);
    expect(before.map(link => link.heard)).toEqual([[WAIT], [WAIT]]);
  });
});
