import type { Logger } from '../base/log.ts';
import { currentRoute, type TopologyMove } from '../topology/move.ts';
import { diffTopologies, type ShardChange, type Topology } from '../topology/snapshot.ts';
import { isSameRing } from './proposal.ts';

/**
 * What has happened to a cluster, newest last: kept for those who ask, and written to the log, one line each.
 *
 * The leader's own notes say why; they are known to the leader only. What each version of the topology changed is known
 * to every supervisor that saw it, so that after a change of leader the next one still tells the roles that changed
 * before. Nothing is kept over a restart of the process; the log is.
 */
export interface ClusterEvent {
  /** Grows by one with each event of this process. */
  readonly id: number;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly level: EventLevel;
  /** A short word for programs, such as `failover` or `published`. */
  readonly event: string;
  readonly shard: string | null;
  readonly node: string | null;
  /** A sentence: what happened and why. */
  readonly text: string;
}

export type EventLevel = 'info' | 'warn' | 'error';

/** What is known of an event besides its number and time. */
export type EventFacts = Omit<ClusterEvent, 'id' | 'atMs'>;

const KEPT = 1000;

export class EventLog {
  readonly #log: Logger;
  readonly #wallMs: () => number;
  #events: ClusterEvent[] = [];
  #lastId = 0;

  constructor(log: Logger, wallMs: () => number) {
    this.#log = log;
    this.#wallMs = wallMs;
  }

  add(facts: EventFacts): void {
    this.#lastId += 1;
    this.#events.push({ id: this.#lastId, atMs: this.#wallMs(), ...facts });
    // Seldom, and then many at once: shifting each time would move the whole list.
    if (this.#events.length >= 2 * KEPT) this.#events = this.#events.slice(-KEPT);
    const { level, text, event, shard, node } = facts;
    this.#log[level]({ event, ...(shard === null ? {} : { shard }), ...(node === null ? {} : { node }) }, text);
  }

  /** At most 1,000, those with a number above `afterId`. */
  after(afterId: number): readonly ClusterEvent[] {
    return this.#events.slice(-KEPT).filter(event => event.id > afterId);
  }

  /** A version that this supervisor has seen; `why` where it was its own decision. */
  published(before: Topology | null, after: Topology, why: string | null): void {
    const what = before === null ? [`topology ${after.version} is in force`] : changesBetween(before, after);
    const shard = before === null ? null : onlyShard(before, after);
    const reason = why === null ? '' : `: ${why}`;
    const text = `version ${after.version}: ${what.join('; ')}${reason}`;
    this.add({ level: 'info', event: 'published', shard, node: null, text });
  }
}

function onlyShard(before: Topology, after: Topology): string | null {
  const changed = diffTopologies(before, after).shardsChanged;
  return changed.length === 1 ? (changed[0]?.name ?? null) : null;
}

/** What is different, in words; never empty. */
function changesBetween(before: Topology, after: Topology): string[] {
  const diff = diffTopologies(before, after);
  const words = diff.shardsChanged.flatMap(change => shardWords(before, after, change));
  if (!isSameRing(before.ring, after.ring)) words.push('another ring');
  for (const { name, weight } of after.shards) {
    const old = before.shards.find(shard => shard.name === name);
    if (old !== undefined && old.weight !== weight) words.push(`weight ${weight} of shard ${name}, was ${old.weight}`);
  }
  if (diff.move) words.push(...moveWords(before.move, after.move));
  for (const name of diff.shardsAdded) words.push(`shard ${name} added`);
  for (const name of diff.shardsRemoved) words.push(`shard ${name} removed`);
  for (const id of diff.nodesAdded) words.push(`node ${id} added`);
  for (const id of diff.nodesRemoved) words.push(`node ${id} removed`);
  for (const id of diff.nodesMoved) words.push(`node ${id} has another address`);
  for (const id of diff.nodesDraining) words.push(`node ${id} is drained`);
  for (const id of diff.nodesKept) words.push(`node ${id} is drained no more`);
  for (const id of diff.nodesReborn) words.push(`another incarnation of ${id}`);
  return words.length === 0 ? ['nothing else changed'] : words;
}

function shardWords(before: Topology, after: Topology, change: ShardChange): string[] {
  const old = before.shards.find(shard => shard.name === change.name);
  const shard = after.shards.find(candidate => candidate.name === change.name);
  if (old === undefined || shard === undefined) return [];
  const words: string[] = [];
  if (change.epoch) words.push(`epoch ${shard.epoch}`);
  if (change.primary) words.push(`primary ${shard.primary}, was ${old.primary}`);
  if (change.inSync) words.push(`in sync ${list(shard.inSync)}, was ${list(old.inSync)}`);
  if (change.joining) words.push(shard.joining === null ? `${old.joining} joins no more` : `${shard.joining} joins`);
  if (change.paused) words.push(shard.paused ? 'paused' : 'no longer paused');
  if (change.nodes) words.push(`nodes ${list(shard.nodes)}, were ${list(old.nodes)}`);
  return [`shard ${shard.name} ${words.join(', ')}`];
}

function moveWords(before: TopologyMove | null, after: TopologyMove | null): string[] {
  if (after === null) return ['the move is over'];
  if (before === null) return [`a move of keys begins, in ${after.portions.length} portions`];
  const words: string[] = [];
  if (after.aborting && !before.aborting) words.push('the move is aborted: what was moved goes back');
  if (after.moved !== before.moved) words.push(`${after.moved} of ${after.portions.length} portions have arrived`);
  const { current } = after;
  if (current !== null && (current.phase !== before.current?.phase || current.way !== before.current.way)) {
    const route = currentRoute(after);
    words.push(`portion ${current.index + 1}, from ${route?.giver} to ${route?.taker}, is ${current.phase}`);
  }
  if (after.paused !== before.paused)
    words.push(after.paused === null ? 'the move goes on' : `the move is paused (${after.paused})`);
  if (after.keysPerSecond !== before.keysPerSecond) {
    const bound = after.keysPerSecond === null ? 'as the settings say' : `at most ${after.keysPerSecond} keys a second`;
    words.push(`the move goes ${bound}`);
  }
  return words;
}

function list(ids: readonly string[]): string {
  return ids.length === 0 ? 'nobody' : ids.join(' ');
}
