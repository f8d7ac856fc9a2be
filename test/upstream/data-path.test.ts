/** From a client's socket through session, client line and lane to a node and back, where nodes do what no real one shows. */
import { performance } from 'node:perf_hooks';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeCommand } from '../../src/resp/encoder.ts';
import { turns, until } from './lane-stand.ts';
import { ProxyStand } from './proxy-stand.ts';
import { type Answers, bulkText, ScriptedNode } from './scripted-node.ts';

const MIB = 1024 * 1024;
const silent: Answers = () => null;
const ok: Answers = words => (words[0] === 'GET' ? bulkText(words[1] as string) : '+OK\r\n');

let nodes: ScriptedNode[] = [];
let stand: ProxyStand;

async function start(answers: readonly Answers[], settings = ''): Promise<ProxyStand> {
  nodes = await Promise.all(answers.map(one => ScriptedNode.start(one)));
  stand = await ProxyStand.start(nodes, settings);
  return stand;
}

const heardBy = (shard: number): string[] => (nodes[shard] as ScriptedNode).links.flatMap(link => link.heard);

afterEach(async () => {
  await stand.stop();
  for (const node of nodes) await node.stop();
});

describe('what the proxy holds', () => {
  it('is nothing once all is quiet, whatever went before', async () => {
    await start([ok, ok]);
    const { pool } = stand.proxy;
    const clients = await Promise.all(Array.from({ length: 10 }, () => stand.connect()));
    const large = Buffer.alloc(2 * MIB, 'v');
    const [a, b] = [stand.keysOf(0, 20), stand.keysOf(1, 20)];
    clients.forEach((client, i) => {
      const commands: (string | (string | Buffer)[])[] = [];
      for (let k = 0; k < 20; k += 1) commands.push(`GET ${a[k]}`, `SET ${b[k]} ${'x'.repeat(k * 1000)}`);
      if (i % 3 === 0) commands.push(['SET', a[0] as string, large]);
      client.say(...commands, 'PING');
      if (i % 4 === 1) client.socket.write('*2\r\n$3\r\nGET\r\n$100\r\nabc');
    });
    await until('all are answered', () => clients.every(client => client.heard.endsWith('+PONG\r\n')));
    clients.forEach((client, i) => {
      if (i % 4 === 1) client.socket.destroy();
    });
    await until('nothing is held', () => pool.heldBytes === 0);
    expect([pool.largeBytes, pool.unreadBytes]).toEqual([0, 0]);
  });

  it('is nothing after a client has left in the middle of what it had asked for', async () => {
    await start([silent, silent]);
    const { pool } = stand.proxy;
    const client = await stand.connect();
    const [a, b] = [stand.keysOf(0, 3), stand.keysOf(1, 3)];
    client.say(
      `GET ${a[0]}`,
      `GET ${b[0]}`,
      ['EVAL', 'return 1', '1', a[1] as string],
      `SET ${b[1]} v`,
      `MGET ${a[2]} ${b[2]}`,
    );
    await until('all is heard', () => heardBy(0).length === 3 && heardBy(1).length === 3);
    nodes[1]?.link.say('$5\r\nab');
    await turns(5);
    client.socket.resetAndDestroy();
    await until('the client is gone', () => stand.proxy.clients.size === 0);
    nodes[0]?.link.say('$-1\r\n:1\r\n*1\r\n$-1\r\n');
    nodes[1]?.link.say('cde\r\n+OK\r\n*1\r\n$-1\r\n');
    await until('all is answered', () => stand.proxy.shards.every(shard => shard.lane(0, 2).pending === 0));
    await until('nothing is held', () => pool.heldBytes === 0);
    expect(pool.largeBytes).toBe(0);
  });

  it('does not grow with the time that a client’s line is never empty', async () => {
    await start([silent, words => bulkText((words[1] as string).padEnd(1000))]);
    const client = await stand.connect();
    const [slow, quick] = [stand.keysOf(0, 1)[0] as string, stand.keysOf(1, 100)];
    const round = [`GET ${slow}`, ...quick.map(key => `GET ${key}`)];
    client.say(...round);
    const rounds = 60;
    for (let i = 1; i <= rounds; i += 1) {
      client.say(...round);
      await until('the round is heard', () => heardBy(0).length === i + 1 && heardBy(1).length === (i + 1) * 100);
      nodes[0]?.link.say('$-1\r\n');
      await until('the round before is answered', () => client.heard.length >= i * (5 + 100 * 1009));
    }
    expect(stand.proxy.pool.heldBytes).toBeLessThan(MIB);
  });

  it('counts and bounds the replies that wait for an earlier one', async () => {
    const value = 'v'.repeat(100_000);
    await start([silent, () => bulkText(value)], '  limits: { unreadBytes: 1mb, bulk: 1mb }');
    const client = await stand.connect();
    const [slow, quick] = [stand.keysOf(0, 1)[0] as string, stand.keysOf(1, 200)];
    client.say(`GET ${slow}`);
    for (const key of quick) {
      client.say(`GET ${key}`);
      await turns(8);
    }
    await new Promise(resolve => setTimeout(resolve, 50));
    expect(heardBy(1).length).toBeLessThan(60);
    nodes[0]?.link.say('$-1\r\n');
    await until(
      'all is answered, or the client was ended',
      () => client.closed || client.heard.length > 200 * value.length,
    );
  });
});

describe('a client that the proxy waits for', () => {
  it('costs no work while a command of it is unfinished', async () => {
    await start([ok]);
    const client = await stand.connect();
    client.socket.write('*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$5\r\nab');
    await until('the first is answered', () => client.heard === '+PONG\r\n');
    const before = performance.eventLoopUtilization();
    await new Promise(resolve => setTimeout(resolve, 150));
    expect(performance.eventLoopUtilization(before).utilization).toBeLessThan(0.5);
    client.socket.write('cde\r\n');
    await until('the second is answered', () => client.heard.endsWith(bulkText('abcde')));
  });

  it('is read again after a wait, though a large command of it is not yet whole', async () => {
    await start([words => (words[0] === 'BLPOP' ? null : '+OK\r\n')]);
    const client = await stand.connect();
    client.say('BLPOP q 0');
    await until('it waits', () => heardBy(0).includes('BLPOP q 0'));
    const large = encodeCommand(['SET', 'k', Buffer.alloc(8 * MIB, 'v')]);
    client.socket.write(large);
    await new Promise(resolve => setTimeout(resolve, 50));
    nodes[0]?.links.find(link => link.heard.includes('BLPOP q 0'))?.say('*2\r\n$1\r\nq\r\n$1\r\nx\r\n');
    await until('both are answered', () => client.heard.endsWith('+OK\r\n'));
    expect(client.heard).toBe('*2\r\n$1\r\nq\r\n$1\r\nx\r\n+OK\r\n');
  });
});

describe('a reply that breaks off', () => {
  it.each([
    ['a plain read', (key: string) => `GET ${key}`],
    ['a blocking read', (key: string) => `XREAD BLOCK 0 STREAMS ${key} 0`],
    ['a script', (key: string) => `EVAL script${key} 1 ${key}`],
    ['a second call of a script by its digest', (key: string) => `EVALSHA ${'0'.repeat(40)} 1 ${key}`],
  ])('of %s ends the connection and is never mended with other bytes', async (_name, command) => {
    await start([silent]);
    const client = await stand.connect();
    client.say(command('k'));
    await until('it is heard', () => heardBy(0).some(heard => /^(GET|XREAD|EVAL)/.test(heard)));
    nodes[0]?.links.find(link => link.heard.length > 0)?.say('$10\r\nabc');
    await until('its beginning is out', () => client.heard === '$10\r\nabc');
    for (const { socket } of nodes[0]?.links ?? []) socket.destroy();
    await until('the connection is ended', () => client.closed);
    expect(client.heard).toBe('$10\r\nabc');
  });

  it('behind another that is still due, costs that one nothing', async () => {
    await start([silent, silent]);
    const client = await stand.connect();
    const [first, second] = [stand.keysOf(0, 1)[0] as string, stand.keysOf(1, 1)[0] as string];
    client.say(`GET ${first}`, `XREAD COUNT 1 STREAMS ${second} 0`);
    await until('both are heard', () => heardBy(0).length === 1 && heardBy(1).length === 1);
    nodes[1]?.link.say('$10\r\nabc');
    await turns(5);
    nodes[1]?.link.socket.destroy();
    await turns(20);
    nodes[0]?.link.say('$1\r\na\r\n');
    await until('it is answered or ended', () => client.closed || client.heard.length > 7);
    expect(client.heard.replace(/-UNCERTAIN [^\r]*\r\n$/, '')).toMatch(/^(\$1\r\na\r\n)?$/);
  });
});

describe('a transaction', () => {
  it('of which a command found no room is not carried out', async () => {
    await start([ok], '  limits: { heldBytes: 3mb }');
    const [other, client] = [await stand.connect(), await stand.connect()];
    other.socket.write(encodeCommand(['SET', 'o', Buffer.alloc(2 * MIB, 'v')]).subarray(0, 100_000));
    await until('the other holds memory', () => stand.proxy.pool.largeBytes > 0);
    client.say('MULTI', 'SET a 1', ['SET', 'b', Buffer.alloc(2 * MIB, 'v')], 'EXEC');
    await until('all is answered', () => client.heard.split('\r\n').length === 5);
    const [multi, queued, refused, executed] = client.heard.split('\r\n');
    expect([multi, queued]).toEqual(['+OK', '+QUEUED']);
    expect(refused).toMatch(/^-OVERLOADED /);
    expect(executed).toMatch(/^-EXECABORT /);
    expect(heardBy(0)).toEqual([]);
  });
});
