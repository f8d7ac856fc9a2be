/** A script that was loaded through the proxy is known on every shard, whatever the nodes forget. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StockRedis } from '../differential/stock-redis.ts';
import { encode, type Wire } from '../differential/wire.ts';
import { keyOn, send, startAgain, take } from './keys.ts';
import { pipeline, Stand, until } from './stand.ts';

let stand: Stand;
let wire: Wire;
let keys: string[];

beforeAll(async () => {
  stand = await Stand.start(3);
  wire = await stand.connect();
  keys = [0, 1, 2].map(shard => keyOn(stand, shard));
});
afterAll(() => stand.stop());

const shaOf = (body: string): string => createHash('sha1').update(body).digest('hex');

async function atNode(shard: number, ...commands: string[]): Promise<string[]> {
  return pipeline(await stand.connectTo(stand.nodes[shard] as StockRedis), ...commands);
}

function raw(...args: string[]): Buffer {
  return encode({ args: args.map(arg => Buffer.from(arg)), inline: false, lead: '', answered: true });
}

test('SCRIPT LOAD makes a script known on every shard, SCRIPT FLUSH unknown', async () => {
  const body = 'return {KEYS[1], 1}';
  const sha = shaOf(body);
  expect((await wire.ask('SCRIPT', 'LOAD', body)).toString()).toBe(`$40\r\n${sha}\r\n`);
  for (const key of keys) {
    expect(await pipeline(wire, `EVALSHA ${sha} 1 ${key}`)).toEqual([`*2\r\n$${key.length}\r\n${key}\r\n:1\r\n`]);
  }
  const replies = await pipeline(wire, `SCRIPT EXISTS ${sha} x`, 'SCRIPT FLUSH', `SCRIPT EXISTS ${sha}`);
  expect(replies).toEqual(['*2\r\n:1\r\n:0\r\n', '+OK\r\n', '*1\r\n:0\r\n']);
  for (const key of keys) {
    expect((await pipeline(wire, `EVALSHA ${sha} 1 ${key}`))[0]).toMatch(/^-NOSCRIPT /);
  }
});

test('an EVAL makes its script known on every shard, in the same pipeline', async () => {
  const body = 'return "by eval"';
  await wire.send(Buffer.concat([raw('EVAL', body, '1', keys[0] as string)]));
  await send(wire, ...keys.map(key => `EVALSHA ${shaOf(body)} 1 ${key}`));
  expect(await take(wire, 4)).toEqual(Array.from({ length: 4 }, () => '$7\r\nby eval\r\n'));
});

test('what SCRIPT FLUSH is followed by in the same pipeline is known again', async () => {
  const body = 'return "after flush"';
  await send(wire, 'SCRIPT FLUSH');
  await wire.send(raw('EVAL', body, '1', keys[0] as string));
  await take(wire, 2);
  for (const key of keys) {
    expect(await pipeline(wire, `EVALSHA ${shaOf(body)} 1 ${key}`)).toEqual(['$11\r\nafter flush\r\n']);
  }
});

describe('what SCRIPT FLUSH follows in the same pipeline is unknown', () => {
  const body = 'return "before flush"';

  test.each<[string, string[][], number]>([
    ['SCRIPT LOAD', [['SCRIPT', 'LOAD', body]], 1],
    ['EVAL', [['EVAL', body, '0']], 1],
    ['EVAL in a block', [['MULTI'], ['EVAL', body, '0'], ['EXEC']], 3],
  ])('%s', async (_name, commands, replies) => {
    const flush = [
      ['SCRIPT', 'FLUSH'],
      ['SCRIPT', 'EXISTS', shaOf(body)],
    ];
    await wire.send(Buffer.concat([...commands, ...flush].map(words => raw(...words))));
    expect((await take(wire, replies + 2)).slice(-2)).toEqual(['+OK\r\n', '*1\r\n:0\r\n']);
  });
});

describe('a script that does not compile', () => {
  const body = 'return (';

  test('is not known afterwards, and the replies of others stay where they belong', async () => {
    expect((await wire.ask('EVAL', body, '1', keys[0] as string)).toString()).toMatch(/^-ERR Error compiling script/);
    const others = await Promise.all(keys.map(() => stand.connect()));
    await Promise.all(others.map((other, i) => pipeline(other, `SET ${keys[i]} own${i}`)));
    for (const key of keys) {
      const asked = others.map((other, i) => pipeline(other, `GET ${keys[i]}`));
      expect((await pipeline(wire, `EVALSHA ${shaOf(body)} 1 ${key}`))[0]).toMatch(/^-NOSCRIPT /);
      expect(await Promise.all(asked)).toEqual([0, 1, 2].map(i => [`$4\r\nown${i}\r\n`]));
    }
    expect(await pipeline(wire, `SCRIPT EXISTS ${shaOf(body)}`)).toEqual(['*1\r\n:0\r\n']);
  });

  test('sent in one piece with its EVALSHA to another shard, disturbs nobody', async () => {
    const other = await stand.connect();
    for (const key of keys) {
      await wire.send(raw('EVAL', body, '1', keys[0] as string));
      await send(wire, `EVALSHA ${shaOf(body)} 1 ${key}`);
      expect(await pipeline(other, ...keys.map(one => `STRLEN ${one}x`))).toEqual([':0\r\n', ':0\r\n', ':0\r\n']);
      const [first, second] = await take(wire, 2);
      expect(first).toMatch(/^-ERR Error compiling script/);
      expect(second).toMatch(/^-NOSCRIPT /);
      expect(await pipeline(wire, ...keys.map(one => `STRLEN ${one}x`))).toEqual([':0\r\n', ':0\r\n', ':0\r\n']);
    }
  });
});

describe('a node that has lost its scripts', () => {
  const body = 'return redis.call("INCR", KEYS[1])';
  const sha = shaOf(body);

  test('by SCRIPT FLUSH at the node is given them again unseen, and the script runs once', async () => {
    await wire.ask('SCRIPT', 'LOAD', body);
    for (const [shard, key] of keys.entries()) {
      await pipeline(wire, `DEL ${key}`);
      await atNode(shard, 'SCRIPT FLUSH');
      expect(await pipeline(wire, `EVALSHA ${sha} 1 ${key}`)).toEqual([':1\r\n']);
    }
  });

  test('tells a pipeline so at most once: what is sent after that answer finds the script', async () => {
    await wire.ask('SCRIPT', 'LOAD', body);
    const key = keys[1] as string;
    await atNode(1, 'SCRIPT FLUSH');
    await pipeline(wire, `EVALSHA ${sha} 1 ${key}`, `EVALSHA ${sha} 1 ${key}`);
    const replies = await pipeline(wire, `EVALSHA ${sha} 1 ${key}`, `EVALSHA ${sha} 1 ${key}`);
    expect(replies).toEqual([expect.stringMatching(/^:/), expect.stringMatching(/^:/)]);
  });

  test('by a restart is given them again unseen', async () => {
    const own = await Stand.start(2);
    let stopAgain: (() => Promise<void>) | null = null;
    try {
      const one = await own.connect();
      await one.ask('SCRIPT', 'LOAD', body);
      const [node] = own.nodes as [StockRedis];
      await node.stop();
      await until(() => own.proxy.waitingFor().length === 1);
      stopAgain = await startAgain(own, node.port);
      expect(await pipeline(one, `EVALSHA ${sha} 1 ${keyOn(own, 0)}`)).toEqual([':1\r\n']);
    } finally {
      await own.stop();
      await stopAgain?.();
    }
  });
});

test('a script that names redis.set_repl is refused however it comes', async () => {
  const body = 'redis.set_repl(redis.REPL_NONE)';
  const refused = /^-ERR .*set_repl/;
  expect((await wire.ask('EVAL', body, '0')).toString()).toMatch(refused);
  expect((await wire.ask('SCRIPT', 'LOAD', body)).toString()).toMatch(refused);
  expect((await wire.ask('FUNCTION', 'LOAD', `#!lua name=r\n${body}`)).toString()).toMatch(refused);
  await pipeline(wire, 'MULTI');
  expect((await wire.ask('EVAL', body, '0')).toString()).toMatch(refused);
  expect((await pipeline(wire, 'EXEC'))[0]).toMatch(/^-EXECABORT /);
});

test('keys of several shards are refused', async () => {
  const [one, two] = keys as [string, string];
  expect((await wire.ask('EVAL', 'return 1', '2', one, two)).toString()).toMatch(/^-CROSSSLOT /);
});

describe('FUNCTION', () => {
  const library = `#!lua name=lib
redis.register_function('own_get', function(keys) return redis.call('GET', keys[1]) end)`;

  test('a library is loaded on every shard, and gone from every shard', async () => {
    expect((await wire.ask('FUNCTION', 'LOAD', library)).toString()).toBe('$3\r\nlib\r\n');
    for (const key of keys) {
      await pipeline(wire, `SET ${key} f`);
      expect(await pipeline(wire, `FCALL own_get 1 ${key}`)).toEqual(['$1\r\nf\r\n']);
    }
    expect((await wire.ask('FUNCTION', 'LOAD', library)).toString()).toMatch(/^-ERR Library 'lib' already exists/);
    expect(await pipeline(wire, 'FUNCTION DELETE lib')).toEqual(['+OK\r\n']);
    for (const shard of [0, 1, 2]) expect(await atNode(shard, 'FUNCTION LIST')).toEqual(['*0\r\n']);
  });

  test('where one shard refuses, the whole says so, and REPLACE mends it', async () => {
    await (await stand.connectTo(stand.nodes[1] as StockRedis)).ask('FUNCTION', 'LOAD', library);
    expect((await wire.ask('FUNCTION', 'LOAD', library)).toString()).toMatch(/^-ERR Library 'lib' already exists .*s2/);
    // It stays on the others: instances of a program that load it at one time must not undo each other's.
    for (const shard of [0, 2]) expect((await atNode(shard, 'FUNCTION LIST'))[0]).toMatch(/^\*1/);
    expect((await wire.ask('FUNCTION', 'LOAD', 'REPLACE', library)).toString()).toBe('$3\r\nlib\r\n');
    for (const key of keys) expect((await pipeline(wire, `FCALL own_get 1 ${key}`))[0]).toMatch(/^\$/);
    await pipeline(wire, 'FUNCTION FLUSH');
  });
});

describe('FUNCTION LOAD while a shard is away', () => {
  const library = `#!lua name=lib
redis.register_function('own', function() return 1 end)`;

  test('leaves no half behind, and says where it failed and what mends it', async () => {
    const own = await Stand.start(3, '  hold: 50ms');
    try {
      await (own.nodes[1] as StockRedis).stop();
      await until(() => own.proxy.waitingFor().length === 1);
      const one = await own.connect();
      const lists = async () => {
        const there = [own.nodes[0], own.nodes[2]] as StockRedis[];
        return Promise.all(there.map(async node => pipeline(await own.connectTo(node), 'FUNCTION LIST')));
      };
      const refused = (await one.ask('FUNCTION', 'LOAD', library)).toString();
      expect(refused).toMatch(/^-CLUSTERDOWN .*not loaded on s2; deleted again .*FUNCTION LOAD REPLACE/);
      expect(await lists()).toEqual([['*0\r\n'], ['*0\r\n']]);
      const replaced = (await one.ask('FUNCTION', 'LOAD', 'REPLACE', library)).toString();
      expect(replaced).toMatch(/^-CLUSTERDOWN .*not loaded on s2; the other shards may have it now; .*REPLACE/);
      expect(await lists()).toEqual([[expect.stringMatching(/^\*1/)], [expect.stringMatching(/^\*1/)]]);
    } finally {
      await own.stop();
    }
  });

  test('is undone before what the same client sends next', async () => {
    const own = await Stand.start(2, '  hold: 50ms');
    try {
      await (own.nodes[1] as StockRedis).stop();
      await until(() => own.proxy.waitingFor().length === 1);
      const one = await own.connect();
      await one.send(Buffer.concat([raw('FUNCTION', 'LOAD', library), raw('FUNCTION', 'LOAD', 'REPLACE', library)]));
      await one.take(2);
      const node = await own.connectTo(own.nodes[0] as StockRedis);
      expect(await pipeline(node, 'FUNCTION LIST')).toEqual([expect.stringMatching(/^\*1/)]);
    } finally {
      await own.stop();
    }
  });
});

describe('a node that a script keeps busy', () => {
  beforeAll(async () => {
    for (const shard of [0, 1, 2]) await atNode(shard, 'CONFIG SET busy-reply-threshold 20');
  });

  /** Waits until the node refuses others for a script's sake. */
  async function busy(node: StockRedis, from = stand): Promise<void> {
    const other = await from.connectTo(node);
    await until(async () => (await pipeline(other, 'PING'))[0]?.startsWith('-BUSY') === true);
  }

  test('is freed by SCRIPT KILL, and by nothing else is the script in its way', async () => {
    const [runner, stuck, killer] = await Promise.all([stand.connect(), stand.connect(), stand.connect()]);
    const key = keys[1] as string;
    await runner.send(raw('EVAL', 'while true do end', '1', key));
    await busy(stand.nodes[1] as StockRedis);
    // A command that hangs behind the script must not hold up the kill that frees it; the next one waits for the kill.
    await send(stuck, `STRLEN ${key}`);
    expect(await pipeline(killer, 'HELLO 3', 'SELECT 3', 'SCRIPT KILL', `STRLEN ${key}`)).toEqual([
      expect.stringMatching(/^%/),
      '+OK\r\n',
      '+OK\r\n',
      ':0\r\n',
    ]);
    expect((await take(runner, 1))[0]).toMatch(/^-ERR .*killed by user/i);
    expect(await take(stuck, 1)).toEqual([expect.stringMatching(/^:/)]);
    expect(await pipeline(killer, 'SCRIPT KILL', 'FUNCTION KILL')).toEqual([
      expect.stringMatching(/^-NOTBUSY /),
      expect.stringMatching(/^-NOTBUSY /),
    ]);
  });

  test('is freed by a client whose own earlier command hangs behind the script', async () => {
    const [runner, killer] = await Promise.all([stand.connect(), stand.connect()]);
    const key = keys[1] as string;
    await runner.send(raw('EVAL', 'while true do end', '1', key));
    await busy(stand.nodes[1] as StockRedis);
    expect(await pipeline(killer, `EXISTS ${key}none`, 'SCRIPT KILL')).toEqual([':0\r\n', '+OK\r\n']);
    await take(runner, 1);
  });

  test('is freed by FUNCTION KILL where it is a function, which SCRIPT KILL does not end', async () => {
    const [runner, killer] = await Promise.all([stand.connect(), stand.connect()]);
    const library = '#!lua name=loop\nredis.register_function("loop", function() while true do end end)';
    await runner.ask('FUNCTION', 'LOAD', library);
    await runner.send(raw('FCALL', 'loop', '1', keys[2] as string));
    await busy(stand.nodes[2] as StockRedis);
    expect(await pipeline(killer, 'SCRIPT KILL', 'FUNCTION KILL')).toEqual([
      expect.stringMatching(/^-BUSY /),
      '+OK\r\n',
    ]);
    await take(runner, 1);
    await pipeline(killer, 'FUNCTION FLUSH');
  });

  test('with a script that has written stays busy, and the client is told why; a node that is away is told as well', async () => {
    const own = await Stand.start(2);
    try {
      const [runner, killer] = await Promise.all([own.connect(), own.connect()]);
      const [one, two] = own.nodes as [StockRedis, StockRedis];
      await pipeline(await own.connectTo(two), 'CONFIG SET busy-reply-threshold 20');
      const key = keyOn(own, 1);
      await runner.send(raw('EVAL', "redis.call('SET', KEYS[1], 1) while true do end", '1', key));
      await busy(two, own);
      expect(await pipeline(killer, 'SCRIPT KILL')).toEqual([expect.stringMatching(/^-UNKILLABLE /)]);
      await Promise.all([one.stop(), two.stop()]);
      expect(await pipeline(killer, 'SCRIPT KILL')).toEqual([expect.stringMatching(/^-CLUSTERDOWN .*shard s1: /)]);
    } finally {
      await own.stop();
    }
  });
});

test('scripts without end are not remembered without end', async () => {
  const one = await stand.connect();
  const commands: Buffer[] = [];
  for (let i = 0; i < 10_500; i += 1) commands.push(raw('EVAL', `return ${i}`, '1', keys[0] as string));
  await one.send(Buffer.concat(commands));
  await one.take(10_500);
  const [known] = await pipeline(one, `SCRIPT EXISTS ${shaOf('return 10499')} ${shaOf('return 10000')}`);
  expect(known).toBe('*2\r\n:1\r\n:1\r\n');
  expect(stand.proxy.scripts.get(shaOf('return 1'))).toBeUndefined();
});
