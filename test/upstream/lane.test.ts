import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Backoff } from '../../src/base/backoff.ts';
import { LARGEST_BYTES } from '../../src/base/buffer-pool.ts';
import type { LaneSettings } from '../../src/upstream/lane.ts';
import { acquireRequest, Failure, type Origin } from '../../src/upstream/request.ts';
import { LaneStand, Sent, turns, until } from './lane-stand.ts';
import { type Answers, bulkText, ScriptedNode } from './scripted-node.ts';

/** What a node answers to `GET k`: the key itself; to anything else `+OK`. */
const echo: Answers = words => (words[0] === 'GET' ? bulkText(words[1] as string) : '+OK\r\n');
const silent: Answers = () => null;

const nodes: ScriptedNode[] = [];
const stands: LaneStand[] = [];

async function startNode(answers: Answers): Promise<ScriptedNode> {
  const node = await ScriptedNode.start(answers);
  nodes.push(node);
  return node;
}

function startLane(node: ScriptedNode, settings: Partial<LaneSettings> = {}): LaneStand {
  const stand = new LaneStand(node.target, settings);
  stands.push(stand);
  stand.lane.connect();
  return stand;
}

async function startBoth(answers: Answers, settings: Partial<LaneSettings> = {}) {
  const node = await startNode(answers);
  const stand = startLane(node, settings);
  await until('the lane is ready', () => stand.lane.ready);
  return { node, stand, lane: stand.lane };
}

afterEach(async () => {
  for (const stand of stands.splice(0)) stand.close();
  for (const node of nodes.splice(0)) await node.stop();
});

/** Looks at the clock as often as the proxy does. */
function sweepOver(stand: LaneStand, fromMs: number, toMs: number): void {
  for (let atMs = fromMs; atMs <= toMs; atMs += 100) stand.lane.sweep(atMs);
}

const client = (): Origin => ({ lostMark: 0 });
const allAnswered = (...sent: Sent[]) => until('all are answered', () => sent.every(one => one.outcome !== null));

describe('a lane', () => {
  it('sends what came before it was ready, and answers in the order of sending', async () => {
    const node = await startNode(echo);
    const stand = startLane(node);
    const sent = Array.from({ length: 100 }, (_, i) => stand.send(`GET k${i}`));
    await allAnswered(...sent);
    expect(stand.answered).toEqual(sent);
    expect(sent.map(one => one.outcome)).toEqual(sent.map((_, i) => bulkText(`k${i}`)));
  });

  it('puts all commands of one turn into one write', async () => {
    const { node, stand } = await startBoth(echo);
    const chunks: number[] = [];
    node.link.socket.on('data', bytes => chunks.push(bytes.length));
    await allAnswered(...Array.from({ length: 200 }, (_, i) => stand.send(`GET key:${i}`)));
    expect(chunks).toHaveLength(1);
  });

  it('takes replies cut at any byte, and skips those that only the bookkeeping wants', async () => {
    const { node, stand } = await startBoth(silent);
    const block = stand.send('MULTI', { write: true, skip: 2 });
    const read = stand.send('GET k');
    await until('both are heard', () => node.link.heard.length === 2);
    for (const byte of '+OK\r\n+QUEUED\r\n*1\r\n$5\r\na\r\nbc\r\n$-1\r\n') {
      node.link.say(byte);
      await turns(2);
    }
    await allAnswered(block, read);
    expect(block.skipped).toEqual(['+OK\r\n', '+QUEUED\r\n']);
    expect([block.outcome, read.outcome]).toEqual(['*1\r\n$5\r\na\r\nbc\r\n', '$-1\r\n']);
  });

  it('passes the parts of a long reply on as they come', async () => {
    const { node, stand } = await startBoth(silent);
    const read = stand.send('GET k');
    await until('it is heard', () => node.link.heard.length === 1);
    node.link.say('$10\r\n12345');
    await until('a part is there', () => read.parts.length > 0);
    expect([read.parts.join(''), read.outcome]).toEqual(['$10\r\n12345', null]);
    node.link.say('67890\r\n');
    await allAnswered(read);
    expect(read.outcome).toBe('$10\r\n1234567890\r\n');
  });

  it('holds no memory any more once it is quiet and was looked after', async () => {
    const { stand, lane } = await startBoth(echo);
    const large = 'x'.repeat(200_000);
    const sent = Array.from({ length: 50 }, (_, i) => stand.send(['SET', `k${i}`, i % 10 === 0 ? large : 'small']));
    expect(stand.pool.heldBytes).toBeGreaterThan(1_000_000);
    await allAnswered(...sent);
    await turns(2);
    lane.sweep(performance.now());
    expect([stand.pool.heldBytes, stand.pool.largeBytes]).toEqual([0, 0]);
    await allAnswered(stand.send('GET again'));
    lane.sweep(performance.now());
    expect([stand.pool.heldBytes, stand.pool.largeBytes]).toEqual([0, 0]);
  });

  it('gives a buffer that it has taken over back to the pool', async () => {
    const { stand, lane } = await startBoth(echo);
    const buffer = stand.pool.acquire(2_000_000);
    const head = '*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1500000\r\n';
    const length = head.length + 1_500_000 + 2;
    buffer.fill('v').write(head, 0, 'latin1');
    buffer.write('\r\n', length - 2, 'latin1');
    const sent = new Sent('SET', stand.answered, () => {});
    lane.sendOwned(acquireRequest(sent, null, true, performance.now()), buffer, 0, length);
    const behind = stand.send('GET k');
    await allAnswered(sent, behind);
    expect([sent.outcome, behind.outcome]).toEqual(['+OK\r\n', bulkText('k')]);
    expect(stand.pool.largeBytes).toBe(0);
  });

  it('is given up by its receiver in the middle of a reply without harm', async () => {
    const { node, stand, lane } = await startBoth(silent);
    const first = stand.send('GET a', { onDone: () => lane.close(Failure.Closing, 'given back') });
    const rest = [stand.send('GET b'), stand.send('SET c 1', { write: true })];
    await until('all are heard', () => node.link.heard.length === 3);
    node.link.say('+a\r\n+b\r\n+c\r\n');
    await allAnswered(first, ...rest);
    expect(stand.outcomes).toEqual(['+a\r\n', '<Closing>', '<Uncertain>']);
    expect(stand.pool.heldBytes).toBe(0);
    const lent = Array.from({ length: 40 }, () => stand.pool.acquire(LARGEST_BYTES));
    expect(new Set(lent).size).toBe(40);
  });

  it('answers at once what is sent after it was closed', async () => {
    const { stand, lane } = await startBoth(echo);
    lane.close(Failure.Closing, 'over');
    const late = stand.send('GET k');
    await turns(3);
    expect(late.outcome).toBe('<Closing>');
    expect(stand.pool.heldBytes).toBe(0);
  });
});

describe('a lane whose connection breaks', () => {
  it('repeats reads, tells writes as uncertain, and sends what it had not sent', async () => {
    const { node, stand } = await startBoth(silent);
    const sent = [
      stand.send('GET a', { origin: client() }),
      stand.send('SET b 1', { write: true, origin: client() }),
      stand.send('GET c', { origin: client() }),
    ];
    await until('all are heard', () => node.link.heard.length === 3);
    const unsent = [
      stand.send('SET d 1', { write: true, origin: client() }),
      stand.send('GET e', { origin: client() }),
    ];
    node.answers = echo;
    node.link.socket.destroy();
    // Nothing was flushed yet: what was appended in this turn is not on its way.
    stand.lane.retarget(node.target, 'it broke');
    await allAnswered(...sent, ...unsent);
    expect([...sent, ...unsent].map(one => one.outcome)).toEqual([
      bulkText('a'),
      '<Uncertain>',
      bulkText('c'),
      '+OK\r\n',
      bulkText('e'),
    ]);
    expect(node.link.heard).toEqual(['GET a', 'GET c', 'SET d 1', 'GET e']);
  });

  it('does not repeat a read before a later write of the same client that was sent as well', async () => {
    const { node, stand } = await startBoth(silent);
    const [one, other] = [client(), client()];
    const sent = [
      stand.send('GET mine:1', { origin: one }),
      stand.send('GET other:1', { origin: other }),
      stand.send('SET mine:2 x', { write: true, origin: one }),
      stand.send('GET mine:3', { origin: one }),
    ];
    await until('all are heard', () => node.link.heard.length === 4);
    node.answers = echo;
    node.link.socket.destroy();
    await allAnswered(...sent);
    expect(sent.map(one => one.outcome)).toEqual([
      '<ReadLost>',
      bulkText('other:1'),
      '<Uncertain>',
      bulkText('mine:3'),
    ]);
    expect(node.link.heard).toEqual(['GET other:1', 'GET mine:3']);
  });

  it('forgets an earlier loss: a write lost once does not bar the reads of later connections', async () => {
    const { node, stand } = await startBoth(silent);
    const origin = client();
    const write = stand.send('SET k 1', { write: true, origin });
    await until('it is heard', () => node.link.heard.length === 1);
    node.link.socket.destroy();
    await allAnswered(write);
    const read = stand.send('GET k', { origin });
    await until('the read is heard', () => node.links.length === 2 && node.link.heard.length === 1);
    node.answers = echo;
    node.link.socket.destroy();
    await allAnswered(read);
    expect(read.outcome).toBe(bulkText('k'));
  });

  it('does not repeat a read whose reply had begun', async () => {
    const { node, stand } = await startBoth(silent);
    const read = stand.send('GET k', { origin: client() });
    await until('it is heard', () => node.link.heard.length === 1);
    node.link.say('$10\r\n123');
    await until('the reply has begun', () => read.parts.length > 0);
    node.answers = echo;
    node.link.socket.destroy();
    await allAnswered(read);
    expect(read.outcome).toBe('<ReadLost>');
  });

  it('repeats a block whose first replies were skipped as little as a write, and starts its next replies afresh', async () => {
    const { node, stand } = await startBoth(silent);
    const block = stand.send('MULTI', { write: true, skip: 2 });
    const read = stand.send('GET k');
    await until('both are heard', () => node.link.heard.length === 2);
    node.link.say('+OK\r\n+QUE');
    await until('one was skipped', () => block.skipped.length === 1);
    node.answers = echo;
    node.link.socket.destroy();
    await allAnswered(block, read);
    expect([block.outcome, read.outcome]).toEqual(['<Uncertain>', bulkText('k')]);
    const next = stand.send('MULTI', { write: true, skip: 0 });
    await allAnswered(next);
    expect(next.outcome).toBe('+OK\r\n');
  });

  it('keeps the order of large and small commands when it sends them again, and no memory but theirs', async () => {
    const { node, stand } = await startBoth(silent);
    const sent = Array.from({ length: 60 }, (_, i) => stand.send(['GET', `${i}:${'x'.repeat((i % 7) * 20_000)}`]));
    await until('all are heard', () => node.link.heard.length === 60);
    const held = stand.pool.heldBytes;
    node.answers = words => bulkText((words[1] as string).slice(0, 3));
    node.link.socket.destroy();
    await until('the connection is seen as lost', () => !stand.lane.ready);
    expect(stand.pool.heldBytes).toBeLessThan(held + 4 * LARGEST_BYTES);
    await allAnswered(...sent);
    expect(stand.answered).toEqual(sent);
    stand.close();
    expect([stand.pool.heldBytes, stand.pool.largeBytes]).toEqual([0, 0]);
  });

  it('lets a receiver close it while it sorts what was lost', async () => {
    const { node, stand, lane } = await startBoth(silent);
    const sent = [
      stand.send('SET a 1', { write: true, onDone: () => lane.close(Failure.Closing, 'given back') }),
      stand.send('GET b'),
      stand.send('SET c 1', { write: true }),
    ];
    await until('all are heard', () => node.link.heard.length === 3);
    node.link.socket.destroy();
    await allAnswered(...sent);
    expect(sent.map(one => one.outcome)).toEqual(['<Uncertain>', '<Closing>', '<Uncertain>']);
    expect(stand.pool.heldBytes).toBe(0);
    await turns(5);
    expect(node.links).toHaveLength(1);
  });

  it('copies nothing and loses nothing while connection after connection is refused', async () => {
    const node = await startNode(echo);
    const { target } = node;
    await node.stop();
    const stand = new LaneStand(target);
    stands.push(stand);
    const sent = Array.from({ length: 20 }, (_, i) =>
      stand.send(['SET', `k${i}`, 'x'.repeat(100_000)], { write: true }),
    );
    const held = stand.pool.heldBytes;
    const acquire = vi.spyOn(stand.pool, 'acquire');
    await until('it has tried some times', () => stand.cells.reconnects >= 4);
    expect(acquire).not.toHaveBeenCalled();
    expect(stand.pool.heldBytes).toBe(held);
    expect(sent.every(one => one.outcome === null)).toBe(true);
    stand.close();
    expect(stand.outcomes).toEqual(sent.map(() => '<Closing>'));
    expect(stand.pool.heldBytes).toBe(0);
  });

  it('lent to one client, ends with its connection; not before it ever had one', async () => {
    const node = await startNode(silent);
    node.login['INFO'] = bulkText('redis_version:7.0.15\r\nloading:1\r\nrole:master\r\n');
    const stand = startLane(node, { lasting: false, lent: true });
    const wait = stand.send('BLPOP k 0', { write: true });
    await until('a login was refused', () => node.links.length >= 2);
    expect([stand.lane.closed, wait.outcome]).toEqual([false, null]);
    delete node.login['INFO'];
    await until('it is heard', () => node.link.heard.length === 1);
    node.link.socket.destroy();
    await allAnswered(wait);
    expect([stand.lane.closed, wait.outcome]).toEqual([true, '<Uncertain>']);
    expect(stand.pool.heldBytes).toBe(0);
  });

  it('neither lasting nor busy, does not connect again', async () => {
    const { node, stand } = await startBoth(echo, { lasting: false });
    await allAnswered(stand.send('GET k'));
    node.link.socket.destroy();
    await until('the connection is seen as lost', () => !stand.lane.ready);
    expect(stand.cells.reconnects).toBe(0);
    await allAnswered(stand.send('GET k'));
    expect(node.links).toHaveLength(2);
  });
});

describe('a lane and time', () => {
  it('refuses what has waited for its hold time, the oldest first, and no sooner', async () => {
    const node = await startNode(silent);
    const { target } = node;
    await node.stop();
    const stand = new LaneStand(target, { holdMs: 1000 });
    stands.push(stand);
    const [first, second] = [stand.send('GET a', { arrivedMs: 5000 }), stand.send('GET b', { arrivedMs: 5500 })];
    stand.lane.sweep(5999);
    expect(first.outcome).toBeNull();
    stand.lane.sweep(6000);
    expect([first.outcome, second.outcome]).toEqual(['<Down>', null]);
    await until('a connection was refused', () => stand.cells.reconnects > 0);
    stand.lane.sweep(6500);
    expect(second.outcome).toBe('<Down>');
    expect(second.detail).toMatch(/ECONNREFUSED/);
    expect(stand.lane.pending).toBe(0);
    expect(stand.cells.expired).toBe(2);
  });

  it('does not send what it has refused, so that nobody gets the answer of another', async () => {
    const gone = await startNode(silent);
    const { target } = gone;
    await gone.stop();
    const other = await startNode(echo);
    const stand = new LaneStand(target, { holdMs: 1000 });
    stands.push(stand);
    const refused = stand.send('GET refused', { arrivedMs: 5000 });
    const waits = stand.send('GET waits', { arrivedMs: 5500 });
    await until('a connection was refused', () => stand.cells.reconnects > 0);
    stand.lane.sweep(6000);
    stand.lane.retarget(other.target, 'another primary');
    await allAnswered(waits);
    expect([refused.outcome, waits.outcome]).toEqual(['<Down>', bulkText('waits')]);
    expect(other.link.heard).toEqual(['GET waits']);
  });

  it('takes a node for hung that leaves a sent command unanswered, and not one that is merely idle', async () => {
    const { node, stand, lane } = await startBoth(echo, { timeoutMs: 1000 });
    await allAnswered(stand.send('GET k'));
    const nowMs = performance.now();
    sweepOver(stand, nowMs, nowMs + 100_000);
    expect([lane.ready, stand.cells.timeouts]).toEqual([true, 0]);
    node.answers = silent;
    const lost = stand.send('SET k 1', { write: true });
    await until('it is heard', () => node.link.heard.length === 2);
    sweepOver(stand, nowMs, nowMs + 900);
    expect(lane.ready).toBe(true);
    sweepOver(stand, nowMs + 900, nowMs + 12_000);
    expect([lane.ready, stand.cells.timeouts, lost.outcome]).toEqual([false, 1, '<Uncertain>']);
    expect(lost.detail).toMatch(/unanswered/);
  });

  it('has no time out where its borrower has set none', async () => {
    const { node, stand, lane } = await startBoth(silent, { timeoutMs: 1000 });
    lane.patienceMs = Number.POSITIVE_INFINITY;
    stand.send('BLPOP k 0', { write: true });
    await until('it is heard', () => node.link.heard.length === 1);
    const nowMs = performance.now();
    sweepOver(stand, nowMs, nowMs + 100_000);
    expect(lane.ready).toBe(true);
  });

  it('does not take a node for hung because its own process stood still', async () => {
    const { node, stand, lane } = await startBoth(silent, { timeoutMs: 1000 });
    const read = stand.send('SET k 1', { write: true });
    await until('it is heard', () => node.link.heard.length === 1);
    const nowMs = performance.now();
    sweepOver(stand, nowMs, nowMs + 300);
    // For a minute nothing runs here; then timers come before the sockets, on which the answer lies ready.
    lane.sweep(nowMs + 60_300);
    expect(lane.ready).toBe(true);
    node.link.say('+OK\r\n');
    await allAnswered(read);
    expect(read.outcome).toBe('+OK\r\n');
  });

  it('leaves no timer behind when it is closed while it waits to connect again', async () => {
    const node = await startNode(silent);
    const { target } = node;
    await node.stop();
    const stand = new LaneStand(target);
    stand.lane.connect();
    await until('it waits', () => stand.cells.reconnects > 0);
    stand.close();
    const before = stand.cells.reconnects;
    await new Promise(resolve => setTimeout(resolve, 120));
    expect(stand.cells.reconnects).toBe(before);
  });
});

describe('a lane that is sent to another node', () => {
  it('goes there at once with what waits and what may be repeated', async () => {
    const slow = { nextMs: () => 60_000, reset: () => {} } as Backoff;
    const { node, stand, lane } = await startBoth(silent, { backoff: slow });
    const other = await startNode(echo);
    const sent = [stand.send('GET a'), stand.send('SET b 1', { write: true })];
    await until('both are heard', () => node.link.heard.length === 2);
    sent.push(stand.send('SET c 1', { write: true }));
    lane.retarget(other.target, 'another primary');
    await allAnswered(...sent);
    expect(sent.map(one => one.outcome)).toEqual([bulkText('a'), '<Uncertain>', '+OK\r\n']);
    expect(sent[1]?.detail).toMatch(/another primary/);
    expect(other.link.heard).toEqual(['GET a', 'SET c 1']);
    expect(node.links).toHaveLength(1);
  });

  it('does not wait for the end of a pause between two tries', async () => {
    const gone = await startNode(silent);
    const { target } = gone;
    await gone.stop();
    const other = await startNode(echo);
    const stand = new LaneStand(target);
    stands.push(stand);
    const sent = stand.send('GET a');
    await until('it has tried', () => stand.cells.reconnects > 0);
    stand.lane.retarget(other.target, 'another primary');
    await allAnswered(sent);
    expect(sent.outcome).toBe(bulkText('a'));
  });

  it('goes on as another user of the same incarnation without losing a command, or their order', async () => {
    const { node, stand, lane } = await startBoth(silent);
    const first = stand.send('INCR a', { write: true });
    await until('it was heard', () => node.link.heard.length === 1);
    lane.renew({ ...node.target, username: 'later', password: 'x' }, 'another epoch');
    await until('the other connection stands', () => node.links.length === 2);
    await turns(20);
    const second = stand.send('INCR b', { write: true });
    await turns(20);
    // The first connection owes an answer: nothing more is sent before it has come, on neither.
    expect(node.links.map(link => link.heard)).toEqual([['INCR a'], []]);
    node.links[0]?.say(':1\r\n');
    await until('the second was heard', () => node.links[1]?.heard.length === 1);
    node.links[1]?.say(':2\r\n');
    await allAnswered(first, second);
    expect(stand.outcomes).toEqual([':1\r\n', ':2\r\n']);
    expect(node.links[0]?.socket.destroyed).toBe(true);
    expect(stand.problems).toEqual([]);
  });

  it('hands what it reads over to another lane, whole: replies that were skipped come once more', async () => {
    const { node, stand, lane } = await startBoth(silent);
    const other = await startBoth(silent);
    const sent = [stand.send('LOAD', { skip: 1 }), stand.send('GET k')];
    await until('both are heard', () => node.link.heard.length === 2);
    node.link.say('+loaded\r\n');
    await until('one was skipped', () => sent[0]?.skipped.length === 1);
    lane.handOver(other.lane, 'the replica is in sync no more');
    await until('both are heard there', () => other.node.link.heard.length === 2);
    other.node.link.say(`+loaded\r\n${bulkText('a')}${bulkText('b')}`);
    await allAnswered(...sent);
    expect(sent.map(one => one.outcome)).toEqual([bulkText('a'), bulkText('b')]);
  });

  it('barred, finishes what is in flight and holds the rest until it is sent elsewhere', async () => {
    const { node, stand, lane } = await startBoth(silent);
    const first = stand.send('INCR a', { write: true });
    await until('it was heard', () => node.link.heard.length === 1);
    lane.bar('a change is on');
    const second = stand.send('INCR b', { write: true });
    node.link.say(':1\r\n');
    await allAnswered(first);
    await until('it has left', () => node.link.socket.destroyed);
    await turns(50);
    expect([node.links.length, lane.problem, second.outcome]).toEqual([1, 'a change is on', null]);
    const other = await startNode(echo);
    lane.retarget(other.target, 'another primary');
    await allAnswered(second);
    expect(other.link.heard).toEqual(['INCR b']);
  });
});

describe('a node that breaks the rules', () => {
  it.each([
    ['bytes that are no RESP', 'HTTP/1.1 400\r\n', /not RESP/],
    ['a reply that nobody had asked for', '+OK\r\n+more\r\n', /nobody had asked/],
    ['a length that is no number', '$1x\r\n', /not RESP/],
    ['a negative length', '*-2\r\n', /not RESP/],
  ])('loses its connection for %s', async (_name, bytes, reason) => {
    const { node, stand } = await startBoth(silent);
    const write = stand.send('SET k 1', { write: true });
    await until('it is heard', () => node.link.heard.length === 1);
    node.link.say(bytes);
    await until('there is another connection', () => node.links.length === 2);
    await allAnswered(write);
    expect(write.outcome).toBe(bytes.startsWith('+OK') ? '+OK\r\n' : '<Uncertain>');
    expect(stand.problems).toEqual([expect.stringMatching(reason)]);
  });
});
