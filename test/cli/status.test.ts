import { describe, expect, it } from 'vitest';
import { eventText } from '../../src/cli/events.ts';
import { statusText } from '../../src/cli/status.ts';
import type { ClusterStatus, NodeStatus, ShardStatus } from '../../src/supervisor/status.ts';

function node(id: string, overrides: Partial<NodeStatus> = {}): NodeStatus {
  return {
    ...{ id, role: 'replica', up: true, lagBytes: 0, lagSeconds: 0, address: `10.0.0.1:${id.charCodeAt(0)}` },
    ...{ zone: 'z1', runId: null, linkUp: null, usedMemoryBytes: null, health: 'up', error: null, needs: null },
    ...{ draining: false, drain: null, emptying: null },
    ...overrides,
  };
}

const shard: ShardStatus = {
  ...{ name: 's1', epoch: 3, primary: 'a', inSync: ['b'], joining: 'd', paused: false, required: 1, copies: 4 },
  ...{ state: 'degraded', why: 'd joins', running: 'grow', rebuild: null, needs: null, changes: [] },
  nodes: [
    node('a', { role: 'primary' }),
    node('b', { lagBytes: 1234567, lagSeconds: 0.4 }),
    node('c', { up: false, lagBytes: null, error: 'connection refused' }),
    node('d', { lagBytes: null }),
    node('e', { role: 'primary' }),
  ],
};

const cluster: ClusterStatus = {
  ...{ cluster: 'shop', version: 4, term: 2, changesRoles: true, problems: [], move: null },
  ...{ leader: 'http://127.0.0.1:7700', knownBy: 'http://127.0.0.1:7700' },
  shards: [shard],
  spares: [node('f', { role: 'spare', lagBytes: null })],
};

describe('the status table', () => {
  it('shows each node with its role, state, lag and address, and below it what is being done and what is wrong', () => {
    expect(
      statusText(cluster, 'http://127.0.0.1:7700'),
    ).toBe(`cluster shop, topology 4, term 2, leader http://127.0.0.1:7700

SHARD  EPOCH  NODE  ROLE                         STATE        LAG            ADDRESS       ZONE
s1     3      a     primary                      up                          10.0.0.1:97   z1
              b     replica                      in sync      1.2 MB, 0.4 s  10.0.0.1:98   z1
              c     replica                      DOWN         ?              10.0.0.1:99   z1
              d     replica                      joining      ?              10.0.0.1:100  z1
              e     primary (should be replica)  not in sync                 10.0.0.1:101  z1
-             f     spare                        up                          10.0.0.1:102  z1

s1: degraded, grow is running: d joins

c: connection refused
`);
  });

  it('shows how far a rebuild is, the last changes of primary, and what needs a person', () => {
    const change = { kind: 'failover', cause: 'a crashed', at: 0, durationMs: 231, from: 'a', to: 'b' } as const;
    const rebuild = { node: 'd', from: 'b', since: Date.now() - 4000, leftBytes: 12_300_000, lagBytes: 512 };
    const more = {
      ...{ joining: null, rebuild, changes: [change, change, change, change] },
      needs: 'run: ringside recover s1 --accept-loss',
    };
    const text = statusText({ ...cluster, shards: [{ ...shard, ...more }] }, 'http://s');
    expect(text).toContain('s1: d is rebuilt from b, for 4 s, 12.3 MB left, 512 B behind\n');
    expect(text.match(/^s1: 1970-01-01T00:00:00.000Z failover from a to b in 231 ms: a crashed$/gm)).toHaveLength(3);
    expect(text).toContain('NEEDS YOU  s1: run: ringside recover s1 --accept-loss\n');
    expect(text).toMatch(/ d +replica +rebuilding /);
  });

  it('shows how far nodes are that are drained, and what they wait for', () => {
    const waits = { step: 'waits', why: 'there is no spare', needs: 'add a node' } as const;
    const free = { step: 'free', why: 'it may be stopped', needs: null } as const;
    const text = statusText(
      {
        ...cluster,
        shards: [{ ...shard, nodes: [node('a', { role: 'primary' }), node('b', { draining: true, drain: waits })] }],
        spares: [node('f', { role: 'spare', draining: true, drain: free })],
      },
      'http://s',
    );
    expect(text).toMatch(/ b +replica +in sync, draining /);
    expect(text).toMatch(/ f +spare +up, free /);
    expect(text).toContain('b is drained, waits: there is no spare\n');
    expect(text).toContain('f is free: it may be stopped\n');
    expect(text).toContain('NEEDS YOU  b: add a node\n');
  });

  it('says when it is told by a supervisor that does not lead, which knows no node', () => {
    const follower = { ...cluster, changesRoles: false, knownBy: 'http://s2', problems: ['nobody leads: …'] };
    const text = statusText({ ...follower, leader: null }, 'http://s2');
    expect(text).toContain('nobody leads (told by http://s2, which does not lead)\n');
    expect(text).not.toContain('DOWN');
    expect(text).toMatch(/ a +primary +\? /);
    expect(text).toContain('\nnobody leads: …\n');
  });

  it('is short where all is well', () => {
    const nodes = [node('a', { role: 'primary' }), node('b')];
    const well = { ...shard, state: 'healthy', running: null, joining: null, nodes };
    const text = statusText({ ...cluster, shards: [well], spares: [] }, 'http://s');
    expect(text.trimEnd().split('\n')).toHaveLength(5);
  });
});

describe('an event', () => {
  it('is one line', () => {
    const event = {
      id: 1,
      atMs: 0,
      level: 'warn',
      event: 'shrink',
      shard: 's1',
      node: 'b',
      text: 'b is gone',
    } as const;
    expect(eventText(event)).toBe('1970-01-01T00:00:00.000Z WARN shrink s1/b: b is gone');
    expect(eventText({ ...event, level: 'info', shard: null, node: null })).toBe(
      '1970-01-01T00:00:00.000Z shrink: b is gone',
    );
  });
});
