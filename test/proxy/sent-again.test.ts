/**
 * A request that is sent again, because what it did is proven to be gone, is as it was when it came: nothing of its first
 * way is left on it. Otherwise it takes another's reply, or another its.
 */
import { afterEach, expect, test } from 'vitest';
import { until } from '../upstream/lane-stand.ts';
import { allTold, Stage, sleep } from './commit-stand.ts';

const stage = new Stage();

afterEach(() => stage.end());

/** A primary whose barriers are answered by nobody: what it answers is kept. */
async function startUnconfirmed(settings: { writeMs?: number; holdMs?: number } = {}) {
  const { primary, stand } = await stage.startShard({}, settings);
  primary.count = null;
  return { primary, stand, lane: stand.shard.lane(0, 2) };
}

const inBlocks = (words: string[]): string =>
  ({ MULTI: '+OK\r\n', INCR: '+QUEUED\r\n', EXEC: '*1\r\n:1\r\n', GET: '$1\r\nv\r\n' })[words[0] as string] ??
  '+OK\r\n';

const BLOCK = 'MULTI | INCR a | EXEC';
const BLOCK_HEARD = BLOCK.split(' | ');

test('a block that was answered is skipped anew as far as it was: the next in line gets its own reply', async () => {
  const { primary, stand, lane } = await startUnconfirmed();
  primary.reply = inBlocks;
  const block = stand.send(BLOCK, { skip: 2 });
  await until('it is kept', () => lane.kept === 1);
  const next = await stage.successor(1000);
  next.reply = inBlocks;
  const behind = [stand.send('GET b'), stand.send('SET b 1')];
  stand.follow({ epoch: 2, primary: next.address });
  await allTold(block, ...behind);
  expect([block, ...behind].map(one => one.outcome)).toEqual(['*1\r\n:1\r\n', '$1\r\nv\r\n', '+OK\r\n']);
  expect(next.heard).toEqual([...BLOCK_HEARD, 'GET b', 'SET b 1']);
});

test('so is one of which the first replies had come, and one that is lost twice', async () => {
  const { primary, stand, lane } = await startUnconfirmed();
  primary.reply = words => (words[0] === 'EXEC' ? null : inBlocks(words));
  const block = stand.send(BLOCK, { skip: 2 });
  await until('two were skipped', () => block.skipped.length === 2);
  const second = await stage.successor(1000);
  second.count = null;
  second.reply = inBlocks;
  stand.follow({ epoch: 2, primary: second.address });
  await until('it is kept', () => lane.kept === 1);
  const third = await stage.successor(1000, 'm', 'n');
  third.reply = inBlocks;
  stand.follow({ epoch: 3, primary: third.address });
  const behind = stand.send('GET b');
  await allTold(block, behind);
  expect([block.outcome, behind.outcome]).toEqual(['*1\r\n:1\r\n', '$1\r\nv\r\n']);
  expect([second.heard, third.heard]).toEqual([BLOCK_HEARD, [...BLOCK_HEARD, 'GET b']]);
});

test('its place in the history is that of the primary to which it was sent last', async () => {
  const { stand, lane } = await startUnconfirmed();
  const sent = stand.send('INCR a');
  await until('it is kept', () => lane.kept === 1);
  const second = await stage.successor(1000);
  second.offset = 5000;
  second.reply = () => null;
  stand.follow({ epoch: 2, primary: second.address });
  await until('it was heard again', () => second.heard.length === 1);
  const third = await stage.successor(5000, 'm', 'n');
  stand.follow({ epoch: 3, primary: third.address });
  await allTold(sent);
  expect([sent.outcome, third.heard]).toEqual(['+OK\r\n', ['INCR a']]);
});

test('it has no answer until it gets another, though an offset was read meanwhile', async () => {
  const { stand, lane } = await startUnconfirmed();
  const sent = stand.send('INCR a');
  await until('it is kept', () => lane.kept === 1);
  const second = await stage.successor(1000);
  second.count = null;
  second.reply = words => (words[1] === 'a' ? null : '+OK\r\n');
  stand.follow({ epoch: 2, primary: second.address });
  await until('it was heard again', () => second.heard.length === 1);
  stand.send('INCR z', { lane: stand.shard.lane(3, 2) });
  await until('an offset was read', () => second.waits.length === 1);
  const third = await stage.successor(second.offset, 'm', 'n');
  stand.follow({ epoch: 3, primary: third.address });
  await allTold(sent);
  // Whether the second primary carried it out nobody can tell.
  expect([sent.outcome, third.heard]).toEqual(['<Uncertain>', []]);
});

test('nothing of its first answer is passed on, in one piece or in several, or too large to be held', async () => {
  const { primary, stand, lane } = await startUnconfirmed();
  stand.pool.boundBytes = 3_000_000;
  const large = (size: number) => `$${size}\r\n${'x'.repeat(size)}\r\n`;
  primary.reply = words => (words[1] === 'one' ? '+first\r\n' : large(2_000_000));
  const sent = [stand.send('GETDEL one'), stand.send('GETDEL two'), stand.send('GETDEL three')];
  await until('all are kept', () => lane.kept === 3);
  const next = await stage.successor(1000);
  next.reply = words => `+${words[1]} again\r\n`;
  stand.follow({ epoch: 2, primary: next.address });
  await allTold(...sent);
  expect(sent.map(one => one.outcome)).toEqual(['+one again\r\n', '+two again\r\n', '+three again\r\n']);
  await until('nothing is held', () => stand.pool.heldBytes === 0);
  expect(stand.pool.largeBytes).toBe(0);
});

test('its times begin anew: to wait for a connection, and for the copies', async () => {
  const { stand, lane } = await startUnconfirmed({ holdMs: 400, writeMs: 800 });
  const sent = stand.send('INCR a');
  await until('it is kept', () => lane.kept === 1);
  await sleep(500);
  const next = await stage.successor(1000);
  next.count = null;
  // The first login is that of a connection for barriers, which shows that the write is gone; the lane's is not answered.
  let logins = 0;
  Object.defineProperty(next.node.login, 'INFO', {
    get: () => {
      logins += 1;
      return logins === 1 ? undefined : null;
    },
  });
  stand.follow({ epoch: 2, primary: next.address });
  await until('both have asked', () => logins === 2);
  await sleep(60);
  expect(sent.outcome).toBe(null);
  next.node.login = {};
  next.node.link.socket.destroy();
  await until('it is kept again', () => lane.kept === 1 && next.heard.length === 1);
  await sleep(450);
  expect(sent.outcome).toBe(null);
  next.count = 2;
  next.answerWaits(2);
  await allTold(sent);
  expect(sent.outcome).toBe('+OK\r\n');
});

test('it goes to the new owner of its keys, when these were given away before a login showed that it is gone', async () => {
  const { stand, lane } = await startUnconfirmed();
  const [sent, other] = [stand.send('INCR a'), stand.send('INCR b')];
  await until('they are kept', () => lane.kept === 2);
  const next = await stage.successor(1000);
  stand.follow({ epoch: 2, primary: next.address });
  stand.sieve.give('a');
  stand.shard.sieve();
  expect(stand.sieve.taken).toEqual([]);
  await allTold(sent, other);
  expect([sent.outcome, other.outcome, stand.sieve.taken, next.heard]).toEqual([
    '<Moved>',
    '+OK\r\n',
    ['INCR a'],
    ['INCR b'],
  ]);
});

test('so it does when it was kept over a login as another epoch’s user of the same primary', async () => {
  const { primary, stand, lane } = await startUnconfirmed();
  const sent = stand.send('INCR a');
  await until('it is kept', () => lane.kept === 1);
  stand.follow({ epoch: 2 });
  stand.sieve.give('a');
  stand.shard.sieve();
  await until('another connection carries on', () => lane.epoch === 2);
  expect([sent.outcome, stand.sieve.taken, primary.heard]).toEqual([null, [], ['INCR a']]);
  const next = await stage.successor(1000);
  stand.follow({ epoch: 3, primary: next.address });
  await allTold(sent);
  expect([sent.outcome, stand.sieve.taken, next.heard]).toEqual(['<Moved>', ['INCR a'], []]);
});
