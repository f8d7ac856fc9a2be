/** What a client says about a connection is the proxy's business: no node hears it in the client's words. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Wire } from '../differential/wire.ts';
import { keyOn, send } from './keys.ts';
import { pipeline, Stand, until } from './stand.ts';

let stand: Stand;
let wire: Wire;
let key: string;

beforeAll(async () => {
  stand = await Stand.start(1);
  wire = await stand.connect();
  key = keyOn(stand, 0);
});
afterAll(() => stand.stop());

/** What the node is told while `act` runs, without what the proxy itself says to log in and to learn. */
async function heardDuring(act: () => Promise<unknown>): Promise<string> {
  const node = stand.nodes[0];
  if (node === undefined) throw new Error('there is no node');
  const spy = await stand.connectTo(node);
  await pipeline(spy, 'MONITOR');
  await act();
  await pipeline(await stand.connectTo(node), 'ECHO the-end');
  let heard = '';
  await until(async () => {
    for (const frame of await spy.take(spy.waiting)) heard += String(frame);
    return heard.includes('the-end');
  });
  return heard;
}

const WORDS = [
  'AUTH default mine',
  'HELLO 3 SETNAME mine',
  'HELLO 2',
  'CLIENT SETNAME mine',
  'CLIENT NO-EVICT on',
  'CLIENT ID',
  'CLIENT REPLY ON',
  'CLIENT KILL ID 99999999',
  'CLIENT PAUSE 0',
  'CLIENT UNPAUSE',
  'WAIT 0 1',
  'SELECT 3',
  'SELECT 0',
  'MONITOR',
  'SUBSCRIBE mine',
  'UNSUBSCRIBE mine',
  'PSUBSCRIBE mine',
  'PUNSUBSCRIBE mine',
  'SSUBSCRIBE mine',
  'SUNSUBSCRIBE mine',
];
/** What was said on each connection after its login, which ends with this INFO; the spy's own word is left out. */
function afterLogins(heard: string): string {
  const byConnection = new Map<string, string[]>();
  for (const line of heard.split('\r\n')) {
    const from = /\[\d+ (\S+)\]/.exec(line)?.[1] ?? '';
    const said = byConnection.get(from) ?? [];
    byConnection.set(from, said);
    if (line.includes('"INFO" "server" "replication" "persistence"')) said.length = 0;
    else if (!line.includes('"MONITOR"')) said.push(line);
  }
  return [...byConnection.values()].flat().join('\n');
}

const NEVER = /"(AUTH|HELLO|RESET|QUIT|MONITOR)"|"CLIENT" /i;

describe('on a connection of its own', () => {
  test.each(WORDS)('%s', async words => {
    const heard = await heardDuring(async () => {
      const own = await stand.connect();
      await send(own, words, `SET ${key} v`);
      await until(() => own.waiting >= 2);
    });
    const said = afterLogins(heard);
    // While it is subscribed, a client may not SET.
    if (!/^(SUB|PSUB|SSUB)/.test(words)) expect(said).toContain('"SET"');
    expect(said).not.toMatch(NEVER);
    // WAIT is asked on a connection lent for it, behind a word of the proxy's own.
    if (!words.startsWith('WAIT')) expect(said).not.toMatch(/"(WAIT|SELECT)"/i);
  });

  test('RESET and QUIT', async () => {
    const heard = await heardDuring(async () => {
      expect(await pipeline(wire, 'RESET', `SET ${key} v`)).toEqual(['+RESET\r\n', '+OK\r\n']);
      const leaving = await stand.connect();
      expect(await pipeline(leaving, `SET ${key} v`, 'QUIT')).toEqual(['+OK\r\n', '+OK\r\n']);
    });
    expect(heard).not.toMatch(/"(RESET|QUIT)"/i);
  });
});

test('inside a block', async () => {
  const heard = await heardDuring(async () => {
    const own = await stand.connect();
    for (const words of [...WORDS, 'RESET']) {
      if (words.startsWith('SELECT')) continue;
      await pipeline(own, 'MULTI', `SET ${key} v`, words);
      if (words !== 'RESET') await pipeline(own, 'EXEC');
    }
  });
  const said = afterLogins(heard);
  expect(said).not.toMatch(/"(AUTH|HELLO|RESET|QUIT|WAIT|SELECT|SUBSCRIBE|PSUBSCRIBE|SSUBSCRIBE)"|"CLIENT"/i);
  expect(said).toContain('"SET"');
});

test('a block that selects leaves no lane on another database', async () => {
  const [own, other] = await Promise.all([stand.connect(), stand.connect()]);
  await pipeline(own, 'MULTI', 'SELECT 5', `SET ${key}5 v`, 'EXEC');
  expect(await pipeline(other, `EXISTS ${key}5`, 'SELECT 5', `EXISTS ${key}5`)).toEqual([
    ':0\r\n',
    '+OK\r\n',
    ':1\r\n',
  ]);
});

test('inside a script, where Redis itself allows none of them but SELECT, which ends with the script', async () => {
  for (const words of WORDS) {
    const [name = '', ...rest] = words.split(' ');
    if (name === 'SELECT') continue;
    const args = [name, ...rest].map(word => `'${word}'`).join(',');
    expect(String(await wire.ask('EVAL', `return redis.call(${args})`, '1', key)), words).toMatch(
      /^-ERR .*not allowed from script/,
    );
  }
  expect(
    String(
      await wire.ask('EVAL', "redis.call('SELECT', 7) return redis.call('SET', KEYS[1], 'seven')", '1', `${key}7`),
    ),
  ).toBe('+OK\r\n');
  expect(await pipeline(wire, `SET ${key}0 zero`, `EXISTS ${key}0`, `EXISTS ${key}7`)).toEqual([
    '+OK\r\n',
    ':1\r\n',
    ':0\r\n',
  ]);
});
