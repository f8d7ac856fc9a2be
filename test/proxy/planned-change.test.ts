/**
 * A planned change of primary, as a proxy takes part in it (rule R5): it costs no client an error, since nobody leaves
 * before what was sent is answered and confirmed.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { turns, until } from '../upstream/lane-stand.ts';
import { allTold, Stage, sleep } from './commit-stand.ts';

/** Of the look at the clock: what happens all the same waits for nothing. */
const NEVER_MS = 3_600_000;

const stage = new Stage();
const startShard = stage.startShard.bind(stage);
const successor = stage.successor.bind(stage);

afterEach(() => stage.end());

describe('a planned change of primary', () => {
  test('finishes what is in flight, holds the rest, and loses nothing', async () => {
    const { primary, stand } = await startShard();
    primary.count = null;
    const first = stand.send('INCR a');
    await until('WAIT was heard', () => primary.waits.length === 1);
    stand.follow({ epoch: 2, paused: true });
    const held = stand.send('INCR b');
    await until('the lane has left', () => !stand.shard.up);
    expect(first.outcome).toBe(null);
    primary.answerWaits(2);
    await allTold(first);
    await until('nobody is left there', () => primary.node.links.every(link => link.socket.destroyed));
    expect([primary.heard, stand.shard.problem]).toEqual([['INCR a'], expect.stringContaining('as planned')]);
    const next = await successor(primary.offset);
    stand.follow({ epoch: 3, paused: false, primary: next.address });
    await allTold(held);
    expect([held.outcome, next.heard]).toEqual(['+OK\r\n', ['INCR b']]);
    expect(stand.left).toEqual([2]);
  });

  test('sends nothing more on a connection that still owes answers', async () => {
    const { primary, stand } = await startShard();
    primary.reply = () => null;
    const first = stand.send('INCR a');
    await until('it was heard', () => primary.heard.length === 1);
    stand.follow({ epoch: 2, paused: true });
    const held = stand.send('INCR b');
    await turns(50);
    expect(primary.heard).toEqual(['INCR a']);
    primary.node.links.find(link => link.heard.includes('INCR a'))?.say(':1\r\n');
    await allTold(first);
    await until('the lane has left', () => !stand.shard.up);
    primary.reply = () => ':2\r\n';
    stand.follow({ epoch: 3, paused: false });
    await allTold(held);
    expect([first.outcome, held.outcome, primary.heard]).toEqual([':1\r\n', ':2\r\n', ['INCR a', 'INCR b']]);
  });

  test('is not left before what was sent is answered and confirmed, over the connections that stand', async () => {
    const { primary, stand } = await startShard();
    await allTold(stand.send('SET warm 1'));
    const { links } = primary.node;
    const isStanding = () => links.map(link => !link.socket.destroyed);
    primary.count = null;
    primary.reply = () => null;
    const sent = stand.send('INCR a');
    await until('it was heard', () => primary.heard.includes('INCR a'));
    stand.follow({ epoch: 2, paused: true });
    await sleep(80);
    // The fence falls as soon as the primary has none of them any more: then nobody could log in again.
    expect(isStanding()).toEqual([true, true]);
    primary.node.login = { AUTH: '-WRONGPASS no such user\r\n' };
    links.find(link => link.heard.includes('INCR a'))?.say(':1\r\n');
    await until('WAIT was heard', () => primary.waits.length === 1);
    await sleep(80);
    expect([isStanding(), sent.outcome]).toEqual([[true, true], null]);
    primary.answerWaits(2);
    await allTold(sent);
    expect(sent.outcome).toBe(':1\r\n');
    await until('both have left', () => !isStanding().includes(true));
    await sleep(120);
    // Who came back would keep the others waiting for the fence.
    expect(links).toHaveLength(2);
  });

  test('is left by all at once where nothing is under way, and nobody comes back', async () => {
    const { primary, stand } = await startShard({}, { sweepMs: NEVER_MS });
    await allTold(stand.send('SET warm 1'), stand.send('GET a'));
    stand.follow({ epoch: 2, paused: true });
    await until('all have left', () => primary.node.links.every(link => link.socket.destroyed));
    await sleep(150);
    expect(primary.node.links).toHaveLength(2);
  });

  test('is left when the last answer was that of a read, which nobody confirms', async () => {
    // It is not left to the next look at the clock.
    const { primary, stand } = await startShard({}, { sweepMs: NEVER_MS });
    await allTold(stand.send('SET warm 1'));
    primary.reply = () => null;
    const sent = stand.send('GET a');
    await until('it was heard', () => primary.heard.includes('GET a'));
    stand.follow({ epoch: 2, paused: true });
    primary.node.links.find(link => link.heard.includes('GET a'))?.say('$1\r\nv\r\n');
    await allTold(sent);
    await until('all have left', () => primary.node.links.every(link => link.socket.destroyed));
  });

  test('that is given up leaves every write its answer, and what was held goes to the same primary', async () => {
    const { primary, stand } = await startShard();
    await allTold(stand.send('SET warm 1'));
    primary.reply = () => null;
    const sent = stand.send('INCR a');
    await until('it was heard', () => primary.heard.includes('INCR a'));
    stand.follow({ epoch: 2, paused: true });
    const held = stand.send('INCR b');
    const lane = stand.shard.borrow(0, 2);
    if (lane === null) throw new Error('none is lent');
    const heldToo = stand.send('EXEC', { lane });
    stand.follow({ epoch: 3, paused: false });
    await sleep(30);
    for (const [i, words] of ['INCR a', 'INCR b', 'EXEC'].entries()) {
      await until(`${words} was heard`, () => primary.heard.includes(words));
      primary.node.links.find(link => link.heard.includes(words))?.say(`:${i}\r\n`);
    }
    await allTold(sent, held, heldToo);
    expect([sent.outcome, held.outcome, heldToo.outcome]).toEqual([':0\r\n', ':1\r\n', ':2\r\n']);
    expect(primary.heard).toHaveLength(4);
    expect(stand.cells.uncertain).toBe(0);
  });

  test('ends lent connections on which nothing is under way, and lets the others finish', async () => {
    const { primary, stand } = await startShard();
    const [idle, busy] = [stand.shard.borrow(0, 2), stand.shard.borrow(0, 2)];
    if (idle === null || busy === null) throw new Error('none is lent');
    await allTold(stand.send('WATCH k', { lane: idle, write: false }));
    primary.reply = () => null;
    const sent = stand.send('EXEC', { lane: busy });
    await until('it was heard', () => primary.heard.includes('EXEC'));
    stand.follow({ epoch: 2, paused: true });
    expect([idle.closed, busy.closed]).toEqual([true, false]);
    primary.node.links.find(link => link.heard.includes('EXEC'))?.say('*1\r\n+OK\r\n');
    await allTold(sent);
    expect(sent.outcome).toBe('*1\r\n+OK\r\n');
    await until('it is closed', () => busy.closed);
  });
});
