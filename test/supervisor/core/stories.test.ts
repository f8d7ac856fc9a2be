import { describe, expect, test } from 'vitest';
import { proxyUser, replicaUser } from '../../../src/topology/credentials.ts';
import { type Fate, Story } from './story.ts';

/**
 * The procedures as golden transcripts, and what becomes of each when it is cut short at any of its steps.
 *
 * After a change that is meant, `npx vitest run test/supervisor/core/stories.test.ts -u` writes the transcripts anew: read
 * the difference.
 */
const file = (name: string): string => `../../golden/supervisor/${name}.txt`;

/** Three nodes in sync, 100 keys, nothing told yet. */
function healthy(spares = 0): Story {
  const story = new Story(3, spares);
  story.until(() => story.isHealthy());
  story.node(story.shard.primary).write(100);
  // The mark is raised once more, to the epoch of the last joining.
  const wholeMs = story.nowMs;
  story.until(() => story.nowMs > wholeMs + 3);
  return story;
}

/** What is set going, and when it is over. */
interface Tale {
  readonly name: string;
  readonly heading: string;
  begin(story: Story): void;
  isOver?(story: Story): boolean;
}

const TALES: readonly Tale[] = [
  { name: 'fail-over', heading: 'the primary is killed', begin: story => story.node('n1').kill() },
  { name: 'shrink', heading: 'a replica is killed', begin: story => story.node('n3').kill() },
  {
    name: 'two-at-once',
    heading: 'the primary and a replica are killed in the same instant',
    begin: story => {
      story.node('n1').kill();
      story.node('n2').kill();
    },
    isOver: story => story.shard.primary === 'n3',
  },
  {
    name: 'switch-over',
    heading: 'a switch-over to n3 is ordered',
    begin: story => void story.engine.order({ kind: 'switchover', shard: 's1', to: 'n3' }, story.nowMs),
    isOver: story => story.shard.primary === 'n3' && !story.shard.paused,
  },
  {
    name: 'lost-link',
    heading: 'n2 is pointed elsewhere by somebody',
    begin: story => {
      story.node('n2').follows = 1;
      story.node('n2').linkedAs = null;
    },
    isOver: story => !story.shard.inSync.includes('n2'),
  },
];

const isChanged = (story: Story): boolean => story.shard.inSync.length < 2;

describe('transcripts', () => {
  test('forming three empty nodes', async () => {
    const story = new Story(3);
    story.tell('three empty nodes');
    story.until(() => story.isHealthy());
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('form'));
  });

  test.each(TALES)('$heading', async tale => {
    const story = healthy();
    story.tell(tale.heading);
    tale.begin(story);
    story.until(() => (tale.isOver ?? isChanged)(story));
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file(tale.name));
  });

  test('the killed primary comes back empty', async () => {
    const story = healthy();
    story.node('n1').kill();
    story.until(() => story.shard.primary !== 'n1');
    story.tell('n1 comes back empty');
    story.node('n1').start(false);
    story.until(() => story.isHealthy());
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('rebuild'));
  });

  test('the next leader takes over in the middle of a joining', async () => {
    const story = healthy();
    story.node('n3').kill();
    story.until(() => !story.shard.inSync.includes('n3'));
    story.node('n3').start(false);
    story.until(() => story.shard.joining === 'n3');
    story.tell('n3 is joining, and the leader dies');
    story.nextLeader();
    story.until(() => story.isHealthy());
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('next-leader'));
  });

  test('all nodes are restarted, with what they had', async () => {
    const story = healthy();
    // n3 is dropped, and later writes are on the others only.
    story.node('n3').kill();
    story.until(() => !story.shard.inSync.includes('n3'));
    story.tell('all nodes are restarted; n3 was dropped before, and has more keys');
    story.node('n1').kill();
    story.node('n2').kill();
    story.node('n3').keys = 500;
    for (const node of story.nodes) node.start(true);
    story.until(() => story.isHealthy());
    expect(story.shard.primary).not.toBe('n3');
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('cold-start'));
  });

  test('all nodes are restarted, with nothing', async () => {
    const story = healthy();
    story.tell('all nodes come back empty');
    for (const node of story.nodes) node.kill();
    for (const node of story.nodes) node.start(false);
    story.until(() => story.engine.status(story.nowMs).shards[0]?.state === 'halted');
    story.lines.push(`needs: ${story.engine.status(story.nowMs).shards[0]?.needs}`, '', '# a person gives the order');
    story.engine.order({ kind: 'recover', shard: 's1', acceptLoss: true }, story.nowMs);
    story.until(() => story.isHealthy());
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('nothing-left'));
  });
});

test('a link that is dead unseen is noticed by what the replica does not apply', async () => {
  const story = healthy();
  story.tell('n2 hears nothing of n1 any more, and both call their link up');
  story.node('n2').isDeaf = true;
  story.until(() => !story.shard.inSync.includes('n2'), 4000);
  expect(story.shard.primary).toBe('n1');
  await expect(story.lines.join('\n')).toMatchFileSnapshot(file('silent-link'));
});

test('a primary that only the leader does not hear stays, as long as all its replicas hear it', async () => {
  const story = healthy();
  story.tell('the leader does not hear n1; n2 and n3 do');
  story.node('n1').isHidden = true;
  const endMs = story.nowMs + 5000;
  story.until(() => story.nowMs >= endMs);
  expect(story.shard.primary).toBe('n1');
  story.tell('n3 does not hear it any more either: nothing can be acknowledged');
  story.node('n3').isDeaf = true;
  story.until(() => story.shard.primary !== 'n1', 4000);
  await expect(story.lines.join('\n')).toMatchFileSnapshot(file('witnesses'));
});

test('a switch-over is not given up because its old primary was seen as the replica that it has just become', () => {
  const story = healthy();
  story.probeEveryMs = 1;
  story.tell('a switch-over, seen at every step');
  story.engine.order({ kind: 'switchover', shard: 's1', to: 'n3' }, story.nowMs);
  story.until(() => story.shard.primary === 'n3' && story.isHealthy(), 1000);
  expect(story.lines.filter(line => /given up|dropped/.test(line))).toEqual([]);
  expect(story.shard.inSync).toHaveLength(2);
});

/** What is being published may be in force already: decided from the old topology, it would be torn down again. */
test('nothing is dropped while what it publishes is under way, though the old primary dies meanwhile', () => {
  const story = healthy();
  story.tell('a switch-over, whose last word takes the store 2 s to write; meanwhile the old primary dies');
  story.engine.order({ kind: 'switchover', shard: 's1', to: 'n3' }, story.nowMs);
  story.until(() => story.shard.paused);
  story.publishMs = 2000;
  story.until(() => story.node('n3').role === 'master' && story.node('n1').role === 'slave');
  story.node('n1').kill();
  story.until(() => story.shard.primary === 'n3', 4000);
  const { epoch } = story.shard;
  expect(story.lines.filter(line => /dropped|failover|given up/.test(line))).toEqual([]);
  // The proxies that hear of it now are let in.
  expect(story.node('n3').users.has(`ringside-proxy-${epoch}`)).toBe(true);
  story.publishMs = 1;
  story.until(() => !story.shard.inSync.includes('n1'), 1000);
  expect(story.shard).toMatchObject({ primary: 'n3', inSync: ['n2'] });
});

test('a copy that dies again and again is made anew as quickly each time', () => {
  const story = healthy();
  story.tell('n2 dies again and again');
  const tookMs = [1, 2, 3, 4, 5, 6].map(() => {
    story.node('n2').kill();
    story.until(() => !story.shard.inSync.includes('n2'));
    story.until(() => story.engine.status(story.nowMs).nodes.find(({ id }) => id === 'n2')?.health === 'crashed');
    story.node('n2').start(false);
    const startMs = story.nowMs;
    story.until(() => story.isHealthy());
    return story.nowMs - startMs;
  });
  expect(Math.max(...tookMs), tookMs.join(' ')).toBeLessThan(200);
  // One that is away is not tried: the failures would make it wait when it is back.
  expect(story.lines.filter(line => line.includes('was not rebuilt'))).toEqual([]);
});

test('a leader that stood still does not drop a copy that was a moment behind when it fell asleep', () => {
  const story = healthy();
  const [lead, copy] = [story.node('n1'), story.node('n3')];
  copy.isDeaf = true;
  lead.feed(50);
  const fedAtMs = story.nowMs;
  // After a look at the nodes, and half-way to the next.
  story.until(() => story.nowMs > fedAtMs + 100 && story.nowMs % 100 === 50);
  copy.isDeaf = false;
  copy.offset = lead.offset;
  story.tell('n3 had not applied everything yet when the leader fell asleep for 8 s');
  story.nowMs += 8000;
  const endMs = story.nowMs + 3000;
  story.until(() => {
    expect(story.shard.inSync, story.lines.join('\n')).toEqual(['n2', 'n3']);
    return story.nowMs >= endMs;
  });
});

/** A copy's link to the primary would be counted by `WAIT` in the place of the in-sync one that does not answer. */
test('nobody copies from the primary as long as an in-sync replica is published, though none can be reached', async () => {
  const story = healthy();
  story.node('n2').kill();
  story.until(() => !story.shard.inSync.includes('n2'));
  story.node('n2').start(false);
  story.node('n3').isHidden = true;
  story.tell('n2 comes back empty; the next leader does not reach n3, the only copy in sync');
  story.nextLeader();
  story.until(() => {
    const { inSync } = story.shard;
    const links = story.nodes.filter(({ follows, linkedAs }) => follows === 7001 && linkedAs !== null);
    if (inSync.length > 0) {
      const uncalled = links.map(({ id }) => id).filter(id => !inSync.includes(id));
      expect(uncalled, story.lines.join('\n')).toEqual([]);
    }
    return inSync.length === 0;
  });
  await expect(story.lines.join('\n')).toMatchFileSnapshot(file('no-source'));
  story.until(() => story.shard.inSync.includes('n2'));
  expect(story.node('n2').keys).toBe(100);
});

/** A second promotion forgets the first one's earlier id: who has only that one must not be told to follow. */
test('a fail-over that is begun anew invites only those of the same history', async () => {
  const story = healthy();
  story.node('n1').kill();
  story.tell('the last leader died after it promoted n2, and before it turned n3');
  const promoted = story.node('n2');
  promoted.call(
    'ringside-supervisor-1',
    promoted.runId,
    [
      ['REPLICAOF', '127.0.0.1', '1'],
      ['REPLICAOF', 'NO', 'ONE'],
    ],
    story.nowMs,
  );
  promoted.feed(1);
  story.nextLeader();
  story.until(() => story.shard.primary === 'n2');
  expect(story.shard.inSync).toEqual([]);
  await expect(story.lines.join('\n')).toMatchFileSnapshot(file('begun-anew'));
});

const FATES: readonly Fate['kind'][] = ['lost before', 'lost after', 'leader dies before', 'leader dies after'];

describe.each(TALES)('$name, cut short at each of its steps', tale => {
  test.each(FATES)('%s', kind => {
    const whole = healthy();
    tale.begin(whole);
    whole.steps = 0;
    whole.until(() => (tale.isOver ?? isChanged)(whole));
    for (let at = 1; at <= whole.steps; at++) {
      const story = healthy();
      story.tell(`${tale.heading}; step ${at}: ${kind}`);
      tale.begin(story);
      story.steps = 0;
      story.fate = { at, kind };
      // Killed nodes come back a little later, empty.
      story.until(() => story.nowMs % 2000 === 0);
      for (const node of story.nodes) if (!node.isUp) node.start(false);
      story.until(() => story.isHealthy());
      expectSound(story);
    }
  });
});

/** What must be so whenever nothing is going on, however it was reached. */
function expectSound(story: Story): void {
  const { primary, epoch, inSync } = story.shard;
  const lead = story.node(primary);
  const told = story.lines.join('\n');
  expect(lead.role, told).toBe('master');
  expect(lead.keys, told).toBe(100);
  expect(
    [...lead.users.keys()].filter(user => user.startsWith('ringside-proxy-')),
    told,
  ).toEqual([proxyUser(epoch)]);
  const doors = [...lead.users].filter(([user]) => user.startsWith('ringside-replica-'));
  expect(doors.sort(), told).toEqual([...inSync].sort().map(id => [replicaUser(id), false]));
  for (const id of inSync) {
    const copy = story.node(id);
    expect([copy.linkedAs, copy.follows, copy.keys, copy.offset], told).toEqual([
      replicaUser(id),
      lead.port,
      100,
      lead.offset,
    ]);
  }
  for (const node of story.nodes) {
    expect(story.topology.nodes.find(one => one.id === node.id)?.runId, told).toBe(node.runId);
  }
}
