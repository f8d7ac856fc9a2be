/** With a user configured, a client is let in as one Redis with that password lets it in. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';
import { pipeline, Stand } from './stand.ts';

let stand: Stand;
let stock: StockRedis;

beforeAll(async () => {
  const settings = '  auth: { username: default, password: "open-sesame" }\n';
  [stand, stock] = await Promise.all([Stand.start(1, settings), startStockRedis()]);
  const wire = await stand.connectTo(stock);
  await pipeline(wire, 'CONFIG SET requirepass open-sesame');
});
afterAll(() => Promise.all([stand.stop(), stock.stop()]));

const withoutId = (reply: string): string => reply.replace(/(\r\nid\r\n):\d+/, '$1:0');

test.each([
  ['nothing but a login is allowed before it', ['GET k', 'CLIENT ID', 'PING', 'HELLO', 'HELLO 3', 'RESET']],
  ['AUTH with the password', ['AUTH wrong', 'GET k', 'AUTH open-sesame', 'GET k']],
  [
    'AUTH with user and password',
    ['AUTH other open-sesame', 'AUTH default wrong', 'AUTH default open-sesame', 'GET k'],
  ],
  ['HELLO with AUTH', ['HELLO 3 AUTH default wrong', 'HELLO 3 AUTH default open-sesame SETNAME n', 'CLIENT GETNAME']],
  ['a failed login does not log out', ['AUTH open-sesame', 'AUTH wrong', 'GET k', 'ACL WHOAMI']],
  ['RESET logs out', ['AUTH open-sesame', 'GET k', 'RESET', 'GET k', 'PING']],
])('%s', async (_name, commands) => {
  const [wire, measure] = await Promise.all([stand.connect(), stand.connectTo(stock)]);
  const [ours, theirs] = await Promise.all([pipeline(wire, ...commands), pipeline(measure, ...commands)]);
  expect(ours.map(withoutId)).toEqual(theirs.map(withoutId));
});
