/**
 * Orders about moves as a person gives them, and how far a move has come, of a fleet.
 */

import type { ClusterStatus } from '../../../src/supervisor/status.ts';
import { currentRoute, type Route, type TopologyMove } from '../../../src/topology/move.ts';
import type { Topology } from '../../../src/topology/snapshot.ts';
import { until } from '../faults/stand.ts';
import type { Fleet } from '../safety/fleet.ts';
import type { RedisNode } from '../safety/redis-node.ts';
import { RespConnection } from '../safety/resp.ts';
import type { Role } from '../safety/role.ts';
import { type } from './command.ts';

/** How long a move may take before it is taken for one that hangs. */
const HANG_MS = 60_000;

/** A command of the program with the fleet's settings; tried again while nobody leads. */
export async function order(fleet: Fleet, ...words: string[]): Promise<string> {
  const { file } = fleet.supervisors[0] as Role;
  const deadline = Date.now() + 30_000;
  for (;;) {
    const { status, out, err } = await type(fleet.dir, ...words, '--config', file);
    if (status === 0) return out;
    // 1: not now.
    if (status !== 1 || Date.now() > deadline) throw new Error(`ringside ${words.join(' ')}: ${status}: ${err}${out}`);
  }
}

/** The same order, where it is all the same whether it is still possible. */
export async function tryOrder(fleet: Fleet, ...words: string[]): Promise<void> {
  const { file } = fleet.supervisors[0] as Role;
  await type(fleet.dir, ...words, '--config', file);
}

/** Adds a shard of free nodes. */
async function addShard(fleet: Fleet, name: string): Promise<string> {
  const { nodes, shards } = await topologyOf(fleet);
  const taken = new Set(shards.flatMap(shard => shard.nodes));
  const free = nodes.filter(({ id }) => !taken.has(id)).slice(0, fleet.copies);
  if (free.length < fleet.copies) throw new Error(`there are no ${fleet.copies} free nodes`);
  return order(fleet, 'apply', 'add-shard', name, '--nodes', free.map(({ id }) => id).join(','), '--yes');
}

async function removeShard(fleet: Fleet, name: string): Promise<string> {
  return order(fleet, 'apply', 'remove-shard', name, '--yes');
}

/** Of the one that comes and goes in trials. */
const SHARD = 's9';

/** Adds a shard, or removes it where it is. */
export async function toggleShard(fleet: Fleet): Promise<void> {
  const { shards } = await topologyOf(fleet);
  if (shards.some(({ name }) => name === SHARD)) await removeShard(fleet, SHARD);
  else await addShard(fleet, SHARD);
}

/** The topology, which may be out of reach for a moment. */
export async function topologyOf(fleet: Fleet): Promise<Topology> {
  let found: Topology | null = null;
  await until(
    'a supervisor tells the topology',
    async () => {
      found = await fleet.topology().catch(() => null);
      return found !== null;
    },
    30_000,
  );
  return found as unknown as Topology;
}

/** Waits for a move that has come so far; false: it was over before that was seen. */
export async function comesTo(fleet: Fleet, isThere: (move: TopologyMove) => boolean): Promise<boolean> {
  let seen = true;
  await until(
    () => `a move comes so far\n${fleet.told()}`,
    async () => {
      const topology = await topologyOf(fleet);
      seen = topology.move !== null && isThere(topology.move);
      return seen || topology.move === null;
    },
    HANG_MS,
  );
  return seen;
}

/** Keys are being pulled: between whom. Null: the move was over before. */
export async function underWay(fleet: Fleet): Promise<Route | null> {
  await comesTo(fleet, move => move.current?.phase === 'moving');
  return currentRoute((await topologyOf(fleet)).move);
}

/** Waits until no move is on, and a shard whose keys were moved away is gone. */
export async function isOver(fleet: Fleet): Promise<Topology> {
  await until(
    () => `the move is over\n${fleet.told()}`,
    async () => {
      const topology = await fleet.topology().catch(() => null);
      return topology?.move === null && topology.shards.every(({ weight }) => weight > 0);
    },
    HANG_MS,
  );
  return topologyOf(fleet);
}

/** Waits until the leader calls every shard healthy. (That the settings do not name the shard that came is no illness.) */
export async function isHealthy(fleet: Fleet): Promise<void> {
  let told = '';
  await until(
    () => `everything is healthy: ${told}`,
    async () => {
      const leader = await fleet.leader();
      const status = await leader?.get<ClusterStatus>('/v1/status').catch(() => null);
      if (status === undefined || status === null) return false;
      const { move, shards } = status;
      told = JSON.stringify({
        move,
        shards: shards.map(({ name, state, needs }) => ({ name, state, needs })),
      });
      return move === null && shards.every(({ state, needs }) => state === 'healthy' && needs === null);
    },
    HANG_MS,
  );
}

/** The process that is a shard's primary now. */
export async function primaryOf(fleet: Fleet, shard: string): Promise<RedisNode> {
  const found = (await topologyOf(fleet)).shards.find(({ name }) => name === shard);
  if (found === undefined) throw new Error(`there is no shard ${shard}`);
  return fleet.node(found.primary);
}

/** A client of a proxy; whoever opens it closes it. */
export async function clientOf(fleet: Fleet, proxy = 0): Promise<RespConnection> {
  const { host, port } = fleet.proxies[proxy] as Role;
  const connection = await RespConnection.open(host.address, port);
  connection.giveUpAfter(60_000);
  return connection;
}
