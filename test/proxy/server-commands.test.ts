/** Asked about the server, the proxy answers as one Redis that is the whole cluster. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import type { Wire } from '../differential/wire.ts';
import { bodyOf, command, pipeline, Stand, until } from './stand.ts';

let stand: Stand;
let stock: StockRedis;
let wire: Wire;

beforeAll(async () => {
  [stand, stock] = await Promise.all([Stand.start(3), startStockRedis()]);
  wire = await stand.connect();
});
afterAll(() => Promise.all([stand.stop(), stock.stop()]));

async function info(...sections: string[]): Promise<string> {
  return bodyOf((await pipeline(wire, ['INFO', ...sections].join(' ')))[0] as string);
}

async function field(section: string, name: string): Promise<string | undefined> {
  return new RegExp(`^${name}:(.*)\r$`, 'm').exec(await info(section))?.[1];
}

describe.each(['2', '3'])('in RESP%s, byte for byte as stock Redis', protocol => {
  test.each([
    ['ROLE', ['ROLE', 'ROLE x']],
    ['WAIT, refused', ['WAIT x 1', 'WAIT 1 x', 'WAIT 1 -1', 'WAIT 1', 'WAIT 0 99999999999999999999']],
    ['WAIT without replicas', ['WAIT 0 0', 'WAIT 1 20']],
    ['SLOWLOG', ['SLOWLOG RESET', 'SLOWLOG LEN', 'SLOWLOG GET', 'SLOWLOG GET -1', 'SLOWLOG GET -2', 'SLOWLOG GET x']],
    ['SLOWLOG, refused', ['SLOWLOG', 'SLOWLOG X', 'SLOWLOG LEN 1', 'SLOWLOG GET 1 2']],
    [
      'LATENCY',
      ['LATENCY LATEST', 'LATENCY HISTORY x', 'LATENCY GRAPH x', 'LATENCY RESET', 'LATENCY RESET x', 'LATENCY'],
    ],
    ['LATENCY DOCTOR', ['LATENCY DOCTOR', 'LATENCY HISTOGRAM nosuch']],
    ['MEMORY', ['MEMORY PURGE', 'MEMORY DOCTOR', 'MEMORY FOO', 'MEMORY']],
    ['ACL', ['ACL WHOAMI', 'ACL CAT nosuch', 'ACL WHOAMI x']],
    [
      'CONFIG',
      ['CONFIG RESETSTAT', 'CONFIG GET nosuch', 'CONFIG GET databases', 'CONFIG GET MaxClients', 'CONFIG GET'],
    ],
    ['INFO of nothing', ['INFO nosuch', 'INFO cluster', 'INFO modules']],
    ['TIME, refused', ['TIME x', 'LASTSAVE x']],
  ])('%s', async (_name, commands) => {
    const [one, measure] = await Promise.all([stand.connect(), stand.connectTo(stock)]);
    const sent = protocol === '3' ? ['HELLO 3', ...commands] : commands;
    const [ours, theirs] = await Promise.all([pipeline(one, ...sent), pipeline(measure, ...sent)]);
    expect(ours.slice(-commands.length)).toEqual(theirs.slice(-commands.length));
  });
});

test('TIME is the clock, in seconds and microseconds, and never goes backwards', async () => {
  const replies = await pipeline(wire, ...Array.from({ length: 50 }, () => 'TIME'));
  const moments = replies.map(reply => {
    const [, seconds = '', micros = ''] = /^\*2\r\n\$\d+\r\n(\d+)\r\n\$\d+\r\n(\d{1,6})\r\n$/.exec(reply) ?? [];
    return Number(seconds) * 1e6 + Number(micros);
  });
  expect(Math.abs((moments[0] as number) / 1000 - Date.now())).toBeLessThan(2000);
  expect(moments).toEqual([...moments].sort((a, b) => a - b));
});

test('LASTSAVE is the oldest of all primaries', async () => {
  const measures = await Promise.all(stand.nodes.map(node => stand.connectTo(node)));
  const moments = await Promise.all(measures.map(async one => (await pipeline(one, 'LASTSAVE'))[0] as string));
  expect(await pipeline(wire, 'LASTSAVE')).toEqual([moments.sort()[0]]);
});

describe('INFO', () => {
  test.each(['', 'all', 'default'])(
    'INFO %s has the sections and fields of stock Redis in its order',
    async section => {
      const names = (text: string): string[] =>
        text
          .split('\r\n')
          .map(line => line.split(':')[0] as string)
          .filter(line => !/^(cmdstat_|latency_percentiles_|errorstat_|db\d)/.test(line));
      const measure = await stand.connectTo(stock);
      const words = section === '' ? 'INFO' : `INFO ${section}`;
      const [theirs = ''] = await pipeline(measure, words);
      const ours = await info(...(section === '' ? [] : [section]));
      const ringside = ours.indexOf('# Ringside');
      // The empty line before `# Ringside` comes on top.
      expect(names(ours.slice(0, ringside - 2))).toEqual(names(bodyOf(theirs)));
    },
  );

  test('is a verbatim string in RESP3', async () => {
    const three = await stand.connect();
    const replies = await pipeline(three, 'HELLO 3', 'INFO keyspace');
    expect(replies[1]).toMatch(/^=\d+\r\ntxt:# Keyspace\r\n/);
  });

  test('sections are chosen as asked, in any case', async () => {
    const text = await info('CLUSTER', 'ringside');
    expect([...text.matchAll(/^# (.*)\r$/gm)].map(match => match[1])).toEqual(['Cluster', 'Ringside']);
  });

  test('adds up what all primaries hold, and sees what the client wrote just before', async () => {
    const keys = Array.from({ length: 60 }, (_, i) => `SET info:${i} v`);
    const replies = await pipeline(
      wire,
      'FLUSHALL',
      ...keys,
      'SELECT 3',
      'SET three v EX 1000',
      'INFO keyspace',
      'SELECT 0',
    );
    const text = bodyOf(replies[replies.length - 2] as string);
    expect(text).toBe('# Keyspace\r\ndb0:keys=60,expires=0,avg_ttl=0\r\ndb3:keys=1,expires=1,avg_ttl=0\r\n');
    await pipeline(wire, 'FLUSHALL');
  });

  test('adds up hits and misses of all primaries, and CONFIG RESETSTAT forgets them everywhere', async () => {
    await pipeline(wire, 'CONFIG RESETSTAT', ...Array.from({ length: 30 }, (_, i) => `GET miss:${i}`));
    expect(await field('stats', 'keyspace_misses')).toBe('30');
    expect(await field('stats', 'keyspace_hits')).toBe('0');
    await pipeline(wire, 'CONFIG RESETSTAT');
    expect(await field('stats', 'keyspace_misses')).toBe('0');
  });

  test('speaks of the proxy where it means the process', async () => {
    expect(await field('server', 'process_id')).toBe(String(process.pid));
    expect(await field('server', 'tcp_port')).toBe(String(stand.endpoint.port));
    expect(await field('server', 'run_id')).toMatch(/^[0-9a-f]{40}$/);
    expect(await field('clients', 'connected_clients')).toBe(String(stand.proxy.clients.size));
    expect(await field('clients', 'maxclients')).toBe('10000');
    expect(await field('replication', 'role')).toBe('master');
  });

  test('counts the errors that the proxy made, by their first word', async () => {
    const count = async (): Promise<number> => Number((await field('errorstats', 'errorstat_NOPROTO'))?.slice(6) ?? 0);
    const before = await count();
    await pipeline(wire, 'HELLO 9');
    expect(await count()).toBe(before + 1);
  });

  test('names shards and topology', async () => {
    const text = await info('ringside');
    expect(text).toContain('\r\ntopology_version:1\r\nshards:3\r\nshards_up:3\r\nshards_left_out:\r\n');
    expect(text).toContain(`shard0:name=s1,primary=n1,addr=127.0.0.1:${stand.nodes[0]?.port},state=up\r\n`);
  });
});

describe('CONFIG GET', () => {
  test("answers with the proxy's own values where it decides", async () => {
    const [reply = ''] = await pipeline(wire, 'CONFIG GET port bind Timeout requirepass databases');
    const values = new Map([...reply.matchAll(/\$\d+\r\n(\w+)\r\n\$\d+\r\n([^\r]*)\r\n/g)].map(([, k, v]) => [k, v]));
    expect(Object.fromEntries(values)).toEqual({
      port: String(stand.endpoint.port),
      bind: '127.0.0.1',
      Timeout: '0',
      requirepass: '',
      databases: '16',
    });
  });

  test('knows patterns as Redis does, and answers a map in RESP3', async () => {
    const [three, measure] = await Promise.all([stand.connect(), stand.connectTo(stock)]);
    const words = ['HELLO 3', 'CONFIG GET list-max-*'];
    const [ours, theirs] = await Promise.all([pipeline(three, ...words), pipeline(measure, ...words)]);
    const lines = (reply: string | undefined): string[] => (reply ?? '').split('\r\n').sort();
    expect(ours[1]).toMatch(/^%2\r\n/);
    expect(lines(ours[1])).toEqual(lines(theirs[1]));
  });

  test('adds up what all primaries may take', async () => {
    const measures = await Promise.all(stand.nodes.map(node => stand.connectTo(node)));
    for (const one of measures) await pipeline(one, 'CONFIG SET maxmemory 1000000000');
    expect(await pipeline(wire, 'CONFIG GET maxmemory')).toEqual(['*2\r\n$9\r\nmaxmemory\r\n$10\r\n3000000000\r\n']);
    expect(await field('memory', 'maxmemory')).toBe('3000000000');
    for (const one of measures) await pipeline(one, 'CONFIG SET maxmemory 0');
  });
});

test('SLOWLOG shows the commands that were slow through the proxy, with the six fields of Redis', async () => {
  await pipeline(wire, 'SLOWLOG RESET', 'CLIENT SETNAME slow-one');
  stand.proxy.slowlog.add(12.3456, [Buffer.from('GET'), Buffer.from('k')], '127.0.0.1:5', 'slow-one');
  const [length, one] = await pipeline(wire, 'SLOWLOG LEN', 'SLOWLOG GET 1');
  expect(length).toBe(':1\r\n');
  expect(one).toMatch(
    /^\*1\r\n\*6\r\n:\d+\r\n:\d{10}\r\n:12346\r\n\*2\r\n\$3\r\nGET\r\n\$1\r\nk\r\n\$11\r\n127\.0\.0\.1:5\r\n\$8\r\nslow-one\r\n$/,
  );
  expect(await pipeline(wire, 'SLOWLOG GET 0', 'SLOWLOG RESET', 'SLOWLOG LEN')).toEqual([
    '*0\r\n',
    '+OK\r\n',
    ':0\r\n',
  ]);
});

test('INFO and CONFIG GET go on with the shards that are left, and name the one that is not', async () => {
  const other = await Stand.start(2);
  try {
    const client = await other.connect();
    await pipeline(client, ...Array.from({ length: 20 }, (_, i) => `SET k${i} v`));
    await other.nodes[0]?.stop();
    await until(() => other.proxy.waitingFor().length === 1);
    const [text = '', config, wait] = await pipeline(client, 'INFO', 'CONFIG GET databases', 'WAIT 0 100');
    expect(bodyOf(text)).toMatch(/\r\nshards_up:1\r\nshards_left_out:s1\r\nshard0:\S+,state=down\r\n/);
    expect(bodyOf(text)).toMatch(/\r\ndb0:keys=\d+,/);
    expect(config).toBe('*2\r\n$9\r\ndatabases\r\n$2\r\n16\r\n');
    expect(wait).toBe(':0\r\n');
    await other.nodes[1]?.stop();
    await until(() => other.proxy.waitingFor().length === 2);
    const [nothing = ''] = await pipeline(client, 'INFO');
    expect([...bodyOf(nothing).matchAll(/^# (.*)\r$/gm)].map(match => match[1])).toEqual([
      'Server',
      'Clients',
      'Stats',
      'Replication',
      'Cluster',
      'Ringside',
    ]);
    expect(bodyOf(nothing)).toContain('\r\nredis_version:7.0.15\r\n');
  } finally {
    await other.stop();
  }
});

describe('WAIT', () => {
  let replicas: StockRedis[];
  let links: Wire[];

  beforeAll(async () => {
    replicas = await Promise.all(stand.nodes.map(() => startStockRedis()));
    links = await Promise.all(replicas.map(replica => stand.connectTo(replica)));
    for (const [i, node] of stand.nodes.entries()) {
      const primary = await stand.connectTo(node);
      await pipeline(primary, 'CONFIG SET repl-diskless-sync-delay 0');
      await pipeline(links[i] as Wire, `REPLICAOF 127.0.0.1 ${node.port}`);
    }
    for (const link of links) {
      await until(async () =>
        bodyOf((await pipeline(link, 'INFO replication'))[0] as string).includes('link_status:up'),
      );
    }
    const { nodes, shards } = stand.topology;
    const extra = replicas.map(({ host, port }, i) => ({
      id: `r${i}`,
      host,
      port,
      zone: 'default',
      runId: null,
      draining: false,
    }));
    await stand.follow({
      ...stand.topology,
      nodes: [...nodes, ...extra],
      shards: shards.map((shard, i) => ({ ...shard, nodes: [...shard.nodes, `r${i}`], inSync: [`r${i}`], epoch: 2 })),
    });
    // The first replica of a node gives it another replication id: what is under way then is nobody's to confirm.
    const writes = Array.from({ length: 30 }, (_, i) => `SET wait:${i} v`);
    await until(async () => (await pipeline(wire, ...writes)).every(reply => reply === '+OK\r\n'));
  });
  afterAll(() => Promise.all(replicas.map(replica => replica.stop())));

  test('agrees with what INFO and ROLE tell of replicas', async () => {
    expect(await info('replication')).toMatch(/role:master\r\nconnected_slaves:1\r\n(?!slave0)/);
    expect((await pipeline(wire, 'ROLE'))[0]).toBe('*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n');
  });

  test('inside a block waits for nothing, and tells what the block itself waited for', async () => {
    const replies = await pipeline(wire, 'MULTI', 'SET w 1', 'WAIT 5 0', 'ROLE', 'ACL WHOAMI', 'EXEC');
    expect(replies.at(-1)).toBe('*4\r\n+OK\r\n:1\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n$7\r\ndefault\r\n');
  });

  test('answers at once when every write is on as many replicas of every shard', async () => {
    const writes = Array.from({ length: 30 }, (_, i) => `SET wait:${i} v`);
    const replies = await pipeline(wire, ...writes, 'WAIT 1 600000', 'PING');
    expect(replies.slice(-2)).toEqual([':1\r\n', '+PONG\r\n']);
  });

  test('waits its time for more, and then tells how many there are', async () => {
    const begunMs = performance.now();
    expect(await pipeline(wire, 'SET w 1', 'WAIT 2 200')).toEqual(['+OK\r\n', ':1\r\n']);
    expect(performance.now() - begunMs).toBeGreaterThan(190);
  });

  test('counts the shard that has fewest: one whose copy is in sync no more makes it none, though it still follows', async () => {
    const { shards } = stand.topology;
    await stand.follow({
      ...stand.topology,
      shards: shards.map((shard, i) => (i === 1 ? { ...shard, inSync: [] } : shard)),
    });
    expect(await pipeline(wire, 'SET w 1', 'WAIT 1 100')).toEqual(['+OK\r\n', ':0\r\n']);
    expect(await info('replication')).toContain('connected_slaves:0\r\n');
  });

  test.each([
    ['TIMEOUT', ':0\r\n'],
    ['ERROR', '-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n'],
  ])('is let go by CLIENT UNBLOCK %s on every shard', async (mode, reply) => {
    const waiting = await stand.connect();
    const [id = ''] = await pipeline(waiting, 'CLIENT ID');
    await waiting.send(command('WAIT 5 0'));
    await until(async () => (await pipeline(wire, `CLIENT UNBLOCK ${id.slice(1, -2)} ${mode}`))[0] === ':1\r\n');
    expect((await waiting.take(1)).map(String)).toEqual([reply]);
  });

  test('gives its connections back when the client leaves', async () => {
    const waiting = await stand.connect();
    const lent = (): number => stand.proxy.shards.reduce((sum, shard) => sum + shard.cells.exclusive, 0);
    await waiting.send(command('WAIT 5 0'));
    await until(() => lent() === 3);
    waiting.close();
    await until(() => lent() === 0);
    expect(await pipeline(wire, 'WAIT 0 0')).toEqual([':0\r\n']);
  });
});
