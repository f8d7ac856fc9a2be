import { describe, expect, test } from 'vitest';
import type { Holdings, OrderAnswer } from '../../../src/supervisor/core/engine.ts';
import { loadMark } from '../../../src/supervisor/core/mark.ts';
import { ADMIN_USER, proxyUser, replicaUser, supervisorUser } from '../../../src/topology/credentials.ts';
import type { ScriptedNode } from './scripted-nodes.ts';
import { type Fate, Story } from './story.ts';

/**
 * Spares are emptied by order: all that they hold goes, mark included; and never does a member lose anything, whoever dies
 * in the middle, and whatever becomes of the node between the question and the deed.
 */
const file = '../../golden/supervisor/empty.txt';
const KEYS = 100;

/** Three nodes of s1 in sync with 100 keys; n3 was drained, and is a spare that still holds them. */
function withOldSpare(spares = 1, shards = 1): Story {
  const story = new Story(3, spares, shards);
  const isWhole = (): boolean => story.isHealthy() && story.topology.shards.every(shard => shard.inSync.length === 2);
  story.until(isWhole);
  story.node(story.shard.primary).write(KEYS);
  story.engine.order({ kind: 'drain', node: 'n3', to: null, zone: null }, story.nowMs);
  story.until(() => statusOf(story, 'n3')?.drain?.step === 'free' && isWhole());
  story.engine.order({ kind: 'undrain', node: 'n3' }, story.nowMs);
  story.until(() => statusOf(story, 'n3')?.drain === null);
  const freeMs = story.nowMs;
  story.until(() => story.nowMs > freeMs + 3);
  return story;
}

const statusOf = (story: Story, id: string) => story.engine.status(story.nowMs).nodes.find(node => node.id === id);
const stepOf = (story: Story, id = 'n3') => statusOf(story, id)?.emptying?.step ?? null;
const whyOf = (story: Story, id = 'n3') => statusOf(story, id)?.emptying?.why ?? null;

/** What a node says, as the acting half would have asked it. */
function holds({ runId, keys, mark }: ScriptedNode): Holdings {
  const line = /^-- (.*)$/m.exec(mark ?? '')?.[1];
  return {
    runId,
    databases: keys === 0 ? [] : [{ database: 0, keys }],
    libraries: [],
    mark: line === undefined ? null : (JSON.parse(line) as Holdings['mark']),
  };
}

interface Said {
  readonly acceptLoss?: boolean;
  /** What a person has seen; by default what there is. */
  readonly shown?: { runId: string; keys: number };
}

function empty(story: Story, id = 'n3', { acceptLoss = false, shown }: Said = {}): OrderAnswer {
  const node = story.node(id);
  const confirmed = shown ?? { runId: node.runId, keys: node.keys };
  return story.engine.order({ kind: 'empty', node: id, holds: holds(node), confirmed, acceptLoss }, story.nowMs);
}

/** Would it be accepted? Nothing is done. */
function mayEmpty(story: Story, id = 'n3', acceptLoss = false): OrderAnswer {
  const node = story.node(id);
  return story.engine.order({ kind: 'empty', node: id, holds: holds(node), confirmed: null, acceptLoss }, story.nowMs);
}

function expectEmpty(node: ScriptedNode): void {
  expect([node.keys, node.mark, node.role, node.saved]).toEqual([0, null, 'master', { keys: 0, mark: null }]);
  expect([...node.users.keys()].filter(user => /^ringside-(proxy|replica)-/.test(user))).toEqual([]);
}

/** Members hold everything, and nobody but they is let in. */
function expectWhole(story: Story): void {
  const told = story.lines.join('\n');
  const { primary, epoch, inSync } = story.shard;
  for (const id of [primary, ...inSync]) {
    expect(story.node(id).keys, `${id}\n${told}`).toBe(KEYS);
    expect(story.node(id).mark, `${id}\n${told}`).toContain('"shard":"s1"');
  }
  const users = [...story.node(primary).users.keys()].filter(user => /^ringside-(proxy|replica)-/.test(user));
  expect(users.sort(), told).toEqual([proxyUser(epoch), ...inSync.map(replicaUser)].sort());
}

test('a spare that was a copy is emptied', async () => {
  const story = withOldSpare();
  expect([story.node('n3').keys, story.node('n3').role]).toEqual([KEYS, 'slave']);
  story.tell('n3, which was a copy of s1, is emptied');
  expect(mayEmpty(story)).toEqual({ accepted: true, text: 'n3 is a spare with 100 keys' });
  expect(stepOf(story)).toBe(null);
  expect(empty(story)).toEqual({ accepted: true, text: 'n3 is emptied of 100 keys' });
  expect(empty(story)).toEqual({ accepted: false, text: 'n3 is being emptied already' });
  story.until(() => stepOf(story) !== 'empties');
  expect(statusOf(story, 'n3')?.emptying).toEqual({ step: 'empty', why: '100 keys are gone' });
  expectEmpty(story.node('n3'));
  expectWhole(story);
  await expect(story.lines.join('\n')).toMatchFileSnapshot(file);
});

const FATES: readonly Fate['kind'][] = ['lost before', 'lost after', 'leader dies before', 'leader dies after'];

test.each(FATES)('cut short at each of its steps: %s', kind => {
  const whole = withOldSpare();
  empty(whole);
  whole.steps = 0;
  whole.until(() => stepOf(whole) === 'empty');
  for (let at = 1; at <= whole.steps; at++) {
    const story = withOldSpare();
    story.tell(`n3 is emptied; step ${at}: ${kind}`);
    empty(story);
    story.steps = 0;
    story.fate = { at, kind };
    story.until(() => {
      // What a leader did not carry through is over, and is ordered again.
      const step = stepOf(story);
      if ((step === null && mayEmpty(story).accepted) || step === 'kept') empty(story);
      return step === 'empty';
    });
    // Its place on the disk was the last step, and may be what was lost.
    const { keys, mark } = story.node('n3');
    expect([keys, mark], story.lines.join('\n')).toEqual([0, null]);
    expectWhole(story);
  }
});

describe('refused', () => {
  test('a member, whatever it is there', () => {
    const story = withOldSpare();
    for (const id of ['n1', 'n2', 'n4'])
      expect(empty(story, id, { acceptLoss: true })).toEqual({
        accepted: false,
        text: `${id} is a member of s1: only a spare can be emptied (ringside node drain ${id} makes it one)`,
      });
    story.engine.order({ kind: 'drain', node: 'n1', to: null, zone: null }, story.nowMs);
    story.until(() => story.shard.joining === 'n3');
    for (const id of ['n1', 'n3']) expect(empty(story, id).text, id).toContain('is a member of s1');
  });

  test('one that is about to become a member, when that is just being published', () => {
    const story = withOldSpare();
    story.publishMs = 500;
    story.engine.order({ kind: 'drain', node: 'n2', to: null, zone: null }, story.nowMs);
    const orderedMs = story.nowMs;
    story.until(() => story.nowMs >= orderedMs + 50);
    expect(story.shard.nodes).not.toContain('n3');
    expect(empty(story)).toEqual({ accepted: false, text: 'n3 is just being made a member of a shard' });
    story.until(() => story.shard.inSync.includes('n3'));
    expectWhole(story);
  });

  test('a node that is not there, is not known, or is followed', () => {
    const story = withOldSpare(2);
    expect(
      story.engine.order({ kind: 'empty', node: 'n9', holds: null, confirmed: null, acceptLoss: false }, story.nowMs),
    ).toEqual({ accepted: false, text: 'no node n9; there are n1, n2, n3, n4, n5' });
    const [n3, n5] = [story.node('n3'), story.node('n5')];
    n3.role = 'master';
    Object.assign(n5, { role: 'slave', follows: n3.port, linkedAs: 'somebody' });
    story.until(() => statusOf(story, 'n3')?.report?.replicaLinks === 1);
    expect(empty(story).text).toBe('n3 is followed by 1 replica, which would lose the same: end that first');
    n3.kill();
    story.until(() => statusOf(story, 'n3')?.health === 'crashed');
    expect(empty(story)).toEqual({ accepted: false, text: 'n3 cannot be reached: it is crashed' });
  });

  test('what is more, or another process, than was shown', () => {
    const story = withOldSpare();
    const { runId } = story.node('n3');
    expect(empty(story, 'n3', { shown: { runId, keys: 99 } })).toEqual({
      accepted: false,
      text: 'n3 holds 100 keys now, and 99 keys were shown: look again',
    });
    expect(empty(story, 'n3', { shown: { runId: 'another', keys: 100 } }).text).toContain(
      'was restarted since its data was shown',
    );
    // Less is no matter: what is gone needs not be given up.
    expect(empty(story, 'n3', { shown: { runId, keys: 101 } }).accepted).toBe(true);
  });

  test('a second name for the process of a member', () => {
    const story = withOldSpare();
    const [n1, n3] = [story.node('n1'), story.node('n3')];
    Object.defineProperty(n3, 'runId', { get: () => n1.runId });
    story.until(() => statusOf(story, 'n3')?.report?.runId === n1.runId);
    // Also while it does not answer under its own name.
    n1.isHidden = true;
    const order = { kind: 'empty', node: 'n3', holds: holds(n3), confirmed: { runId: n1.runId, keys: KEYS } } as const;
    for (const acceptLoss of [false, true])
      expect(story.engine.order({ ...order, acceptLoss }, story.nowMs)).toEqual({
        accepted: false,
        text: 'n3 is the same process as n1: correct the address of one of them',
      });
    // Nor by a leader that has heard of n1 by no other name.
    story.nextLeader();
    story.until(() => statusOf(story, 'n3')?.ready === true);
    expect(statusOf(story, 'n1')?.report).toBe(null);
    expect(story.engine.order({ ...order, acceptLoss: true }, story.nowMs).text).toContain('the same process as n1');
  });
});

describe('what may be all that is left of a shard (R10)', () => {
  const stateOf = (story: Story, name = 's1') =>
    story.engine.status(story.nowMs).shards.find(one => one.name === name)?.state;

  /** All members of s1 die; n3 still holds what it had as a copy. */
  function lost(spares = 1, shards = 1): Story {
    const story = withOldSpare(spares, shards);
    for (const id of story.shard.nodes) story.node(id).kill();
    story.until(() => stateOf(story) === 'waiting');
    return story;
  }

  test('is kept while that shard does not serve, unless a person accepts the loss', () => {
    const story = lost();
    const answer = mayEmpty(story);
    expect(answer).toMatchObject({ accepted: false });
    expect(answer.text).toMatch(
      /^s1 is waiting \(.*\), and 100 keys of a copy of s1 on n3 may be all that is left of it: have it serve again first, or give that up with --accept-loss$/,
    );
    expect(empty(story).text).toBe(answer.text);
    expect(empty(story, 'n3', { acceptLoss: true }).accepted).toBe(true);
    story.until(() => stepOf(story) === 'empty');
    expectEmpty(story.node('n3'));
  });

  test('is kept while any shard does not serve where it carries no mark', () => {
    const story = lost();
    story.node('n3').mark = null;
    expect(mayEmpty(story).text).toContain('100 keys that carry no mark on n3');
  });

  test('is not another shard, which serves, or one that is no more', () => {
    const story = lost(1, 2);
    expect(stateOf(story, 's2')).toBe('healthy');
    const marked = (shard: string, epoch: number): void => {
      story.node('n3').mark = loadMark({ cluster: 'shop', shard, epoch, counter: 1 }).at(-1) ?? '';
    };
    marked('s2', 1);
    expect(mayEmpty(story).accepted).toBe(true);
    marked('s7', 9);
    expect(mayEmpty(story).accepted).toBe(true);
    marked('s2', 99);
    expect(mayEmpty(story).text).toMatch(/^n3 holds data of a copy of s2 of epoch 99, and that shard is only at \d+/);
    expect(mayEmpty(story, 'n3', true).accepted).toBe(true);
  });

  test('is nothing where the node holds no key', () => {
    const story = lost();
    story.node('n3').keys = 0;
    expect(mayEmpty(story).accepted).toBe(true);
  });

  test('is asked again at the moment in which it is done', () => {
    const story = withOldSpare();
    story.tell('n3 is emptied, and s1 is lost meanwhile');
    story.node('n3').isHidden = true;
    expect(empty(story).accepted).toBe(true);
    for (const id of story.shard.nodes) story.node(id).kill();
    story.until(() => stateOf(story) === 'waiting');
    story.node('n3').isHidden = false;
    story.until(() => stepOf(story) === 'kept');
    expect(whyOf(story)).toContain('may be all that is left of it');
    expect(story.node('n3').keys).toBe(KEYS);
  });
});

describe('between the question and the deed', () => {
  test('the node is chosen for nothing else', () => {
    const story = withOldSpare();
    story.tell('n3 is emptied, answers late, and n2 is drained');
    story.node('n3').slowMs = 900;
    expect(empty(story).accepted).toBe(true);
    const orderedMs = story.nowMs;
    expect(story.engine.order({ kind: 'drain', node: 'n2', to: 'n3', zone: null }, story.nowMs)).toMatchObject({
      accepted: false,
      text: expect.stringContaining('it is just being emptied'),
    });
    story.engine.order({ kind: 'drain', node: 'n2', to: null, zone: null }, story.nowMs);
    story.until(() => {
      if (stepOf(story) === 'empties') expect(story.shard.nodes, story.lines.join('\n')).not.toContain('n3');
      return stepOf(story) === 'empty';
    });
    expect(story.nowMs).toBeGreaterThan(orderedMs + 1000);
    story.node('n3').slowMs = 0;
    story.until(() => story.shard.inSync.includes('n3'));
    story.until(() => statusOf(story, 'n2')?.drain?.step === 'free');
    expectWhole(story);
  });

  test('it restarts, and what it comes back with is kept', () => {
    const story = withOldSpare();
    empty(story);
    story.node('n3').kill();
    story.node('n3').start(true);
    story.until(() => stepOf(story) === 'kept');
    expect(story.node('n3').keys).toBe(KEYS);
    story.until(() => mayEmpty(story).accepted);
  });

  test('more is written to it than was shown', () => {
    const story = withOldSpare();
    empty(story);
    story.node('n3').keys += 1;
    story.until(() => stepOf(story) === 'kept');
    expect(whyOf(story)).toBe('n3 holds 101 keys now, and 100 keys were shown: look again');
    expect(story.node('n3').keys).toBe(KEYS + 1);
  });
});

test('a leader that was shut out by a later one discards nothing, though it has let itself in again and heard no more', () => {
  const story = withOldSpare();
  story.tell("n3 is emptied, and is another leader's before that");
  empty(story);
  const n3 = story.node('n3');
  n3.users.delete(supervisorUser(1));
  n3.users.set(supervisorUser(2), false);
  const call = n3.call.bind(n3);
  // Whatever its take-over does is done; but no answer comes, which would tell of the other.
  n3.call = (as, ...rest) => {
    const outcome = call(as, ...rest);
    return as === ADMIN_USER ? { ok: false, why: 'silent', text: 'no answer' } : outcome;
  };
  story.until(() => stepOf(story) === 'kept');
  expect(n3.users.has(supervisorUser(1))).toBe(true);
  expect(whyOf(story)).toContain('it was not taken over');
  expect(n3.keys).toBe(KEYS);
});

test('data that was never of this cluster is given up by the same order', () => {
  const story = new Story(3, 1);
  story.node('n4').keys = 7;
  story.until(() => story.isHealthy());
  story.until(() => statusOf(story, 'n4')?.needs !== null);
  expect(statusOf(story, 'n4')?.needs).toBe(
    'it holds 7 keys that are not of this cluster, which becoming a copy would discard: empty it (ringside node empty n4), or correct its address',
  );
  expect(empty(story, 'n4').accepted).toBe(true);
  // At once, and not when it would be tried again anyway.
  story.until(() => stepOf(story, 'n4') === 'empty', 1000);
  expectEmpty(story.node('n4'));
  expect(statusOf(story, 'n4')).toMatchObject({ ready: true, needs: null });
});

test('a copy that was emptied is filled in full when it joins again', () => {
  const story = withOldSpare();
  empty(story);
  story.until(() => stepOf(story) === 'empty');
  story.tell('n3 becomes a copy of s1 again');
  story.engine.order({ kind: 'drain', node: 'n2', to: 'n3', zone: null }, story.nowMs);
  story.until(() => statusOf(story, 'n2')?.drain?.step === 'free');
  expect(story.lines.join('\n')).toContain('n3 copies from');
  expectWhole(story);
});
