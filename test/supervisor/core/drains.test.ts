import { describe, expect, test } from 'vitest';
import type { NodeOrder, OrderAnswer } from '../../../src/supervisor/core/engine.ts';
import { proxyUser, replicaUser } from '../../../src/topology/credentials.ts';
import { type Fate, Story } from './story.ts';

/**
 * Nodes are drained: their copies go elsewhere, a new one first, and what is left of them may be stopped.
 *
 * A shard never has fewer copies in sync than before, unless one of its nodes is lost; and however often leaders die, or
 * what is sent is lost, it ends with the nodes that were wanted, as many as before.
 */
const file = (name: string): string => `../../golden/supervisor/${name}.txt`;
const ZONES = { n1: 'a', n2: 'b', n3: 'c', n4: 'a', n5: 'b', n6: 'c' };

/** Three nodes in sync in three zones, 100 keys, nothing told yet. */
function healthy(spares = 1, shards = 1, zones: Readonly<Record<string, string>> = ZONES): Story {
  const story = new Story(3, spares, shards, zones);
  story.until(() => story.isHealthy() && story.topology.shards.every(shard => shard.inSync.length === 2));
  story.node(story.shard.primary).write(100);
  const wholeMs = story.nowMs;
  story.until(() => story.nowMs > wholeMs + 3);
  return story;
}

function drain(story: Story, node: string, to: string | null = null, zone: string | null = null): OrderAnswer {
  return order(story, { kind: 'drain', node, to, zone });
}

function order(story: Story, it: NodeOrder): OrderAnswer {
  return story.engine.order(it, story.nowMs);
}

function step(story: Story, node: string): string | null {
  return drainOf(story, node)?.step ?? null;
}

function drainOf(story: Story, node: string) {
  return story.engine.status(story.nowMs).nodes.find(({ id }) => id === node)?.drain ?? null;
}

function isQuiet(story: Story): boolean {
  const { copies, nodes, inSync } = story.shard;
  return story.isHealthy() && copies === undefined && nodes.length === 3 && inSync.length === 2;
}

const isFree = (story: Story, ...nodes: string[]): boolean =>
  isQuiet(story) && nodes.every(node => step(story, node) === 'free');

/** Lets time pass, and looks at each moment that as many copies are in sync as are named. */
function keepingCopies(story: Story, least: number, isOver: () => boolean, withinMs = 20_000): void {
  story.until(() => {
    expect(story.shard.inSync.length + 1, story.lines.join('\n')).toBeGreaterThanOrEqual(least);
    return isOver();
  }, withinMs);
}

/** What must be so whenever nothing is going on. */
function expectSound(story: Story): void {
  const { primary, epoch, inSync, nodes } = story.shard;
  const lead = story.node(primary);
  const told = story.lines.join('\n');
  expect(lead.role, told).toBe('master');
  expect(lead.keys, told).toBe(100);
  const users = [...lead.users.keys()];
  expect(
    users.filter(user => user.startsWith('ringside-proxy-')),
    told,
  ).toEqual([proxyUser(epoch)]);
  const replicas = users.filter(user => user.startsWith('ringside-replica-'));
  expect(replicas.sort(), told).toEqual(inSync.map(replicaUser).sort());
  for (const id of inSync) expect([story.node(id).linkedAs, story.node(id).keys], told).toEqual([replicaUser(id), 100]);
  for (const node of story.nodes) {
    if (nodes.includes(node.id) || !node.isUp) continue;
    // Nobody lets it in, and it lets nobody in.
    expect(node.linkedAs, told).toBe(null);
    expect(
      [...node.users.keys()].filter(user => /^ringside-(proxy|replica)-/.test(user)),
      told,
    ).toEqual([]);
  }
}

interface Tale {
  readonly name: string;
  readonly heading: string;
  readonly nodes: readonly string[];
  readonly spares: number;
}

const TALES: readonly Tale[] = [
  { name: 'drain-replica', heading: 'the replica n3 is drained', nodes: ['n3'], spares: 1 },
  { name: 'drain-primary', heading: 'the primary n1 is drained', nodes: ['n1'], spares: 1 },
  {
    name: 'drain-two',
    heading: 'the primary n1 and the replica n2 are drained at once',
    nodes: ['n1', 'n2'],
    spares: 2,
  },
];

describe('transcripts', () => {
  test.each(TALES)('$heading', async ({ name, heading, nodes, spares }) => {
    const story = healthy(spares);
    story.tell(heading);
    for (const node of nodes) expect(drain(story, node).accepted).toBe(true);
    keepingCopies(story, 3, () => isFree(story, ...nodes));
    expectSound(story);
    for (const node of nodes) expect(story.shard.nodes).not.toContain(node);
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file(name));
  });

  test('a drain is taken back when the new copy is in sync already', async () => {
    const story = healthy(1);
    story.tell('n3 is drained, and kept after all');
    drain(story, 'n3');
    story.until(() => story.shard.joining === 'n4');
    expect(order(story, { kind: 'undrain', node: 'n3' }).accepted).toBe(true);
    keepingCopies(story, 3, () => isQuiet(story));
    expectSound(story);
    // n1 and n4 are in one zone.
    expect(story.shard.nodes).toEqual(['n1', 'n2', 'n3']);
    expect(drainOf(story, 'n3')).toBe(null);
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('undrain'));
  });
});

const FATES: readonly Fate['kind'][] = ['lost before', 'lost after', 'leader dies before', 'leader dies after'];

describe.each(TALES)('$name, cut short at each of its steps', ({ heading, nodes, spares }) => {
  // Two at once are the same steps twice.
  test.each(nodes.length > 1 ? FATES.slice(-1) : FATES)('%s', kind => {
    const whole = healthy(spares);
    for (const node of nodes) drain(whole, node);
    whole.steps = 0;
    whole.until(() => isFree(whole, ...nodes));
    for (let at = 1; at <= whole.steps; at++) {
      const story = healthy(spares);
      story.tell(`${heading}; step ${at}: ${kind}`);
      story.steps = 0;
      story.fate = { at, kind };
      story.until(() => {
        // What the last leader had not published is not known to the next.
        for (const node of nodes) if (step(story, node) === null) drain(story, node);
        return isFree(story, ...nodes);
      });
      expectSound(story);
    }
  });
});

describe('something is lost meanwhile', () => {
  test('the node that is drained', () => {
    const story = healthy(1);
    story.tell('n3 is drained and dies');
    drain(story, 'n3');
    story.until(() => story.shard.nodes.includes('n4'));
    story.node('n3').kill();
    keepingCopies(story, 2, () => isFree(story, 'n3'));
    expectSound(story);
    expect(story.shard.nodes).toEqual(['n1', 'n2', 'n4']);
  });

  test('the primary, which is drained', () => {
    const story = healthy(1);
    story.tell('n1 is drained and dies');
    drain(story, 'n1');
    story.until(() => story.shard.joining === 'n4');
    story.node('n1').kill();
    keepingCopies(story, 2, () => isFree(story, 'n1'));
    expectSound(story);
    expect([...story.shard.nodes].sort()).toEqual(['n2', 'n3', 'n4']);
  });

  test('the new copy, for which there is another', () => {
    const story = healthy(2);
    story.tell('n3 is drained to n4, which dies');
    drain(story, 'n3', 'n4');
    story.until(() => story.shard.nodes.includes('n4'));
    story.node('n4').kill();
    keepingCopies(story, 3, () => isFree(story, 'n3'));
    expectSound(story);
    expect(story.shard.nodes).toEqual(['n1', 'n2', 'n5']);
  });

  test('the new copy, for which there is no other until it is back', () => {
    const story = healthy(1);
    story.tell('n3 is drained to n4, which dies for 20 s');
    drain(story, 'n3');
    story.until(() => story.shard.nodes.includes('n4'));
    story.node('n4').kill();
    const diedMs = story.nowMs;
    keepingCopies(story, 3, () => story.nowMs > diedMs + 10_000);
    expect(drainOf(story, 'n3')).toMatchObject({ step: 'copies', why: expect.stringContaining('n4: it is crashed') });
    story.node('n4').start(false);
    keepingCopies(story, 3, () => isFree(story, 'n3'));
    expectSound(story);
  });

  test('a copy that was to stay', () => {
    const story = healthy(2);
    story.tell('n3 is drained, and n2 dies for good');
    drain(story, 'n3');
    story.until(() => story.shard.nodes.includes('n4'));
    story.node('n2').kill();
    keepingCopies(story, 2, () => isFree(story, 'n3'));
    expectSound(story);
    expect(story.shard.nodes).toEqual(['n1', 'n5', 'n4']);
  });
});

test('a switch-over that cannot be carried through is tried again ever more seldom, since it holds writes up', () => {
  const story = healthy(1);
  story.tell('n1 is drained, and does not let its writes be paused');
  drain(story, 'n1');
  story.until(() => story.shard.inSync.length === 3);
  const primary = story.node('n1');
  const call = primary.call.bind(primary);
  let isStubborn = true;
  primary.call = (as, runId, commands, nowMs) => {
    const isPause = commands.some(words => words[1] === 'PAUSE');
    if (isPause && isStubborn) return { ok: true, replies: commands.map(() => ({ error: 'ERR not now' })) };
    return call(as, runId, commands, nowMs);
  };
  const fromMs = story.nowMs;
  keepingCopies(story, 4, () => story.nowMs > fromMs + 30_000, 40_000);
  const tries = story.lines.filter(line => line.includes('begun: n1 is to be free: to'));
  expect(tries.length, story.lines.join('\n')).toBeGreaterThan(1);
  expect(tries.length, story.lines.join('\n')).toBeLessThan(7);
  expect(drainOf(story, 'n1')).toMatchObject({
    step: 'switches over',
    why: expect.stringContaining('the last try was given up: '),
  });
  isStubborn = false;
  story.until(() => isFree(story, 'n1'), 70_000);
  expectSound(story);
});

test('of equal copies one that is drained is not promoted', () => {
  const story = healthy(0);
  story.tell('n2 is drained, without a spare, and n1 dies');
  drain(story, 'n2');
  story.until(() => step(story, 'n2') === 'waits' && drainOf(story, 'n2')?.needs !== null);
  story.node('n1').kill();
  story.until(() => story.shard.primary !== 'n1');
  expect(story.shard.primary).toBe('n3');
});

test('while the primary is only slow to answer an order is taken, and begun afterwards; once it is lost, it is refused', () => {
  const story = healthy(1);
  const state = () => story.engine.status(story.nowMs).shards[0]?.state;
  story.tell('n1 does not answer the leader when n3 is drained');
  story.node('n1').isHidden = true;
  story.until(() => state() === 'waiting');
  expect(drain(story, 'n3').accepted).toBe(true);
  expect(drainOf(story, 'n3')).toMatchObject({ step: 'waits', why: expect.stringContaining('s1 is waiting') });
  story.node('n1').isHidden = false;
  story.until(() => isFree(story, 'n3'));
  expectSound(story);
  for (const id of story.shard.nodes) story.node(id).kill();
  story.until(
    () => state() === 'waiting' && /bring back/.test(story.engine.status(story.nowMs).shards[0]?.needs ?? ''),
  );
  expect(drain(story, 'n2')).toMatchObject({ accepted: false, text: expect.stringContaining('when it serves again') });
});

describe('without a spare', () => {
  test('nothing is given up, and status says what is needed; a node that is free again ends it', () => {
    const story = healthy(1);
    story.node('n4').kill();
    story.until(() => story.engine.status(story.nowMs).nodes[3]?.health === 'crashed');
    story.tell('n3 is drained, and the only spare is down');
    expect(drain(story, 'n3')).toEqual({
      accepted: true,
      text: 'n3 is to be free, as ordered; it waits, since no spare can be used: n4 (zone a) is crashed',
    });
    const orderedMs = story.nowMs;
    keepingCopies(story, 3, () => story.nowMs > orderedMs + 10_000);
    expect(story.shard.nodes).toEqual(['n1', 'n2', 'n3']);
    expect(story.engine.status(story.nowMs).shards[0]?.state).toBe('healthy');
    expect(drainOf(story, 'n3')).toEqual({
      step: 'waits',
      why: 'no spare can be used: n4 (zone a) is crashed',
      needs: 'add a node to take its copy of s1, or keep it: ringside node undrain n3',
    });
    story.nextLeader();
    story.node('n4').start(false);
    keepingCopies(story, 3, () => isFree(story, 'n3'));
    expectSound(story);
  });

  test('a drained copy that loses its link comes back, as long as nobody can take its place', () => {
    const story = healthy(0);
    story.tell('n3 is drained and restarted, and there is no spare');
    drain(story, 'n3');
    story.until(() => step(story, 'n3') === 'waits' && drainOf(story, 'n3')?.needs !== null);
    story.node('n3').kill();
    story.until(() => !story.shard.inSync.includes('n3'));
    story.node('n3').start(false);
    story.until(() => story.shard.inSync.includes('n3'));
    expect(order(story, { kind: 'undrain', node: 'n3' }).accepted).toBe(true);
    story.until(() => isQuiet(story));
    expectSound(story);
  });

  test('all three nodes are drained in turn, each to the one that was freed last', () => {
    const story = healthy(1);
    story.tell('n1, n2, n3 in turn');
    let spare = 'n4';
    for (const node of ['n1', 'n2', 'n3']) {
      expect(drain(story, node).text).toContain(`${spare} (zone`);
      keepingCopies(story, 3, () => isFree(story, node));
      expect(order(story, { kind: 'undrain', node }).accepted).toBe(true);
      story.until(() => drainOf(story, node) === null);
      expectSound(story);
      spare = node;
    }
    expect([...story.shard.nodes].sort()).toEqual(['n1', 'n2', 'n4']);
  });
});

describe('where a copy goes', () => {
  const at = (zones: Record<string, string>): Story => healthy(3, 1, { ...ZONES, ...zones });

  test('into the zone that those who stay use least', () => {
    const story = at({});
    drain(story, 'n2');
    story.until(() => isFree(story, 'n2'));
    expect(story.shard.nodes).toEqual(['n1', 'n3', 'n5']);
  });

  test('to the node that was named', () => {
    const story = at({});
    expect(drain(story, 'n2', 'n6').text).toContain('n6 (zone c) becomes a copy of s1');
    story.until(() => isFree(story, 'n2'));
    expect(story.shard.nodes).toEqual(['n1', 'n3', 'n6']);
  });

  test('into the zone that was named, also when the first choice there dies', () => {
    const story = at({ n4: 'b', n5: 'z', n6: 'z' });
    drain(story, 'n2', null, 'z');
    story.until(() => story.shard.nodes.includes('n5'));
    story.node('n5').kill();
    story.until(() => isFree(story, 'n2'));
    expect(story.shard.nodes).toEqual(['n1', 'n3', 'n6']);
  });

  test('a lost copy is not made anew on a node that is drained', () => {
    const story = at({});
    expect(drain(story, 'n5').text).toContain('may be stopped');
    story.until(() => step(story, 'n5') === 'free');
    story.node('n2').kill();
    story.until(() => isQuiet(story) && !story.shard.nodes.includes('n2'));
    expect(story.shard.nodes).toEqual(['n1', 'n4', 'n3']);
  });

  test.each([
    ['an unknown node', { node: 'n9', to: null, zone: null }, 'no node n9; there are n1, n2, n3, n4, n5, n6'],
    ['to an unknown node', { node: 'n1', to: 'n9', zone: null }, 'no node n9'],
    ['to a member', { node: 'n1', to: 'n2', zone: null }, 'it is a member of s1'],
    ['to a node in another zone', { node: 'n1', to: 'n4', zone: 'b' }, 'n4 is in zone a, not in b'],
    ['into an empty zone', { node: 'n1', to: null, zone: 'x' }, 'there is no spare in zone x; there are n4 (zone a)'],
    ['a spare to another', { node: 'n4', to: 'n5', zone: null }, 'it has no copy that could go elsewhere'],
  ])('refused: %s', (_what, what, text) => {
    const story = at({});
    const answer = order(story, { kind: 'drain', ...what });
    expect(answer).toMatchObject({ accepted: false, text: expect.stringContaining(text) });
    const orderedMs = story.nowMs;
    story.until(() => story.nowMs > orderedMs + 100);
    expect(story.topology.nodes.some(({ draining }) => draining)).toBe(false);
  });

  test('refused: to a node that is drained, or is promised to another', () => {
    const story = at({});
    drain(story, 'n1', 'n4');
    expect(drain(story, 'n2', 'n4').text).toBe('n4 is to take the place of n1');
    drain(story, 'n5');
    story.until(() => step(story, 'n5') === 'free');
    expect(drain(story, 'n3', 'n5').text).toContain('it is drained itself');
  });

  test('no switch-over leads to a node that is drained', () => {
    const story = healthy(0);
    drain(story, 'n2');
    story.until(() => step(story, 'n2') === 'waits' && drainOf(story, 'n2')?.needs !== null);
    const to = (node: string | null) => story.engine.order({ kind: 'switchover', shard: 's1', to: node }, story.nowMs);
    expect(to('n2')).toEqual({ accepted: false, text: 'n2 is being drained: ringside node undrain n2 before' });
    expect(to(null)).toMatchObject({ accepted: true, text: expect.stringContaining('to n3') });
  });
});

test('with two shards and one spare only one is freed; the other waits for it', () => {
  const story = healthy(1, 2, {});
  story.tell('n3 of s1 and n6 of s2 are drained, with one spare');
  drain(story, 'n3');
  drain(story, 'n6');
  story.until(() => step(story, 'n3') === 'free');
  expect(drainOf(story, 'n6')).toMatchObject({ step: 'waits', why: expect.stringContaining('n3 (zone a) is drained') });
  order(story, { kind: 'undrain', node: 'n3' });
  story.until(() => step(story, 'n6') === 'free');
  expect(story.topology.shards.map(({ nodes }) => nodes)).toEqual([
    ['n1', 'n2', 'n7'],
    ['n4', 'n5', 'n3'],
  ]);
});

test('of two drained nodes one is freed by the only spare; the other waits with its copy', () => {
  const story = healthy(1);
  story.tell('n1 and n2 are drained, with one spare');
  drain(story, 'n1');
  drain(story, 'n2');
  keepingCopies(story, 3, () => step(story, 'n2') === 'free');
  expect(drainOf(story, 'n1')).toMatchObject({ step: 'waits', needs: expect.stringContaining('add a node') });
  const freeMs = story.nowMs;
  keepingCopies(story, 3, () => story.nowMs > freeMs + 10_000);
  expect(story.shard).toMatchObject({ primary: 'n1', inSync: ['n3', 'n4'], nodes: ['n1', 'n3', 'n4'] });
  order(story, { kind: 'undrain', node: 'n2' });
  keepingCopies(story, 3, () => isFree(story, 'n1'));
  expectSound(story);
});

test('what is wanted is kept where the settings do not name the shard', () => {
  const story = healthy(1);
  story.tell('a leader dies in the middle of a drain');
  drain(story, 'n2');
  story.until(() => story.shard.nodes.length === 4);
  expect(story.shard.copies).toBe(3);
  story.nextLeader();
  story.until(() => isFree(story, 'n2'));
  expect(story.shard).toMatchObject({ nodes: ['n1', 'n3', 'n4'] });
});

test('a copy that was made while its node was taken out of the shard is not joined after all', () => {
  const story = healthy(1);
  story.tell('n3 is drained, and kept when the copy on n4 is nearly there; n4 answers late');
  drain(story, 'n3');
  story.until(() => story.lines.some(line => line.includes('n4 copies from')));
  story.node('n4').slowMs = 150;
  expect(order(story, { kind: 'undrain', node: 'n3' }).accepted).toBe(true);
  keepingCopies(story, 3, () => isQuiet(story));
  const quietMs = story.nowMs;
  story.until(() => {
    const { primary, inSync, joining, nodes } = story.shard;
    const outsiders = [primary, ...inSync, joining].filter(id => id !== null && !nodes.includes(id));
    expect(outsiders, story.lines.join('\n')).toEqual([]);
    return story.nowMs > quietMs + 2000;
  });
  expect(story.shard.nodes).toEqual(['n1', 'n2', 'n3']);
  expectSound(story);
});

test('a primary that was out of reach while it was replaced lets no proxy in when it is back as a spare', () => {
  const story = healthy(1);
  const { engine } = story;
  engine.order({ kind: 'switchover', shard: 's1', to: 'n2' }, story.nowMs);
  story.until(() => story.shard.primary === 'n2' && isQuiet(story));
  story.tell('n2, which was a replica before, is out of reach for long');
  story.node('n2').isHidden = true;
  story.until(() => !story.shard.nodes.includes('n2') && isQuiet(story));
  story.node('n2').isHidden = false;
  const backMs = story.nowMs;
  story.until(() => story.nowMs > backMs + 1000);
  expectSound(story);
});
