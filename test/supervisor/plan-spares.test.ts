import { describe, expect, test } from 'vitest';
import { planText } from '../../src/cli/plan.ts';
import type { RingConfig } from '../../src/ring/ring.ts';
import type { Shortage } from '../../src/supervisor/core/engine.ts';
import { makePlan } from '../../src/supervisor/plan.ts';
import { basisOf, draft } from '../../src/supervisor/plan-draft.ts';
import { type Proposal, proposalInForce } from '../../src/supervisor/proposal.ts';
import type { Topology, TopologyShard } from '../../src/topology/snapshot.ts';
import { Story } from './core/story.ts';

/** Spares that shards wait for which lack copies: who gets them when a new shard wants some, and what the plan says of it. */
const ring: RingConfig = { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 };
const ZONES: Readonly<Record<string, string>> = {
  ...{ n1: 'a', n2: 'b', n3: 'c', n4: 'a', n5: 'b', n6: 'c' },
  ...{ x: 'a', y: 'b', z: 'c', u: 'b' },
};
const shard = (name: string, nodes: readonly string[]): TopologyShard => {
  const [primary = '', ...inSync] = nodes;
  return { name, weight: 1, epoch: 4, primary, inSync, joining: null, paused: false, nodes };
};
const kept: Topology = {
  ...{ cluster: 'shop', version: 40, term: 3, ring, move: null },
  shards: [shard('s1', ['n1', 'n2', 'n3']), shard('s2', ['n4', 'n5', 'n6'])],
  nodes: Object.entries(ZONES).map(([id, zone], index) => {
    return { id, host: '10.0.0.1', port: index + 1, zone, runId: `run-${id}`, draining: false };
  }),
};
const present = proposalInForce(kept);

/** A third shard of as many copies as are named, or of two that are chosen. */
function add(nodes: readonly string[] | null, copies = nodes?.length ?? 2): Proposal {
  return { ...present, shards: [...present.shards, { name: 's3', weight: 1, nodes, copies }] };
}

function lacks(spares: number, stay: readonly string[], fit: readonly string[] = ['x', 'y', 'z', 'u']): Shortage {
  return { wanted: 3, spares, stay, fit, why: `${stay.length} of 3 copies are in sync (n3 is crashed)` };
}

const NOBODY = new Map<string, string>();
const s1Lacks = (shortage: Shortage) => new Map([['s1', shortage]]);
const WAITS = 'shard s1 waits for a spare: 2 of 3 copies are in sync (n3 is crashed)';

describe('a new shard whose nodes are chosen', () => {
  test('leaves shards that lack copies the spares that they would get, by zone', () => {
    const { added, refused, warnings } = draft(kept, add(null), NOBODY, s1Lacks(lacks(1, ['n1', 'n2'])));
    expect(refused).toEqual([]);
    // Without that it would have been one of zone c as well.
    expect(added[0]?.nodes).toEqual(['x', 'y']);
    expect(draft(kept, add(null, 3), NOBODY).added[0]?.nodes).toContain('z');
    expect(warnings).toEqual([`${WAITS}; of those that it could be given x, y go to s3, and z is left for it`]);
  });

  test('is refused where too few are left then', () => {
    const { refused } = draft(kept, add(null, 4), NOBODY, s1Lacks(lacks(1, ['n1', 'n2'])));
    expect(refused).toEqual([
      "shard s3 needs 4 free nodes, and there are 3 (z: it is kept for shard s1, where 2 of 3 copies are in sync (n3 is crashed)): name further ones under `nodes` in the settings, or name the shard's own to take what is kept",
    ]);
    expect(draft(kept, add(null, 4), NOBODY).refused).toEqual([]);
  });

  test('of several shards each is left what it lacks; what does not fit one is not kept for it', () => {
    const shortages = new Map([
      ['s1', lacks(1, ['n1', 'n2'], ['x'])],
      ['s2', lacks(2, ['n4'])],
    ]);
    const { added, refused } = draft(kept, add(null, 1), NOBODY, shortages);
    // x is all that fits s1; s2 gets one of b and one of c.
    expect([added[0]?.nodes, refused]).toEqual([['u'], []]);
    expect(draft(kept, add(null, 2), NOBODY, shortages).refused).toHaveLength(1);
  });

  test('a spare that holds old data serves a shard that is there, and needs no empty one', () => {
    const old = new Map([['z', 'it holds 5 keys']]);
    const { added, refused } = draft(kept, add(null, 3), old, s1Lacks(lacks(1, ['n1', 'n2'])));
    expect([[...(added[0]?.nodes ?? [])].sort(), refused]).toEqual([['u', 'x', 'y'], []]);
  });

  test('a node that comes with the same settings is kept as any other', () => {
    const more = { id: 'new', host: '10.0.0.9', port: 1, zone: 'c' };
    const proposal = { ...add(null, 5), nodes: [...present.nodes, more] };
    const shortages = s1Lacks(lacks(1, ['n1', 'n2'], []));
    expect(draft(kept, proposal, NOBODY).refused).toEqual([]);
    expect(draft(kept, proposal, NOBODY, shortages).refused).toEqual([
      expect.stringContaining('there are 4 (new: it is kept for shard s1, '),
    ]);
    expect(draft(kept, proposal, new Map([['new', 'silent']]), shortages).refused).toEqual([
      expect.stringContaining('there are 4 (new: silent)'),
    ]);
  });
});

describe('a new shard whose nodes are named', () => {
  const warningsOf = (nodes: readonly string[], shortage: Shortage) =>
    draft(kept, add(nodes), NOBODY, s1Lacks(shortage)).warnings;

  test('takes them, and the plan says from whom, and what is left', () => {
    const taking = (...nodes: string[]) => `${WAITS}; of those that it could be given ${nodes.join(', ')}`;
    expect(warningsOf(['x', 'y', 'z', 'u'], lacks(1, ['n1', 'n2']))).toEqual([
      `${taking('x', 'y', 'z', 'u')} go to s3, and none is left for it, and it needs one`,
    ]);
    expect(warningsOf(['z'], lacks(1, ['n1', 'n2']))).toEqual([`${taking('z')} goes to s3, and x is left for it`]);
    expect(draft(kept, add(['x', 'y', 'z', 'u']), NOBODY, s1Lacks(lacks(1, ['n1', 'n2']))).refused).toEqual([]);
    expect(warningsOf(['x', 'y', 'z'], lacks(2, ['n1']))[0]).toMatch(/only u is left for it, and it needs 2$/);
  });

  test('is no matter where they would not fit, or are given to that very shard', () => {
    expect(warningsOf(['x', 'y'], lacks(1, ['n1', 'n2'], ['z']))).toEqual([]);
    const shards = present.shards.map(one => {
      return one.name === 's1' ? { ...one, nodes: ['n1', 'n2', 'n3', 'z'], copies: 4 } : one;
    });
    const proposal = { ...present, shards };
    expect(draft(kept, proposal, NOBODY, s1Lacks(lacks(1, ['n1', 'n2']))).warnings).toEqual([]);
  });

  test('a copy that the shard is given by the same settings counts, but not one that it is to have besides', () => {
    const given = (copies: number) => {
      const shards = present.shards.map(one =>
        one.name === 's1' ? { ...one, nodes: [...(one.nodes ?? []), 'z'], copies } : one,
      );
      const s3 = { name: 's3', weight: 1, nodes: ['x', 'y', 'u'], copies: 3 };
      return { ...present, shards: [...shards, s3] };
    };
    const short = s1Lacks(lacks(1, ['n1', 'n2']));
    expect(draft(kept, given(4), NOBODY, short).warnings).toEqual([
      `${WAITS}; of those that it could be given x, y, u go to s3, and none is left for it, and it needs one`,
    ]);
    const few = { ...kept, shards: kept.shards.map(one => (one.name === 's1' ? shard('s1', ['n1', 'n2']) : one)) };
    expect(draft(few, given(3), NOBODY, short).warnings).toEqual([]);
  });

  test('further copies of another shard are told of as well', () => {
    const shards = present.shards.map(one => {
      return one.name === 's2' ? { ...one, nodes: ['n4', 'n5', 'n6', 'z'], copies: 4 } : one;
    });
    const { warnings } = draft(kept, { ...present, shards }, NOBODY, s1Lacks(lacks(1, ['n1', 'n2'], ['z'])));
    expect(warnings).toEqual([expect.stringMatching(/z goes to s2, and none is left for it, and it needs one$/)]);
  });
});

test('nothing is said where nothing is taken', () => {
  const [s1, s2] = present.shards as [Proposal['shards'][0], Proposal['shards'][0]];
  const heavier = { ...present, shards: [s1, { ...s2, weight: 3 }] };
  expect(draft(kept, heavier, NOBODY, s1Lacks(lacks(1, ['n1', 'n2']))).warnings).toEqual([]);
});

test('a plan rests on who lacks what, and on the nodes that were chosen; and its text has it all', () => {
  const settings = {
    keysPerSecond: 1000,
    workPercent: 100,
    portionKeys: 500,
    bigKeyBytes: 1_000_000,
    stallMs: 100,
    addedLatencyMs: 5,
  };
  const sight = { samples: new Map(), nodes: new Map(), troubled: new Map() };
  const of = (proposal: Proposal, shortages?: Map<string, Shortage>) =>
    makePlan(kept, draft(kept, proposal, NOBODY, shortages), sight, settings);
  const short = s1Lacks(lacks(1, ['n1', 'n2']));
  const named = add(['x', 'y', 'z', 'u']);
  expect(of(named).basis).toBe(basisOf(kept));
  expect(of(named, short).basis).not.toBe(of(named).basis);
  expect(of(add(null), short).basis).not.toBe(of(add(null), s1Lacks(lacks(1, ['n2', 'n3']))).basis);
  const without = { ...kept, nodes: kept.nodes.filter(({ id }) => id !== 'x') };
  const proposal = { ...add(null), nodes: present.nodes.filter(({ id }) => id !== 'x') };
  expect(makePlan(without, draft(without, proposal, NOBODY), sight, settings).basis).not.toBe(of(add(null)).basis);
  expect(planText(of(named, short), { topology: kept })).toContain(`\nWARNING  ${WAITS}; of those`);
});

describe('what the leader says that a shard lacks', () => {
  const lack = (story: Story, name = 's1') =>
    story.engine.status(story.nowMs).shards.find(one => one.name === name)?.shortage ?? null;

  function healthy(spares: number): Story {
    const story = new Story(3, spares, 1, { n1: 'a', n2: 'b', n3: 'c', n4: 'a' });
    story.until(() => story.isHealthy() && story.shard.inSync.length === 2);
    return story;
  }

  test('is a spare as soon as a member is away, before one takes its place, and nothing afterwards', () => {
    const story = healthy(1);
    expect(lack(story)).toBe(null);
    story.node('n3').kill();
    story.until(() => lack(story) !== null);
    expect(lack(story)).toEqual({
      ...{ wanted: 3, spares: 1, stay: ['n1', 'n2'], fit: ['n4'] },
      why: '2 of 3 copies are in sync (n3 is crashed)',
    });
    story.until(() => story.shard.nodes.includes('n4'));
    expect(lack(story)).toBe(null);
  });

  test('stays, where there is no spare, until the member is back; or the node that is drained is kept', () => {
    const story = healthy(0);
    story.node('n3').kill();
    story.until(() => lack(story) !== null);
    const sinceMs = story.nowMs;
    story.until(() => story.nowMs > sinceMs + 10_000);
    expect(lack(story)).toMatchObject({ spares: 1, fit: [] });
    story.node('n3').start(false);
    story.until(() => story.isHealthy() && story.shard.inSync.length === 2);
    expect(lack(story)).toBe(null);
    story.engine.order({ kind: 'drain', node: 'n2', to: null, zone: null }, story.nowMs);
    story.until(() => lack(story) !== null);
    expect(lack(story)).toMatchObject({
      spares: 1,
      stay: ['n1', 'n3'],
      why: '2 of 3 copies are in sync and stay (n2 is drained)',
    });
  });

  test('is nothing of a shard that has never served', () => {
    const story = new Story(3, 1);
    story.node('n3').kill();
    story.until(() => story.engine.status(story.nowMs).nodes[2]?.health === 'crashed');
    expect(lack(story)).toBe(null);
  });
});
