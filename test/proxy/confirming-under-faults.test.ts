/** What goes wrong in the midst of confirming a write: each of these once lost an answer, a connection or a wake-up. */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { noteReading, upperBound } from '../../src/proxy/commit-rules.ts';
import type { ShardState } from '../../src/proxy/shard-state.ts';
import type { Era } from '../../src/upstream/guard.ts';
import { EFFORT, SEED } from '../fuzz/seed.ts';
import { type Sent, turns, until } from '../upstream/lane-stand.ts';
import { ScriptedPrimary, ShardStand, stateOf } from './commit-stand.ts';

const primaries: ScriptedPrimary[] = [];
const stands: ShardStand[] = [];
const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));
const allTold = (...sent: Sent[]) => until('all are answered', () => sent.every(one => one.outcome !== null));

async function startPrimary(name: string, info: Record<string, string> = {}): Promise<ScriptedPrimary> {
  const primary = await ScriptedPrimary.start(name, info);
  primaries.push(primary);
  return primary;
}

/** A shard whose lane and, where copies are required, whose barrier link are logged in. */
async function startShard(
  change: Partial<ShardState> = {},
  settings: ConstructorParameters<typeof ShardStand>[1] = {},
) {
  const primary = await startPrimary('p');
  const stand = new ShardStand(stateOf(primary, change), settings);
  stands.push(stand);
  await until('it is up', () => stand.shard.up);
  return { primary, stand };
}

/** The next primary, promoted out of p's history when that had so many bytes. */
const successor = (promotedAt: number) =>
  startPrimary('n', { master_replid2: 'h-p', second_repl_offset: String(promotedAt + 1) });

const open = (primary: ScriptedPrimary) => primary.node.links.filter(link => !link.socket.destroyed);

afterEach(async () => {
  for (const stand of stands.splice(0)) stand.close();
  for (const { node } of primaries.splice(0)) await node.stop();
});

describe('another primary', () => {
  test('that has not got a block is sent it again, and all of its answers are taken for that block’s', async () => {
    const { primary, stand } = await startShard();
    const block = '+OK\r\n+QUEUED\r\n*1\r\n:1\r\n';
    primary.count = null;
    primary.reply = words => (words[0] === 'BLOCK' ? block : '+OK\r\n');
    const first = stand.send('SET a 1');
    await until('its offset was read', () => primary.waits.length === 1);
    await turns(20);
    const known = primary.offset;
    const sent = stand.send('BLOCK', { skip: 2 });
    await until('both are kept', () => stand.shard.lane(0, 2).kept === 2);
    const next = await successor(known);
    next.reply = words => (words[0] === 'BLOCK' ? block : words[0] === 'GET' ? '$1\r\nv\r\n' : '+OK\r\n');
    await primary.node.stop();
    stand.follow({ epoch: 2, primary: next.address });
    const behind = stand.send('GET a');
    await allTold(first, sent, behind);
    expect([first.outcome, sent.outcome, behind.outcome]).toEqual(['+OK\r\n', '*1\r\n:1\r\n', '$1\r\nv\r\n']);
    expect(next.heard).toEqual(['BLOCK', 'GET a']);
  });

  test('that one lane has logged in to keeps the connections that others are opening there', async () => {
    const { primary, stand } = await startShard();
    primary.count = null;
    const lanes = [stand.shard.lane(0, 2), stand.shard.lane(1, 2), stand.shard.lane(0, 3)];
    const sent = lanes.map(lane => stand.send('SET a 1', { lane }));
    await until('all are kept', () => lanes.every(lane => lane.kept === 1));
    const next = await successor(1000);
    await primary.node.stop();
    stand.follow({ epoch: 2, primary: next.address });
    await allTold(...sent);
    expect(sent.map(one => one.outcome)).toEqual(['+OK\r\n', '+OK\r\n', '+OK\r\n']);
    expect(open(next).length).toBe(next.node.links.length);
  });
});

describe('a planned change of primary', () => {
  test('keeps the way to confirm what is still unanswered: nobody may log in to it once more', async () => {
    const { primary, stand } = await startShard();
    await allTold(stand.send('SET a 1'));
    primary.reply = () => null;
    const sent = stand.send('INCR a');
    await until('it was heard', () => primary.heard.includes('INCR a'));
    stand.follow({ epoch: 2, paused: true });
    // As good as the fence, which comes as soon as no connection of the epoch is left.
    primary.node.login = { AUTH: '-WRONGPASS invalid username-password pair or user is disabled.\r\n' };
    await sleep(60);
    primary.offset += 100;
    open(primary)
      .find(link => link.heard.includes('INCR a'))
      ?.say(':1\r\n');
    await allTold(sent);
    expect(sent.outcome).toBe(':1\r\n');
    await until('nobody is left there', () => open(primary).length === 0);
  });

  test('leaves at once and for good where nothing is to be confirmed, whatever reads are in flight', async () => {
    const { primary, stand } = await startShard({}, { sweepMs: 60_000 });
    await allTold(stand.send('SET a 1'));
    primary.reply = () => null;
    const read = stand.send('GET a');
    await until('it was heard', () => primary.heard.includes('GET a'));
    stand.follow({ epoch: 2, paused: true });
    open(primary)
      .find(link => link.heard.includes('GET a'))
      ?.say('$1\r\nv\r\n');
    await allTold(read);
    await until('nobody is left there', () => open(primary).length === 0);
    const { length } = primary.node.links;
    await sleep(150);
    expect(primary.node.links.length).toBe(length);
  });
});

describe('another epoch on the same incarnation', () => {
  test('takes along what was sent on a lent connection that had not been logged in yet', async () => {
    const { primary, stand } = await startShard();
    primary.node.login = { INFO: null };
    const lane = stand.shard.borrow(0, 2);
    if (lane === null) throw new Error('none is lent');
    const sent = stand.send('BLPOP l 0', { lane });
    await until('its login was heard', () => primary.node.links.length >= 3);
    primary.node.login = {};
    stand.follow({ epoch: 2 });
    await allTold(sent);
    expect(sent.outcome).toBe('+OK\r\n');
  });

  test('is tried again where its connection fails; meanwhile what comes is sent over the one in use', async () => {
    const { primary, stand } = await startShard();
    primary.reply = words => (words[1] === 'slow' ? null : '+OK\r\n');
    stand.send('GET slow');
    await until('it was heard', () => primary.heard.includes('GET slow'));
    const old = open(primary).find(link => link.heard.includes('GET slow'));
    const before = primary.node.links.length;
    stand.follow({ epoch: 2 });
    await until('both others are logged in', () => primary.node.links.length === before + 2);
    await sleep(30);
    // The lane's next connection stands and waits for the answer; then it breaks.
    const behind = stand.send('GET behind');
    await sleep(20);
    expect(primary.heard).not.toContain('GET behind');
    for (const link of primary.node.links.slice(before)) link.socket.destroy();
    await until('it was sent', () => primary.heard.includes('GET behind'));
    expect(old?.heard).toContain('GET behind');
    old?.say('+OK\r\n+OK\r\n');
    await allTold(behind);
    await until('the lane is of the epoch', () => stand.shard.lane(0, 2).epoch === 2);
  });

  test('of a shard without copies confirms what the one before has answered, though its first login fails', async () => {
    const { primary, stand } = await startShard({ inSync: [] });
    primary.node.login = { AUTH: '-WRONGPASS not yet\r\n' };
    stand.follow({ epoch: 2 });
    const sent = stand.send('SET a 1');
    await until('it is kept', () => stand.shard.lane(0, 2).kept === 1);
    await sleep(20);
    primary.node.login = {};
    await allTold(sent);
    expect([sent.outcome, stand.shard.lane(0, 2).epoch]).toEqual(['+OK\r\n', 2]);
  });
});

describe('barriers', () => {
  test('that the node refuses confirm nothing, though a count follows, and are tried ever more rarely', async () => {
    const { primary, stand } = await startShard();
    primary.refusal = '-NOPERM this user has no permissions to run SPUBLISH\r\n';
    const sent = stand.send('SET a 1');
    await sleep(1200);
    expect(sent.outcome).toBe(null);
    // With pauses drawn below 50, 100, 200, … ms; without them there are two dozen.
    expect(primary.node.links.length).toBeLessThan(14);
    primary.refusal = null;
    await allTold(sent);
    expect(sent.outcome).toBe('+OK\r\n');
  });

  test('that were lost with their connection are asked for on another at once', async () => {
    const { primary, stand } = await startShard({}, { sweepMs: 60_000 });
    primary.count = null;
    const both = [stand.send('SET a 1')];
    await until('it was asked for', () => primary.waits.length === 1);
    both.push(stand.send('SET b 1'));
    await until('the other was, on another link', () => primary.waits.length === 2);
    primary.answerWaits(2);
    await allTold(...both);
    const sent = stand.send('SET c 1');
    await until('it was asked for', () => primary.waits.length === 1);
    primary.waits.splice(0)[0]?.link.socket.destroy();
    await until('it was asked for again', () => primary.waits.length === 1);
    primary.answerWaits(2);
    await allTold(sent);
  });
});

test('offsets that are read without end are not kept without end, and bound every answer as before', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3), { minLength: 300, maxLength: 3000 }), steps => {
      const history = { runId: '', replicationId: '', offset: 0, previousId: '', promotedAt: -1, hasBacklog: true };
      const era: Era = { history, known: 0, readings: [] };
      let seq = 0;
      for (const step of steps) {
        seq += step;
        // As if each answer were ten bytes.
        noteReading(era, seq, seq * 10);
      }
      expect(era.readings.length).toBeLessThanOrEqual(256);
      expect(upperBound(era, seq)).toBe(seq * 10);
      for (let one = 1; one <= seq; one += 7) expect(upperBound(era, one)).toBeGreaterThanOrEqual(one * 10);
    }),
    { seed: SEED, numRuns: 50 * EFFORT },
  );
});

describe('a copy that refuses connections', () => {
  test('is not knocked at once more for every read', async () => {
    const copy = await startPrimary('c');
    copy.node.login = { AUTH: '-WRONGPASS\r\n' };
    const { stand } = await startShard({ inSync: [copy.address] });
    for (const endMs = performance.now() + 300; performance.now() < endMs; ) {
      // Clients are spread over the primary, 0, and the copy, 1.
      expect(stand.shard.readLane(0, 2, 1, null)).toBe(null);
      await sleep(1);
    }
    expect(copy.node.links.length).toBeLessThan(5);
    copy.node.login = {};
    copy.node.info = { ...copy.node.info, role: 'slave', master_link_status: 'up' };
    await until('it is read from', () => stand.shard.readLane(0, 2, 1, null) !== null);
  });
});
