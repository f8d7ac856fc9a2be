import type { IKeyValue, IRangeResponse } from 'etcd3';
import type { Topology } from './snapshot.ts';
import { StoreError } from './store.ts';
import { validateTopology } from './validate.ts';

/**
 * The keys of one cluster in etcd, and what stands in them.
 */
export interface ClusterKeys {
  /** From here up to and without `end`: all of them. */
  readonly key: Buffer;
  readonly end: Buffer;
  readonly leader: Buffer;
  readonly term: Buffer;
  readonly topology: Buffer;
}

export function clusterKeys(prefix: string): ClusterKeys {
  const named = (name: string): Buffer => Buffer.from(`${prefix}${name}`);
  // The prefix ends with a slash; the next character of ASCII ends the range.
  const end = Buffer.from(`${prefix.slice(0, -1)}0`);
  return { key: Buffer.from(prefix), end, leader: named('leader'), term: named('term'), topology: named('topology') };
}

/** What is kept is of no use, and trying again will not help. */
export class UnusableError extends StoreError {}

/** All that is kept of a cluster, at one moment. */
export interface Look {
  /** etcd's, of this moment. */
  readonly revision: number;
  /** The leader's URL. */
  readonly leader: string | null;
  /** Of the last change; '0': there is no such key. */
  readonly termRevision: string;
  readonly topologyRevision: string;
  /** The last term that was given out; 0: none yet. Throws `UnusableError`. */
  term(): number;
  /** Throws `UnusableError` when it is no usable topology. */
  topology(): Topology | null;
}

export function lookOf({ kvs, header }: IRangeResponse, keys: ClusterKeys, cluster: string): Look {
  const find = (key: Buffer): IKeyValue | undefined => kvs.find(pair => key.equals(pair.key));
  const [leader, term, topology] = [find(keys.leader), find(keys.term), find(keys.topology)];
  return {
    revision: Number(header.revision),
    leader: leader === undefined ? null : leader.value.toString(),
    term: () => (term === undefined ? 0 : termOf(term)),
    termRevision: term?.mod_revision ?? '0',
    topologyRevision: topology?.mod_revision ?? '0',
    topology: () => (topology === undefined ? null : topologyOf(topology, cluster)),
  };
}

function termOf({ key, value }: IKeyValue): number {
  const term = Number(value.toString());
  if (Number.isSafeInteger(term) && term >= 0) return term;
  throw new UnusableError(
    `etcd's key ${key} holds no number: put into it one that is higher than N of every user ringside-supervisor-N on the nodes (ACL USERS shows them)`,
  );
}

function topologyOf({ key, value }: IKeyValue, cluster: string): Topology {
  let topology: Topology;
  try {
    topology = validateTopology(JSON.parse(value.toString()));
  } catch (error) {
    const remedy =
      'put back an earlier value of it; without one, delete it, so that version 1 begins anew from the settings, and start every proxy again without its last-topology.json (in proxy.state), since a proxy keeps to the highest version it has seen';
    throw new UnusableError(`etcd's key ${key} holds no usable topology (${(error as Error).message}); ${remedy}`);
  }
  if (topology.cluster === cluster) return topology;
  throw new UnusableError(
    `etcd's key ${key} holds the topology of cluster ${topology.cluster}, not ${cluster}: correct supervisor.store.etcd.prefix or cluster`,
  );
}
