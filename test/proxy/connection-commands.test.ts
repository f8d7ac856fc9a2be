/** What a client says about its own connection is answered as one Redis answers it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import { bodyOf, command, pipeline, Stand, until } from './stand.ts';

let stand: Stand;
let stock: StockRedis;

beforeAll(async () => {
  [stand, stock] = await Promise.all([Stand.start(2), startStockRedis()]);
});
afterAll(() => Promise.all([stand.stop(), stock.stop()]));

/** What the stock server and the proxy answer to the same commands in one piece, each on a new connection. */
async function both(...commands: string[]): Promise<{ ours: string[]; theirs: string[] }> {
  const [wire, measure] = await Promise.all([stand.connect(), stand.connectTo(stock)]);
  const [ours, theirs] = await Promise.all([pipeline(wire, ...commands), pipeline(measure, ...commands)]);
  return { ours, theirs };
}

describe.each(['2', '3'])('in RESP%s, byte for byte as stock Redis', protocol => {
  test.each([
    ['PING', ['PING', 'PING hello', 'PING a b']],
    ['ECHO', ['ECHO hello', 'ECHO', 'ECHO a b']],
    ['SELECT', ['SELECT 15', 'SELECT 16', 'SELECT -1', 'SELECT 99999999999', 'SELECT 01', 'SELECT x', 'SELECT']],
    ['AUTH', ['AUTH x', 'AUTH a b', 'AUTH default b', 'AUTH a b c', 'AUTH']],
    ['HELLO, refused', ['HELLO 4', 'HELLO x', 'HELLO 2 FOO', 'HELLO 2 AUTH x', 'HELLO 2 AUTH nobody x']],
    ['a name by HELLO stays though the rest of it fails', ['HELLO 2 SETNAME n AUTH nobody x', 'CLIENT GETNAME']],
    ['CLIENT SETNAME', ['CLIENT SETNAME n', 'CLIENT GETNAME', 'CLIENT SETNAME ""', 'CLIENT GETNAME']],
    ['bad names', ['CLIENT SETNAME a\nb', 'HELLO 2 SETNAME a\tb', 'CLIENT GETNAME']],
    [
      'CLIENT LIST',
      ['CLIENT LIST TYPE x', 'CLIENT LIST ID', 'CLIENT LIST ID x', 'CLIENT LIST ID 9999', 'CLIENT LIST x'],
    ],
    ['CLIENT LIST of others', ['CLIENT LIST TYPE master', 'CLIENT LIST TYPE replica', 'CLIENT LIST TYPE pubsub']],
    [
      'CLIENT KILL',
      ['CLIENT KILL 1.1.1.1:1', 'CLIENT KILL ID 0', 'CLIENT KILL ID x', 'CLIENT KILL ID 99999', 'CLIENT KILL'],
    ],
    [
      'CLIENT KILL, refused',
      ['CLIENT KILL USER x', 'CLIENT KILL TYPE x', 'CLIENT KILL SKIPME x', 'CLIENT KILL ID 1 ADDR'],
    ],
    ['CLIENT KILL of nobody', ['CLIENT KILL TYPE master', 'CLIENT KILL LADDR 1.1.1.1:1 USER default SKIPME no']],
    ['CLIENT UNBLOCK', ['CLIENT UNBLOCK 9999', 'CLIENT UNBLOCK x', 'CLIENT UNBLOCK 1 X', 'CLIENT UNBLOCK 1 ERROR x']],
    ['CLIENT PAUSE, refused', ['CLIENT PAUSE -1', 'CLIENT PAUSE x', 'CLIENT PAUSE 1 X', 'CLIENT PAUSE 1 ALL x']],
    ['CLIENT PAUSE 0', ['CLIENT PAUSE 0', 'CLIENT UNPAUSE', 'PING']],
    ['CLIENT NO-EVICT', ['CLIENT NO-EVICT ON', 'CLIENT NO-EVICT off', 'CLIENT NO-EVICT x']],
    ['unknown subcommands', ['CLIENT', 'CLIENT FOO', 'CLIENT ID 1', 'CLIENT REPLY x']],
    ['RESET', ['CLIENT SETNAME n', 'SELECT 3', 'MULTI', 'RESET', 'CLIENT GETNAME', 'EXEC', 'RESET x']],
    ['commands in MULTI', ['MULTI', 'CLIENT SETNAME n', 'CLIENT GETNAME', 'PING', 'SET k v', 'CLIENT LIST x', 'EXEC']],
    ['replies after HELLO', ['GET none', 'HELLO 2 SETNAME a SETNAME b', 'CLIENT GETNAME', 'GET none']],
  ])('%s', async (_name, commands) => {
    const { ours, theirs } = await both(`HELLO ${protocol}`, ...commands);
    const withoutId = (reply: string): string => reply.replace(/(\r\nid\r\n):\d+/, '$1:0');
    expect(ours.map(withoutId)).toEqual(theirs.map(withoutId));
  });
});

test('commands in one piece keep their order over a change of database', async () => {
  const commands = [
    'SET k zero',
    'SELECT 7',
    'GET k',
    'SET k seven',
    'SELECT 0',
    'GET k',
    'SELECT 7',
    'GET k',
    'DEL k',
  ];
  const { ours, theirs } = await both(...commands);
  expect(ours).toEqual(theirs);
  expect(ours[5]).toBe('$4\r\nzero\r\n');
});

test('commands in one piece keep their order over a change of protocol', async () => {
  const { ours } = await both('GET none', 'HELLO 3', 'GET none', 'HELLO 2', 'GET none');
  expect([ours[0], ours[2], ours[4]]).toEqual(['$-1\r\n', '_\r\n', '$-1\r\n']);
});

test('PING of a subscribed client has the form of a message in RESP2 alone', async () => {
  const { ours, theirs } = await both('SUBSCRIBE c', 'PING', 'PING x', 'RESET', 'PING');
  expect(ours).toEqual(theirs);
  expect(ours[1]).toBe('*2\r\n$4\r\npong\r\n$0\r\n\r\n');
  const three = await both('HELLO 3', 'SUBSCRIBE c', 'PING');
  expect(three.ours[2]).toBe('+PONG\r\n');
});

test('QUIT is answered, what came before it too, and what comes behind it is not carried out', async () => {
  const [wire, other] = await Promise.all([stand.connect(), stand.connect()]);
  await wire.send(Buffer.concat(['SET q 1', 'QUIT', 'SET q 2'].map(command)));
  expect((await wire.takeAll()).map(String)).toEqual(['+OK\r\n', '+OK\r\n']);
  expect(await pipeline(other, 'GET q', 'DEL q')).toEqual(['$1\r\n1\r\n', ':1\r\n']);
});

test('SELECT is refused while keys are watched, because the watch is bound to its database', async () => {
  const wire = await stand.connect();
  const replies = await pipeline(wire, 'WATCH w', 'SELECT 3', 'SELECT 0', 'UNWATCH', 'SELECT 3');
  expect(replies[1]).toMatch(/^-ERR SELECT .* WATCH/);
  expect([replies[2], replies[4]]).toEqual(['+OK\r\n', '+OK\r\n']);
});

describe('CLIENT REPLY', () => {
  test('OFF silences everything until ON, SKIP the next reply alone', async () => {
    const wire = await stand.connect();
    const commands = ['CLIENT REPLY OFF', 'SET r 1', 'PING', 'CLIENT REPLY SKIP', 'CLIENT REPLY ON', 'GET r'];
    await wire.send(Buffer.concat([...commands, 'CLIENT REPLY SKIP', 'SET r 2', 'GET r', 'DEL r'].map(command)));
    expect((await wire.take(4)).map(String)).toEqual(['+OK\r\n', '$1\r\n1\r\n', '$1\r\n2\r\n', ':1\r\n']);
  });

  test('RESET is answered though replies were off', async () => {
    const wire = await stand.connect();
    await wire.send(Buffer.concat(['CLIENT REPLY OFF', 'PING', 'RESET', 'PING'].map(command)));
    expect((await wire.take(2)).map(String)).toEqual(['+RESET\r\n', '+PONG\r\n']);
  });
});

describe('CLIENT LIST and INFO', () => {
  const namesOf = (line: string): string[] => [...line.matchAll(/(\S+?)=/g)].map(match => match[1] as string);

  test('have the fields of Redis in its order, and those of 7.2 for whoever told its library', async () => {
    const { ours, theirs } = await both('CLIENT INFO', 'CLIENT LIST');
    expect(namesOf(bodyOf(ours[0] as string))).toEqual(namesOf(bodyOf(theirs[0] as string)));
    const wire = await stand.connect();
    const replies = await pipeline(wire, 'CLIENT SETINFO LIB-NAME lib', 'CLIENT SETINFO lib-ver 1.2', 'CLIENT INFO');
    expect(bodyOf(replies[2] as string)).toMatch(/ resp=2 lib-name=lib lib-ver=1\.2\n$/);
  });

  test('SETINFO refuses what would spoil the list, in the words of 7.2', async () => {
    const wire = await stand.connect();
    expect(await pipeline(wire, 'CLIENT SETINFO foo x', 'CLIENT SETINFO lib-name a\tb')).toEqual([
      "-ERR Unrecognized option 'foo'\r\n",
      '-ERR lib-name cannot contain spaces, newlines or special characters.\r\n',
    ]);
  });

  test('tell what the client has set', async () => {
    const wire = await stand.connect();
    const set = ['HELLO 3 SETNAME me', 'SELECT 4', 'CLIENT NO-EVICT ON', 'SUBSCRIBE c', 'CLIENT INFO'];
    const line = bodyOf((await pipeline(wire, ...set))[4] as string);
    expect(line).toMatch(/ name=me .* flags=Pe db=4 sub=1 psub=0 .* cmd=client\|info user=default redir=-1 resp=3\n$/);
  });

  test('choose by type and by id', async () => {
    const [one, two] = await Promise.all([stand.connect(), stand.connect()]);
    const [id = ''] = await pipeline(one, 'CLIENT ID');
    await pipeline(one, 'SUBSCRIBE c');
    const [byType = '', byId = ''] = await pipeline(
      two,
      'CLIENT LIST TYPE pubsub',
      `CLIENT LIST ID ${id.slice(1, -2)}`,
    );
    expect(bodyOf(byType)).toContain(`id=${id.slice(1, -2)} `);
    expect(bodyOf(byId).trim().split('\n')).toHaveLength(1);
  });
});

describe('CLIENT KILL', () => {
  test('ends the connection named by its id, and no other', async () => {
    const [victim, killer] = await Promise.all([stand.connect(), stand.connect()]);
    const [id = ''] = await pipeline(victim, 'CLIENT ID');
    expect(await pipeline(killer, `CLIENT KILL ID ${id.slice(1, -2)}`)).toEqual([':1\r\n']);
    expect(await victim.takeAll()).toEqual([]);
    expect(await pipeline(killer, 'PING')).toEqual(['+PONG\r\n']);
  });

  test('answers first who kills itself, by address in the old form', async () => {
    const wire = await stand.connect();
    const line = bodyOf((await pipeline(wire, 'CLIENT INFO'))[0] as string);
    const address = / addr=(\S+) /.exec(line)?.[1];
    await wire.send(command(`CLIENT KILL ${address}`));
    expect((await wire.takeAll()).map(String)).toEqual(['+OK\r\n']);
  });
});

describe('CLIENT PAUSE', () => {
  test('WRITE lets reads go on and holds writes until UNPAUSE', async () => {
    const [writer, other] = await Promise.all([stand.connect(), stand.connect()]);
    await pipeline(other, 'CLIENT PAUSE 60000 WRITE');
    await writer.send(command('SET p 1'));
    expect(await pipeline(other, 'GET p')).toEqual(['$-1\r\n']);
    expect(writer.waiting).toBe(0);
    expect(await pipeline(other, 'CLIENT UNPAUSE')).toEqual(['+OK\r\n']);
    expect((await writer.take(1)).map(String)).toEqual(['+OK\r\n']);
    await pipeline(other, 'DEL p');
  });

  test('is not made shorter or weaker by another', async () => {
    const [wire, other] = await Promise.all([stand.connect(), stand.connect()]);
    await pipeline(other, 'CLIENT PAUSE 400', 'CLIENT PAUSE 1 WRITE');
    const begunMs = performance.now();
    await pipeline(wire, 'GET p');
    expect(performance.now() - begunMs).toBeGreaterThan(300);
  });
});

describe('CLIENT UNBLOCK', () => {
  test.each([
    ['TIMEOUT', '*-1\r\n'],
    ['ERROR', '-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n'],
  ])('lets a client that waits for data go by %s', async (mode, reply) => {
    const [blocked, other] = await Promise.all([stand.connect(), stand.connect()]);
    const [id = ''] = await pipeline(blocked, 'CLIENT ID');
    await blocked.send(command('BLPOP none 0'));
    const unblock = `CLIENT UNBLOCK ${id.slice(1, -2)} ${mode}`;
    await until(async () => (await pipeline(other, unblock))[0] === ':1\r\n');
    expect((await blocked.take(1)).map(String)).toEqual([reply]);
    expect(await pipeline(blocked, 'PING')).toEqual(['+PONG\r\n']);
    expect(await pipeline(other, unblock)).toEqual([':0\r\n']);
  });
});
