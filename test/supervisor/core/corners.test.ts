import { describe, expect, test } from 'vitest';
import { proxyUser, replicaUser } from '../../../src/topology/credentials.ts';
import { Story } from './story.ts';

/**
 * Corners that a review found: each was a promise broken, or a state without a way out.
 */
function healthy(members = 3, spares = 0): Story {
  const story = new Story(members, spares);
  story.until(() => story.isHealthy());
  story.node(story.shard.primary).write(100);
  story.tell('from here');
  return story;
}

/** Users on the primary by which somebody would be counted that does not count. */
function strangers(story: Story): string[] {
  const { primary, inSync, joining } = story.shard;
  if (inSync.length === 0) return [];
  const counted = [...inSync, ...(joining === null ? [] : [joining])].map(replicaUser);
  const users = [...story.node(primary).users.keys()];
  return users.filter(user => user.startsWith('ringside-replica-') && !counted.includes(user));
}

describe('nobody is counted who does not count', () => {
  test('a copy is made from the primary only when nobody else is in sync', () => {
    const story = healthy();
    story.node('n3').kill();
    story.until(() => !story.shard.inSync.includes('n3'));
    // The next leader is not let in by n2, which goes on as a copy that counts.
    story.nextLeader();
    story.node('n2').users.delete('ringside-admin');
    story.node('n3').start(false);
    const endMs = story.nowMs + 3000;
    const seen = new Set<string>();
    story.until(() => {
      for (const user of strangers(story)) seen.add(user);
      return story.nowMs >= endMs;
    });

    expect([...seen], story.lines.join('\n')).toEqual([]);
  });

  test('what a copying from the primary left behind there is gone before another copy counts', () => {
    const story = healthy();
    for (const id of ['n2', 'n3']) story.node(id).kill();
    story.until(() => story.shard.inSync.length === 0);
    // n3 is let in by the primary, and then is silent before it can be turned; n2 comes back meanwhile.
    story.node('n3').start(false);
    story.until(() => story.node('n1').users.has(replicaUser('n3')));
    story.node('n3').kill();
    story.node('n2').start(false);
    story.until(() => story.shard.inSync.includes('n2'));
    expect(strangers(story), story.lines.join('\n')).toEqual([]);
  });
});

describe('a person accepts a loss', () => {
  const recover = (story: Story) => story.engine.order({ kind: 'recover', shard: 's1', acceptLoss: true }, story.nowMs);
  const state = (story: Story) => story.engine.status(story.nowMs).shards[0];

  test('not while its primary is only slow to answer', () => {
    const story = healthy();
    story.node('n1').isHidden = true;
    story.until(() => state(story)?.state === 'waiting');
    expect(recover(story).accepted).toBe(false);
  });

  /** n3 was dropped; n1 and n2, which hold everything, are cut off; n3 comes back, with less. */
  const cutOff = (story: Story): void => {
    story.node('n3').kill();
    story.until(() => story.shard.inSync.length === 1);
    for (const id of ['n1', 'n2']) story.node(id).isHidden = true;
    story.until(() => /waits for n1, n2/.test(state(story)?.why ?? ''));
    story.node('n3').start(true);
    story.until(() => /recover s1 --accept-loss/.test(state(story)?.needs ?? ''));
  };

  test('for this time only', () => {
    const story = healthy(3, 1);
    cutOff(story);
    // The order is given, and comes to nothing at first; but then those that were cut off are back.
    story.until(() => story.nowMs % 100 === 60);
    story.steps = 0;
    story.fate = { at: 1, kind: 'lost before' };
    expect(recover(story).accepted).toBe(true);
    for (const id of ['n1', 'n2']) story.node(id).isHidden = false;
    story.until(() => story.isHealthy());
    expect(story.shard.primary, story.lines.join('\n')).toBe('n1');
    cutOff(story);
    const endMs = story.nowMs + 5000;
    story.until(() => story.nowMs >= endMs);
    expect(story.shard.primary, story.lines.join('\n')).toBe('n1');
  });

  test('not when nobody answers: whoever is started first would be gone on with', () => {
    const story = healthy(3, 1);
    for (const id of ['n1', 'n2', 'n3']) story.node(id).kill();
    story.until(() => /waits for/.test(state(story)?.why ?? ''));
    expect(state(story)?.needs).toBe('bring back n1, n2, n3');
    expect(recover(story)).toEqual({
      accepted: false,
      text: 'no node of s1 answers: start those that are to be gone on with',
    });
  });
});

describe('a cold start', () => {
  test('does not begin with a copy whose promotion was never published', () => {
    const story = healthy();
    // n1 is cut off, so that n2 is about to take over; the leader dies before it can publish that.
    story.node('n1').isHidden = true;
    for (const id of ['n2', 'n3']) story.node(id).isDeaf = true;
    story.until(() => story.node('n2').role === 'master' && story.lines.some(line => /raise mark/.test(line)));
    const leftAt = story.topology.version;
    story.nextLeader();
    expect(story.topology.version).toBe(leftAt);
    // It is n1 that is there for the next one, and goes on alone.
    for (const id of ['n2', 'n3']) story.node(id).kill();
    story.node('n1').isHidden = false;
    story.until(() => story.shard.inSync.length === 0);
    expect(story.shard.primary).toBe('n1');
    story.until(() => story.nowMs % 3000 === 0);
    story.node('n1').write(7);
    story.node('n1').kill();
    for (const node of story.nodes) node.start(true);
    story.until(() => story.isHealthy());
    expect(story.node(story.shard.primary).keys, story.lines.join('\n')).toBe(107);
  });

  test('halts when the newest copy is of an earlier epoch', () => {
    const story = healthy();
    // What a full copy leaves on a replica's disk is as old as that copy.
    const { mark, keys } = story.node('n2');
    story.node('n3').kill();
    story.until(() => !story.shard.inSync.includes('n3'));
    story.node('n3').start(false);
    story.until(() => story.isHealthy());
    for (const node of story.nodes) node.kill();
    for (const node of story.nodes) node.start(false);
    Object.assign(story.node('n2'), { mark, keys: keys - 50 });
    const state = () => story.engine.status(story.nowMs).shards[0];
    story.until(() => state()?.state === 'halted');
    expect(state()?.why).toMatch(/the newest copy that is left, on n2, is of epoch \d+, and the shard was at \d+/);
    story.engine.order({ kind: 'recover', shard: 's1', acceptLoss: true }, story.nowMs);
    story.until(() => story.isHealthy());
    expect(story.node(story.shard.primary).keys).toBe(keys - 50);
  });
});

describe('a way out', () => {
  const proxiesOf = (story: Story): string[] =>
    [...story.node(story.shard.primary).users.keys()].filter(user => user.startsWith('ringside-proxy-'));

  test('when somebody has deleted the user of the proxies', () => {
    const story = healthy();
    story.until(() => story.nowMs % 3000 === 0);
    story.node('n1').users.delete(proxyUser(story.shard.epoch));
    story.until(() => proxiesOf(story).includes(proxyUser(story.shard.epoch)), 5000);
    story.until(() => story.isHealthy(), 1000);
  });

  test('when a copy that is being made is no longer let in', () => {
    const story = healthy();
    story.node('n3').kill();
    story.until(() => !story.shard.inSync.includes('n3'));
    // It still has the user by which n3 copied from it at first.
    story.node('n2').users.delete(replicaUser('n3'));
    story.node('n3').start(false);
    story.until(() => story.node('n2').users.has(replicaUser('n3')));
    story.node('n2').users.delete(replicaUser('n3'));
    story.until(() => story.isHealthy(), 30_000);
  });

  test('what a node needed is forgotten when it no longer does', () => {
    const story = healthy();
    const needs = () => story.engine.status(story.nowMs).nodes[1]?.needs;
    story.node('n2').isShut = true;
    story.until(() => needs() !== null);
    expect(needs()).toMatch(/maxclients/);
    story.node('n2').isShut = false;
    story.until(() => needs() === null, 1000);
  });

  test('a node whose memory is full says so; a cache is meant to be', () => {
    const story = healthy();
    const told = () => story.engine.status(story.nowMs).nodes[1]?.needs ?? null;
    story.node('n2').maxMemory = 1020;
    for (const [policy, words] of [
      ['noeviction', /memory is full: .*refused with -OOM: raise maxmemory/],
      ['volatile-lru', /refused with -OOM once no key with an expiry is left/],
    ] as const) {
      story.node('n2').maxMemoryPolicy = policy;
      story.until(() => words.test(told() ?? ''), 1000);
    }
    story.node('n2').maxMemoryPolicy = 'allkeys-lru';
    story.until(() => told() === null, 1000);
    story.node('n2').maxMemoryPolicy = 'noeviction';
    story.until(() => told() !== null, 1000);
    story.node('n2').maxMemory = 2000;
    story.until(() => told() === null, 1000);
  });

  test('a primary that does not let the leader in is no healthy one', () => {
    const story = healthy();
    story.nextLeader();
    story.node('n1').users.delete('ringside-admin');
    const state = () => story.engine.status(story.nowMs).shards[0];
    story.until(() => state()?.state === 'degraded');
    expect(state()?.why).toMatch(/n1 may serve, but nothing can be changed on it: .*secret/);
    const order = { kind: 'switchover', shard: 's1', to: null } as const;
    expect(story.engine.order(order, story.nowMs).accepted).toBe(false);
  });

  test('a member that is gone for good, without a spare, is named', () => {
    const story = healthy();
    story.node('n3').kill();
    const why = () => story.engine.status(story.nowMs).shards[0]?.why ?? '';
    story.until(() => /n3: it is crashed, and there is no spare to take its place/.test(why()), 10_000);
  });

  test('an order to switch over ends with the primary for whom it was given', () => {
    const story = healthy();
    story.node('n2').kill();
    story.until(() => !story.shard.inSync.includes('n2'));
    story.node('n2').start(false);
    story.until(() => story.shard.joining === 'n2');
    // It has to wait for the joining, in which the primary dies.
    expect(story.engine.order({ kind: 'switchover', shard: 's1', to: 'n3' }, story.nowMs).accepted).toBe(true);
    story.node('n1').kill();
    story.until(() => story.shard.primary === 'n3');
    story.node('n1').start(true);
    story.until(() => story.isHealthy());
    expect(story.lines.filter(line => /paused/.test(line))).toEqual([]);
  });

  test('a new leader does not drop a copy that it has yet to take over', () => {
    const story = healthy();
    story.nextLeader();
    story.node('n3').kill();
    story.node('n2').slowMs = 60;
    story.until(() => !story.shard.inSync.includes('n3'));
    expect(story.shard.inSync, story.lines.join('\n')).toEqual(['n2']);
  });
});

test('no more copies are made at once than the settings allow, over all shards', () => {
  const story = new Story(2, 0, 3);
  let most = 0;
  story.until(() => {
    const shards = story.engine.status(story.nowMs).shards;
    most = Math.max(most, shards.filter(({ rebuild }) => rebuild !== null && rebuild.from !== null).length);
    return shards.every(({ state }) => state === 'healthy');
  });
  expect(most).toBe(1);
});

test('a shard does not begin with what another shard holds', () => {
  const story = new Story(1, 0, 2);
  const others = JSON.stringify({ cluster: 'shop', shard: 's2', epoch: 3, counter: 7 });
  Object.assign(story.node('n1'), { keys: 10, mark: `#!lua name=ringside_mark\n-- ${others}\n` });
  const state = () => story.engine.status(story.nowMs).shards[0];
  story.until(() => state()?.needs !== null && /holds keys of shard s2/.test(state()?.needs ?? ''));
  expect(story.node('n1').keys).toBe(10);
  expect(story.topology.nodes[0]?.runId).toBeNull();
});
