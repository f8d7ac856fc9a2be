/**
 * What is said about all keys while some are on the move: nothing of Ringside's own is seen or touched, and no key is
 * missing, doubled, or seen after it was deleted.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Wire } from '../differential/wire.ts';
import type { Relay } from '../support/relay.ts';
import { ask } from './copies.ts';
import { clientsKeys, walk } from './keys.ts';
import { MoveStand } from './move-stand.ts';
import { bodyOf, pipeline, until } from './stand.ts';

let stand: MoveStand;
let wire: Wire;

beforeEach(async () => {
  stand = await MoveStand.start({ proxies: 2, proxyPart: '  hold: 3s' });
  wire = await stand.connect();
});
afterEach(() => stand.stop());

const one = async (words: string): Promise<string> => (await pipeline(wire, words))[0] as string;

async function fill(keys: readonly string[]): Promise<void> {
  await Promise.all(keys.map(key => stand.client().set(key, '1')));
}

async function pull(keys: readonly string[]): Promise<void> {
  await Promise.all(keys.map(key => stand.client().type(key)));
}

/** Everything that tells of all keys; the set must not be in it. */
async function expectOnly(keys: readonly string[]): Promise<void> {
  const sorted = [...keys].sort();
  expect(clientsKeys(await one('KEYS *')).sort()).toEqual(sorted);
  expect(await one('KEYS ringside*')).toBe('*0\r\n');
  for (const options of ['', 'COUNT 1', 'COUNT 1000', 'MATCH * COUNT 10']) {
    expect((await walk(wire, options)).sort()).toEqual(sorted);
  }
  expect(await walk(wire, 'MATCH ringside:* COUNT 100')).toEqual([]);
  expect(await walk(wire, 'TYPE set')).toEqual([]);
  expect(await one('DBSIZE')).toBe(`:${keys.length}\r\n`);
  for (let i = 0; i < 40; i += 1) {
    const drawn = await one('RANDOMKEY');
    if (keys.length === 0) expect(drawn).toBe('$-1\r\n');
    else expect(keys).toContain(bodyOf(drawn));
  }
}

async function keyspace(): Promise<string> {
  return bodyOf(await one('INFO keyspace'));
}

describe('the set of pulled keys', () => {
  test('is never seen where it lies with nothing else', async () => {
    await stand.open();
    expect(await stand.node('n2').redis.keys('*')).toEqual([stand.setName()]);
    await expectOnly([]);
    expect(await keyspace()).toBe('# Keyspace\r\n');
    await pipeline(wire, 'HELLO 3');
    expect(await one('KEYS *')).toBe('*0\r\n');
    expect(await one('RANDOMKEY')).toBe('_\r\n');
  });

  test('is never seen among clients’ keys, on either way', async () => {
    const keys = [...stand.keys(6), ...stand.keys(5, false)];
    await fill(keys);
    const pulled = keys.slice(0, 3);
    await stand.prepare();
    await expectOnly(keys);
    await stand.fence();
    await stand.startMoving();
    await expectOnly(keys);
    await pull(pulled);
    await expectOnly(keys);
    expect(await keyspace()).toContain('db0:keys=11,');
    await stand.prepare('return');
    await expectOnly(keys);
    await stand.fence();
    await stand.startMoving();
    await expectOnly(keys);
    expect(await keyspace()).toContain('db0:keys=11,');
    await pull(pulled.slice(0, 1));
    await expectOnly(keys);
  });

  test('is of database 0: other databases are shown as they are', async () => {
    const [k] = stand.keys(1) as [string];
    await stand.open();
    await stand.client(0, 5).set(k, '1');
    await pipeline(wire, 'SELECT 5');
    await expectOnly([k]);
    expect(await keyspace()).toMatch(/^# Keyspace\r\ndb5:keys=1,/);
  });

  test('is not flushed: FLUSHALL and FLUSHDB wait until no portion is under way', async () => {
    const keys = [...stand.keys(3), ...stand.keys(3, false)];
    await fill(keys);
    await stand.open();
    await pull(keys.slice(0, 1));
    const flushes = [ask(wire, 'FLUSHALL'), ask(await stand.connect(), 'FLUSHDB ASYNC')];
    expect(await pipeline(await stand.connect(), `SET ${keys[1]} 2`)).toEqual(['+OK\r\n']);
    expect(flushes.map(flush => flush.reply)).toEqual([null, null]);
    expect(await stand.node('n2').redis.sismember(stand.setName(), '')).toBe(1);
    await pull(keys);
    await stand.closeSet();
    await stand.publishClosed();
    expect(await Promise.all(flushes.map(flush => flush.done))).toEqual(['+OK\r\n', '+OK\r\n']);
    await expectOnly([]);
  });

  test('is not flushed for longer than a command is held, nor in a block', async () => {
    await stand.open();
    expect(await pipeline(wire, 'MULTI', 'FLUSHALL', 'KEYS *', 'EXEC')).toEqual([
      '+OK\r\n',
      expect.stringMatching(/^-ERR FLUSHALL concerns every shard/),
      expect.stringMatching(/^-ERR KEYS concerns every shard/),
      expect.stringMatching(/^-EXECABORT/),
    ]);
    expect(await one('FLUSHALL')).toMatch(/^-TRYAGAIN/);
    expect(await stand.node('n2').redis.sismember(stand.setName(), '')).toBe(1);
  });
});

test('no key is missing or doubled in KEYS, however many go over at that time', async () => {
  const keys = [...stand.keys(300), ...stand.keys(100, false)];
  const sorted = [...keys].sort();
  await fill(keys);
  await stand.open();
  let pulling = true;
  const others = stand.client();
  const done = (async () => {
    for (const key of stand.keys(300)) await others.type(key);
    pulling = false;
  })();
  let lists = 0;
  for (; pulling; lists += 1) expect(clientsKeys(await one('KEYS *')).sort()).toEqual(sorted);
  await done;
  expect(lists).toBeGreaterThan(3);
  expect(clientsKeys(await one('KEYS *')).sort()).toEqual(sorted);
});

test('a KEYS that is under way when a portion begins is asked anew, and misses nothing', async () => {
  const keys = [...stand.keys(50), ...stand.keys(20, false)];
  await fill(keys);
  await stand.open();
  await pull(keys);
  await stand.closeSet();
  await stand.publishClosed();
  const cable = stand.proxies[0]?.cables.get('n2') as Relay;
  // The shard that has them hears of it only when they have gone to the one that has answered before.
  cable.freeze();
  const asked = ask(wire, 'KEYS *');
  await until(() => stand.proxy.shards[0]?.lane(0, 2).pending === 0);
  await stand.open('back');
  for (const key of keys) await stand.client(1).type(key);
  expect(asked.reply).toBe(null);
  cable.heal();
  expect(clientsKeys(await asked.done).sort()).toEqual([...keys].sort());
});

test('a key that was deleted after it was pulled is not seen again, though the giver still has it', async () => {
  const [gone, kept, ...rest] = stand.keys(30) as [string, string, ...string[]];
  await fill([gone, kept, ...rest]);
  await stand.open();
  await pull([gone, kept]);
  await pipeline(wire, `DEL ${gone}`, `SET ${kept} 2`);
  // As after a fail-over of the giver to a copy that had not heard that they were given away.
  await stand.node('n1').redis.mset(gone, '1', kept, '1');
  const keys = [kept, ...rest];
  expect(clientsKeys(await one('KEYS *')).sort()).toEqual([...keys].sort());
  expect((await walk(wire, 'COUNT 3')).sort()).toEqual([...keys].sort());
  await stand.node('n1').redis.del(...rest);
  for (let i = 0; i < 30; i += 1) expect(bodyOf(await one('RANDOMKEY'))).toBe(kept);
});

describe('SCAN', () => {
  /** Walks page by page; `between` is called behind each of them. */
  async function walkWith(between: (page: number) => Promise<unknown>, most = 10_000): Promise<Set<string>> {
    const found = new Set<string>();
    let cursor = '0';
    for (let page = 0; page < most; page += 1) {
      const lines = (await one(`SCAN ${cursor} COUNT 10`)).split('\r\n').filter(line => !/^[*$]/.test(line));
      cursor = lines[0] as string;
      for (const key of lines.slice(1, -1)) found.add(key);
      if (cursor === '0') return found;
      await between(page);
    }
    throw new Error('the walk did not end');
  }

  test('misses nothing while keys go over between its pages, and ends before they all have', async () => {
    const moving = stand.keys(400);
    const keys = [...moving, ...stand.keys(200, false)];
    await fill(keys);
    await stand.open();
    for (let round = 0; round < 5; round += 1) {
      const left = moving.slice(round * 60, round * 60 + 60);
      // From both ends, so that some go before they are met and some behind it.
      const found = await walkWith(() => pull([...left.splice(0, 2), ...left.splice(-2, 2)]), 400);
      expect(keys.filter(key => !found.has(key))).toEqual([]);
    }
    expect((await stand.leftOnGiver()).length).toBeGreaterThan(50);
  });

  test('misses nothing when the move begins, closes or turns round between its pages', async () => {
    const moving = stand.keys(300);
    const keys = [...moving, ...stand.keys(100, false)];
    await fill(keys);
    const events = new Map<number, () => Promise<void>>([
      [7, () => stand.open()],
      [12, () => pull(moving.slice(0, 150))],
      [20, () => stand.open('return')],
      [25, () => pull(moving)],
      [
        40,
        async () => {
          await stand.closeSet();
          await stand.publishClosed();
        },
      ],
    ]);
    const found = await walkWith(async page => events.get(page)?.());
    expect(keys.filter(key => !found.has(key))).toEqual([]);
  });

  test('walks the giver before the taker for as long as the move lasts, whichever way it goes', async () => {
    const moving = stand.keys(200);
    await fill(moving);
    await stand.open();
    await pull(moving);
    await stand.closeSet();
    await stand.publishClosed();
    // All are on the second shard now, and go back to the first.
    await stand.open('back');
    const left = [...moving];
    const found = await walkWith(() => pull(left.splice(0, 3)), 400);
    expect(moving.filter(key => !found.has(key))).toEqual([]);
  });
});
