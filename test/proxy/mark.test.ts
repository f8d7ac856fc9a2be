/** The mark on a node: no client sees, loses or calls it, and all else is as on a stock server that has none. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import { encode, type Wire } from '../differential/wire.ts';
import { bodyOf, pipeline, Stand, until } from './stand.ts';

const MARK =
  '#!lua name=ringside_mark\n-- {"counter":7}\nredis.register_function(\'ringside_mark\', function() return 0 end)';
const library = (name: string, functionName = `${name}_f`): string =>
  `#!lua name=${name}\nredis.register_function('${functionName}', function() return '${name}' end)`;

let stand: Stand;
let stock: StockRedis;
let wire: Wire;
let measure: Wire;
let direct: Wire[];

beforeAll(async () => {
  [stand, stock] = await Promise.all([Stand.start(2), startStockRedis()]);
  [wire, measure] = await Promise.all([stand.connect(), stand.connectTo(stock)]);
  direct = await Promise.all(stand.nodes.map(node => stand.connectTo(node)));
});
afterAll(() => Promise.all([stand.stop(), stock.stop()]));

beforeEach(async () => {
  await measure.ask('FUNCTION', 'FLUSH');
  for (const node of direct) {
    await node.ask('FUNCTION', 'FLUSH');
    await node.ask('FUNCTION', 'LOAD', MARK);
  }
});

type Words = readonly (string | Buffer)[];

async function both(...words: Words): Promise<[string, string]> {
  const bytes = encode({
    args: words.map(word => Buffer.from(word as string)),
    inline: false,
    lead: '',
    answered: true,
  });
  await Promise.all([wire.send(bytes), measure.send(bytes)]);
  const [ours, theirs] = await Promise.all([wire.take(1), measure.take(1)]);
  return [String(ours[0]), String(theirs[0])];
}

async function alike(...words: Words): Promise<string> {
  const [ours, theirs] = await both(...words);
  expect(ours, words.join(' ').slice(0, 80)).toBe(theirs);
  return ours;
}

/** What every node holds, by name. */
async function onNodes(): Promise<string[]> {
  return Promise.all(
    direct.map(async node => {
      const list = String(await node.ask('FUNCTION', 'LIST'));
      return [...list.matchAll(/library_name\r\n\$\d+\r\n(\w+)/g)]
        .map(match => match[1])
        .sort()
        .join(' ');
    }),
  );
}

const marks = async (): Promise<string[]> =>
  Promise.all(
    direct.map(async node => String(await node.ask('FUNCTION', 'LIST', 'LIBRARYNAME', 'ringside_mark', 'WITHCODE'))),
  );

async function dump(node: Wire): Promise<Buffer> {
  return Buffer.from(bodyOf(await node.ask('FUNCTION', 'DUMP')), 'latin1');
}

describe.each(['2', '3'])('RESP%s: as a stock server without it', protocol => {
  test('LIST, STATS and DUMP, with libraries and without', async () => {
    const greeted = await both('HELLO', protocol);
    expect(greeted[0]).toContain('proto');
    for (const words of [
      ['FUNCTION', 'LIST'],
      ['FUNCTION', 'DUMP'],
      ['FUNCTION', 'STATS'],
    ])
      await alike(...words);
    await alike('FUNCTION', 'LOAD', library('a'));
    await alike('FUNCTION', 'LIST', 'LIBRARYNAME', 'ringside*');
    await alike('FUNCTION', 'LIST', 'WITHCODE');
    await alike('FUNCTION', 'LIST', 'LIBRARYNAME', '*', 'WITHCODE');
    for (const words of [
      ['FUNCTION', 'DUMP'],
      ['FUNCTION', 'STATS'],
      ['FUNCTION', 'LIST', 'X'],
    ])
      await alike(...words);
    expect(String(await wire.ask('INFO', 'memory'))).toMatch(/number_of_functions:1\r\nnumber_of_libraries:1\r\n/);
    await both('HELLO', '2');
  });
});

test('DELETE and FCALL of it find nothing, in a block either', async () => {
  await alike('FUNCTION', 'DELETE', 'ringside_mark');
  await alike('FCALL', 'ringside_mark', '0');
  await alike('FCALL_RO', 'ringside_mark', '1', 'k');
  for (const words of [['MULTI'], ['FCALL', 'ringside_mark', '0'], ['SET', 'k', 'v'], ['EXEC']]) await alike(...words);
  expect(await onNodes()).toEqual(['ringside_mark', 'ringside_mark']);
});

test('it is not overwritten, by LOAD or by RESTORE, however its name is written', async () => {
  const before = await marks();
  const refused = /^-ERR Library 'ringside_mark' is refused by Ringside/;
  for (const name of ['ringside_mark', '"ringside_mark"', '"\\x72ingside_mark"', "'ringside_mark'"]) {
    const code = library(name, 'other');
    expect(String(await wire.ask('FUNCTION', 'LOAD', code))).toMatch(refused);
    expect(String(await wire.ask('FUNCTION', 'LOAD', 'REPLACE', code))).toMatch(refused);
  }
  const payload = await dump(direct[0] as Wire);
  for (const policy of ['REPLACE', 'APPEND', 'FLUSH']) {
    expect(String(await wire.ask('FUNCTION', 'RESTORE', payload, policy))).toMatch(refused);
  }
  expect(await marks()).toEqual(before);
});

test('a payload with a library that names set_repl is refused', async () => {
  await measure.ask('FUNCTION', 'LOAD', library('a').replace("return 'a'", 'redis.set_repl(redis.REPL_NONE)'));
  expect(String(await wire.ask('FUNCTION', 'RESTORE', await dump(measure)))).toMatch(/^-ERR .*set_repl/);
  expect(await onNodes()).toEqual(['ringside_mark', 'ringside_mark']);
});

test('FUNCTION is no part of a block', async () => {
  for (const words of [['FLUSH'], ['LIST'], ['DUMP'], ['DELETE', 'ringside_mark'], ['STATS'], ['LOAD', library('a')]]) {
    await wire.ask('MULTI');
    expect(String(await wire.ask('FUNCTION', ...words)), words[0]).toMatch(/^-ERR FUNCTION \w+ concerns every shard/);
    expect(String(await wire.ask('EXEC'))).toMatch(/^-EXECABORT/);
  }
});

describe('all libraries at once', () => {
  test("FLUSH takes the clients' and leaves it, without a FLUSH on any node", async () => {
    for (const name of ['a', 'b', 'c']) await alike('FUNCTION', 'LOAD', library(name));
    const before = await marks();
    const spies = await spyOnNodes();
    expect(await alike('FUNCTION', 'FLUSH')).toBe('+OK\r\n');
    for (const words of [
      ['LIST'],
      ['DUMP'],
      ['FLUSH', 'ASYNC'],
      ['FLUSH', 'sync'],
      ['FLUSH', 'X'],
      ['FLUSH', 'SYNC', 'X'],
    ]) {
      await alike('FUNCTION', ...words);
    }
    expect(await onNodes()).toEqual(['ringside_mark', 'ringside_mark']);
    expect(await marks()).toEqual(before);
    for (const spy of spies) {
      const heard = await spy();
      expect(heard).toMatch(/"MULTI"\r\n.*"FUNCTION" "DELETE" "\w"\r\n.*"DELETE" "\w"\r\n.*"DELETE" "\w"\r\n.*"EXEC"/);
      expect(heard).not.toMatch(/"FLUSH"/i);
    }
  });

  test("RESTORE with FLUSH replaces the clients' and leaves it, as a stock server ends up", async () => {
    await measure.ask('FUNCTION', 'LOAD', library('new'));
    const payload = await dump(measure);
    await measure.ask('FUNCTION', 'FLUSH');
    for (const name of ['old', 'older']) await alike('FUNCTION', 'LOAD', library(name));
    await alike('FUNCTION', 'LOAD', library('new', 'was'));
    const before = await marks();
    expect(await alike('FUNCTION', 'RESTORE', payload, 'FLUSH')).toBe('+OK\r\n');
    await alike('FUNCTION', 'LIST', 'WITHCODE');
    expect(await onNodes()).toEqual(['new ringside_mark', 'new ringside_mark']);
    expect(await marks()).toEqual(before);
  });

  test("RESTORE with FLUSH also where a new library registers an old one's function", async () => {
    await measure.ask('FUNCTION', 'LOAD', library('new', 'shared'));
    const payload = await dump(measure);
    await measure.ask('FUNCTION', 'FLUSH');
    await alike('FUNCTION', 'LOAD', library('old', 'shared'));
    expect((await both('FUNCTION', 'RESTORE', payload, 'REPLACE')).map(reply => reply[0])).toEqual(['-', '-']);
    expect(await alike('FUNCTION', 'RESTORE', payload, 'FLUSH')).toBe('+OK\r\n');
    await alike('FUNCTION', 'LIST', 'WITHCODE');
    expect(await onNodes()).toEqual(['new ringside_mark', 'new ringside_mark']);
  });

  test('RESTORE of what is damaged, or with a wrong policy, changes nothing', async () => {
    await alike('FUNCTION', 'LOAD', library('a'));
    const payload = await dump(measure);
    const damaged = Buffer.from(payload);
    damaged[3] = (damaged[3] as number) ^ 1;
    for (const policy of ['FLUSH', 'REPLACE', 'APPEND', 'WRONG']) await alike('FUNCTION', 'RESTORE', damaged, policy);
    await alike('FUNCTION', 'RESTORE', payload, 'WRONG');
    await alike('FUNCTION', 'RESTORE', payload);
    await alike('FUNCTION', 'RESTORE', payload, 'FLUSH', 'X');
    expect(await onNodes()).toEqual(['a ringside_mark', 'a ringside_mark']);
  });
});

/** Listens to what each node is told from now on; each answer is all of it, once the node has nothing more to say. */
async function spyOnNodes(): Promise<(() => Promise<string>)[]> {
  return Promise.all(
    stand.nodes.map(async (node, i) => {
      const spy = await stand.connectTo(node);
      await pipeline(spy, 'MONITOR');
      return async () => {
        await pipeline(direct[i] as Wire, 'ECHO the-end');
        let heard = '';
        await until(async () => {
          for (const frame of await spy.take(spy.waiting)) heard += String(frame);
          return heard.includes('the-end');
        });
        return heard;
      };
    }),
  );
}
