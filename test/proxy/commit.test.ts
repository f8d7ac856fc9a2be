/** Every branch of confirming a write, in front of scripted primaries (rule R1). */
import { afterEach, describe, expect, test } from 'vitest';
import { Failure } from '../../src/upstream/request.ts';
import { type Sent, turns, until } from '../upstream/lane-stand.ts';
import { allTold, COPIES, ShardStand, Stage, sleep, stateOf } from './commit-stand.ts';

const stage = new Stage();
const startPrimary = stage.startPrimary.bind(stage);
const startShard = stage.startShard.bind(stage);
const successor = stage.successor.bind(stage);

afterEach(() => stage.end());

describe('an answer', () => {
  test('is passed on when a barrier that was sent behind it has reached what is required', async () => {
    const { primary, stand } = await startShard();
    primary.count = null;
    const sent = stand.send('SET a 1');
    await until('WAIT was heard', () => primary.waits.length === 1);
    expect(primary.waits[0]?.words).toBe('WAIT 2 95');
    // For the same word, once more: what a replica's kernel holds back comes along.
    expect(primary.waits[0]?.link.heard.slice(-2)).toEqual(['WAIT 2 5', 'WAIT 2 95']);
    await turns(20);
    expect([sent.outcome, stand.shard.lane(0, 2).kept]).toEqual([null, 1]);
    primary.answerWaits(2);
    await allTold(sent);
    expect(sent.outcome).toBe('+OK\r\n');
  });

  test('is asked for again where the count is too low, and not passed on before', async () => {
    const { primary, stand } = await startShard();
    primary.count = null;
    const sent = stand.send('SET a 1');
    for (let round = 0; round < 3; round += 1) {
      await until('WAIT was heard', () => primary.waits.length > 0);
      primary.answerWaits(1);
    }
    await until('WAIT was heard', () => primary.waits.length > 0);
    expect(sent.outcome).toBe(null);
    primary.answerWaits(2);
    await allTold(sent);
    expect(stand.cells.barriers).toBe(4);
  });

  test('of a read passes by; so does one of a write that need not be confirmed; a strict read waits', async () => {
    const { primary, stand } = await startShard();
    primary.count = null;
    const write = stand.send('SET a 1');
    const read = stand.send('GET a');
    const loose = stand.send('SET b 1', { confirm: 0 });
    const strict = stand.send('GET a', { confirm: 1 });
    await allTold(read, loose);
    await until('WAIT was heard', () => primary.waits.length > 0);
    expect([write.outcome, strict.outcome]).toEqual([null, null]);
    primary.answerWaits(2);
    await until('both are told', () => {
      primary.answerWaits(2);
      return write.outcome !== null && strict.outcome !== null;
    });
    expect(stand.answered.map(one => one.words)).toEqual(['GET a', 'SET b 1', 'SET a 1', 'GET a']);
  });

  test('is passed on at once where there is no copy, and kept where a replica joins', async () => {
    const { primary, stand } = await startShard({ inSync: [] });
    await allTold(stand.send('SET a 1'));
    stand.follow({ epoch: 2, joining: 'c1' });
    const held = stand.send('SET b 1');
    await until('it was heard', () => primary.heard.includes('SET b 1'));
    await sleep(50);
    expect([held.outcome, stand.cells.barriers]).toEqual([null, 0]);
    stand.follow({ inSync: COPIES.slice(0, 1), joining: null });
    await allTold(held);
    expect(stand.cells.barriers).toBe(1);
  });

  test('keeps its bytes and its parts, large or small, and no memory when it is over', async () => {
    const { primary, stand } = await startShard();
    const large = `$3000000\r\n${'x'.repeat(3_000_000)}\r\n`;
    primary.count = null;
    primary.reply = words => (words[0] === 'GETDEL' ? large : `+${words[1]}\r\n`);
    const sent = [stand.send('SET one'), stand.send('GETDEL two'), stand.send('SET three')];
    await until('all are kept', () => stand.shard.lane(0, 2).kept === 3);
    expect(stand.pool.heldBytes).toBeGreaterThan(3_000_000);
    expect(sent.map(one => one.parts.length)).toEqual([0, 0, 0]);
    await until('all are told', () => {
      primary.answerWaits(2);
      return sent.every(one => one.outcome !== null);
    });
    expect(sent.map(one => one.outcome === large || one.outcome)).toEqual(['+one\r\n', true, '+three\r\n']);
    await until('nothing is held', () => stand.pool.heldBytes === 0);
    expect(stand.pool.largeBytes).toBe(0);
  });

  test('that is too large to be held beside another is told as uncertain, and the lane goes on', async () => {
    const { primary, stand } = await startShard();
    stand.pool.boundBytes = 3_000_000;
    primary.count = null;
    primary.reply = words => (words[0] === 'GETDEL' ? `$2000000\r\n${'x'.repeat(2_000_000)}\r\n` : '+OK\r\n');
    const sent = [stand.send('GETDEL one'), stand.send('GETDEL two'), stand.send('SET three')];
    await until('all are kept', () => stand.shard.lane(0, 2).kept === 3);
    await until('all are told', () => {
      primary.answerWaits(2);
      return sent.every(one => one.outcome !== null);
    });
    expect(sent.map(one => one.outcome?.slice(0, 11))).toEqual(['$2000000\r\nx', '<Uncertain>', '+OK\r\n']);
    expect(sent[1]?.detail).toContain('too large');
    await until('nothing is held', () => stand.pool.heldBytes === 0);
  });

  test('that no copy confirms in time is told as uncertain, with the shard; later ones are confirmed', async () => {
    const { primary, stand } = await startShard({}, { writeMs: 150 });
    primary.count = 1;
    const sent = stand.send('SET a 1');
    await allTold(sent);
    expect([sent.outcome, sent.detail]).toEqual(['<Uncertain>', expect.stringMatching(/^shard s1: .*in time/)]);
    expect(stand.cells.uncertain).toBe(1);
    primary.count = 2;
    const next = stand.send('SET b 1');
    await allTold(next);
    expect(next.outcome).toBe('+OK\r\n');
  });
});

describe('barriers', () => {
  test('cover all that was answered before them, over all lanes', async () => {
    const { primary, stand } = await startShard();
    const lanes = [stand.shard.lane(0, 2), stand.shard.lane(3, 2), stand.shard.lane(0, 3)];
    for (const lane of lanes) lane.connect();
    await until('all are ready', () => lanes.every(lane => lane.ready));
    primary.count = null;
    const sent = lanes.flatMap(lane => [1, 2, 3].map(i => stand.send(`SET k ${i}`, { lane })));
    await until('all are kept', () => lanes.every(lane => lane.kept === 3));
    await until('all are told', () => {
      primary.answerWaits(2);
      return sent.every(one => one.outcome !== null);
    });
    expect(stand.cells.barriers).toBeLessThanOrEqual(4);
  });

  test('cover nothing that was answered behind them', async () => {
    const { primary, stand } = await startShard();
    primary.count = null;
    const first = stand.send('SET a 1');
    await until('WAIT was heard', () => primary.waits.length === 1);
    const second = stand.send('SET b 1');
    await until('it is kept', () => stand.shard.lane(0, 2).kept === 2);
    primary.waits.shift()?.link.say(':2\r\n');
    await allTold(first);
    await turns(30);
    expect(second.outcome).toBe(null);
    await until('it was asked again', () => primary.waits.length > 0);
    primary.answerWaits(2);
    await allTold(second);
  });

  test('overlap on a few connections at the most, and are asked anew when theirs is lost', async () => {
    const { primary, stand } = await startShard();
    await allTold(stand.send('SET warm 1'));
    primary.count = null;
    const sent: Sent[] = [];
    for (let i = 0; i < 20; i += 1) {
      sent.push(stand.send(`SET k ${i}`));
      await sleep(5);
    }
    expect(primary.barrierLinks).toBeGreaterThan(1);
    expect(primary.barrierLinks).toBeLessThanOrEqual(4);
    const { links } = primary.node;
    for (const link of links) if (link.heard.some(words => words.startsWith('WAIT'))) link.socket.destroy();
    primary.waits.length = 0;
    primary.count = 2;
    await allTold(...sent);
    expect(sent.every(one => one.outcome === '+OK\r\n')).toBe(true);
  });

  test('are asked anew at once when less is required, and a count is judged by its own requirement', async () => {
    const { primary, stand } = await startShard();
    primary.count = null;
    const sent = stand.send('SET a 1');
    await until('WAIT was heard', () => primary.waits.length === 1);
    stand.follow({ inSync: COPIES.slice(0, 1) });
    await until('it was asked again', () => primary.waits.length === 2);
    // Sooner than a link is given up on which nobody answers.
    expect(primary.waits[0]?.link.socket.destroyed).toBe(false);
    expect(primary.waits.map(one => one.words.slice(0, 6))).toEqual(['WAIT 2', 'WAIT 1']);
    // The count of the older one may hold the replica that was dropped since.
    primary.waits.shift()?.link.say(':1\r\n');
    await turns(30);
    expect(sent.outcome).toBe(null);
    await until('it was asked again', () => primary.waits.length >= 1);
    primary.answerWaits(1);
    await allTold(sent);
  });

  test('under way when another epoch begins still confirm what they were asked for', async () => {
    const { primary, stand } = await startShard();
    primary.count = null;
    const sent = stand.send('SET a 1');
    await until('WAIT was heard', () => primary.waits.length === 1);
    stand.follow({ epoch: 2, joining: 'c3' });
    await sleep(30);
    expect(sent.outcome).toBe(null);
    primary.answerWaits(2);
    await allTold(sent);
    expect(stand.left).toEqual([2]);
  });

  test('that the fence cuts off count for nothing: the next epoch asks for all of it', async () => {
    const { primary, stand } = await startShard();
    primary.count = null;
    const sent = stand.send('SET a 1');
    await until('WAIT was heard', () => primary.waits.length === 1);
    stand.follow({ epoch: 2, joining: 'c3' });
    primary.cut();
    primary.waits.length = 0;
    await until('it is up again', () => stand.shard.up);
    await sleep(30);
    expect(sent.outcome).toBe(null);
    primary.count = 3;
    stand.follow({ inSync: [...COPIES, { ...(COPIES[0] as (typeof COPIES)[0]), nodeId: 'c3' }], joining: null });
    await allTold(sent);
    expect(sent.outcome).toBe('+OK\r\n');
  });
});

describe('what was lost with its primary', () => {
  /** Two writes: one answered and covered by an offset that was read, one sent behind it and never answered. */
  async function loseTwo() {
    const { primary, stand } = await startShard();
    primary.count = null;
    const first = stand.send('INCR a');
    await until('its offset was read', () => primary.waits.length === 1);
    await turns(20);
    const upper = primary.offset;
    primary.reply = () => null;
    const second = stand.send('INCR b');
    await until('it was heard', () => primary.heard.includes('INCR b'));
    return { primary, stand, first, second, upper };
  }

  test('is confirmed where the next primary has it, and sent again where that has it not', async () => {
    const { primary, stand, first, second, upper } = await loseTwo();
    const next = await successor(upper);
    await primary.node.stop();
    await turns(20);
    expect([first.outcome, second.outcome]).toEqual([null, null]);
    const behind = stand.send('INCR c');
    stand.follow({ epoch: 2, primary: next.address });
    await allTold(first, second, behind);
    expect([first.outcome, second.outcome]).toEqual(['+OK\r\n', '+OK\r\n']);
    expect(next.heard).toEqual(['INCR b', 'INCR c']);
    expect([stand.cells.survived, stand.cells.resent, stand.cells.uncertain]).toEqual([1, 1, 0]);
  });

  test('is judged by whichever connection stands first; the others to the next primary live on', async () => {
    const { stand, first, second } = await loseTwo();
    const next = await successor(1000);
    stand.follow({ epoch: 2, primary: next.address });
    await allTold(first, second);
    // One lane and one link for barriers: neither was broken off.
    expect(next.node.links).toHaveLength(2);
  });

  test('is sent again in order, where nothing of it is there', async () => {
    const { stand, first, second } = await loseTwo();
    const next = await successor(1000);
    stand.follow({ epoch: 2, primary: next.address });
    await allTold(first, second);
    expect(next.heard).toEqual(['INCR a', 'INCR b']);
    expect([stand.cells.survived, stand.cells.resent]).toEqual([0, 2]);
  });

  test('is uncertain in between, and where the next primary comes out of another history', async () => {
    for (const [at, info] of [
      [1050, {}],
      [5000, { master_replid2: 'h-other' }],
    ] as const) {
      const { stand, first, second } = await loseTwo();
      const next = await startPrimary('n', { master_replid2: 'h-p', second_repl_offset: String(at + 1), ...info });
      stand.follow({ epoch: 2, primary: next.address });
      await allTold(first, second);
      expect(next.heard.filter(words => words === 'INCR a')).toEqual([]);
      expect(first.outcome).toBe('<Uncertain>');
    }
  });

  test('with the connection alone, is uncertain when the same primary answers again; what was answered is confirmed', async () => {
    const { primary, stand, first, second } = await loseTwo();
    const lane = primary.node.links.find(link => link.heard.includes('INCR b'));
    lane?.socket.destroy();
    await allTold(second);
    expect([first.outcome, second.outcome]).toEqual([null, '<Uncertain>']);
    primary.answerWaits(2);
    await allTold(first);
    expect(first.outcome).toBe('+OK\r\n');
    expect(stand.cells.uncertain).toBe(1);
  });

  test('is uncertain when no primary tells about it within the hold time', async () => {
    const primary = await startPrimary('p');
    const stand = stage.take(new ShardStand(stateOf(primary), { holdMs: 100 }));
    await until('it is up', () => stand.shard.up);
    primary.reply = () => null;
    const sent = stand.send('INCR a');
    await until('it was heard', () => primary.heard.length > 0);
    await primary.node.stop();
    await turns(10);
    expect(sent.outcome).toBe(null);
    await allTold(sent);
    expect(sent.outcome).toBe('<Uncertain>');
  });

  test('by a lent connection is told as gone where it is proven to be, as uncertain where not', async () => {
    for (const [at, outcome] of [
      [1000, '<Gone>'],
      [1050, '<Uncertain>'],
    ] as const) {
      const { primary, stand } = await startShard();
      primary.reply = words => (words[0] === 'BLPOP' ? null : '+OK\r\n');
      const lane = stand.shard.borrow(0, 2);
      if (lane === null) throw new Error('none is lent');
      const sent = stand.send('BLPOP l 0', { lane });
      await until('it was heard', () => primary.heard.length > 0);
      const next = await successor(at);
      await primary.node.stop();
      await turns(10);
      expect(sent.outcome).toBe(null);
      stand.follow({ epoch: 2, primary: next.address });
      await allTold(sent);
      expect([sent.outcome, lane.closed, next.heard]).toEqual([outcome, true, []]);
    }
  });

  test('strict reads are sent again', async () => {
    const { primary, stand } = await startShard();
    primary.count = null;
    const sent = stand.send('GET a', { confirm: 1 });
    await until('it is kept', () => stand.shard.lane(0, 2).kept === 1);
    const next = await successor(0);
    stand.follow({ epoch: 2, primary: next.address });
    await allTold(sent);
    expect([sent.outcome, next.heard]).toEqual(['$1\r\nv\r\n', ['GET a']]);
  });
});

test('a lent connection that does not stand yet when another epoch begins carries its command there', async () => {
  const { primary, stand } = await startShard();
  primary.node.login = { INFO: null };
  const lane = stand.shard.borrow(0, 2);
  if (lane === null) throw new Error('none is lent');
  const sent = stand.send('EXEC', { lane });
  await sleep(20);
  stand.follow({ epoch: 2 });
  primary.node.login = {};
  await allTold(sent);
  expect([sent.outcome, primary.heard]).toEqual(['+OK\r\n', ['EXEC']]);
});

test('a shard whose primary was never formed is not connected to, and says so', async () => {
  const primary = await startPrimary('p');
  const stand = stage.take(new ShardStand(stateOf(primary, { primary: { ...primary.address, runId: null } })));
  const sent = stand.send('SET a 1');
  await sleep(50);
  expect(primary.node.links).toEqual([]);
  expect(stand.shard.problem).toBe('it was never formed: no supervisor has set it up yet');
  stand.follow({ primary: primary.address });
  await allTold(sent);
  expect(sent.outcome).toBe('+OK\r\n');
  stand.shard.lane(0, 2).close(Failure.Closing, 'the test is over');
});
