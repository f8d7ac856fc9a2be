import { describe, expect, test } from 'vitest';
import { createRing } from '../../../src/ring/ring.ts';
import type { Order } from '../../../src/supervisor/core/engine.ts';
import { cutPortions, type Flow, type TopologyMove } from '../../../src/topology/move.ts';
import type { ScriptedNode } from './scripted-nodes.ts';
import { type Fate, Story } from './story.ts';

/**
 * Moves of keys as golden transcripts, and what becomes of each when it is cut short at any of its steps.
 *
 * Two shards of two nodes each, s1 (n1, n2) and s2 (n3, n4), which owns nothing at first. `-u` writes the transcripts anew.
 */
const file = (name: string): string => `../../golden/supervisor/${name}.txt`;
const KEYS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const DATABASES = [0, 5];

/** Both shards in sync, with keys of two databases; the move is begun by the next leader, and nothing is told yet. */
function begun(
  options: { parts?: number; values?: Readonly<Record<string, string>>; allowStalls?: boolean } = {},
): Story {
  const { parts = 2, values = {}, allowStalls = false } = options;
  const story = new Story(2, 0, 2);
  const [s1, s2] = story.topology.shards;
  if (s1 === undefined || s2 === undefined) throw new Error('two shards');
  story.topology = { ...story.topology, shards: [s1, { ...s2, weight: 0 }] };
  story.nextLeader();
  story.until(() => isWhole(story));
  const from = primaryOf(story, 's1');
  for (const database of DATABASES) {
    for (const key of KEYS) from.data.set(database, key, values[`${database}:${key}`] ?? `${key}${database}`);
  }
  from.functions.set('sums', '#!lua name=sums\nredis.register_function("sum", function() return 1 end)');
  from.feed(1000);
  const flow: Flow = { source: 's1', target: 's2', keys: 8 };
  const rest = { moved: 0, current: null, aborting: false, paused: null, keysPerSecond: null, allowStalls };
  const weights = { s1: 1, s2: 1 };
  const { ring } = story.topology;
  const move: TopologyMove = { id: 7, ring, weights, portions: cutPortions([flow], Math.ceil(8 / parts)), ...rest };
  story.topology = { ...story.topology, move };
  story.nextLeader();
  return story;
}

function isWhole({ topology, engine, nowMs }: Story): boolean {
  const { shards } = engine.status(nowMs);
  const isCalm = shards.every(({ state, running }) => state === 'healthy' && running === null);
  return (
    isCalm && topology.shards.every(({ inSync, joining, paused }) => inSync.length === 1 && joining === null && !paused)
  );
}

function primaryOf(story: Story, name: string): ScriptedNode {
  return story.node(story.topology.shards.find(one => one.name === name)?.primary ?? '');
}

function order(
  story: Story,
  what: (Order & { kind: 'move' })['what'],
  more: Partial<Order & { kind: 'move' }> = {},
): string {
  return story.engine.order({ kind: 'move', what, keysPerSecond: null, ...more }, story.nowMs).text;
}

const phase = (story: Story): string => {
  const { move } = story.topology;
  return `${move?.current?.phase} ${move?.current?.way} ${move?.current?.index}`;
};

/** Every key on the shard that owns it, once, on all its copies, with its value; no set is left; nobody old is let in. */
function expectPlaced(
  story: Story,
  changed: Readonly<Record<string, string | null>> = {},
  lost: readonly string[] = [],
): void {
  const told = story.lines.join('\n');
  const { topology } = story;
  expect(topology.move, told).toBe(null);
  const ring = createRing(topology.ring, topology.shards);
  const wanted = new Map<string, [string, string]>();
  for (const database of DATABASES) {
    for (const key of KEYS) {
      const owner = topology.shards[ring.ownerOf(Buffer.from(key), 0, key.length)]?.name ?? '';
      const value = changed[`${database}:${key}`];
      const name = `${database}:${key}`;
      if (value !== null && !lost.includes(name)) wanted.set(name, [owner, value ?? `${key}${database}`]);
    }
  }
  const found = new Map<string, [string, string]>();
  for (const { name } of topology.shards) {
    for (const [key, value] of primaryOf(story, name).data.all()) {
      expect(found.has(key), `${key} is there twice\n${told}`).toBe(false);
      found.set(key, [name, value]);
    }
  }
  expect(new Map([...found].sort()), told).toEqual(new Map([...wanted].sort()));
  for (const { primary, inSync, epoch } of topology.shards) {
    for (const id of [primary, ...inSync]) {
      const { data } = story.node(id);
      expect([...data.sets.keys()], told).toEqual([]);
      expect(data.all(), told).toEqual(story.node(primary).data.all());
    }
    const proxies = [...story.node(primary).users.keys()].filter(user => user.startsWith('ringside-proxy-'));
    expect(proxies, told).toEqual([`ringside-proxy-${epoch}`]);
  }
}

/**
 * A client's proxy pulls a key, and the client writes it on the taker; null: it deletes it. Not `isDropped`: the proxy has
 * not come to drop it on the giver.
 */
function writeOnTaker(story: Story, database: number, key: string, value: string | null, isDropped = true): void {
  const { move } = story.topology;
  const [s1, s2] = [primaryOf(story, 's1'), primaryOf(story, 's2')];
  const set = s2.data.sets.get(`pulled-${move?.current?.set}`);
  set?.add(`${database}:${key}`);
  if (value === null) s2.data.databases.get(database)?.delete(key);
  else s2.data.set(database, key, value);
  s2.feed(10);
  if (!isDropped) return;
  s1.data.databases.get(database)?.delete(key);
  s1.feed(10);
}

/** And the leader has taken over all nodes. */
function isOver(story: Story): boolean {
  const { nodes } = story.engine.status(story.nowMs);
  return story.topology.move === null && isWhole(story) && nodes.every(({ ready }) => ready);
}
const movedTo = (story: Story): number => primaryOf(story, 's2').data.all().size;
const statusOf = (story: Story) => story.engine.status(story.nowMs).move;
const lastLine = (story: Story): string => story.lines.at(-1) ?? '';

describe('transcripts of moves', () => {
  test('two portions', async () => {
    const story = begun();
    story.tell('s2 is to get its half of the keys, in two portions');
    story.until(() => isOver(story));
    expectPlaced(story);
    expect(primaryOf(story, 's2').functions.has('sums')).toBe(true);
    expect(story.topology.shards.map(({ weight }) => weight)).toEqual([1, 1]);
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('move'));
  });

  test('turned round in the middle of its second portion', async () => {
    const story = begun();
    story.until(() => phase(story) === 'moving there 1' && movedTo(story) > 4);
    story.tell('half of it is there; a person turns it round');
    writeOnTaker(story, 0, 'a', 'new');
    writeOnTaker(story, 5, 'b', null);
    expect(order(story, 'abort')).toBe('what was moved goes back');
    expect(order(story, 'abort')).toContain('already');
    story.until(() => isOver(story));
    expectPlaced(story, { '0:a': 'new', '5:b': null });
    expect(story.topology.shards.map(({ weight }) => weight)).toEqual([1, 0]);
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('move-aborted'));
  });

  test("the giver's primary dies while it is walked through", async () => {
    const story = begun({ parts: 1 });
    story.until(() => phase(story) === 'moving there 0' && movedTo(story) > 2);
    story.tell('s1 loses its primary');
    writeOnTaker(story, 5, 'h', 'new');
    story.node('n1').kill();
    story.until(() => primaryOf(story, 's1').id === 'n2');
    story.node('n1').start(false);
    story.until(() => isOver(story));
    expectPlaced(story, { '5:h': 'new' });
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('move-giver-lost'));
  });

  test("the taker's primary dies between put and drop", async () => {
    const story = begun({ parts: 1 });
    story.until(() => phase(story) === 'moving there 0');
    story.tell('s2 loses its primary right after it took some keys');
    story.until(() => lastLine(story).includes('term: put'));
    story.node('n3').kill();
    story.until(() => primaryOf(story, 's2').id === 'n4');
    story.node('n3').start(false);
    story.until(() => isOver(story));
    expectPlaced(story);
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('move-taker-lost'));
  });

  test('the leader dies after it took the set away, and before it could say so', async () => {
    const story = begun({ parts: 1 });
    story.until(() => phase(story) === 'moving there 0');
    story.tell('s2 owns all of it, and nobody knows');
    story.until(() => lastLine(story).includes('UNLINK'));
    story.nextLeader();
    story.until(() => isOver(story));
    expectPlaced(story);
    expect(statusOf(story)).toBe(null);
    await expect(story.lines.join('\n')).toMatchFileSnapshot(file('move-half-closed'));
  });
});

/** What is set going, from when on it is cut short, and what clients change on the way. */
interface Tale {
  readonly name: string;
  begin(): Story;
  go?(story: Story): void;
  readonly changed?: Readonly<Record<string, string | null>>;
}

const TALES: readonly Tale[] = [
  { name: 'a portion', begin: () => begun({ parts: 1 }) },
  {
    name: 'a portion that is turned round half-way',
    begin: () => {
      const story = begun({ parts: 1 });
      story.until(() => phase(story) === 'moving there 0' && movedTo(story) > 3);
      return story;
    },
    go: story => {
      const there = [...primaryOf(story, 's2').data.all().keys()];
      expect(there.slice(0, 2)).toEqual(['0:a', '0:b']);
      writeOnTaker(story, 0, 'a', null);
      writeOnTaker(story, 0, 'b', 'new');
      writeOnTaker(story, 5, 'h', null, false);
      order(story, 'abort');
    },
    changed: { '0:a': null, '0:b': 'new', '5:h': null },
  },
  {
    name: 'a portion that comes back after it had arrived',
    begin: () => {
      const story = begun();
      story.until(() => story.topology.move?.moved === 1 && phase(story) === 'moving there 1');
      return story;
    },
    go: story => void order(story, 'abort'),
  },
];

/** Every step with RINGSIDE_STORIES=full, else every fourth, another one for each fate. */
const STRIDE = process.env['RINGSIDE_STORIES'] === 'full' ? 1 : 4;
const FATES: readonly Fate['kind'][] = ['lost before', 'lost after', 'leader dies before', 'leader dies after'];

describe.each(TALES)('$name, cut short at each of its steps', ({ begin, go = () => {}, changed = {} }) => {
  test.each(FATES)('%s', kind => {
    const whole = begin();
    go(whole);
    whole.steps = 0;
    whole.until(() => isOver(whole));
    expectPlaced(whole, changed);
    for (let at = 1 + (FATES.indexOf(kind) % STRIDE); at <= whole.steps; at += STRIDE) {
      const story = begin();
      story.tell(`step ${at}: ${kind}`);
      go(story);
      story.steps = 0;
      story.fate = { at, kind };
      story.until(() => story.steps >= at || isOver(story));
      // An order that was not written yet is gone with the leader that got it.
      if (go !== undefined && changed['0:a'] === null && story.topology.move?.aborting === false) order(story, 'abort');
      story.until(() => isOver(story));
      expectPlaced(story, changed);
    }
  });

  test.each([
    ['n1', 'n3'],
    ['n3', 'n1'],
  ])('%s dies, and comes back empty', id => {
    const whole = begin();
    go(whole);
    whole.steps = 0;
    whole.until(() => isOver(whole));
    for (let at = 1; at <= whole.steps; at += 2 * STRIDE) {
      const story = begin();
      story.tell(`step ${at}: ${id} dies`);
      go(story);
      story.steps = 0;
      story.until(() => story.steps >= at || isOver(story));
      story.node(id).kill();
      const startMs = story.nowMs + 1500;
      story.until(() => story.nowMs > startMs);
      story.node(id).start(false);
      story.until(() => isOver(story));
      expectPlaced(story, changed);
    }
  });
});

describe('orders', () => {
  test('a pause holds at once, and a resumed move goes on', () => {
    const story = begun();
    expect(order(story, 'resume')).toBe('the move is not paused');
    story.until(() => phase(story) === 'moving there 0' && movedTo(story) > 0);
    expect(order(story, 'pause')).toContain('paused');
    story.until(() => story.topology.move?.paused !== null);
    expect(story.topology.move?.paused).toBe('as ordered');
    expect(order(story, 'pause')).toContain('stands still already');
    const moved = movedTo(story);
    const thenMs = story.nowMs + 2000;
    story.until(() => story.nowMs > thenMs);
    expect(movedTo(story)).toBe(moved);
    expect(statusOf(story)).toMatchObject({ phase: 'paused', paused: 'as ordered', needs: null, leftMs: null });
    // The next leader knows of it.
    story.nextLeader();
    story.until(() => isWhole(story));
    expect(movedTo(story)).toBe(moved);
    expect(order(story, 'resume')).toBe('the move goes on');
    story.until(() => isOver(story));
    expectPlaced(story);
    expect(order(story, 'resume')).toBe('no keys are being moved');
  });

  test('a throttle is kept, and so is the next one', () => {
    const story = begun({ parts: 1 });
    expect(order(story, 'throttle', { keysPerSecond: 2 })).toContain('at most 2 keys a second');
    story.until(() => phase(story) === 'moving there 0');
    const beganMs = story.nowMs;
    story.until(() => movedTo(story) >= 5);
    expect(story.nowMs - beganMs).toBeGreaterThan(1900);
    expect(statusOf(story)).toMatchObject({
      phase: 'moves',
      mostKeysPerSecond: 2,
      giver: 's1',
      taker: 's2',
      portion: 1,
    });
    expect(statusOf(story)?.keysPerSecond).toBeLessThanOrEqual(2);
    order(story, 'throttle', { keysPerSecond: null });
    const thenMs = story.nowMs;
    story.until(() => isOver(story));
    expect(story.nowMs - thenMs).toBeLessThan(1000);
    expectPlaced(story);
  });

  test('an abort of what was closed, and not told of yet, ends the way there first', () => {
    const story = begun({ parts: 1 });
    story.until(() => phase(story) === 'moving there 0');
    story.tell('s2 owns all of it, and nobody knows; the next leader is told to abort');
    story.until(() => lastLine(story).includes('UNLINK'));
    writeOnTaker(story, 5, 'd', 'new');
    story.nextLeader();
    order(story, 'abort');
    story.until(() => isOver(story));
    expectPlaced(story, { '5:d': 'new' });
    expect(story.topology.shards.map(({ weight }) => weight)).toEqual([1, 0]);
    const told = story.lines.join('\n');
    expect(told).toContain('portion 1 moving back');
    expect(told).not.toContain('return');
  });

  test('what is aborted before anything was looked at ends at once', () => {
    const story = begun();
    order(story, 'abort');
    story.until(() => isOver(story));
    expectPlaced(story);
    expect(story.topology.shards.map(({ weight, epoch }) => [weight, epoch])).toEqual([
      [1, 3],
      [0, 3],
    ]);
  });
});

describe('what stands in the way', () => {
  test('large keys go first, one at a time', () => {
    const story = begun({ parts: 1, values: { '5:d': '5000000B' } });
    story.tell('one key has 5 MB');
    story.until(() => statusOf(story)?.largeKeys.length === 1);
    expect(statusOf(story)?.largeKeys).toEqual([{ shard: 's1', database: 5, key: 'd', bytes: 5_000_000, stallMs: 50 }]);
    story.until(() => isOver(story));
    expectPlaced(story, { '5:d': '5000000B' });
    const puts = story.lines
      .filter(line => line.includes('put'))
      .map(line => line.replace(/.*put \S+ (.*) \| word.*/, '$1'));
    expect(puts[0]).toBe('d in db 5');
    expect(story.lines.join('\n')).toContain('large key d of database 5 (4.8 MB) was moved');
  });

  test('a key that would hold its shard up for long is named before anything moves, and goes when that is accepted', () => {
    const story = begun({ values: { '0:a': '20000000B', '0:h': '300B' } });
    story.until(() => typeof story.topology.move?.paused === 'string');
    expect(story.topology.move?.paused).toContain('"a" in database 0 (19.1 MB, about 200 ms)');
    expect(movedTo(story)).toBe(story.topology.move?.moved === 1 ? 4 : 0);
    expect(statusOf(story)).toMatchObject({ phase: 'paused', needs: expect.stringContaining('--allow-stalls') });
    // Unless it was made smaller, it is looked at again, to the same end.
    order(story, 'resume');
    story.until(() => story.topology.move?.paused === null);
    story.until(() => typeof story.topology.move?.paused === 'string');
    story.tell('a person accepts that');
    order(story, 'resume', { allowStalls: true });
    story.until(() => isOver(story));
    expectPlaced(story, { '0:a': '20000000B', '0:h': '300B' });
    expect(story.lines.join('\n')).toContain('which may hold s1 up for 200 ms');
  });

  test('a key with which a node would be taken for dead is not moved, whatever is accepted', () => {
    const story = begun({ parts: 1, values: { '0:d': '200000000B' }, allowStalls: true });
    story.until(() => typeof story.topology.move?.paused === 'string');
    expect(story.topology.move?.paused).toContain('"d" in database 0 (190.7 MB, about 2000 ms)');
    expect(movedTo(story)).toBe(0);
    primaryOf(story, 's1').data.set(0, 'd', 'd0');
    primaryOf(story, 's1').feed(10);
    order(story, 'resume');
    story.until(() => isOver(story));
    expectPlaced(story);
  });

  test('a taker that does not read what the giver writes is named before anything moves', () => {
    const story = begun({ parts: 1 });
    story.node('n1').version = '7.2.4';
    story.node('n2').version = '7.2.4';
    story.until(() => typeof story.topology.move?.paused === 'string');
    expect(story.topology.move?.paused).toContain(
      's2 cannot take keys of s1: n3: it runs Redis 7.0.15, older than Redis 7.2.4',
    );
    expect(movedTo(story)).toBe(0);
  });

  test('a taker whose memory is too small is named before anything moves', () => {
    const story = begun({ parts: 1 });
    story.node('n4').maxMemory = 1500;
    // It says so when it is asked next.
    story.probeEveryMs = 1;
    story.until(() => typeof story.topology.move?.paused === 'string');
    expect(story.topology.move?.paused).toContain('n4 has no room for the next portion');
    expect([movedTo(story), story.topology.move?.current]).toEqual([0, null]);
    story.node('n4').maxMemory = 0;
    order(story, 'resume');
    story.until(() => isOver(story));
    expectPlaced(story);
  });

  test('a taker that is full half-way: the move stands still, and goes on when there is room', () => {
    const story = begun({ parts: 1 });
    story.until(() => phase(story) === 'moving there 0' && movedTo(story) > 0);
    story.node('n3').data.isFull = true;
    story.until(() => typeof story.topology.move?.paused === 'string');
    expect(story.topology.move?.paused).toContain('s2 takes no more keys: OOM');
    expect(statusOf(story)?.needs).toContain('ringside move resume');
    const thenMs = story.nowMs + 500;
    story.until(() => story.nowMs > thenMs);
    story.node('n3').data.isFull = false;
    order(story, 'resume');
    story.until(() => isOver(story));
    expectPlaced(story);
  });

  test('a taker that does not even take the set keeps nobody waiting', () => {
    const story = begun({ parts: 1 });
    story.node('n3').data.isFull = true;
    story.until(() => typeof story.topology.move?.paused === 'string');
    expect(story.topology.move).toMatchObject({ current: null, paused: expect.stringContaining('OOM') });
    story.node('n3').data.isFull = false;
    order(story, 'resume');
    story.until(() => isOver(story));
    expectPlaced(story);
  });

  test('a new shard that holds keys already gets none', () => {
    const story = begun({ parts: 1 });
    primaryOf(story, 's2').data.set(5, 'a', 'old');
    primaryOf(story, 's2').feed(10);
    story.until(() => typeof story.topology.move?.paused === 'string');
    expect(story.topology.move?.paused).toContain('s2 holds keys that belong elsewhere, such as "a" in database 5');
    primaryOf(story, 's2').data.clear();
    primaryOf(story, 's2').feed(10);
    order(story, 'resume');
    story.until(() => isOver(story));
    expectPlaced(story);
  });

  test('a shard that still holds keys which belong elsewhere is not given up', () => {
    const story = begun({ parts: 1 });
    story.until(() => phase(story) === 'moving there 0');
    order(story, 'abort');
    story.until(() => story.topology.move?.current?.phase === 'moving');
    primaryOf(story, 's2').data.set(5, 'stray\n', 'x');
    primaryOf(story, 's2').feed(10);
    story.until(() => typeof story.topology.move?.paused === 'string');
    expect(story.topology.move?.paused).toContain(
      's2 holds keys that belong elsewhere, such as "stray\\x0a" in database 5',
    );
    primaryOf(story, 's2').data.databases.get(5)?.delete('stray\n');
    primaryOf(story, 's2').feed(10);
    order(story, 'resume');
    story.until(() => isOver(story));
    expectPlaced(story);
  });

  test('a set that was evicted: what the giver still has counts as evicted, and is counted', () => {
    const story = begun({ parts: 1 });
    story.node('n3').maxMemoryPolicy = 'allkeys-lru';
    story.until(() => phase(story) === 'moving there 0' && movedTo(story) > 2);
    const there = [...primaryOf(story, 's2').data.all().keys()];
    primaryOf(story, 's2').data.sets.clear();
    primaryOf(story, 's2').feed(10);
    story.tell('the set is evicted');
    story.until(() => (statusOf(story)?.evicted ?? 0) > 0);
    const { evicted } = statusOf(story) ?? {};
    story.until(() => isOver(story));
    const told = story.lines.join('\n');
    const lost = allKeys().filter(key => ownerOf(story, key) === 's2' && !there.includes(key));
    expect(evicted, told).toBeGreaterThan(0);
    // What was just on its way may be on both sides when the set goes.
    const kept = [...primaryOf(story, 's2').data.all().keys()];
    expectPlaced(
      story,
      {},
      lost.filter(key => !kept.includes(key)),
    );
    expect(told).toContain('count as evicted as well');
  });

  test('a set that is gone where nothing is evicted: a person is asked before anything is dropped', () => {
    const story = begun({ parts: 1 });
    story.until(() => phase(story) === 'moving there 0' && movedTo(story) > 2);
    primaryOf(story, 's2').data.sets.clear();
    primaryOf(story, 's2').feed(10);
    story.until(() => typeof story.topology.move?.paused === 'string');
    expect(story.topology.move?.paused).toContain('though no node evicts keys');
    const left = primaryOf(story, 's1').data.all().size;
    const thenMs = story.nowMs + 500;
    story.until(() => story.nowMs > thenMs);
    expect(primaryOf(story, 's1').data.all().size).toBe(left);
    expect(left).toBeGreaterThan(8);
    order(story, 'resume');
    story.until(() => isOver(story));
    const kept = [...primaryOf(story, 's2').data.all().keys()];
    expectPlaced(
      story,
      {},
      allKeys().filter(key => ownerOf(story, key) === 's2' && !kept.includes(key)),
    );
  });
});

function allKeys(): string[] {
  return DATABASES.flatMap(database => KEYS.map(key => `${database}:${key}`));
}

function ownerOf({ topology }: Story, name: string): string {
  const key = Buffer.from(name.slice(name.indexOf(':') + 1));
  const weights = { ...topology, shards: topology.shards.map(shard => ({ ...shard, weight: 1 })) };
  return topology.shards[createRing(weights.ring, weights.shards).ownerOf(key, 0, key.length)]?.name ?? '';
}
