/** Messages through a move: whatever is published on either side, in whatever phase, is heard, and each once. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Wire } from '../differential/wire.ts';
import { ask } from './copies.ts';
import { take } from './keys.ts';
import { MoveStand } from './move-stand.ts';
import { pipeline, until } from './stand.ts';

let stand: MoveStand;
let listener: Wire;
let wire: Wire;

beforeEach(async () => {
  stand = await MoveStand.start({ proxies: 2, proxyPart: '  hold: 20s' });
  [listener, wire] = await Promise.all([stand.connect(), stand.connect()]);
});
afterEach(() => stand.stop());

/** Connections on a node that listen, by the epoch as whose user they are logged in. */
async function listening(node: string): Promise<number[]> {
  const list = (await stand.node(node).redis.call('CLIENT', 'LIST', 'TYPE', 'pubsub')) as string;
  return [...list.matchAll(/user=ringside-proxy-(\d+)/g)].map(found => Number(found[1])).sort();
}

/** Every proxy that listens has gone over to the epochs of now. */
async function handedOver(): Promise<void> {
  for (const { primary, epoch } of stand.topology.shards) {
    await until(async () => (await listening(primary)).every(one => one === epoch));
  }
}

const last = (frame: string): string => frame.split('\r\n').at(-2) as string;

test('epochs come and go, and no message is lost or comes twice', async () => {
  await pipeline(listener, 'SUBSCRIBE news', 'PSUBSCRIBE other*');
  await until(async () => (await listening('n1')).length + (await listening('n2')).length === 2);
  let publishing = true;
  const sent = new Map<string, string[]>();
  const publishers = ['n1', 'n2'].flatMap(id =>
    ['news', 'others'].map(async channel => {
      const name = `${id} ${channel}`;
      const texts: string[] = [];
      sent.set(name, texts);
      for (let i = 0; publishing; i += 1) {
        texts.push(`${name} ${i}`);
        await stand.node(id).redis.publish(channel, `${name} ${i}`);
      }
    }),
  );
  const steps = [
    () => stand.prepare(),
    () => stand.startMoving(),
    () => stand.prepare('return'),
    () => stand.startMoving(),
    () => stand.change('s1', { epoch: 20 }),
    () => stand.change('s2', { epoch: 20 }),
  ];
  for (const step of steps) {
    await step();
    await handedOver();
    await stand.fence();
    const before = [...sent.values()].map(texts => texts.length);
    await until(() => [...sent.values()].every((texts, i) => texts.length > (before[i] as number) + 20));
  }
  publishing = false;
  await Promise.all(publishers);
  const all = [...sent.values()].reduce((sum, texts) => sum + texts.length, 0);
  const heard = (await take(listener, all)).map(last);
  for (const [name, texts] of sent) expect(heard.filter(text => text.startsWith(`${name} `))).toEqual(texts);
  expect(listener.waiting).toBe(0);
});

test('the fence in the midst of it costs no message a second coming, and what comes behind is heard', async () => {
  await pipeline(listener, 'SUBSCRIBE news');
  let publishing = true;
  const publisher = (async () => {
    for (let i = 0; publishing; i += 1) await stand.node('n1').redis.publish('news', `m${i}`);
  })();
  await stand.open();
  await handedOver();
  publishing = false;
  await publisher;
  await until(async () => (await stand.node('n1').redis.publish('news', 'end')) > 0);
  const heard: string[] = [];
  while (heard.at(-1) !== 'end') heard.push(last((await take(listener, 1))[0] as string));
  expect(new Set(heard).size).toBe(heard.length);
  const numbers = heard.slice(0, -1).map(text => Number(text.slice(1)));
  expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
});

describe('a sharded channel of the portion', () => {
  const heardOn = async (node: string, channel: string): Promise<unknown> =>
    stand.node(node).redis.call('SPUBLISH', channel, 'direct');

  test('is listened to on both sides from its being prepared until it has gone over', async () => {
    const [before, during] = stand.keys(2, true, 'channel') as [string, string];
    const [stays] = stand.keys(1, false, 'channel') as [string];
    await pipeline(listener, `SSUBSCRIBE ${before}`, `SSUBSCRIBE ${stays}`);
    expect([await heardOn('n1', before), await heardOn('n2', before)]).toEqual([1, 0]);
    await stand.prepare();
    await handedOver();
    await until(async () => (await heardOn('n2', before)) === 1);
    expect(await heardOn('n1', before)).toBe(1);
    await stand.fence();
    await stand.startMoving();
    await pipeline(await stand.connect(), `SSUBSCRIBE ${during}`);
    expect([await heardOn('n1', during), await heardOn('n2', during)]).toEqual([1, 1]);
    await stand.closeSet();
    await stand.publishClosed();
    await handedOver();
    await until(async () => (await heardOn('n1', before)) === 0 && (await heardOn('n1', during)) === 0);
    expect([await heardOn('n2', before), await heardOn('n2', during), await heardOn('n1', stays)]).toEqual([1, 1, 1]);
    expect(await heardOn('n2', stays)).toBe(0);
  });

  test('carries each message once, in every phase; it waits while the portion is prepared', async () => {
    const [channel] = stand.keys(1, true, 'channel') as [string];
    const other = await stand.connect(1);
    await pipeline(listener, `SSUBSCRIBE ${channel}`, 'SUBSCRIBE plain');
    const hear = async (...texts: string[]): Promise<void> => {
      // Messages of different channels come on different ways.
      expect((await take(listener, texts.length)).map(last).sort()).toEqual(texts);
    };
    expect(await pipeline(wire, `SPUBLISH ${channel} a`, 'PUBLISH plain b')).toEqual([':1\r\n', ':1\r\n']);
    await hear('a', 'b');
    await stand.prepare();
    const asked = [ask(wire, `SPUBLISH ${channel} c`), ask(other, 'PUBLISH plain d')];
    await asked[1]?.done;
    await hear('d');
    expect(asked[0]?.reply).toBe(null);
    await stand.fence();
    await stand.startMoving();
    expect(await asked[0]?.done).toBe(':1\r\n');
    await hear('c');
    await pipeline(other, `SPUBLISH ${channel} e`, 'PUBLISH plain f');
    await hear('e', 'f');
    await stand.closeSet();
    await stand.publishClosed();
    expect(await pipeline(other, `SPUBLISH ${channel} g`, 'PUBLISH plain h')).toEqual([':1\r\n', ':1\r\n']);
    await hear('g', 'h');
    expect(listener.waiting).toBe(0);
    expect((await pipeline(wire, 'PUBSUB SHARDCHANNELS', 'PUBSUB SHARDNUMSUB none'))[0]).toContain(channel);
  });
});
