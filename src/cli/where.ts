/**
 * `ringside where`: which shard and node a key belongs to, and why.
 *
 * The ring needs no cluster: names, weights and the ring's kind decide. Who the shard's primary is, a supervisor knows
 * best, then the topology that the proxy here was told last, then the settings.
 */
import { ON_THE_MOVE, type Ring, type RingConfig } from '../ring/ring.ts';
import { LastKnownTopology } from '../topology/last-known.ts';
import { currentRoute, ringInForce } from '../topology/move.ts';
import { initialTopology, type Topology } from '../topology/snapshot.ts';
import { validateTopology } from '../topology/validate.ts';
import { askSupervisors, type ClusterSource, clusterSource } from './cluster-source.ts';
import { columns } from './columns.ts';
import { CommandFailure, NOT_NOW, USAGE } from './failure.ts';

/** Where one key lies. */
export interface KeyPlace {
  readonly key: string;
  /** The key's hash, unsigned; null: there is one shard and nothing is hashed. */
  readonly hash: number | null;
  /** The part of the key that is hashed. */
  readonly hashed: string;
  readonly shard: string;
  /** The shard's primary. */
  readonly node: { readonly id: string; readonly host: string; readonly port: number };
  readonly why: string;
}

/** What the places were found by. */
interface Known {
  readonly topology: Topology;
  readonly source: string;
}

export async function where(keys: readonly string[], options: { config: string; json?: boolean }): Promise<number> {
  const { topology, source } = await known(clusterSource(options.config));
  const places = placesOf(keys, topology);
  if (options.json === true) {
    const { cluster, version, ring } = topology;
    process.stdout.write(`${JSON.stringify({ source, cluster, version, ring, keys: places })}\n`);
    return 0;
  }
  const rows = places.map(({ key, hash, shard, node, why }) => {
    const shownHash = hash === null ? '-' : `0x${hash.toString(16).padStart(8, '0')}`;
    return [JSON.stringify(key), shownHash, shard, `${node.id} ${node.host}:${node.port}`, why];
  });
  process.stdout.write(columns([['KEY', 'HASH', 'SHARD', 'NODE', 'WHY'], ...rows]));
  process.stdout.write(`\n${ringText(topology.ring)}; primaries from ${source}\n`);
  return 0;
}

/** The places of keys as a topology has them now, with what was moved so far. */
export function placesOf(keys: readonly string[], topology: Topology): KeyPlace[] {
  const ring = ringInForce(topology);
  return keys.map(key => placeOf(key, ring, topology));
}

function placeOf(key: string, ring: Ring, topology: Topology): KeyPlace {
  const bytes = Buffer.from(key);
  const owner = ring.ownerOf(bytes, 0, bytes.length);
  const isOnItsWay = owner >= ON_THE_MOVE;
  const shard = topology.shards[isOnItsWay ? owner - ON_THE_MOVE : owner] as Topology['shards'][number];
  const node = topology.nodes.find(({ id }) => id === shard.primary) as Topology['nodes'][number];
  const isAlone = ring.shardCount === 1;
  const onItsWay = isOnItsWay ? `; it is being moved there from ${currentRoute(topology.move)?.giver}` : '';
  const { hashed, why } = hashedPart(key, topology.ring.hashTag);
  return {
    key,
    hash: isAlone ? null : ring.hashOf(bytes, 0, bytes.length),
    hashed,
    shard: shard.name,
    node: { id: node.id, host: node.host, port: node.port },
    why: isAlone ? 'there is one shard' : why + onItsWay,
  };
}

/** The ring's rule in words: from the first opening character to the first closing one after it, if that is anything. */
function hashedPart(key: string, hashTag: string): { hashed: string; why: string } {
  const [open, close] = [hashTag[0], hashTag[1]];
  if (open === undefined || close === undefined) return { hashed: key, why: 'the whole key: the ring has no hash tag' };
  const from = key.indexOf(open);
  const to = from < 0 ? -1 : key.indexOf(close, from + 1);
  if (to > from + 1) {
    const hashed = key.slice(from + 1, to);
    return { hashed, why: `the hash tag ${key.slice(from, to + 1)}` };
  }
  if (to === from + 1 && to > 0) return { hashed: key, why: `the whole key: its ${hashTag} is empty` };
  return { hashed: key, why: `the whole key: no ${open}…${close} in it` };
}

function ringText(ring: RingConfig): string {
  if (ring.kind === 'murmur3') return `ring: murmur3, ${ring.vnodes} tokens per unit of weight`;
  return `ring: as twemproxy's, ${ring.hash}, ${ring.distribution}`;
}

async function known(source: ClusterSource): Promise<Known> {
  try {
    const { url, body } = await askSupervisors(source, '/v1/topology');
    const topology = understood(url, body);
    return { topology, source: `supervisor ${url}, topology ${topology.version}` };
  } catch (error) {
    // Without settings there is nowhere else to look. An answer that is no topology is told, not passed over.
    if (source.config === null || !(error instanceof CommandFailure) || error.status !== NOT_NOW) throw error;
  }
  const { stateDir } = source.config.proxy;
  const { topology } = await new LastKnownTopology(stateDir, source.config.cluster).load();
  if (topology !== null) return { topology, source: `the last topology known here, ${topology.version}` };
  return { topology: initialTopology(source.config), source: `${source.config.file} (no supervisor answers)` };
}

function understood(url: string, body: unknown): Topology {
  try {
    return validateTopology(body);
  } catch (error) {
    throw new CommandFailure(
      `${url} answered with no topology that this version understands: ${(error as Error).message}`,
      USAGE,
    );
  }
}
