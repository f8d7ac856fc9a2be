import { describe, expect, test } from 'vitest';
import { NodeWatch, OwnSight } from '../../../src/supervisor/core/detector.ts';
import type { NodeReport } from '../../../src/supervisor/core/node-report.ts';

/**
 * The detector, told as stories: what was seen when, and what is concluded from it.
 */
const PATIENCE = { crashedMs: 200, hungMs: 1500 };
const HOST = 'p';
const PORT = 1;

const PRIMARY: NodeReport = {
  runId: 'p1',
  processId: 1,
  version: '7.0.15',
  role: 'primary',
  loading: false,
  replicationId: 'history',
  offset: 0,
  previousReplicationId: null,
  promotedAtOffset: -1,
  following: null,
  keys: 0,
  replicaLinks: 2,
  usedMemoryBytes: 0,
  maxMemoryBytes: 0,
  maxMemoryPolicy: 'noeviction',
};

function replicaAt(offset: number, link: Partial<NonNullable<NodeReport['following']>> = {}): NodeReport {
  const following = {
    host: HOST,
    port: PORT,
    linkUp: true,
    syncing: false,
    syncLeftBytes: 0,
    lastHeardSeconds: 0,
    ...link,
  };
  return { ...PRIMARY, runId: 'r1', role: 'replica', offset, following };
}

type Scene = (primary: NodeWatch, first: NodeWatch, second: NodeWatch) => void;

const report = (watch: NodeWatch, seen: NodeReport, atMs: number): void =>
  watch.observe({ kind: 'report', report: seen }, atMs);
const refused = (watch: NodeWatch, ...times: number[]): void => {
  for (const atMs of times) watch.observe({ kind: 'refused', text: 'refused' }, atMs);
};
const silent = (watch: NodeWatch, ...times: number[]): void => {
  for (const atMs of times) watch.observe({ kind: 'silent', text: 'silent' }, atMs);
};

/** Both replicas apply something each second, until `untilMs`. */
function pingUntil(watch: NodeWatch, untilMs: number): void {
  for (let atMs = 0; atMs <= untilMs; atMs += 1000) report(watch, replicaAt(atMs), atMs);
}

const STORIES: readonly (readonly [
  story: string,
  atMs: number,
  verdict: string,
  scene: Scene,
  trustedSinceMs?: number,
])[] = [
  ['refused for less than the patience', 150, 'suspect', p => refused(p, 0, 100)],
  ['refused for as long as the patience', 200, 'crashed', p => refused(p, 0, 100)],
  ['refused once, and not asked again', 900, 'suspect', p => refused(p, 0)],
  [
    'refused, then answered',
    300,
    'up',
    p => {
      refused(p, 0, 100);
      report(p, PRIMARY, 150);
    },
  ],
  ['refused, but seen only since we were paused', 300, 'suspect', p => refused(p, 0, 290), 250],
  ['silent for less than the patience', 1400, 'suspect', p => silent(p, 100, 1300)],
  ['silent for as long as the patience', 1500, 'hung', p => silent(p, 100, 1400)],
  [
    'silent and refused in turn, for the longer patience',
    1500,
    'hung',
    p => {
      silent(p, 100);
      refused(p, 200);
      silent(p, 300);
    },
  ],
  [
    'silent, while its replicas go on applying',
    2500,
    'suspect',
    (p, a, b) => {
      silent(p, 100);
      pingUntil(a, 2000);
      pingUntil(b, 2000);
    },
  ],
  [
    'silent, and its replicas have applied only what was under way',
    1500,
    'hung',
    (p, a, b) => {
      silent(p, 100);
      for (const one of [a, b]) for (const atMs of [0, 200]) report(one, replicaAt(atMs), atMs);
    },
  ],
  [
    'silent, and only one of two replicas goes on applying',
    2500,
    'hung',
    (p, a, b) => {
      silent(p, 100);
      pingUntil(a, 2000);
      for (const atMs of [0, 1000, 2000]) report(b, replicaAt(0), atMs);
    },
  ],
  [
    'silent, with a witness, for longer than witnesses are heard',
    15_100,
    'hung',
    (p, a) => {
      silent(p, 100);
      pingUntil(a, 15_000);
    },
  ],
  [
    'refused, while its replicas hear it',
    400,
    'suspect',
    (p, a, b) => {
      refused(p, 0, 100, 200, 300);
      for (const one of [a, b]) report(one, replicaAt(5), 350);
    },
  ],
  [
    'refused, and a replica says that its link is down',
    400,
    'crashed',
    (p, a, b) => {
      refused(p, 0, 100, 200, 300);
      report(a, replicaAt(5), 350);
      report(b, replicaAt(5, { linkUp: false }), 350);
    },
  ],
  [
    'refused, and a replica has heard nothing for seconds',
    400,
    'crashed',
    (p, a) => {
      refused(p, 0, 100, 200, 300);
      report(a, replicaAt(5, { lastHeardSeconds: 3 }), 350);
    },
  ],
  [
    'refused, and a replica follows another node',
    400,
    'crashed',
    (p, a) => {
      refused(p, 0, 100, 200, 300);
      report(a, replicaAt(5, { port: 99 }), 350);
    },
  ],
  ['busy', 1600, 'busy', p => p.observe({ kind: 'busy', text: 'BUSY' }, 100)],
  ['busy for twice the patience', 3100, 'hung', p => p.observe({ kind: 'busy', text: 'BUSY' }, 100)],
  [
    'busy, and its script cannot be ended',
    200,
    'hung',
    p => {
      p.observe({ kind: 'busy', text: 'BUSY' }, 100);
      p.cannotBeFreed();
    },
  ],
  ['it lets nobody in', 100, 'denied', p => p.observe({ kind: 'denied', text: 'WRONGPASS' }, 100)],
];

describe('verdicts', () => {
  test.each(
    STORIES.map(([story, atMs, verdict, scene, trustedSinceMs = 0]) => ({
      story,
      atMs,
      verdict,
      scene,
      trustedSinceMs,
    })),
  )('$story, at $atMs ms: $verdict', ({ atMs, verdict, scene, trustedSinceMs }) => {
    const [primary, first, second] = [new NodeWatch('p', 0), new NodeWatch('a', 0), new NodeWatch('b', 0)];
    report(primary, PRIMARY, 0);
    scene(primary, first, second);
    expect(primary.health(atMs, trustedSinceMs, PATIENCE, [first, second], HOST, PORT)).toBe(verdict);
  });

  test('of a node that never answered nothing is known, until it was refused for long enough', () => {
    const watch = new NodeWatch('p', 0);
    expect(watch.health(100, 0, PATIENCE, [], HOST, PORT)).toBe('unknown');
    refused(watch, 100, 200);
    expect(watch.health(299, 0, PATIENCE, [], HOST, PORT)).toBe('unknown');
    expect(watch.health(300, 0, PATIENCE, [], HOST, PORT)).toBe('crashed');
  });

  test('what a node says counts as of when it was asked', () => {
    const watch = new NodeWatch('p', 0);
    watch.observe({ kind: 'report', report: PRIMARY }, 500, 300);
    expect(watch.reportedAtMs).toBe(300);
  });
});

describe('own sight', () => {
  test('a pause of our own makes everything count from its end', () => {
    const sight = new OwnSight(200, 0);
    expect(sight.tick(150, false)).toBeNull();
    expect(sight.trustedSinceMs).toBe(0);
    expect(sight.tick(1000, false)).toBe(850);
    expect(sight.trustedSinceMs).toBe(1000);
  });

  test('whoever hears of nobody concludes nothing, nor at once when somebody is heard again', () => {
    const sight = new OwnSight(200, 0);
    for (let atMs = 100; atMs <= 2000; atMs += 100) sight.tick(atMs, true);
    sight.tick(2100, false);
    expect(sight.trustedSinceMs).toBe(2100);
    sight.tick(2200, false);
    expect(sight.trustedSinceMs).toBe(2100);
  });
});
