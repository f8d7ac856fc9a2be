import { describe, expect, test } from 'vitest';
import { createRing, type RingConfig } from '../../src/ring/ring.ts';
import { makePlan, type PlanSight, type SampledKey } from '../../src/supervisor/plan.ts';
import { basisOf, draft } from '../../src/supervisor/plan-draft.ts';
import { type Proposal, proposalInForce, readProposal } from '../../src/supervisor/proposal.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { validateTopology } from '../../src/topology/validate.ts';

/** What a change would move, what it needs, and why it cannot be: by topology, and by what was seen of nodes and keys. */
const ring: RingConfig = { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 };
const node = (id: string, port: number) => ({
  id,
  host: '10.0.0.1',
  port,
  zone: `z${port % 3}`,
  runId: `run-${id}`,
  draining: false,
});
const shard = (name: string, nodes: string[]) => {
  return {
    name,
    weight: 1,
    epoch: 4,
    primary: nodes[0] as string,
    inSync: nodes.slice(1),
    joining: null,
    paused: false,
    nodes,
  };
};
const kept: Topology = {
  ...{ cluster: 'shop', version: 40, term: 3, ring, move: null },
  shards: [shard('s1', ['a', 'b']), shard('s2', ['c', 'd'])],
  nodes: ['a', 'b', 'c', 'd', 'x', 'y'].map((id, index) => node(id, index + 1)),
};
const present = proposalInForce(kept);
const wish = (name: string, nodes: string[] | null, weight = 1) => ({
  name,
  weight,
  nodes,
  copies: nodes?.length ?? 2,
});
const settings = {
  keysPerSecond: 1000,
  workPercent: 100,
  portionKeys: 500,
  bigKeyBytes: 1_000_000,
  stallMs: 100,
  addedLatencyMs: 5,
};

/** Keys that the ring places on a shard. */
function keysOn(name: string, count: number, bytes = 100, form = (i: number) => `key:${i}`): SampledKey[] {
  const owners = createRing(kept.ring, kept.shards);
  const keys: SampledKey[] = [];
  for (let i = 0; keys.length < count; i += 1) {
    const key = form(i);
    if (kept.shards[owners.ownerOf(Buffer.from(key), 0, key.length)]?.name === name)
      keys.push({ database: 0, key, bytes });
  }
  return keys;
}

function sightOf(
  keys: Readonly<Record<string, { keys: number; sampled: readonly SampledKey[] }>>,
  maxBytes = 0,
): PlanSight {
  return {
    samples: new Map(Object.entries(keys).map(([name, one]) => [name, { shard: name, ...one }])),
    nodes: new Map(kept.nodes.map(({ id }) => [id, { usedBytes: 1_000_000, maxBytes, version: '7.0.15' }])),
    troubled: new Map(),
  };
}

const usual = { s1: { keys: 10_000, sampled: keysOn('s1', 500) }, s2: { keys: 10_000, sampled: keysOn('s2', 500) } };

function planOf(proposal: Proposal, sight = sightOf(usual), unfit = new Map<string, string>()) {
  return makePlan(kept, draft(kept, proposal, unfit), sight, settings);
}

const grown: Proposal = { ...present, shards: [...present.shards, wish('s3', ['x', 'y'])] };

describe('a plan', () => {
  test('of what is in force is empty', () => {
    const plan = planOf(present);
    expect(plan).toMatchObject({ isEmpty: true, refused: [], flows: [], keys: 0, summary: 'nothing changes' });
  });

  test('of a shard more names what goes to it, how much, how long, and what its copies need', () => {
    const plan = planOf(grown);
    expect(plan).toMatchObject({ refused: [], isEmpty: false, isExact: true, keysInAll: 20_000, keysPerSecond: 1000 });
    expect(plan.flows.map(({ source, target }) => [source, target])).toEqual([
      ['s1', 's3'],
      ['s2', 's3'],
    ]);
    expect(plan.keys / 20_000).toBeCloseTo(plan.share, 1);
    expect(plan.bytes).toBe(plan.keys * 100);
    expect(plan.portions).toBe(plan.flows.reduce((sum, flow) => sum + Math.ceil(flow.keys / 500), 0));
    // By the bound on keys, which is the narrower one here, and then by the bound on work.
    const overheadMs = plan.portions * 500;
    expect(plan.durationMs).toBe(plan.keys + overheadMs);
    const [half, quarter] = [2, 1].map(
      workPercent =>
        makePlan(kept, draft(kept, grown, new Map()), sightOf(usual), { ...settings, workPercent }).durationMs -
        overheadMs,
    );
    expect(half).toBeGreaterThan(plan.keys);
    expect(quarter).toBeCloseTo((half ?? 0) * 2, -1);
    expect(plan.memory.map(({ shard, node }) => [shard, node])).toEqual([
      ['s3', 'x'],
      ['s3', 'y'],
    ]);
    for (const { neededBytes } of plan.memory) expect(neededBytes).toBeGreaterThan(plan.bytes);
    expect(plan.summary).toMatch(/^add shard s3 \(x, y\): \d+\.\d % of the keys move, about [\d,]+ keys$/);
  });

  test('of a shard less frees its nodes; the last one cannot go', () => {
    const plan = planOf({ ...present, shards: present.shards.slice(0, 1) });
    expect(plan.flows).toMatchObject([{ source: 's2', target: 's1', keys: 10_000 }]);
    expect(plan.shardsRemoved).toEqual([{ name: 's2', nodes: ['c', 'd'] }]);
    expect(planOf({ ...present, shards: [] }).refused).toContain('no shard would be left');
  });

  test('of another weight moves from those that have relatively less to the one that has more', () => {
    const [s1, s2] = present.shards as [Proposal['shards'][0], Proposal['shards'][0]];
    const plan = planOf({ ...present, shards: [s1, { ...s2, weight: 3 }] });
    expect(plan.flows.map(({ source, target }) => [source, target])).toEqual([['s1', 's2']]);
    expect(plan.weights).toEqual([{ shard: 's2', before: 1, after: 3 }]);
  });

  test('of another ring moves between any two, and says when the hash or the hash tag is another', () => {
    const other = { kind: 'twemproxy', hash: 'fnv1a_64', distribution: 'ketama', hashTag: '' } as const;
    const plan = planOf({ ...present, ring: other });
    expect(plan).toMatchObject({ refused: [], isExact: false });
    expect(plan.flows).toHaveLength(2);
    expect(plan.warnings.join()).toMatch(/the hash tag changes from "\{\}" to none.*the hash changes/s);
  });

  test('goes by the sample where hash tags put keys on few arcs only', () => {
    // One tag that is moved, and one that is not: half of the keys go, whatever the arcs say.
    const after = createRing(ring, [...kept.shards, { name: 's3', weight: 1 }]);
    const goes = (tag: string) => after.ownerOf(Buffer.from(tag), 0, tag.length) === 2;
    const tags = keysOn('s1', 200).map(({ key }) => key);
    const moved = tags.find(goes) as string;
    const stays = tags.find(tag => !goes(tag)) as string;
    const sampled = keysOn('s1', 400, 100, i => `{${i % 2 === 0 ? moved : stays}}:${i}`);
    const plan = planOf(grown, sightOf({ ...usual, s1: { keys: 10_000, sampled } }));
    expect(plan.flows.find(({ source }) => source === 's1')?.keys).toBe(5000);
  });

  test('refuses what does not fit, for the fullest copy', () => {
    const tight = sightOf(usual, 1_200_000);
    const plan = planOf(grown, tight);
    expect(plan.refused).toEqual([
      expect.stringMatching(
        /^shard s3 cannot hold what it would get: x uses 1\.0 MB of maxmemory 1\.2 MB and would need/,
      ),
      expect.stringMatching(/: y uses/),
    ]);
    expect(planOf(grown, sightOf(usual, 100_000_000)).refused).toEqual([]);
  });

  test('refuses to move keys to an older Redis', () => {
    const sight = sightOf(usual);
    const of = (id: string, version: string) => ({
      ...sight,
      nodes: new Map([...sight.nodes, [id, { usedBytes: 1, maxBytes: 0, version }]]),
    });
    expect(planOf(grown, of('b', '7.2.6')).refused).toEqual([
      'x of shard s3 runs Redis 7.0.15, and b of shard s1 7.2.6: an older one cannot read what a newer one gives',
    ]);
    expect(planOf(grown, of('y', '6.2.0')).refused).toHaveLength(2);
    expect(planOf(grown, of('y', '7.2.6')).refused).toEqual([]);
    expect(planOf(grown, of('b', '7.0.16')).refused).toEqual([]);
  });

  test('names large keys that go, the largest first, and those that need leave', () => {
    const after = createRing(ring, [...kept.shards, { name: 's3', weight: 1 }]);
    const going = keysOn('s1', 300).filter(({ key }) => after.ownerOf(Buffer.from(key), 0, key.length) === 2);
    const [one, two, three] = going.map(({ key }) => ({ database: 3, key })) as [object, object, object];
    const sampled = [
      { ...one, bytes: 2_000_000 },
      { ...two, bytes: 30_000_000 },
      { ...three, bytes: 1000 },
      ...keysOn('s1', 100),
    ] as SampledKey[];
    const { largeKeys } = planOf(grown, sightOf({ ...usual, s1: { keys: 10_000, sampled } }));
    expect(largeKeys.map(({ bytes, needsLeave, stallMs }) => [bytes, needsLeave, stallMs])).toEqual([
      [30_000_000, true, 300],
      [2_000_000, false, 20],
    ]);
  });

  test('says which keys no ring would find', () => {
    const astray = keysOn('s2', 3, 100, i => `odd\x00${i}`);
    const sampled = [...astray, ...keysOn('s1', 100)];
    expect(planOf(grown, sightOf({ ...usual, s1: { keys: 1000, sampled } })).warnings).toEqual([
      expect.stringMatching(
        /^3 of 103 keys looked at on shard s1 are not where the ring places them \(such as odd\\x00/,
      ),
    ]);
  });

  test('refuses in words', () => {
    const reasons = (proposal: Proposal, unfit = new Map<string, string>()) =>
      planOf(proposal, sightOf(usual), unfit).refused;
    const add = (nodes: string[] | null, weight = 1) => ({
      ...present,
      shards: [...present.shards, wish('s3', nodes, weight)],
    });
    expect(reasons(add(['x', 'nobody']))).toEqual([
      'shard s3: there is no node nobody: name it under `nodes` in the settings first',
    ]);
    expect(reasons(add(['x', 'a']))).toEqual([
      'node a is named in shard s1 and in shard s3',
      'node a in shard s3: it is a member of shard s1',
    ]);
    expect(reasons(add(['x', 'x']))).toEqual(['node x is named twice in shard s3']);
    expect(reasons(add(['x', 'y']), new Map([['y', 'it does not serve (crashed)']]))).toEqual([
      'shard s3: node y: it does not serve (crashed)',
    ]);
    expect(reasons({ ...add(null), shards: [...present.shards, { ...wish('s3', null), copies: 3 }] })).toEqual([
      'shard s3 needs 3 free nodes, and there are 2: name further ones under `nodes` in the settings',
    ]);
    expect(reasons({ ...present, shards: [...present.shards, present.shards[0] as Proposal['shards'][0]] })).toContain(
      'two shards have the name s1',
    );
    const modula = { kind: 'twemproxy', hash: 'md5', distribution: 'modula', hashTag: '' } as const;
    expect(reasons({ ...add(['x', 'y'], 1.5), ring: modula })).toContain(
      "weight 1.5 of shard s3: twemproxy's ring knows whole weights only",
    );
    expect(reasons(add(['x', 'y'], 1_000_000))).toEqual([expect.stringContaining('take smaller weights')]);
    const draining = { ...kept, nodes: kept.nodes.map(one => ({ ...one, draining: one.id === 'x' })) };
    expect(draft(draining, grown, new Map()).refused).toEqual(['shard s3: node x: it is being drained']);
    const troubled = new Map([['s2', 'it is failing over (c has crashed)']]);
    expect(planOf(grown, { ...sightOf(usual), troubled }).refused).toEqual([
      'shard s2: it is failing over (c has crashed)',
    ]);
  });

  test('refuses while a move is on', () => {
    const move = {
      ...{ id: 40, ring, weights: { s1: 1, s2: 2 }, portions: [], moved: 0, current: null },
      ...{ aborting: false, paused: null, keysPerSecond: null, allowStalls: false },
    };
    expect(draft({ ...kept, move }, grown, new Map()).refused).toEqual([
      expect.stringMatching(/^a move is on already/),
    ]);
    expect(basisOf({ ...kept, move })).not.toBe(basisOf(kept));
  });
});

describe('a draft', () => {
  test('chooses free nodes in different zones for a shard whose nodes are not named, and none that is unfit', () => {
    const more = [...present.nodes, ...['u', 'v'].map((id, i) => ({ id, host: '10.0.0.2', port: i + 1, zone: 'z9' }))];
    const proposal = { ring, nodes: more, shards: [...present.shards, wish('s3', null), wish('s4', null)] };
    const { added, refused } = draft(kept, proposal, new Map());
    expect(refused).toEqual([]);
    const zones = new Map([...kept.nodes, ...more].map(({ id, zone }) => [id, zone]));
    expect(added.flatMap(({ nodes }) => nodes).sort()).toEqual(['u', 'v', 'x', 'y']);
    for (const { nodes } of added) expect(new Set(nodes.map(id => zones.get(id))).size, nodes.join()).toBe(2);
    const unfit = draft(kept, { ...proposal, shards: [...present.shards, wish('s3', null)] }, new Map([['x', 'gone']]));
    expect(unfit.added[0]?.nodes).not.toContain('x');
  });

  test('gives a topology that is sound, with new shards that own nothing and have never served', () => {
    const { next, goal } = draft(kept, grown, new Map());
    expect(() => validateTopology(next)).not.toThrow();
    expect(next.shards.at(-1)).toMatchObject({ name: 's3', weight: 0, epoch: 41, primary: 'x', inSync: [] });
    expect(next.nodes.filter(({ runId }) => runId === null).map(({ id }) => id)).toEqual(['x', 'y']);
    expect([...(goal ?? [])]).toEqual([
      ['s1', 1],
      ['s2', 1],
      ['s3', 1],
    ]);
  });

  test('shows what moves no key: nodes that come and go, zones, copies', () => {
    const nodes = present.nodes
      .filter(({ id }) => id !== 'y')
      .map(one => (one.id === 'a' ? { ...one, zone: 'far' } : one));
    const shards = [wish('s1', ['a', 'b', 'new']), wish('s2', ['c', 'd'])];
    const proposal = { ring, shards, nodes: [...nodes, { id: 'new', host: 'h', port: 1, zone: 'z' }] };
    const { nodeChanges, goal } = draft(kept, proposal, new Map());
    expect(goal).toBeNull();
    expect(nodeChanges).toEqual([
      'node a is in zone far, was in z1',
      'node new comes, at h:1, zone z',
      'spare y goes',
      'shard s1 gets a further copy, on new',
    ]);
  });

  test('rests on ring, shards and move, and not on roles', () => {
    const promoted = {
      ...kept,
      version: 50,
      shards: kept.shards.map(one => ({ ...one, epoch: 9, primary: one.nodes[1] as string })),
    };
    expect(basisOf(promoted)).toBe(basisOf(kept));
    expect(basisOf({ ...kept, shards: kept.shards.map(one => ({ ...one, weight: 2 })) })).not.toBe(basisOf(kept));
  });
});

test('a proposal that comes over HTTP is read like settings', () => {
  expect(readProposal(JSON.parse(JSON.stringify(grown)))).toEqual(grown);
  const wrong: [unknown, RegExp][] = [
    [null, /malformed/],
    [{ ...grown, more: 1 }, /malformed/],
    [{ ...grown, ring: { ...ring, vnodes: 0 } }, /ring/],
    [{ ...grown, ring: { ...ring, kind: 'jump' } }, /ring/],
    [{ ...grown, shards: [wish('s1', ['a'], 0)] }, /shards\.0\.weight/],
    [{ ...grown, shards: [wish('a b', ['a'])] }, /shards\.0\.name/],
    [{ ...grown, shards: [wish('s1', [])] }, /shards\.0\.nodes/],
    [{ ...grown, nodes: [{ id: 'a', host: '', port: 1, zone: 'z' }] }, /nodes\.0\.host/],
    [{ ...grown, nodes: [{ id: 'a', host: 'h', port: 70_000, zone: 'z' }] }, /nodes\.0\.port/],
  ];
  for (const [value, words] of wrong) expect(readProposal(value)).toMatch(words);
});
