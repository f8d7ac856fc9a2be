/** What one client sends over several shards takes effect as on one Redis, where an effect could be seen too early. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import { holdWrites, keyOn, send, take } from './keys.ts';
import { command, pipeline, Stand, until } from './stand.ts';

let stand: Stand;
let stock: StockRedis;
let keys: string[];

beforeAll(async () => {
  [stand, stock] = await Promise.all([Stand.start(3), startStockRedis()]);
  keys = [0, 1, 2].map(shard => keyOn(stand, shard));
});
afterAll(() => Promise.all([stand.stop(), stock.stop()]));

test('a PUBLISH is not heard before an earlier write of its client on another shard has taken effect', async () => {
  const [listener, wire, other] = await Promise.all([stand.connect(), stand.connect(), stand.connect()]);
  const channel = keyOn(stand, 1, 'channel');
  await pipeline(listener, `SUBSCRIBE ${channel}`);
  const letGo = await holdWrites(stand, stand.nodes[0] as StockRedis);
  try {
    const before = stand.proxy.metrics.commands.write;
    await send(wire, `SET ${keys[0]} late`, `PUBLISH ${channel} done`);
    await until(() => stand.proxy.metrics.commands.write > before);
    // Whatever was sent to the channel's shard has arrived there before this is answered.
    await pipeline(other, `GET ${keys[1]}`);
    await pipeline(await stand.connectTo(stand.nodes[1] as StockRedis), `PUBLISH ${channel} marker`);
    expect((await take(listener, 1))[0]).toContain('\r\nmarker\r\n');
  } finally {
    await letGo();
  }
  expect(await take(wire, 2)).toEqual(['+OK\r\n', ':1\r\n']);
  expect((await take(listener, 1))[0]).toContain('\r\ndone\r\n');
});

test('CLIENT PAUSE WRITE holds every write, those of blocks and sharded channels too', async () => {
  const wire = await stand.connect();
  const writes = [
    [`SET ${keys[0]} 1`],
    ['EVAL return{1} 0'],
    ['FLUSHALL'],
    ['PUBLISH a b'],
    ['SPUBLISH a b'],
    [`BLPOP ${keys[0]} 0.01`],
  ];
  const blocks = [['MULTI', `SET ${keys[0]} 1`, 'EXEC']];
  await pipeline(wire, 'CLIENT PAUSE 60000 WRITE');
  const held = await Promise.all(
    [...writes, ...blocks].map(async words => {
      const one = await stand.connect();
      await one.send(Buffer.concat(words.map(command)));
      return { one, words };
    }),
  );
  expect(await pipeline(wire, `GET ${keys[0]}`, 'MULTI', `GET ${keys[0]}`, 'EXEC')).toHaveLength(4);
  await until(() => [...stand.proxy.clients.values()].filter(one => one.held).length === held.length);
  await pipeline(wire, 'CLIENT UNPAUSE');
  for (const { one, words } of held) expect(await take(one, words.length)).toHaveLength(words.length);
});

test.each([
  ['EXEC with arguments', ['MULTI', 'EXEC x', 'EXEC']],
  ['WATCH of keys on several shards inside of MULTI', ['MULTI', 'WATCH a b c d e f', 'EXEC']],
])('%s is refused in the words of stock Redis', async (_name, commands) => {
  const [one, measure] = await Promise.all([stand.connect(), stand.connectTo(stock)]);
  expect(await pipeline(one, ...commands)).toEqual(await pipeline(measure, ...commands));
});
