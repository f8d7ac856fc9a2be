/** GETS and CAS: an optimistic lock whose version is a digest of the value. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StockRedis } from '../differential/stock-redis.ts';
import type { Wire } from '../differential/wire.ts';
import { pipeline, Stand } from './stand.ts';

let stand: Stand;
let wire: Wire;

beforeAll(async () => {
  stand = await Stand.start(3);
  wire = await stand.connect();
});
afterAll(() => stand.stop());

async function versionOf(key: string): Promise<string> {
  const [reply = ''] = await pipeline(wire, `GETS ${key}`);
  return reply.split('\r\n')[4] as string;
}

test.each(['a', 'b', 'c', 'd', 'e', 'f'])('CAS changes what GETS has seen, once (%s)', async key => {
  await pipeline(wire, `SET ${key} one`);
  const version = await versionOf(key);
  expect(version).toMatch(/^[0-9a-f]{40}$/);
  expect(await pipeline(wire, `CAS ${key} ${version} two`, `CAS ${key} ${version} three`, `GET ${key}`)).toEqual([
    '+OK\r\n',
    '$-1\r\n',
    '$3\r\ntwo\r\n',
  ]);
});

test('of many clients that saw the same version, one changes the value', async () => {
  await pipeline(wire, 'SET race 0');
  const version = await versionOf('race');
  const wires = await Promise.all(Array.from({ length: 20 }, () => stand.connect()));
  const replies = await Promise.all(wires.map((one, i) => pipeline(one, `CAS race ${version.toUpperCase()} ${i + 1}`)));
  expect(replies.filter(([reply]) => reply === '+OK\r\n')).toHaveLength(1);
  expect(replies.filter(([reply]) => reply === '$-1\r\n')).toHaveLength(19);
});

test('what is not there is nil for GETS and NOTFOUND for CAS', async () => {
  expect(await pipeline(wire, 'GETS none', 'CAS none x y')).toEqual(['$-1\r\n', '-NOTFOUND no such key\r\n']);
  const three = await stand.connect();
  expect((await pipeline(three, 'HELLO 3', 'GETS none', 'SET n 1', 'CAS n x y')).slice(1)).toEqual([
    '_\r\n',
    '+OK\r\n',
    '_\r\n',
  ]);
});

test('another type is WRONGTYPE', async () => {
  const replies = await pipeline(wire, 'RPUSH list x', 'GETS list', 'CAS list x y');
  expect(replies.slice(1)).toEqual([expect.stringMatching(/^-WRONGTYPE /), expect.stringMatching(/^-WRONGTYPE /)]);
});

describe('options of CAS', () => {
  test.each([
    ['EX 100', 100, 100],
    ['px 90000', 80, 90],
    ['KEEPTTL', 900, 1000],
    ['', -1, -1],
  ])('%s', async (option, least, most) => {
    await pipeline(wire, 'SET ttl v EX 1000');
    const version = await versionOf('ttl');
    const [ok, left = ''] = await pipeline(wire, `CAS ttl ${version} w ${option}`.trim(), 'TTL ttl');
    expect(ok).toBe('+OK\r\n');
    expect(Number(left.slice(1))).toBeGreaterThanOrEqual(least);
    expect(Number(left.slice(1))).toBeLessThanOrEqual(most);
  });

  test.each(['NX', 'XX', 'GET', 'EX', 'EXAT 99999999999', 'KEEPTTL GET', 'EX 10 NX', 'EX 10 KEEPTTL', 'PX'])(
    '%s is no option of it, and nothing is changed',
    async option => {
      await pipeline(wire, 'SET opt v');
      const version = await versionOf('opt');
      expect(await pipeline(wire, `CAS opt ${version} w ${option}`, 'GET opt')).toEqual([
        '-ERR syntax error\r\n',
        '$1\r\nv\r\n',
      ]);
    },
  );

  test('a hundred arguments too many are refused, and the connection goes on', async () => {
    const words = `CAS opt x y ${Array.from({ length: 100 }, () => 'z').join(' ')}`;
    expect(await pipeline(wire, words, 'PING')).toEqual(['-ERR syntax error\r\n', '+PONG\r\n']);
  });

  test.each(['EX 0', 'EX x', 'PX -1'])('%s is refused by Redis itself', async option => {
    await pipeline(wire, 'SET opt v');
    const version = await versionOf('opt');
    const [refused = '', value] = await pipeline(wire, `CAS opt ${version} w ${option}`, 'GET opt');
    expect(refused).toMatch(/^-ERR /);
    expect(value).toBe('$1\r\nv\r\n');
  });
});

test('values of any bytes come back as they are', async () => {
  const value = Buffer.from(Array.from({ length: 1024 }, (_, i) => i % 256));
  await wire.ask('SET', 'bytes', value);
  const reply = await wire.ask('GETS', 'bytes');
  expect(reply.subarray(reply.indexOf(value), reply.indexOf(value) + value.length)).toEqual(value);
  const version = reply.toString('latin1').slice(-42, -2);
  expect((await wire.ask('CAS', 'bytes', version, Buffer.alloc(0))).toString()).toBe('+OK\r\n');
});

test('they work after every node has forgotten its scripts unseen', async () => {
  await Promise.all(stand.nodes.map(async node => pipeline(await stand.connectTo(node as StockRedis), 'SCRIPT FLUSH')));
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
    await pipeline(wire, `SET ${key} x`);
    expect(await pipeline(wire, `CAS ${key} ${await versionOf(key)} y`)).toEqual(['+OK\r\n']);
  }
});
