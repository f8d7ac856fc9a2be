/** SCAN walks all shards with cursors that outlive neither an incarnation nor a ring, and misses no key. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import type { Wire } from '../differential/wire.ts';
import { startAgain } from './keys.ts';
import { command, pipeline, Stand, until } from './stand.ts';

let stand: Stand;
let stock: StockRedis;
let wire: Wire;
const KEYS = 600;

beforeAll(async () => {
  [stand, stock] = await Promise.all([Stand.start(3), startStockRedis()]);
  wire = await stand.connect();
  await fill(wire);
});
afterAll(() => Promise.all([stand.stop(), stock.stop()]));

async function fill(one: Wire): Promise<void> {
  await one.send(Buffer.concat(Array.from({ length: KEYS }, (_, i) => command(`SET key:${i} x`))));
  await one.take(KEYS);
}

/** One step: the next cursor, and the keys. */
async function step(one: Wire, words: string): Promise<{ cursor: string; keys: string[] }> {
  const [reply = ''] = await pipeline(one, words);
  const lines = reply.split('\r\n').filter(line => !/^[*$]/.test(line));
  return { cursor: lines[0] as string, keys: lines.slice(1, -1) };
}

async function walk(one: Wire, options: string, cursor = '0'): Promise<Set<string>> {
  const found = new Set<string>();
  for (let steps = 0; steps < 2000; steps += 1) {
    const { cursor: next, keys } = await step(one, `SCAN ${cursor} ${options}`.trim());
    for (const key of keys) found.add(key);
    if (next === '0') return found;
    expect(Number(next)).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER);
    cursor = next;
  }
  throw new Error('the walk did not end');
}

test.each(['', 'COUNT 7', 'COUNT 1000', 'MATCH key:* COUNT 50', 'TYPE string COUNT 100', 'MATCH key:*'])(
  'SCAN %s finds every key',
  async options => {
    expect((await walk(wire, options)).size).toBe(KEYS);
  },
);

test('MATCH and TYPE leave out what they should', async () => {
  expect([...(await walk(wire, 'MATCH key:1 COUNT 100'))]).toEqual(['key:1']);
  expect((await walk(wire, 'TYPE hash')).size).toBe(0);
});

describe('cursors that are none', () => {
  test.each(['abc', '1x', '0x10', '1.5', '" 1"', '99999999999999999999', '-', '--1', '+-1'])(
    'SCAN %s is refused as stock Redis refuses it',
    async cursor => {
      const words = ['SCAN', cursor.replaceAll('"', '')];
      expect((await wire.ask(...words)).toString()).toBe(
        (await (await stand.connectTo(stock)).ask(...words)).toString(),
      );
    },
  );

  test.each([
    '-1',
    '+5',
    '00',
    '',
    '1',
    '18446744073709551615',
    '-9223372036854775808',
    '9007199254740993',
    '12345678',
  ])('SCAN %s is taken, as by stock Redis, and answers a step', async cursor => {
    expect((await wire.ask('SCAN', cursor)).toString()).toMatch(/^\*2\r\n\$/);
    expect((await (await stand.connectTo(stock)).ask('SCAN', cursor)).toString()).toMatch(/^\*2\r\n\$/);
    expect(await pipeline(wire, 'PING')).toEqual(['+PONG\r\n']);
  });

  test.each(['SCAN 0 COUNT 0', 'SCAN 0 COUNT x', 'SCAN 0 MATCH', 'SCAN 0 NOSUCH 1', 'SCAN', 'SCAN 0 TYPE'])(
    '%s is refused in the words of stock Redis',
    async words => {
      expect(await pipeline(wire, words)).toEqual(await pipeline(await stand.connectTo(stock), words));
    },
  );
});

test('one shard is walked in the same way', async () => {
  const single = await Stand.start(1);
  try {
    const one = await single.connect();
    await fill(one);
    expect((await walk(one, 'COUNT 10')).size).toBe(KEYS);
  } finally {
    await single.stop();
  }
});

test('a shard that was restarted in the midst of a walk is walked anew, and no key is missed', async () => {
  const own = await Stand.start(2);
  let stopAgain: (() => Promise<void>) | null = null;
  try {
    const one = await own.connect();
    await fill(one);
    const { cursor } = await step(one, 'SCAN 0 COUNT 100');
    expect(cursor).not.toBe('0');
    const [node] = own.nodes as [StockRedis];
    await node.stop();
    await until(() => own.proxy.waitingFor().length === 1);
    stopAgain = await startAgain(own, node.port);
    await until(() => own.proxy.waitingFor().length === 0);
    await fill(one);
    expect((await walk(one, 'COUNT 100', cursor)).size).toBe(KEYS);
  } finally {
    await own.stop();
    await stopAgain?.();
  }
});

test('a walk begins anew when the shards are others, and no key is missed', async () => {
  const own = await Stand.start(3);
  try {
    const one = await own.connect();
    await fill(one);
    const before = own.topology;
    const [first, second] = before.shards;
    let cursor = '0';
    // Up to the beginning of the second shard, whose cursor has no position and is small.
    do {
      ({ cursor } = await step(one, `SCAN ${cursor} COUNT 100`));
    } while (cursor !== '0' && Number(cursor) > 2 ** 20);
    own.proxy.follow({ ...before, version: 2, shards: [second, first] as typeof before.shards });
    await fill(one);
    expect((await walk(one, 'COUNT 100', cursor)).size).toBe(KEYS);
  } finally {
    await own.stop();
  }
});
