import { pino } from 'pino';
import { expect, test } from 'vitest';
import { EventLog } from '../../src/supervisor/events.ts';
import { OffsetTrail } from '../../src/supervisor/offset-trail.ts';
import type { Topology, TopologyShard } from '../../src/topology/snapshot.ts';

function stand(): { events: EventLog; lines: string[] } {
  const lines: string[] = [];
  let nowMs = 1000;
  const events = new EventLog(pino({ base: {} }, { write: line => lines.push(line) }), () => (nowMs += 1));
  return { events, lines };
}

const note = (text: string) => ({ level: 'info' as const, event: 'note', shard: null, node: null, text });

const shard: TopologyShard = {
  ...{ name: 's1', weight: 1, epoch: 1, primary: 'a', inSync: ['b'], joining: null, paused: false, nodes: ['a', 'b'] },
};
const topology = (version: number, more: Partial<TopologyShard>): Topology => ({
  ...{ cluster: 'shop', version, term: 1 },
  ring: { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 },
  shards: [{ ...shard, ...more }],
  nodes: ['a', 'b'].map(id => ({ id, host: 'h', port: 1, zone: 'z', runId: `run-${id}`, draining: false })),
  move: null,
});

test('events are kept in their order, numbered, and each is one line of the log', () => {
  const { events, lines } = stand();
  events.add(note('one'));
  events.add({ level: 'error', event: 'failover', shard: 's1', node: 'a', text: 'two' });
  expect(events.after(0).map(({ id, atMs, text }) => [id, atMs, text])).toEqual([
    [1, 1001, 'one'],
    [2, 1002, 'two'],
  ]);
  expect(events.after(1).map(({ text }) => text)).toEqual(['two']);
  expect(lines.map(line => JSON.parse(line))).toMatchObject([
    { level: 30, event: 'note', msg: 'one' },
    { level: 50, event: 'failover', shard: 's1', node: 'a', msg: 'two' },
  ]);
});

test('no more than a thousand are kept, the newest', () => {
  const { events } = stand();
  for (let n = 1; n <= 4321; n += 1) {
    events.add(note(String(n)));
    expect(events.after(0).length).toBe(Math.min(n, 1000));
  }
  expect(events.after(0)[0]?.text).toBe('3322');
  expect(events.after(0).at(-1)?.id).toBe(4321);
});

test('a version says what it changed, and why where that is known', () => {
  const { events } = stand();
  const first = topology(1, {});
  events.published(null, first, null);
  events.published(first, topology(2, { primary: 'b', inSync: [], epoch: 2 }), 'a crashed');
  events.published(first, topology(3, { joining: 'b', inSync: [] }), null);
  expect(events.after(0).map(({ shard, text }) => [shard, text])).toEqual([
    [null, 'version 1: topology 1 is in force'],
    ['s1', 'version 2: shard s1 epoch 2, primary b, was a, in sync nobody, was b: a crashed'],
    ['s1', 'version 3: shard s1 in sync nobody, was b, b joins'],
  ]);
});

test('a node that is drained, and no longer', () => {
  const { events } = stand();
  const before = topology(1, {});
  const draining = { ...before, version: 2, nodes: before.nodes.map((node, i) => ({ ...node, draining: i === 0 })) };
  events.published(before, draining, null);
  events.published(draining, before, null);
  const [{ id } = { id: '' }] = before.nodes;
  expect(events.after(0).map(({ text }) => text)).toEqual([
    `version 2: node ${id} is drained`,
    `version 1: node ${id} is drained no more`,
  ]);
});

test('a lag in time is how long ago the primary went past what the replica has', () => {
  const trail = new OffsetTrail(10_000);
  for (let second = 0; second < 30; second += 1) trail.note(second * 100, second * 1000);
  expect(trail.lagMs(2900, 30_000)).toBe(0);
  expect(trail.lagMs(2850, 30_000)).toBe(1000);
  expect(trail.lagMs(2400, 30_000)).toBe(5000);
  expect(trail.lagMs(0, 30_000)).toBe(10_000);
});

test('a stream that stands still does not make a replica older than what it lacks', () => {
  const trail = new OffsetTrail(10_000);
  trail.note(100, 0);
  for (let atMs = 1000; atMs <= 60_000; atMs += 1000) trail.note(200, atMs);
  expect(trail.lagMs(200, 60_000)).toBe(0);
  expect(trail.lagMs(150, 3000)).toBe(2000);
  // Another primary counts from where it stands.
  trail.note(50, 61_000);
  expect(trail.lagMs(40, 61_500)).toBe(500);
});
