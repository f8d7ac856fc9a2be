/**
 * Everything that a cluster holds, read from its nodes past every proxy, and what must never be there after a move: a key
 * on two shards, a key where the ring does not look for it, copies that differ, something of Ringside's own.
 */
import { createRing } from '../../../src/ring/ring.ts';
import type { Topology } from '../../../src/topology/snapshot.ts';
import { type Content, type Contents, contentsOf, differences } from '../safety/copies.ts';
import type { Found } from '../safety/ledger.ts';
import type { RespConnection } from '../safety/resp.ts';

/** A cluster whose nodes can be asked. */
export interface Readable {
  topology(): Promise<Topology>;
  /** A connection that may read everything on a node. */
  admin(id: string): Promise<RespConnection>;
}

export interface Whole {
  /** By `database:key`, all shards together. */
  readonly contents: Contents;
  /** In words. */
  readonly problems: readonly string[];
  /** How many keys each shard holds. */
  readonly keys: ReadonlyMap<string, number>;
}

/** At most so many problems of a kind are told. */
const MOST_TOLD = 10;

/** Reads every copy of every shard. For a cluster whose move is over, and in which nobody writes. */
export async function wholeOf(cluster: Readable): Promise<Whole> {
  const topology = await cluster.topology();
  const contents = new Map<string, Content>();
  const homes = new Map<string, string>();
  const keys = new Map<string, number>();
  const problems: string[] = topology.move === null ? [] : ['a move is still on'];
  for (const { name, primary, inSync } of topology.shards) {
    const own = await contentsOnNode(cluster, primary);
    for (const id of inSync) problems.push(...differences(primary, own, id, await contentsOnNode(cluster, id)));
    const twice = [...own.keys()].filter(key => homes.has(key));
    problems.push(...told(twice, key => `${key} is on ${homes.get(key)} and on ${name}`));
    for (const [key, content] of own) {
      contents.set(key, content);
      homes.set(key, name);
    }
    keys.set(name, own.size);
  }
  return { contents, problems: [...problems, ...strangers(contents), ...misplaced(topology, homes)], keys };
}

async function contentsOnNode(cluster: Readable, id: string): Promise<Contents> {
  const connection = await cluster.admin(id);
  try {
    return await contentsOf(connection);
  } finally {
    connection.close();
  }
}

function strangers(contents: Contents): string[] {
  const found = [...contents.keys()].filter(key => key.startsWith('0:ringside:'));
  return told(found, key => `${key} is left behind`);
}

function misplaced({ ring, shards }: Topology, homes: ReadonlyMap<string, string>): string[] {
  const owners = createRing(ring, shards);
  const found: string[] = [];
  for (const [name, home] of homes) {
    const key = Buffer.from(name.slice(name.indexOf(':') + 1), 'latin1');
    const owner = shards[owners.ownerOf(key, 0, key.length)]?.name;
    if (owner !== home) found.push(`${name} is on ${home}, the ring looks for it on ${owner}`);
  }
  return told(found, text => text);
}

function told(found: readonly string[], words: (one: string) => string): string[] {
  const more = found.length > MOST_TOLD ? [`… and ${found.length - MOST_TOLD} more such`] : [];
  return [...found.slice(0, MOST_TOLD).map(words), ...more];
}

/** The keys of database 0, as the ledger judges them. */
export function foundIn(contents: Contents): Found {
  const found = new Map<string, string | readonly string[]>();
  for (const [name, { value }] of contents) if (name.startsWith('0:')) found.set(name.slice('0:'.length), value);
  return found;
}
