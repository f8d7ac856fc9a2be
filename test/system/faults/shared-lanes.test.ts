import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { frame, RawClient } from './raw-client.ts';
import { Stand, type StandOptions, sleep } from './stand.ts';

/** Asked last; a subscriber may ask it too. */
const LAST = 'the last word';
const LAST_REPLY = `$${LAST.length}\r\n${LAST}\r\n`;

/** Sends these commands in one piece and gives back what is answered, until the last is or the connection is closed. */
async function converse(port: number, ...commands: string[][]): Promise<string> {
  const client = await RawClient.open(port);
  const words = [...commands, ['PING', LAST]];
  client.send(Buffer.concat(words.map(one => frame(...one))));
  const behindMulti = words.slice(words.findIndex(([name]) => name === 'MULTI') + 1);
  const isQueuedForEver = () => client.text.split('+QUEUED\r\n').length > behindMulti.length;
  await client.until(() => client.closed || client.text.includes(LAST) || isQueuedForEver());
  client.close();
  return client.text.endsWith(LAST_REPLY) ? client.text.slice(0, -LAST_REPLY.length) : client.text;
}

/** What tells that the lanes of both protocols are as new ones: right database, no subscription, replies as asked. */
async function expectLanesUnharmed(stand: Stand): Promise<void> {
  const keys = Array.from({ length: 60 }, (_, i) => `lane:${i}`);
  for (const node of stand.nodes) {
    expect(await node.ask(one => one.client('LIST'))).not.toMatch(/ name=x /);
  }
  const plain = await converse(
    stand.port,
    ...keys.map(key => ['HSET', key, 'f', 'v']),
    ...keys.map(key => ['HGETALL', key]),
  );
  expect(plain).toBe(':1\r\n'.repeat(60) + '*2\r\n$1\r\nf\r\n$1\r\nv\r\n'.repeat(60));
  await converse(stand.port, ['DEL', ...keys]);
  for (const protocol of [2, 3]) {
    const redis = stand.client({ protocol });
    expect(await redis.mset(new Map(keys.map(key => [key, key + protocol])))).toBe('OK');
    expect(await redis.mget(keys)).toEqual(keys.map(key => key + protocol));
    let total = 0;
    for (const node of stand.nodes) {
      const [zero, three] = await node.ask(async one => {
        const size = await one.dbsize();
        await one.select(3);
        return [size, await one.dbsize()];
      });
      total += zero as number;
      expect(three).toBe(0);
    }
    expect(total).toBe(60);
    expect(await redis.del(...keys)).toBe(60);
    // A lane on which replies were switched off stands still until it is given up.
    for (const i of stand.nodes.keys())
      expect(await stand.metric(`ringside_shard_timeouts_total{shard="s${i + 1}"}`)).toBe(0);
    redis.disconnect();
  }
}

/** Blocks that would leave something behind on the connection that they ran on. */
const BLOCKS: [string, string[][]][] = [
  ['SELECT', [['MULTI'], ['SET', '{b}k', 'v'], ['SELECT', '3'], ['GET', '{b}k'], ['EXEC']]],
  ['SELECT alone', [['MULTI'], ['SELECT', '3'], ['EXEC']]],
  ['SUBSCRIBE', [['MULTI'], ['SUBSCRIBE', 'channel'], ['EXEC']]],
  ['PSUBSCRIBE and SSUBSCRIBE', [['MULTI'], ['PSUBSCRIBE', 'c*'], ['SSUBSCRIBE', 'c'], ['EXEC']]],
  [
    'CLIENT REPLY OFF',
    [['MULTI'], ['SET', '{b}k', 'v'], ['CLIENT', 'REPLY', 'OFF'], ['EXEC'], ['CLIENT', 'REPLY', 'ON']],
  ],
  ['CLIENT SETNAME', [['MULTI'], ['SET', '{b}k', 'v'], ['CLIENT', 'SETNAME', 'x'], ['EXEC']]],
  ['HELLO 3', [['MULTI'], ['SET', '{b}k', 'v'], ['HELLO', '3'], ['EXEC']]],
  ['RESET', [['MULTI'], ['SET', '{b}k', 'v'], ['RESET']]],
  ['QUIT', [['MULTI'], ['SET', '{b}k', 'v'], ['QUIT']]],
  ['WATCH', [['WATCH', '{b}k'], ['MULTI'], ['SET', '{b}k', 'v'], ['WATCH', '{b}k'], ['EXEC']]],
  ['UNWATCH', [['MULTI'], ['UNWATCH'], ['EXEC']]],
  ['AUTH', [['MULTI'], ['SET', '{b}k', 'v'], ['AUTH', 'x'], ['EXEC']]],
  ['MULTI never ended', [['MULTI'], ['SET', '{b}k', 'v']]],
  ['BLPOP with nothing there', [['MULTI'], ['BLPOP', '{b}none', '0'], ['EXEC']]],
  [
    'a script that selects',
    [['EVAL', "redis.call('SELECT', 3) redis.call('SET', KEYS[1], 'x') return 1", '1', '{b}s']],
  ],
  [
    'a script with setresp',
    [['EVAL', "redis.setresp(3) return redis.call('SET', KEYS[1], 'x')", '1', '{b}s'], ['FLUSHALL']],
  ],
];

const ARRANGEMENTS: [string, StandOptions][] = [
  ['three shards', { shards: 3 }],
  ['one shard', { shards: 1 }],
  ['three shards and transactions: split', { shards: 3, proxy: { transactions: 'split' } }],
];

const IN_BOTH_PROTOCOLS = BLOCKS.flatMap(([name, commands]): [string, string[][]][] => [
  [`${name} (RESP2)`, commands],
  [`${name} (RESP3)`, [['HELLO', '3'], ...commands]],
]);

describe.each(ARRANGEMENTS)(
  'with %s, nothing that a client does stays on a connection that others share',
  (_name, options) => {
    let stand: Stand;

    beforeAll(async () => {
      stand = await Stand.start(options);
    });

    afterAll(async () => {
      await stand?.stop();
    });

    it.each(IN_BOTH_PROTOCOLS)('%s', async (_block, commands) => {
      const answered = await converse(stand.port, ...commands);
      expect(answered.length).toBeGreaterThan(0);
      await stand.client().flushall();
      await expectLanesUnharmed(stand);
    });

    it('a whole transaction may come in one piece behind other commands', async () => {
      const keys = await stand.keyPerShard();
      const [a, b] = [keys[0] as string, keys.at(-1) as string];
      const behind = Array.from({ length: 200 }, (_, i) => ['SET', `before:${i}`, 'x']);
      const answered = await converse(
        stand.port,
        ...behind,
        ['MULTI'],
        ['SET', a, '1'],
        ['INCR', a],
        ['EXEC'],
        ['GET', a],
      );
      expect(answered).toBe(`${'+OK\r\n'.repeat(201)}+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:2\r\n$1\r\n2\r\n`);
      const apart = await converse(
        stand.port,
        ...behind,
        ['MULTI'],
        ['SET', a, '5'],
        ['SET', b, '6'],
        ['EXEC'],
        ['MGET', a, b],
      );
      if (options.shards === 1 || options.proxy !== undefined) {
        expect(apart).toBe(
          `${'+OK\r\n'.repeat(201)}+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n*2\r\n$1\r\n${a === b ? 6 : 5}\r\n$1\r\n6\r\n`,
        );
      } else {
        expect(apart).toMatch(/\+QUEUED\r\n-CROSSSLOT [^\r]*\r\n-EXECABORT [^\r]*\r\n\*2\r\n\$1\r\n2\r\n/);
      }
    });
  },
);

describe('transactions: split', () => {
  let stand: Stand;
  let keys: string[];

  beforeEach(async () => {
    stand = await Stand.start({ proxy: { transactions: 'split', limits: { exclusive: 2 } } });
    keys = await stand.keyPerShard();
  });

  afterEach(async () => {
    await stand?.stop();
  });

  const keyOf = (shard: number) => keys[shard] as string;

  it('runs one block per shard and answers in the order of the commands', async () => {
    const redis = stand.client();
    const transaction = redis.multi();
    for (let i = 0; i < 30; i += 1) transaction.incrby(keyOf(i % 3), i).get(keyOf((i + 1) % 3));
    const replies = (await transaction.exec()) ?? [];
    const values = new Map<string, number>();
    for (let i = 0; i < 30; i += 1) {
      const key = keyOf(i % 3);
      values.set(key, (values.get(key) ?? 0) + i);
      expect(replies[2 * i]).toEqual([null, values.get(key)]);
      expect(replies[2 * i + 1]).toEqual([null, values.get(keyOf((i + 1) % 3))?.toString() ?? null]);
    }
  });

  it.each([
    ['SELECT', ['SELECT', '3']],
    ['CLIENT SETNAME', ['CLIENT', 'SETNAME', 'x']],
    ['CLIENT REPLY OFF', ['CLIENT', 'REPLY', 'OFF']],
    ['HELLO', ['HELLO', '3']],
  ])('%s in a block over several shards leaves nothing on a connection that others share', async (_name, words) => {
    const client = await RawClient.open(stand.port);
    const block = [['MULTI'], ['SET', keyOf(0), 'a'], words, ['SET', keyOf(1), 'b'], ['SET', keyOf(2), 'c'], ['EXEC']];
    client.send(Buffer.concat(block.map(one => frame(...one))));
    await sleep(300);
    client.close();
    await stand.client().flushall();
    await expectLanesUnharmed(stand);
  });
});

describe('a block that needs a connection of its own while all are lent', () => {
  it('is refused with OVERLOADED, and the client goes on', async () => {
    const stand = await Stand.start({ shards: 1, proxy: { limits: { exclusive: 1 } } });
    try {
      const blocked = stand.client();
      const popped = blocked.blpop('{x}list', 60).catch((error: Error) => error.message);
      await stand.nodes[0]?.hasWaiters(1);
      const client = await RawClient.open(stand.port);
      client.send(
        Buffer.concat([frame('MULTI'), frame('SELECT', '3'), frame('SET', 'k', 'v'), frame('EXEC'), frame('PING')]),
      );
      await client.until(() => client.text.includes('PONG'));
      expect(client.text).toMatch(/^\+OK\r\n\+QUEUED\r\n\+QUEUED\r\n-OVERLOADED [^\r]*\r\n\+PONG\r\n$/);
      client.close();
      await stand.client().rpush('{x}list', 'x');
      expect(await popped).toEqual(['{x}list', 'x']);
    } finally {
      await stand.stop();
    }
  });
});
