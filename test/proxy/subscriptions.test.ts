/** Every message reaches every listener once, whatever shard it was published on and whatever its client is doing. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../../src/proxy/client.ts';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import { holdWrites, keyOn, send, startAgain, take } from './keys.ts';
import { bodyOf, command, pipeline, Stand, until } from './stand.ts';

let stand: Stand;
let stock: StockRedis;

beforeAll(async () => {
  [stand, stock] = await Promise.all([Stand.start(3), startStockRedis()]);
});
afterAll(() => Promise.all([stand.stop(), stock.stop()]));

const message = (channel: string, text: string): string =>
  `*3\r\n$7\r\nmessage\r\n$${channel.length}\r\n${channel}\r\n$${text.length}\r\n${text}\r\n`;

describe.each(['2', '3'])('in RESP%s, byte for byte as stock Redis', protocol => {
  test.each([
    ['SUBSCRIBE', ['SUBSCRIBE a b a', 'SUBSCRIBE c'], 4],
    ['UNSUBSCRIBE of some', ['SUBSCRIBE a b c', 'UNSUBSCRIBE a x', 'PING'], 6],
    ['UNSUBSCRIBE of the only one', ['SUBSCRIBE a', 'UNSUBSCRIBE', 'PING', 'ECHO x'], 4],
    ['UNSUBSCRIBE of none', ['UNSUBSCRIBE', 'PUNSUBSCRIBE', 'SUNSUBSCRIBE', 'UNSUBSCRIBE x', 'PING'], 5],
    ['patterns', ['PSUBSCRIBE a* b*', 'SUBSCRIBE a', 'PUNSUBSCRIBE', 'UNSUBSCRIBE a'], 6],
    ['sharded channels', ['SSUBSCRIBE a b', 'SUBSCRIBE c', 'SUNSUBSCRIBE a', 'SUNSUBSCRIBE b', 'PING'], 6],
    ['RESET', ['SUBSCRIBE a', 'RESET', 'PING', 'UNSUBSCRIBE'], 4],
    ['what is not allowed', ['SUBSCRIBE a', 'GET x', 'MULTI', 'PING', 'PUBLISH a b'], 5],
    ['wrong arity', ['SUBSCRIBE', 'PSUBSCRIBE', 'PUBLISH a', 'PING'], 4],
  ])('%s', async (_name, commands, frames) => {
    const [one, measure] = await Promise.all([stand.connect(), stand.connectTo(stock)]);
    if (protocol === '3') await Promise.all([pipeline(one, 'HELLO 3'), pipeline(measure, 'HELLO 3')]);
    await Promise.all([send(one, ...commands), send(measure, ...commands)]);
    const [ours, theirs] = await Promise.all([take(one, frames), take(measure, frames)]);
    expect(ours).toEqual(theirs);
  });
});

test('a message comes once, to each of many clients, from whatever shard it is published on', async () => {
  const listeners = await Promise.all(Array.from({ length: 30 }, () => stand.connect()));
  await Promise.all(listeners.map(one => pipeline(one, 'SUBSCRIBE news')));
  for (const [i, node] of stand.nodes.entries()) {
    expect(await pipeline(await stand.connectTo(node), `PUBLISH news n${i}`)).toEqual([':1\r\n']);
    for (const one of listeners) expect(await take(one, 1)).toEqual([message('news', `n${i}`)]);
  }
  await pipeline(await stand.connect(), 'PUBLISH news last');
  for (const one of listeners) expect(await take(one, 1)).toEqual([message('news', 'last')]);
  expect(listeners.map(one => one.waiting)).toEqual(listeners.map(() => 0));
  for (const one of listeners) one.close();
  await until(() => stand.proxy.subscriptions.listeners('c', 'news') === 0);
  for (const node of stand.nodes) {
    const wire = await stand.connectTo(node);
    await until(async () => (await pipeline(wire, 'PUBSUB CHANNELS news'))[0] === '*0\r\n');
  }
});

test('messages of scripts, of blocks and of keyspace events are heard', async () => {
  const [wire, listener] = await Promise.all([stand.connect(), stand.connect()]);
  const key = keyOn(stand, 2);
  await pipeline(listener, 'SUBSCRIBE deep', 'PSUBSCRIBE __keyevent@0__:*');
  await pipeline(await stand.connectTo(stand.nodes[2] as StockRedis), 'CONFIG SET notify-keyspace-events E$');
  await wire.ask('EVAL', 'return redis.call("PUBLISH", "deep", "script")', '1', key);
  await pipeline(wire, 'MULTI', 'PUBLISH deep block', `SET ${key} 1`, 'EXEC');
  const heard = (await take(listener, 3)).join('');
  expect(heard).toContain(message('deep', 'script'));
  expect(heard).toContain(message('deep', 'block'));
  expect(heard).toContain('__keyevent@0__:set');
});

test('a client that listens by channel and by pattern hears both, as in Redis', async () => {
  const listener = await stand.connect();
  await pipeline(listener, 'SUBSCRIBE both', 'PSUBSCRIBE bo*');
  await pipeline(await stand.connect(), 'PUBLISH both x');
  const frames = await take(listener, 2);
  expect(frames.map(frame => frame.split('\r\n')[2]).sort()).toEqual(['message', 'pmessage']);
});

test('a sharded channel is its own: SPUBLISH is heard there alone, PUBLISH not', async () => {
  const [wire, listener] = await Promise.all([stand.connect(), stand.connect()]);
  const channels = [0, 1, 2].map(shard => keyOn(stand, shard, 'sharded'));
  await pipeline(listener, `SSUBSCRIBE ${channels[0]}`, `SSUBSCRIBE ${channels[1]}`, `SSUBSCRIBE ${channels[2]}`);
  for (const channel of channels) {
    expect(await pipeline(wire, `PUBLISH ${channel} no`, `SPUBLISH ${channel} yes`)).toEqual([':0\r\n', ':1\r\n']);
    expect((await take(listener, 1))[0]).toContain('\r\nyes\r\n');
  }
});

describe('no message stands where a reply belongs', () => {
  test('SUBSCRIBE to a channel that is busy already is answered before the first message', async () => {
    const [publisher, first] = await Promise.all([stand.connect(), stand.connect()]);
    await pipeline(first, 'SUBSCRIBE busy');
    for (let round = 0; round < 20; round += 1) {
      const late = await stand.connect();
      await send(publisher, ...Array.from({ length: 20 }, (_, i) => `PUBLISH busy ${round}-${i}`));
      await send(late, 'SUBSCRIBE busy other');
      expect((await take(late, 2)).map(frame => frame.split('\r\n')[2])).toEqual(['subscribe', 'subscribe']);
      late.close();
      await take(publisher, 20);
    }
  });

  test('SUBSCRIBE behind a command that is not answered yet waits for it, and so do the messages', async () => {
    const [publisher, first, late] = await Promise.all([stand.connect(), stand.connect(), stand.connect()]);
    await pipeline(first, 'SUBSCRIBE waits');
    const letGo = await holdWrites(stand, stand.nodes[0] as StockRedis);
    await send(late, `SET ${keyOn(stand, 0)} 1`, 'SUBSCRIBE waits');
    await until(() => [...stand.proxy.clients.values()].some(one => one.inFlight > 0));
    await pipeline(await stand.connectTo(stand.nodes[1] as StockRedis), 'PUBLISH waits early');
    await take(first, 1);
    await letGo();
    expect((await take(late, 2)).map(frame => frame.split('\r\n')[0])).toEqual(['+OK', '*3']);
    await pipeline(publisher, 'PUBLISH waits now');
    expect(await take(late, 1)).toEqual([message('waits', 'now')]);
  });

  test('in RESP3 pushes come between replies, never inside of one', async () => {
    const [wire, publisher] = await Promise.all([stand.connect(), stand.connect()]);
    const large = 'v'.repeat(300_000);
    const keys = [0, 1, 2].map(shard => keyOn(stand, shard, 'large'));
    for (const key of keys) await wire.ask('SET', key, large);
    await pipeline(wire, 'HELLO 3', 'SUBSCRIBE pushes');
    const sha = bodyOf(await wire.ask('SCRIPT', 'LOAD', 'return redis.call("GET", KEYS[1])'));
    const rounds = 10;
    await send(publisher, ...Array.from({ length: rounds * 20 }, (_, i) => `PUBLISH pushes ${i}`));
    for (let i = 0; i < rounds; i += 1) {
      await send(wire, ...keys.map(key => `GET ${key}`), `MGET ${keys.join(' ')}`);
      await send(wire, ...keys.map(key => `EVALSHA ${sha} 1 ${key}`));
    }
    const frames = await take(wire, rounds * 27);
    const replies = frames.filter(frame => !frame.startsWith('>'));
    expect(replies).toHaveLength(rounds * 7);
    const one = `$${large.length}\r\n${large}\r\n`;
    const right = [one, one, one, `*3\r\n${one}${one}${one}`, one, one, one];
    expect(replies.filter((reply, i) => reply !== right[i % 7])).toEqual([]);
    const numbers = frames.filter(frame => frame.startsWith('>')).map(frame => Number(frame.split('\r\n').at(-2)));
    expect([...numbers].sort((x, y) => x - y)).toEqual(numbers);
  });
});

test('a node that restarts is listened to again, by channel, by pattern and by sharded channel', async () => {
  const own = await Stand.start(2);
  let stopAgain: (() => Promise<void>) | null = null;
  try {
    const [listener, wire] = await Promise.all([own.connect(), own.connect()]);
    const sharded = keyOn(own, 0, 'sharded');
    await pipeline(listener, 'SUBSCRIBE again', 'PSUBSCRIBE ag*', `SSUBSCRIBE ${sharded}`);
    const [node] = own.nodes as [StockRedis];
    await node.stop();
    stopAgain = await startAgain(own, node.port);
    const direct = await own.connectTo(node);
    await until(async () => {
      const replies = await pipeline(direct, 'PUBSUB NUMSUB again', 'PUBSUB NUMPAT', `PUBSUB SHARDNUMSUB ${sharded}`);
      return replies.every(reply => reply.endsWith(':1\r\n'));
    });
    await pipeline(direct, 'PUBLISH again x', `SPUBLISH ${sharded} y`);
    expect((await take(listener, 3)).map(frame => frame.split('\r\n')[2]).sort()).toEqual([
      'message',
      'pmessage',
      'smessage',
    ]);
    expect(await pipeline(wire, 'PUBSUB NUMSUB again')).toEqual(['*2\r\n$5\r\nagain\r\n:1\r\n']);
  } finally {
    await own.stop();
    await stopAgain?.();
  }
});

test('a channel left and taken up again in one piece is listened to', async () => {
  const [listener, wire] = await Promise.all([stand.connect(), stand.connect()]);
  for (let round = 0; round < 20; round += 1) {
    await send(listener, 'SUBSCRIBE flip', 'UNSUBSCRIBE flip', 'SUBSCRIBE flip');
    await take(listener, 3);
    await pipeline(wire, 'PUBLISH flip x');
    expect(await take(listener, 1)).toEqual([message('flip', 'x')]);
    await pipeline(listener, 'UNSUBSCRIBE');
  }
});

test('a client that leaves in the midst of SUBSCRIBE leaves nothing behind', async () => {
  for (let round = 0; round < 10; round += 1) {
    const wire = await stand.connect();
    await send(wire, `SUBSCRIBE gone${round}`, `PSUBSCRIBE gone${round}*`);
    if (round % 2 === 0) await take(wire, 1);
    wire.close();
  }
  for (let round = 0; round < 10; round += 1) {
    await until(() => stand.proxy.subscriptions.listeners('c', `gone${round}`) === 0);
    await until(() => stand.proxy.subscriptions.listeners('p', `gone${round}*`) === 0);
  }
});

test('a listener that reads nothing is closed at its bound, and the others hear everything', async () => {
  const own = await Stand.start(2, '  limits: { unreadBytes: 1mb, bulk: 1mb }');
  try {
    const [quick, wire] = await Promise.all([own.connect(), own.connect()]);
    const slow = connect(own.endpoint.port, own.endpoint.host);
    slow.write(command('SUBSCRIBE flood'));
    await until(() => own.proxy.subscriptions.listeners('c', 'flood') === 1);
    const client = [...own.proxy.clients.values()].find(one => one.subscriptions > 0) as Client;
    await pipeline(quick, 'SUBSCRIBE flood');
    const text = 'x'.repeat(100_000);
    for (let sent = 0; !client.gone; sent += 1) {
      expect(sent).toBeLessThan(500);
      await wire.ask('PUBLISH', 'flood', text);
      expect(await take(quick, 1)).toEqual([message('flood', text)]);
    }
    expect(own.proxy.metrics.overloaded.unreadBytes).toBe(1);
    expect(own.proxy.subscriptions.listeners('c', 'flood')).toBe(1);
    slow.destroy();
  } finally {
    await own.stop();
  }
});

test('a node that has gone silent is not listened to for ever', async () => {
  const own = await Stand.start(1, '  timeout: 300ms\n  hold: 20s');
  try {
    const [node] = own.nodes as [StockRedis];
    const [listener, direct, sleeper] = await Promise.all([own.connect(), own.connectTo(node), own.connectTo(node)]);
    await pipeline(listener, 'SUBSCRIBE silence');
    const listening = async (): Promise<string | undefined> =>
      /^id=(\d+)/.exec(bodyOf((await pipeline(direct, 'CLIENT LIST TYPE pubsub'))[0] as string))?.[1];
    const before = await listening();
    await pipeline(sleeper, 'CLIENT PAUSE 1000 ALL');
    await until(async () => ![undefined, before].includes(await listening()));
    await pipeline(direct, 'PUBLISH silence over');
    expect(await take(listener, 1)).toEqual([message('silence', 'over')]);
  } finally {
    await own.stop();
  }
});
