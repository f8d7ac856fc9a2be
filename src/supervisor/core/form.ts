import { chooseColdCopy } from './choose-primary.ts';
import { beginWith, type Gathered, gatherCopies } from './cold-start.ts';
import type { NodeReport } from './node-report.ts';
import { type Ending, gaveUp, note, type Procedure } from './procedure.ts';
import { nodeOf, shardOf, type World } from './world.ts';

/**
 * The first start of a shard: on empty nodes, or on a Redis that already holds data, perhaps with replicas.
 *
 * Whatever data there is must be of one history, else a person has to say which is meant: what the others hold would be
 * discarded. Nodes that carry the shard's mark have served before (only the topology was lost): then the marks decide.
 */
export function* form(world: World, shardName: string, ids: readonly string[], acceptLoss: boolean): Procedure<Ending> {
  const copies = yield* gatherCopies(world, shardName, ids);
  const present = copies.filter(one => one !== null);
  if (present.length === 0 || (present.length < ids.length && !acceptLoss))
    return gaveUp('not every node says what it has');
  const chosen = chooseFirst(world, shardName, present);
  if (typeof chosen === 'string') return gaveUp(chosen);
  const { nodeId } = chosen.target;
  const what = chosen.keys === 0 ? 'empty' : `with the ${chosen.keys} keys that it holds`;
  yield* note('info', 'form', `${shardName} begins with ${nodeId}, ${what}`, { shard: shardName, nodeId });
  return yield* beginWith(world, shardName, chosen, `the shard is formed, ${what}`);
}

/** The copy to begin with; a text: why none. */
function chooseFirst(world: World, shardName: string, copies: readonly Gathered[]): Gathered | string {
  const stranger = copies.find(one => one.otherShard !== null);
  if (stranger !== undefined)
    return `${stranger.target.nodeId} holds keys of shard ${stranger.otherShard}: correct the shards' nodes, or empty it`;
  const marked = copies.filter(one => one.mark !== null);
  if (marked.length > 0) {
    const best = chooseColdCopy(marked);
    return marked.find(one => one.target === best?.target) ?? CONFLICT;
  }
  const holders = copies.filter(one => one.keys > 0);
  const { primary } = shardOf(world, shardName);
  const preferred = copies.find(one => one.target.nodeId === primary) ?? copies[0];
  if (holders.length === 0) return preferred ?? CONFLICT;
  return chooseHolder(world, holders);
}

const CONFLICT = 'no node can be chosen';

/** All that hold data must be one primary and its replicas. */
function chooseHolder(world: World, holders: readonly Gathered[]): Gathered | string {
  const primaries = holders.filter(one => reportOf(world, one).role === 'primary');
  const histories = new Set(holders.map(one => reportOf(world, one).replicationId));
  const names = holders.map(one => `${one.target.nodeId} (${one.keys} keys)`).join(', ');
  if (histories.size > 1) return `${names} hold different data: empty all but the one that is meant`;
  const [first] = primaries.length > 0 ? primaries : holders;
  if (first === undefined) return CONFLICT;
  const { following } = reportOf(world, first);
  if (following === null || isNobody(world, following.host, following.port)) return first;
  return `${names} follow ${following.host}:${following.port}, which is none of the shard: name that node, or end the replication (REPLICAOF NO ONE)`;
}

/** Whether an address is none of a foreign primary: our own "nobody", or a node of the shard. */
function isNobody(world: World, host: string, port: number): boolean {
  return (
    (host === '127.0.0.1' && port === 1) || world.topology.nodes.some(one => one.host === host && one.port === port)
  );
}

function reportOf(world: World, { target }: Gathered): NodeReport {
  const { report } = world.node(target.nodeId);
  if (report === null) throw new Error(`${nodeOf(world, target.nodeId).id} was gathered without a report`);
  return report;
}
