import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../support/ports.ts';
import { frame, RawClient } from './raw-client.ts';
import { type Conduct, Relay } from './relay.ts';
import { Stand, sleep, until } from './stand.ts';

/** The first shard's node is reached by way of a relay that can spoil what the node says. */
let stand: Stand;
let relay: Relay;
let keys: string[];

beforeAll(async () => {
  stand = await Stand.start({
    proxy: { hold: '500ms', timeout: '1500ms', connect: '1s' },
    firstNodeBy: async port => {
      relay = await Relay.start(await freePorts(1), port);
      return relay.port;
    },
  });
  keys = await stand.keyPerShard();
});

afterEach(async () => {
  await stand.rest();
  relay.behave({ kind: 'refuse' });
  relay.behave({ kind: 'honest' });
  await until('the proxy is ready again', () => stand.ready());
});

afterAll(async () => {
  await stand?.stop();
  await relay?.stop();
});

const keyOf = (shard: number) => keys[shard] as string;

const settled = (work: Promise<unknown>) =>
  work.then(
    value => value,
    (error: Error) => error.message,
  );

/**
 * Spoils the first shard while the others are watched; what ten clients got that each asked it for one thing. Raw
 * connections, since what comes may be more than a client library can bear; `closed` stands for an ended connection.
 */
async function whileSpoiled(conduct: Conduct): Promise<string[]> {
  const steady = await stand.steady([keyOf(1), keyOf(2)]);
  const clients = await Promise.all(Array.from({ length: 10 }, () => RawClient.open(stand.port)));
  relay.behave(conduct);
  clients.forEach((client, i) => {
    client.send(i % 2 === 0 ? frame('SET', keyOf(0), 'x') : frame('GET', keyOf(0)));
  });
  const answers = await Promise.all(
    clients.map(async client => {
      await client.until(() => /^-[A-Z]+ .*\r\n$/s.test(client.text.slice(0, 300)));
      client.close();
      return client.text.startsWith('-') ? client.text : 'closed';
    }),
  );
  const { errors, count } = await steady.stop();
  expect(errors).toEqual([]);
  expect(count).toBeGreaterThan(0);
  return answers;
}

/** The shard answers rightly again once its node is honest. */
async function expectRecovery(): Promise<void> {
  relay.behave({ kind: 'refuse' });
  relay.behave({ kind: 'honest' });
  const redis = stand.client();
  await until('the shard serves', async () => (await settled(redis.set(keyOf(0), 'again'))) === 'OK');
  expect(await redis.get(keyOf(0))).toBe('again');
}

const GARBAGE: [string, string][] = [
  ['bytes that are no RESP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
  ['a length that is no number', '$abc\r\nxx\r\n'],
  ['a negative length', '$-7\r\nxx\r\n'],
  ['an array longer than any', '*99999999999999\r\n'],
  ['zero bytes', '\0\0\0\0\0\0\0\0'],
  ['lines without an end', 'x'.repeat(100_000)],
  ['nesting without an end', '*1\r\n'.repeat(50_000)],
];

describe.each(GARBAGE)('a node that answers %s', (_name, bytes) => {
  it('costs its own requests an error, and nobody else anything', async () => {
    for (const answer of await whileSpoiled({ kind: 'say', bytes })) {
      expect(answer).toMatch(/^(-UNCERTAIN |-CLUSTERDOWN |closed$)/);
    }
    expect(stand.log).not.toMatch(/AssertionError|uncaught/i);
    await expectRecovery();
  });
});

describe('a node that breaks the rules', () => {
  it('an answer that nobody asked for puts no second client out of step', async () => {
    const redis = stand.client();
    await redis.set(keyOf(0), 'mine');
    relay.behave({ kind: 'prepend', bytes: '+SURPLUS\r\n' });
    const answers: unknown[] = [];
    for (let i = 0; i < 5; i += 1) answers.push(await settled(redis.get(keyOf(0))));
    // The first reply after the surplus one cannot be told from it by anyone; from then on the lane is out of step.
    expect(answers.slice(1)).not.toContain('SURPLUS');
    relay.behave({ kind: 'refuse' });
    relay.behave({ kind: 'honest' });
    await until('the shard serves', async () => (await settled(redis.get(keyOf(0)))) === 'mine');
  });

  it('a connection cut in the middle of a reply is never taken for a whole value', async () => {
    const redis = stand.client();
    const value = 'v'.repeat(10_000);
    await redis.set(keyOf(0), value);
    relay.behave({ kind: 'cut', afterBytes: 5_000 });
    const answers = await Promise.all(Array.from({ length: 10 }, () => settled(redis.get(keyOf(0)))));
    for (const answer of answers) {
      if (answer !== value) expect(answer).toMatch(/^(UNCERTAIN |CLUSTERDOWN |Connection is closed)/);
    }
    await expectRecovery();
  });

  it('a node that falls silent costs its own requests an error', async () => {
    for (const answer of await whileSpoiled({ kind: 'silent' })) expect(answer).toMatch(/^-(UNCERTAIN|CLUSTERDOWN) /);
    await expectRecovery();
  });

  it('a node that takes connections and never lets log in is held for, then refused', async () => {
    const redis = await stand.connected();
    relay.behave({ kind: 'refuse' });
    relay.behave({ kind: 'silent' });
    expect(await settled(redis.set(keyOf(0), 'x'))).toMatch(/^CLUSTERDOWN /);
    await expectRecovery();
  });

  it('a node that refuses connections is not stormed with new ones', async () => {
    const clients = await Promise.all(Array.from({ length: 50 }, () => stand.connected()));
    relay.behave({ kind: 'refuse' });
    const before = relay.accepted;
    const beganMs = performance.now();
    const asked = clients.map(redis => settled(redis.set(keyOf(0), 'x')));
    for (const answer of await Promise.all(asked)) expect(answer).toMatch(/^(CLUSTERDOWN|UNCERTAIN) /);
    await sleep(2_000);
    // A slow machine gives them more time to try.
    const spans = Math.max(1, (performance.now() - beganMs) / 3_000);
    expect(relay.accepted - before).toBeLessThan(80 * spans);
    await expectRecovery();
  });
});
