import type { Topology } from '../../src/topology/snapshot.ts';

/** Two shards of two nodes, for the tests of this folder. */
export function exampleTopology(version: number): Topology {
  return {
    cluster: 'shop',
    version,
    term: 0,
    move: null,
    ring: { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 },
    shards: [
      { name: 's1', weight: 1, epoch: 1, primary: 'a1', inSync: [], joining: null, paused: false, nodes: ['a1', 'b1'] },
      {
        name: 's2',
        weight: 1,
        epoch: 4,
        primary: 'd1',
        inSync: ['c1'],
        joining: null,
        paused: false,
        nodes: ['c1', 'd1'],
      },
    ],
    nodes: ['a1', 'b1', 'c1', 'd1'].map((id, index) => ({
      id,
      host: `10.0.0.${index + 1}`,
      port: 6379,
      zone: id[0] as string,
      runId: null,
      draining: false,
    })),
  };
}
