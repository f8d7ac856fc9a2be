/** MULTI, EXEC and WATCH behave as on one Redis, and nothing of a block spoils a connection that others share. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import { clientOf, holdWrites, keyOn, lent, send, take } from './keys.ts';
import { command, pipeline, Stand, until } from './stand.ts';

let stand: Stand;
let single: Stand;
let splitting: Stand;
let stock: StockRedis;
let a: string;
let b: string;

beforeAll(async () => {
  [stand, single, splitting, stock] = await Promise.all([
    Stand.start(3, '  limits: { exclusive: 2 }'),
    Stand.start(1),
    Stand.start(3, '  transactions: split'),
    startStockRedis(),
  ]);
  a = keyOn(stand, 0, 'a');
  b = keyOn(stand, 1, 'b');
});
afterAll(() => Promise.all([stand.stop(), single.stop(), splitting.stop(), stock.stop()]));

const CROSSSLOT = /^-CROSSSLOT /;
const EXECABORT = '-EXECABORT Transaction discarded because of previous errors.\r\n';

describe.each(['2', '3'])('in RESP%s, byte for byte as stock Redis', protocol => {
  test.each([
    ['an empty block', ['MULTI', 'EXEC']],
    ['a block', ['MULTI', 'SET {t}a 1', 'INCR {t}a', 'GET {t}a', 'EXEC']],
    ['an error inside of a block', ['MULTI', 'SET {t}s x', 'INCR {t}s', 'SET {t}s y', 'EXEC', 'GET {t}s']],
    ['without MULTI', ['EXEC', 'DISCARD', 'UNWATCH']],
    ['MULTI inside MULTI spoils nothing', ['MULTI', 'MULTI', 'SET {t}n 1', 'EXEC']],
    ['WATCH inside MULTI spoils nothing', ['MULTI', 'WATCH {t}w', 'SET {t}w 1', 'EXEC']],
    ['an unknown command spoils the block', ['MULTI', 'NOSUCH x', 'SET {t}u 1', 'EXEC', 'GET {t}u']],
    ['wrong arity spoils the block', ['MULTI', 'SET {t}u', 'EXEC', 'GET {t}u']],
    ['DISCARD', ['SET {t}d 1', 'MULTI', 'SET {t}d 2', 'DISCARD', 'GET {t}d', 'EXEC']],
    ['SELECT inside of a block', ['MULTI', 'SELECT 3', 'SET {t}db 1', 'EXEC', 'GET {t}db', 'SELECT 0', 'GET {t}db']],
    ['SELECT of no database', ['MULTI', 'SELECT 99', 'SET {t}k 1', 'EXEC', 'GET {t}k']],
    ['CLIENT inside of a block', ['MULTI', 'CLIENT SETNAME me', 'SET {t}c 1', 'CLIENT GETNAME', 'EXEC']],
    ['PING and ECHO inside of a block', ['MULTI', 'PING', 'ECHO x', 'EXEC']],
    ['SLOWLOG inside of a block', ['MULTI', 'SLOWLOG GET 0', 'SET {t}l 1', 'SLOWLOG GET -2', 'SLOWLOG RESET', 'EXEC']],
    ['nothing blocks inside of a block', ['MULTI', 'BLPOP {t}none 0', 'EXEC']],
    ['WATCH without a change', ['WATCH {t}w', 'MULTI', 'SET {t}w 5', 'EXEC', 'GET {t}w']],
    ['WATCH, then a change of its own', ['WATCH {t}w', 'SET {t}w 7', 'MULTI', 'SET {t}w 8', 'EXEC', 'GET {t}w']],
    ['UNWATCH', ['WATCH {t}w', 'SET {t}w 7', 'UNWATCH', 'MULTI', 'SET {t}w 8', 'EXEC']],
    ['WATCH ends with EXEC', ['WATCH {t}w', 'MULTI', 'EXEC', 'SET {t}w 1', 'MULTI', 'SET {t}w 2', 'EXEC']],
    ['RESET inside of a block', ['MULTI', 'SET {t}r 1', 'RESET', 'EXEC', 'GET {t}r']],
    ['EVAL and EVALSHA inside of a block', ['MULTI', 'EVAL return{1} 0', 'EXEC', 'MULTI', 'EVALSHA ffff 0', 'EXEC']],
  ])('%s', async (_name, commands) => {
    const [one, measure] = await Promise.all([stand.connect(), stand.connectTo(stock)]);
    const sent = protocol === '3' ? ['HELLO 3', ...commands] : commands;
    const [ours, theirs] = await Promise.all([pipeline(one, ...sent), pipeline(measure, ...sent)]);
    expect(ours.slice(-commands.length)).toEqual(theirs.slice(-commands.length));
  });
});

test('QUIT inside of a block ends the connection at once, and nothing of the block is carried out', async () => {
  const wire = await stand.connect();
  await send(wire, 'MULTI', `SET ${a}quit 1`, 'QUIT');
  expect((await wire.takeAll()).map(String)).toEqual(['+OK\r\n', '+QUEUED\r\n', '+OK\r\n']);
  expect(await pipeline(await stand.connect(), `GET ${a}quit`)).toEqual(['$-1\r\n']);
});

test('keys of several shards are refused at once, and EXEC says EXECABORT', async () => {
  const wire = await stand.connect();
  const replies = await pipeline(wire, 'MULTI', `SET ${a} 1`, `SET ${b} 1`, 'EXEC', `GET ${a}`);
  expect(replies[2]).toMatch(CROSSSLOT);
  expect(replies.slice(3)).toEqual([EXECABORT, '$-1\r\n']);
});

describe('what no shared connection may ever see', () => {
  test.each(['SUBSCRIBE c', 'PSUBSCRIBE p', 'SSUBSCRIBE s', 'UNSUBSCRIBE', 'SCAN 0', 'CONFIG GET requirepass'])(
    '%s is refused inside of a block even where there is one shard, and the others go on',
    async words => {
      const wire = await single.connect();
      const [, refused, aborted] = await pipeline(wire, 'MULTI', words, 'EXEC');
      expect(refused).toMatch(/^-ERR .* cannot be part of a transaction\r\n$/);
      expect(aborted).toBe(EXECABORT);
      expect(await pipeline(await single.connect(), 'SET k 1', 'GET k')).toEqual(['+OK\r\n', '$1\r\n1\r\n']);
    },
  );

  test('SELECT in a block over several shards is refused, in whatever order', async () => {
    const wire = await splitting.connect();
    for (const words of [
      ['SELECT 3', `SET ${a} 1`, `SET ${b} 1`],
      [`SET ${a} 1`, `SET ${b} 1`, 'SELECT 3'],
    ]) {
      const replies = await pipeline(wire, 'MULTI', ...words, 'EXEC');
      expect(replies[3]).toMatch(/^-ERR SELECT cannot be part of a transaction over several shards/);
      expect(replies[4]).toBe(EXECABORT);
    }
  });

  test('HELLO and CLIENT in a block over several shards change the client alone', async () => {
    const [wire, other] = await Promise.all([splitting.connect(), splitting.connect()]);
    const replies = await pipeline(wire, 'MULTI', `SET ${a} 1`, 'CLIENT SETNAME me', 'HELLO 3', `SET ${b} 1`, 'EXEC');
    expect(replies[5]).toMatch(/^\*4\r\n\+OK\r\n\+OK\r\n%7\r\n.*\+OK\r\n$/s);
    expect(await pipeline(wire, 'CLIENT GETNAME', 'HGETALL none')).toEqual(['$2\r\nme\r\n', '%0\r\n']);
    expect(await pipeline(other, `HGETALL ${a}none`, `HGETALL ${b}none`)).toEqual(['*0\r\n', '*0\r\n']);
  });
});

describe('transactions: split', () => {
  test('one block per shard, replies in the order asked', async () => {
    const wire = await splitting.connect();
    const words = ['MULTI', `SET ${a} 1`, `SET ${b} 2`, `GET ${a}`, 'PING', `GET ${b}`, 'EXEC'];
    expect((await pipeline(wire, ...words)).at(-1)).toBe('*5\r\n+OK\r\n+OK\r\n$1\r\n1\r\n+PONG\r\n$1\r\n2\r\n');
  });

  test('EXEC behind a command that is not answered yet is not forgotten', async () => {
    const wire = await splitting.connect();
    const letGo = await holdWrites(splitting, splitting.nodes[0] as StockRedis);
    await send(wire, `SET ${a}late 1`, 'MULTI', `SET ${a} 3`, `SET ${b} 4`, 'EXEC');
    await letGo();
    expect((await take(wire, 5)).at(-1)).toBe('*2\r\n+OK\r\n+OK\r\n');
  });
});

describe('GETS, CAS and SPUBLISH inside of a block', () => {
  test('GETS and CAS work as outside', async () => {
    const wire = await stand.connect();
    const version = 'da4b9237bacccdf19c0760cab7aec4a8359010b0'; // sha1 of "2"
    const words = ['MULTI', `SET ${a}cas 2`, `GETS ${a}cas`, `CAS ${a}cas ${version} 3`, `CAS ${a}cas x 4`, 'EXEC'];
    expect((await pipeline(wire, ...words)).at(-1)).toBe(
      `*4\r\n+OK\r\n*2\r\n$1\r\n2\r\n$40\r\n${version}\r\n+OK\r\n$-1\r\n`,
    );
    expect((await pipeline(wire, 'MULTI', `CAS ${a}cas x 4 NX`, 'EXEC')).slice(1)).toEqual([
      '-ERR syntax error\r\n',
      EXECABORT,
    ]);
  });

  test('SPUBLISH belongs to the shard of its channel', async () => {
    const [wire, listener] = await Promise.all([stand.connect(), stand.connect()]);
    const channel = keyOn(stand, 2, 'ch');
    await pipeline(listener, `SSUBSCRIBE ${channel}`);
    const replies = await pipeline(wire, 'MULTI', `SET ${a} 1`, `SPUBLISH ${channel} x`, 'EXEC');
    expect(replies[2]).toMatch(CROSSSLOT);
    expect((await pipeline(wire, 'MULTI', `SPUBLISH ${channel} y`, 'EXEC')).at(-1)).toBe('*1\r\n:1\r\n');
    expect((await take(listener, 1))[0]).toContain('\r\ny\r\n');
  });
});

test('an EVALSHA in a block finds its script after the node has lost it unseen', async () => {
  const wire = await stand.connect();
  const sha = (await wire.ask('SCRIPT', 'LOAD', 'return "here"')).toString().split('\r\n')[1];
  await pipeline(await stand.connectTo(stand.nodes[0] as StockRedis), 'SCRIPT FLUSH');
  const words = ['MULTI', `EVALSHA ${sha} 1 ${a}`, `EVALSHA ${sha} 1 ${a}`, 'EXEC'];
  expect((await pipeline(wire, ...words)).at(-1)).toBe('*2\r\n$4\r\nhere\r\n$4\r\nhere\r\n');
});

describe('WATCH', () => {
  test('a change by another client makes EXEC answer nil, and the connection serves the next watch', async () => {
    const [wire, other] = await Promise.all([stand.connect(), stand.connect()]);
    for (let round = 0; round < 3; round += 1) {
      await pipeline(wire, `WATCH ${a}`);
      await pipeline(other, `INCR ${a}seen`, `SET ${a} ${round}`);
      expect((await pipeline(wire, 'MULTI', `SET ${a} mine`, 'EXEC')).at(-1)).toBe('*-1\r\n');
    }
    expect(await pipeline(wire, 'MULTI', `SET ${a} mine`, 'EXEC')).toHaveLength(3);
    expect(lent(stand)).toBe(0);
  });

  test('keys of another shard cannot be watched besides', async () => {
    const wire = await stand.connect();
    const [, refused] = await pipeline(wire, `WATCH ${a}`, `WATCH ${b}`, 'UNWATCH');
    expect(refused).toMatch(CROSSSLOT);
    expect(lent(stand)).toBe(0);
  });

  test('EXEC answers nil when the watching connection was lost, though another WATCH came in between', async () => {
    const wire = await stand.connect();
    const client = await clientOf(stand, wire);
    await pipeline(wire, `WATCH ${a}`);
    const node = await stand.connectTo(stand.nodes[0] as StockRedis);
    await pipeline(node, `CLIENT KILL ID ${client.watch?.lane.clientId}`);
    await until(() => client.watch?.lane.closed === true);
    expect((await pipeline(wire, `WATCH ${a}more`, 'MULTI', `SET ${a} mine`, 'EXEC')).at(-1)).toBe('*-1\r\n');
    expect(lent(stand)).toBe(0);
  });

  test('a client that leaves gives its connection back, in whatever state', async () => {
    for (const words of [[`WATCH ${a}`], [`WATCH ${a}`, 'MULTI', `SET ${a} 1`], ['MULTI', 'SELECT 1', `GET ${a}`]]) {
      const wire = await stand.connect();
      await pipeline(wire, ...words);
      wire.close();
      await until(() => lent(stand) === 0);
    }
  });

  test('as many as are allowed may watch at a time; one more is told so, and served when one has left', async () => {
    const [one, two, three] = await Promise.all([stand.connect(), stand.connect(), stand.connect()]);
    await Promise.all([pipeline(one, `WATCH ${a}`), pipeline(two, `WATCH ${a}`)]);
    expect((await pipeline(three, `WATCH ${a}`))[0]).toMatch(/^-OVERLOADED .*limits\.exclusive/);
    expect((await pipeline(three, 'MULTI', 'SELECT 1', `GET ${a}`, 'EXEC', 'PING')).slice(3)).toEqual([
      expect.stringMatching(/^-OVERLOADED .*limits\.exclusive/),
      '+PONG\r\n',
    ]);
    await pipeline(one, 'UNWATCH');
    expect(await pipeline(three, `WATCH ${a}`, 'UNWATCH')).toEqual(['+OK\r\n', '+OK\r\n']);
    await pipeline(two, 'DISCARD', 'UNWATCH');
  });
});

test.each([['EXEC'], ['EXEC x'], ['DISCARD'], ['RESET'], ['QUIT']])(
  'what is queued counts as held until %s, and beyond the bound more is refused',
  async last => {
    const own = await Stand.start(1, '  limits: { heldBytes: 1mb, bulk: 1mb }');
    try {
      const [wire, other] = await Promise.all([own.connect(), own.connect()]);
      const block = ['MULTI', ...Array.from({ length: 40 }, () => `SET k ${'v'.repeat(20_000)}`)];
      expect((await pipeline(wire, ...block)).slice(1)).toEqual(Array.from({ length: 40 }, () => '+QUEUED\r\n'));
      const refused = (await pipeline(other, ...block)).filter(reply => reply.startsWith('-OVERLOADED '));
      expect(refused.length).toBeGreaterThan(20);
      await pipeline(wire, last);
      if (last === 'QUIT') await wire.takeAll();
      await pipeline(other, 'DISCARD');
      await until(() => own.proxy.pool.heldBytes < 300_000);
      expect(own.proxy.pool.heldBytes).toBeGreaterThanOrEqual(0);
    } finally {
      await own.stop();
    }
  },
);

test('a block is one piece: no command of another client comes in between', async () => {
  const [one, two] = await Promise.all([stand.connect(), stand.connect()]);
  const block = ['MULTI', ...Array.from({ length: 50 }, () => `INCR ${a}count`), 'EXEC'];
  await pipeline(one, `SET ${a}count 0`);
  const commands = Buffer.concat(Array.from({ length: 20 }, () => command(`INCRBY ${a}count 1000`)));
  await Promise.all([send(one, ...block), two.send(commands)]);
  const reply = (await take(one, 52)).at(-1) as string;
  const numbers = reply.match(/:\d+/g)?.map(text => Number(text.slice(1))) ?? [];
  expect(numbers).toHaveLength(50);
  expect(numbers.map(number => number - (numbers[0] as number))).toEqual(numbers.map((_, i) => i));
  await two.take(20);
});
