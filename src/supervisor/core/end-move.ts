import type { TopologyShard } from '../../topology/snapshot.ts';
import { named } from './large-keys.ts';
import { DONE, type Ending, gaveUp, type Procedure, publishChange } from './procedure.ts';
import { moveOf, sideNow, whyNotReady } from './pull-keys.ts';
import { databasesOf, scanPage } from './scan-keys.ts';
import { nodeOf, shardOf, type World } from './world.ts';

/**
 * The last portion has arrived, or is back: the ring that was moved to is in force, or the old one stays.
 *
 * Owners are the same before and after it, so no epoch begins. A shard that owns nothing any more must hold nothing: keys
 * that the ring never placed there, as a script writes them that does not say which keys it uses, would be lost with it.
 */
const PAGE_KEYS = 1000;
const NAMED = 5;

export function* endMove(world: World): Procedure<Ending> {
  const move = moveOf(world);
  for (const shard of leavingShards(world)) {
    const held = yield* heldBy(world, shard.name);
    if (held !== null) return gaveUp(held);
  }
  const { ring, weights, aborting } = moveOf(world);
  const shards = aborting ? [] : reweighed(world, weights);
  const change = aborting ? { shards, runIds: {}, move: null } : { shards, runIds: {}, move: null, ring };
  yield* publishChange(
    change,
    aborting ? 'all keys are back where they were' : `all keys of move ${move.id} have arrived`,
  );
  return DONE;
}

/** Shards whose weight changes with the end of the move. */
export function reweighed({ topology }: World, weights: Readonly<Record<string, number>>): TopologyShard[] {
  return topology.shards.flatMap(shard => {
    const weight = weights[shard.name] ?? 0;
    return weight === shard.weight ? [] : [{ ...shard, weight }];
  });
}

/** Shards that will own nothing once the move is over. */
function leavingShards(world: World): TopologyShard[] {
  const { aborting, weights } = moveOf(world);
  return world.topology.shards.filter(({ name, weight }) => (aborting ? weight : (weights[name] ?? 0)) === 0);
}

/** What a shard still holds, or why that is not known; null: nothing. */
export function* heldBy(world: World, name: string): Procedure<string | null> {
  // It was never formed, as when a move is taken back at once.
  if (nodeOf(world, shardOf(world, name).primary).runId === null) return null;
  const why = whyNotReady(world, name);
  if (why !== null) return why;
  const { target } = sideNow(world, name);
  const databases = yield* databasesOf(target);
  if (typeof databases === 'string') return databases;
  for (const database of databases) {
    let cursor = '0';
    do {
      const page = yield* scanPage(target, database, cursor, PAGE_KEYS);
      if (typeof page === 'string') return page;
      if (page.keys.length > 0) {
        const some = page.keys.slice(0, NAMED).map(key => `"${named(key)}"`);
        return `${LEFT_OVER}${name} holds keys that belong elsewhere, such as ${some.join(', ')} in database ${database}`;
      }
      cursor = page.cursor;
    } while (cursor !== '0');
  }
  return null;
}

/** What begins a text about keys in the wrong place, where only a person can help. */
export const LEFT_OVER = 'left over: ';
