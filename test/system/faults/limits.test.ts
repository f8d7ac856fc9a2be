import { createHash, randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { frame, RawClient } from './raw-client.ts';
import { Stand, sleep, until } from './stand.ts';

const MB = 1024 * 1024;

let stand: Stand;
let keys: string[];
const opened: RawClient[] = [];

async function open(): Promise<RawClient> {
  const client = await RawClient.open(stand.port);
  opened.push(client);
  return client;
}

const HOLD_MS = 2_000;

beforeAll(async () => {
  stand = await Stand.start({
    proxy: {
      hold: `${HOLD_MS}ms`,
      limits: {
        clients: 60,
        bulk: '2mb',
        inline: '8kb',
        arguments: 1000,
        heldBytes: '8mb',
        unreadBytes: '4mb',
        exclusive: 5,
      },
    },
  });
  keys = await stand.keyPerShard();
});

afterEach(async () => {
  await stand.rest();
  for (const client of opened.splice(0)) client.close();
  await sleep(50);
});

afterAll(async () => {
  await stand?.stop();
});

const keyOf = (shard: number) => keys[shard] as string;

const settled = (work: Promise<unknown>) =>
  work.then(
    value => value,
    (error: Error) => error.message,
  );

describe('bounds', () => {
  it('clients: one more than allowed is told the bound, and let in when another has left', async () => {
    await until('earlier clients are gone', async () => (await stand.metric('ringside_clients_connected')) === 0);
    for (let i = 0; i < 60; i += 1) {
      const client = await open();
      client.send('PING\r\n');
      expect(await client.textEndingWith('\r\n')).toBe('+PONG\r\n');
    }
    const before = await stand.metric('ringside_clients_refused_total');
    const surplus = await open();
    await surplus.untilClosed();
    expect(surplus.text).toMatch(/^-OVERLOADED [^\r]*proxy\.limits\.clients[^\r]*\r\n$/);
    expect(await stand.metric('ringside_clients_refused_total')).toBe(before + 1);
    opened[0]?.close();
    await until('one has left', async () => (await stand.metric('ringside_clients_connected')) === 59);
    const next = await open();
    next.send('PING\r\n');
    expect(await next.textEndingWith('\r\n')).toBe('+PONG\r\n');
  });

  it('bulk: a longer argument is a protocol error as in Redis, one of exactly the bound passes', async () => {
    const client = await open();
    client.send(`*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$${2 * MB + 1}\r\n`);
    await client.untilClosed();
    expect(client.text).toBe('-ERR Protocol error: invalid bulk length\r\n');
    const redis = stand.client();
    const exact = 'x'.repeat(2 * MB);
    expect(await redis.set('exact', exact)).toBe('OK');
    expect(await redis.get('exact')).toBe(exact);
    await redis.del('exact');
  });

  it('inline: a longer line is a protocol error as in Redis', async () => {
    const client = await open();
    client.send('x'.repeat(9 * 1024));
    await client.untilClosed();
    expect(client.text).toBe('-ERR Protocol error: too big inline request\r\n');
  });

  it('arguments: a command of more is a protocol error as in Redis', async () => {
    const client = await open();
    client.send('*1001\r\n$4\r\nMGET\r\n');
    await client.untilClosed();
    expect(client.text).toBe('-ERR Protocol error: invalid multibulk length\r\n');
    const redis = stand.client();
    expect(await redis.mget(Array.from({ length: 999 }, (_, i) => `a:${i}`))).toHaveLength(999);
  });

  it('heldBytes: what waits for a shard that is down is bounded, and others are served meanwhile', async () => {
    const steady = await stand.steady([keyOf(1), keyOf(2)]);
    const redis = await stand.connected();
    await stand.nodes[0]?.kill();
    const value = 'x'.repeat(256 * 1024);
    const answers = await Promise.all(
      Array.from({ length: 80 }, async () => {
        const answer = String(await settled(redis.set(keyOf(0), value)));
        return answer.split(' ')[0];
      }),
    );
    const { errors, count } = await steady.stop();
    await stand.nodes[0]?.start();
    await until('the proxy is ready again', () => stand.ready());
    const held = answers.filter(word => word === 'CLUSTERDOWN').length;
    const refused = answers.filter(word => word === 'OVERLOADED').length;
    expect(held + refused).toBe(80);
    expect(held).toBeGreaterThan(5);
    expect(held).toBeLessThanOrEqual(40);
    expect(errors).toEqual([]);
    expect(count).toBeGreaterThan(20);
    await until('nothing is held any more', async () => (await stand.metric('ringside_held_bytes')) === 0);
    expect(await stand.metric('ringside_overloaded_total{bound="heldBytes"}')).toBeGreaterThanOrEqual(refused);
  });

  it('exclusive: one more blocking client than allowed is told so, and served when another has done', async () => {
    const waiters = await Promise.all(Array.from({ length: 5 }, () => stand.connected()));
    const waiting = waiters.map(one => one.blpop(keyOf(0), 60));
    await stand.nodes[0]?.hasWaiters(5);
    const surplus = await settled(stand.client().blpop(keyOf(0), 1));
    expect(surplus).toMatch(/^OVERLOADED /);
    await stand.client().rpush(keyOf(0), 'a', 'b', 'c', 'd', 'e');
    expect((await Promise.all(waiting)).map(popped => popped?.[1]).sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
    await stand.client().rpush(keyOf(0), 'f');
    // The connections that they had are free as soon as the proxy has cleared them.
    await expect.poll(() => settled(stand.client().blpop(keyOf(0), 1))).toEqual([keyOf(0), 'f']);
  });
});

describe('a slow reader', () => {
  it('that asks for much and reads nothing is closed; others and the memory are not touched', async () => {
    const redis = stand.client();
    const value = randomBytes(MB);
    await redis.set(keyOf(0), value);
    stand.resetPeak();
    const resident = stand.residentBytes();
    const slowClosed = await stand.metric('ringside_clients_closed_total{reason="slow_reader"}');
    const steady = await stand.steady([`${keyOf(0)}:other`, keyOf(1), keyOf(2)]);
    const slow = await open();
    slow.socket.pause();
    slow.send(Buffer.concat(Array.from({ length: 400 }, () => frame('GET', keyOf(0)))));
    await until(
      'the slow reader is closed',
      async () => (await stand.metric('ringside_clients_closed_total{reason="slow_reader"}')) === slowClosed + 1,
    );
    // It may have been closed before anybody else came to his turn often.
    await until('the others are served', () => steady.count > 20);
    const { errors } = await steady.stop();
    expect(errors).toEqual([]);
    expect(stand.peakBytes() - resident).toBeLessThan(80 * MB);
    expect((await redis.getBuffer(keyOf(0)))?.equals(value)).toBe(true);
    await until('nothing is unread any more', async () => (await stand.metric('ringside_unread_bytes')) < MB);
    await redis.del(keyOf(0));
  });

  it('that reads slowly but steadily gets everything, in order', async () => {
    const redis = stand.client();
    const value = 'y'.repeat(100_000);
    await redis.set(keyOf(0), value);
    const slow = await open();
    const count = 30;
    slow.send(Buffer.concat(Array.from({ length: count }, () => frame('GET', keyOf(0)))));
    const expected = `$100000\r\n${value}\r\n`.length * count;
    for (let i = 0; i < 20; i += 1) {
      slow.socket.pause();
      await sleep(20);
      slow.socket.resume();
      await sleep(5);
    }
    await slow.until(() => slow.length >= expected);
    expect(slow.text === `$100000\r\n${value}\r\n`.repeat(count)).toBe(true);
    await redis.del(keyOf(0));
  });

  it('that listens to a busy channel and reads nothing is closed, other listeners hear everything', async () => {
    const quick = stand.client();
    const heard: number[] = [];
    quick.on('message', (_channel, message: string) => heard.push(message.length));
    await quick.subscribe('busy');
    const slow = await open();
    slow.send(frame('SUBSCRIBE', 'busy'));
    await slow.textEndingWith(':1\r\n');
    slow.socket.pause();
    const redis = stand.client();
    const message = 'm'.repeat(200_000);
    for (let i = 0; i < 120; i += 1) await redis.publish('busy', message);
    await until('the quick one heard all', () => heard.length === 120);
    slow.socket.resume();
    await slow.untilClosed();
    expect(slow.length).toBeLessThan(120 * message.length);
  });
});

describe('a shard that does not answer', () => {
  it('delays a client that pipelines over several shards only by its own order', async () => {
    const mixed = await open();
    const other = await stand.connected();
    const frozen = stand.nodes[0];
    frozen?.freeze();
    mixed.send(
      Buffer.concat([
        frame('SET', keyOf(1), 'a'),
        frame('SET', keyOf(0), 'b'),
        frame('SET', keyOf(2), 'c'),
        frame('PING'),
      ]),
    );
    await mixed.until(() => mixed.length >= 5);
    await sleep(300);
    expect(mixed.text).toBe('+OK\r\n');
    expect(await other.get(keyOf(2))).toBe('c');
    frozen?.thaw();
    expect(await mixed.textEndingWith('+PONG\r\n')).toBe('+OK\r\n+OK\r\n+OK\r\n+PONG\r\n');
  });
});

describe('large values', () => {
  const megabytes = Number(process.env['RINGSIDE_LARGE_MB'] ?? 64);

  it(`a value of ${megabytes} MB goes in and comes out within about two copies of it, others are served meanwhile`, async () => {
    const large = await Stand.start();
    try {
      const [first, second, third] = await large.keyPerShard();
      const value = Buffer.alloc(megabytes * MB, randomBytes(MB + 1));
      const digest = createHash('sha1').update(value).digest('hex');
      const redis = large.client();
      await redis.set(first as string, 'small');
      const steady = await large.steady([second as string, third as string]);
      large.resetPeak();
      const resident = large.residentBytes();
      expect(await redis.set(first as string, value)).toBe('OK');
      const afterSet = large.peakBytes() - resident;
      const read = (await redis.getBuffer(first as string)) as Buffer;
      expect(createHash('sha1').update(read).digest('hex')).toBe(digest);
      const afterGet = large.peakBytes() - resident;
      const { errors, count } = await steady.stop();
      expect(errors).toEqual([]);
      expect(count).toBeGreaterThan(5);
      expect(afterSet).toBeLessThan(2.2 * value.length + 40 * MB);
      expect(afterGet).toBeLessThan(2.2 * value.length + 40 * MB);
    } finally {
      await large.stop();
    }
  });
});
