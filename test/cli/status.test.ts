import { describe, expect, it } from 'vitest';
import { statusText } from '../../src/cli/status.ts';
import type { ClusterStatus, NodeStatus } from '../../src/supervisor/status.ts';

function node(id: string, overrides: Partial<NodeStatus> = {}): NodeStatus {
  const rest = { runId: null, linkUp: null, usedMemoryBytes: null, error: null };
  return { id, role: 'replica', up: true, lagBytes: 0, address: `10.0.0.1:${id.charCodeAt(0)}`, ...rest, ...overrides };
}

const cluster: ClusterStatus = {
  cluster: 'shop',
  version: 4,
  changesRoles: false,
  shards: [
    {
      name: 's1',
      epoch: 1,
      primary: 'a',
      inSync: ['b'],
      joining: 'd',
      nodes: [
        node('a', { role: 'primary' }),
        node('b', { lagBytes: 12 }),
        node('c', { up: false, lagBytes: null, error: 'connection refused' }),
        node('d', { lagBytes: null }),
        node('e', { role: 'primary' }),
      ],
    },
  ],
  spares: [node('f', { role: 'spare', lagBytes: null })],
};

describe('the status table', () => {
  it('shows each node with its role, state, lag and address, and below it why nodes are down', () => {
    expect(
      statusText(cluster, 'http://127.0.0.1:7700'),
    ).toBe(`cluster shop, topology 4, supervisor http://127.0.0.1:7700, changes no roles

SHARD  NODE  ROLE                         STATE        LAG   ADDRESS
s1     a     primary                      up                 10.0.0.1:97
       b     replica                      in sync      12 B  10.0.0.1:98
       c     replica                      DOWN         ?     10.0.0.1:99
       d     replica                      joining      ?     10.0.0.1:100
       e     primary (should be replica)  not in sync        10.0.0.1:101
-      f     spare                        up                 10.0.0.1:102

c: connection refused
`);
  });

  it('says nothing of a supervisor that may change roles, and has no list of troubles without trouble', () => {
    const text = statusText({ ...cluster, changesRoles: true, shards: [] }, 'http://s:1');
    expect(text).toContain('supervisor http://s:1\n');
    expect(text.trimEnd().split('\n').at(-1)).toMatch(/^-\s+f/);
  });
});
