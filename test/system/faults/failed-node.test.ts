import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { HANG_MS } from '../../support/patience.ts';
import { frame, RawClient } from './raw-client.ts';
import { Stand, sleep, until } from './stand.ts';

const HOLD_MS = 1_000;
const TIMEOUT_MS = 1_500;

/** For tests in which the node comes back: longer than a busy machine takes to start one. */
const PATIENT = { hold: '60s', timeout: '60s' };

/** So often at least a client is answered that waits for nothing, while another one waits for as long as that. */
const UNDISTURBED = 10;

let stand: Stand;
let keys: string[];

/** Every test of the group that this is called in has a stand with these settings, in which all nodes run. */
function useStand(proxy: { hold: string; timeout: string }): void {
  beforeAll(async () => {
    stand = await Stand.start({ proxy });
  });

  beforeEach(async () => {
    keys = await stand.keyPerShard();
  });

  /** Whatever a test did to the first node: it runs again, and the proxy has found it. */
  afterEach(async () => {
    await stand.rest();
    const [node] = stand.nodes;
    node?.thaw();
    await node?.kill();
    await node?.start();
    await until('the proxy is ready again', () => stand.ready());
  });

  afterAll(async () => {
    await stand?.stop();
  });
}

const first = () => stand.nodes[0] as Stand['nodes'][number];
const keyOf = (shard: number) => keys[shard] as string;

interface Timed {
  value: unknown;
  tookMs: number;
}

/** The answer or the error's text, and how long it took. */
async function timed(work: Promise<unknown>): Promise<Timed> {
  const before = performance.now();
  const value = await work.then(
    answer => answer,
    (error: Error) => error.message,
  );
  return { value, tookMs: performance.now() - before };
}

describe("a node's process is killed", () => {
  useStand({ hold: `${HOLD_MS}ms`, timeout: `${TIMEOUT_MS}ms` });

  it('its shard answers CLUSTERDOWN once the hold time is over, the others go on without delay', async () => {
    const steady = await stand.steady([keyOf(1), keyOf(2)]);
    const clients = await Promise.all(Array.from({ length: 5 }, () => stand.connected()));
    await first().kill();
    const asked = clients.map(redis => timed(redis.set(keyOf(0), 'x')));
    for (const { value, tookMs } of await Promise.all(asked)) {
      expect(value).toMatch(/^CLUSTERDOWN .*s1/);
      expect(tookMs).toBeGreaterThanOrEqual(HOLD_MS - 50);
    }
    const { count, errors } = await steady.stop();
    expect(errors).toEqual([]);
    expect(count).toBeGreaterThan(UNDISTURBED);
  });

  it('a pipeline over all shards gets the error where it belongs and its other answers in order', async () => {
    const pipeline = (await stand.connected()).pipeline();
    await first().kill();
    for (let i = 0; i < 30; i += 1) pipeline.set(keyOf(i % 3), String(i)).get(keyOf((i + 1) % 3));
    const replies = (await pipeline.exec()) ?? [];
    expect(replies).toHaveLength(60);
    for (let i = 0; i < 30; i += 1) {
      const [written, read] = [replies[2 * i], replies[2 * i + 1]];
      if (i % 3 === 0) expect(written?.[0]?.message).toMatch(/^CLUSTERDOWN /);
      else expect(written).toEqual([null, 'OK']);
      if ((i + 1) % 3 === 0) expect(read?.[0]?.message).toMatch(/^CLUSTERDOWN /);
      else if (i > 2) expect(read).toEqual([null, String(i - 2)]);
    }
  });

  it('clients that connect while a shard is down are served by the others', async () => {
    await first().kill();
    const [ioredis2, ioredis3] = [stand.client({ protocol: 2 }), stand.client()];
    expect(await timed(ioredis2.set(keyOf(1), 'two'))).toMatchObject({ value: 'OK' });
    expect(await timed(ioredis3.get(keyOf(1)))).toMatchObject({ value: 'two' });
    const raw = await RawClient.open(stand.port);
    raw.send(
      Buffer.concat([frame('HELLO', '3'), frame('CLIENT', 'SETNAME', 'late'), frame('INFO'), frame('GET', keyOf(1))]),
    );
    expect(await raw.textEndingWith('$3\r\ntwo\r\n')).toContain('redis_version:7.');
    raw.close();
  });

  it('commands over all shards fail as a whole and say so', async () => {
    const redis = await stand.connected();
    await first().kill();
    const { value: got } = await timed(redis.mget(...keys));
    expect(got).toMatch(/^CLUSTERDOWN /);
    expect((await timed(redis.dbsize())).value).toMatch(/^CLUSTERDOWN /);
    expect(await redis.mget(keyOf(1), keyOf(2))).toEqual([null, null]);
  });

  it('a write that was sent and not answered is UNCERTAIN, one that was never sent is CLUSTERDOWN', async () => {
    const redis = await stand.connected();
    first().freeze();
    const areSent = await stand.sending('write');
    const sent = timed(redis.incr(keyOf(0)));
    await areSent(1);
    await first().kill();
    expect((await sent).value).toMatch(/^UNCERTAIN /);
    expect((await timed(redis.incr(keyOf(0)))).value).toMatch(/^CLUSTERDOWN /);
  });

  it('every one of a thousand writes in flight gets an answer of its own', async () => {
    const redis = await stand.connected();
    first().freeze();
    const areSent = await stand.sending('write');
    const sent = Array.from({ length: 1_000 }, () => timed(redis.incr(keyOf(0))));
    await areSent(1_000);
    await first().kill();
    const answers = await Promise.all(sent);
    for (const { value } of answers) expect(value).toMatch(/^UNCERTAIN /);
    expect(await redis.set(keyOf(1), 'fine')).toBe('OK');
  });

  it('serves the shard again by itself once the node is back', async () => {
    const redis = await stand.connected();
    await first().kill();
    expect((await timed(redis.get(keyOf(0)))).value).toMatch(/^CLUSTERDOWN /);
    await first().start();
    await until('the shard serves', async () => (await timed(redis.set(keyOf(0), 'again'))).value === 'OK');
    expect(await redis.get(keyOf(0))).toBe('again');
  });

  it('/readyz names the shard that is not reached', async () => {
    await first().kill();
    await until('it is unready', async () => !(await stand.ready()));
    const answer = await fetch(`http://127.0.0.1:${stand.adminPort}/readyz`);
    expect(answer.status).toBe(503);
    const text = await answer.text();
    expect(text).toContain('s1');
    expect(text).not.toContain('s2');
    expect((await fetch(`http://127.0.0.1:${stand.adminPort}/healthz`)).status).toBe(200);
  });

  it('a client that waits for an element hears UNCERTAIN, since it may have been served, and may wait again', async () => {
    const redis = stand.client();
    const waiting = timed(redis.blpop(keyOf(0), 60));
    await first().hasWaiters(1);
    await first().kill();
    // A process that begins anew cannot tell what the one before it has done (rule R1).
    expect((await waiting).value).toMatch(/^UNCERTAIN /);
    await first().start();
    await until('the shard serves', () => stand.ready());
    const again = timed(redis.blpop(keyOf(0), 60));
    await first().hasWaiters(1);
    await stand.client().rpush(keyOf(0), 'late');
    expect((await again).value).toEqual([keyOf(0), 'late']);
  });

  it('a reader’s wait that ends before the node is back ends as Redis ends it, or says that the shard is down', async () => {
    const waiting = timed(stand.client().xread('BLOCK', 1_000, 'STREAMS', keyOf(0), '$'));
    await sleep(200);
    await first().kill();
    const { value, tookMs } = await waiting;
    if (value !== null) expect(value).toMatch(/^CLUSTERDOWN /);
    expect(tookMs).toBeLessThan(1_000 + HOLD_MS + HANG_MS);
  });
});

describe("a node's process is frozen", () => {
  useStand({ hold: `${HOLD_MS}ms`, timeout: `${TIMEOUT_MS}ms` });

  it('others are served without delay while its commands time out, and it serves again when it goes on', async () => {
    const steady = await stand.steady([keyOf(1), keyOf(2)]);
    const [writer, reader] = [await stand.connected(), await stand.connected()];
    first().freeze();
    const write = timed(writer.set(keyOf(0), 'x'));
    const read = timed(reader.get(keyOf(0)));
    const written = await write;
    expect(written.value).toMatch(/^UNCERTAIN /);
    expect(written.tookMs).toBeGreaterThanOrEqual(TIMEOUT_MS - 100);
    const asked = await read;
    expect(asked.value).toMatch(/^(CLUSTERDOWN|UNCERTAIN) /);
    const { errors, count } = await steady.stop();
    expect(errors).toEqual([]);
    expect(count).toBeGreaterThan(UNDISTURBED);
    first().thaw();
    const redis = stand.client();
    await until('the shard serves', async () => (await timed(redis.set(keyOf(0), 'again'))).value === 'OK');
    expect(await redis.get(keyOf(0))).toBe('again');
  });
});

describe("a node's process is killed and comes back while commands are held", () => {
  useStand(PATIENT);

  it('a read in flight is asked again of the node that comes back, unseen', async () => {
    const redis = await stand.connected();
    first().freeze();
    const areSent = await stand.sending('read');
    const asked = timed(redis.get(keyOf(0)));
    await areSent(1);
    await first().kill();
    await first().start();
    expect((await asked).value).toBeNull();
  });

  it('a command that comes while the node is away is held and served once it is back', async () => {
    const redis = await stand.connected();
    await first().kill();
    const held = timed(redis.set(keyOf(0), 'held'));
    await sleep(300);
    await first().start();
    const { value, tookMs } = await held;
    expect(value).toBe('OK');
    expect(tookMs).toBeGreaterThanOrEqual(280);
    expect(await first().ask(node => node.get(keyOf(0)))).toBe('held');
  });

  it('a blocked reader of a stream goes on waiting on the node that comes back', async () => {
    const waiting = timed(stand.client().xread('BLOCK', 60_000, 'STREAMS', keyOf(0), '$'));
    await first().hasWaiters(1);
    await first().kill();
    await first().start();
    await first().hasWaiters(1);
    await stand.client().xadd(keyOf(0), '1-1', 'f', 'v');
    expect((await waiting).value).toEqual([[keyOf(0), [['1-1', ['f', 'v']]]]]);
  });

  it('a transaction that was watched before the failure is not run after it', async () => {
    const redis = stand.client();
    await redis.watch(keyOf(0));
    await first().kill();
    await first().start();
    await until('the shard serves', () => stand.ready());
    const { value } = await timed(redis.multi().set(keyOf(0), 'stale').exec());
    expect(value).toBeNull();
    expect(await stand.client().get(keyOf(0))).toBeNull();
  });

  it('subscribers hear again what is published after the node is back', async () => {
    const listener = stand.client();
    const heard: string[] = [];
    listener.on('message', (channel, message) => heard.push(`${channel}=${message}`));
    const channels = Array.from({ length: 12 }, (_, i) => `channel:${i}`);
    await listener.subscribe(...channels);
    const subscribed = () => first().ask(async one => ((await one.pubsub('CHANNELS')) as string[]).sort());
    const before = await subscribed();
    expect(before.length).toBeGreaterThan(0);
    await first().kill();
    await first().start();
    await until('they are subscribed again', async () => (await subscribed()).join() === before.join());
    await until('the shard serves', () => stand.ready());
    const redis = stand.client();
    for (const channel of channels) await redis.publish(channel, 'after');
    await until('all are heard', () => heard.length >= 12);
    expect(heard.sort()).toEqual(channels.map(channel => `${channel}=after`).sort());
  });

  it('scripts that the new process lacks are loaded again, unseen', async () => {
    const redis = stand.client();
    const digest = (await redis.script('LOAD', "return redis.call('INCR', KEYS[1])")) as string;
    await first().kill();
    await first().start();
    await until('the shard serves', () => stand.ready());
    expect(await redis.evalsha(digest, 1, keyOf(0))).toBe(1);
    expect(await redis.evalsha(digest, 1, keyOf(1))).toBe(1);
  });
});

describe("a node's process is frozen for less than anybody waits", () => {
  useStand(PATIENT);

  it('a short freeze is a pause and nothing else', async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => stand.connected()));
    first().freeze();
    const asked = clients.map(redis => timed(redis.set(keyOf(0), 'x')));
    await sleep(600);
    first().thaw();
    for (const { value } of await Promise.all(asked)) expect(value).toBe('OK');
  });
});
