import { currentRoute } from '../../topology/move.ts';
import { DROP_KEYS, evalCommand } from '../../topology/pull.ts';
import { named } from './large-keys.ts';
import { hasSet } from './prepare-portion.ts';
import { callBinary, note, type Procedure } from './procedure.ts';
import { moveOf, sideNow, whyNotReady } from './pull-keys.ts';
import { failureOf } from './replies.ts';
import { databasesOf, scanPage } from './scan-keys.ts';
import { keysOfPortion, type Walked } from './walk-portion.ts';
import type { World } from './world.ts';

/**
 * M6, last paragraph: a set of pulled keys is gone while its portion is under way.
 *
 * After a close that was not published, the giver has none of the keys any more, and the portion has arrived. Else the set
 * was evicted: nobody can tell any more what of the giver's keys is older than what the taker has, so they count as evicted.
 * On a node that evicts no such keys it was something else, which a person should know before anything is dropped.
 */
const PAGE_KEYS = 1000;
const LIMIT_MS = 1000;

export function* dropEvicted(world: World, isAccepted: boolean, onDropped: (keys: number) => void): Procedure<Walked> {
  const { current } = moveOf(world);
  const route = currentRoute(moveOf(world));
  if (route === null || current === null) return { kind: 'again', why: 'no portion is under way' };
  const { giver, taker } = route;
  const why = whyNotReady(world, giver) ?? whyNotReady(world, taker);
  if (why !== null) return { kind: 'again', why };
  const sets = [yield* hasSet(world, taker, current.set)];
  if (current.thereSet !== null) sets.push(yield* hasSet(world, giver, current.thereSet));
  if (!sets.includes(false)) return { kind: 'again', why: 'the set of pulled keys is there' };
  const home = [giver, taker].find(name => isEvicting(world, name));
  const side = sideNow(world, giver);
  const has = keysOfPortion(world);
  for (;;) {
    let found = 0;
    const databases = yield* databasesOf(side.target);
    if (typeof databases === 'string') return { kind: 'again', why: databases };
    for (const database of databases) {
      let cursor = '0';
      do {
        const changed = whyNotReady(world, giver);
        if (changed !== null || sideNow(world, giver).target.runId !== side.target.runId)
          return { kind: 'again', why: changed ?? `${giver} has another primary` };
        if (moveOf(world).current?.set !== current.set) return { kind: 'again', why: 'another portion is under way' };
        const page = yield* scanPage(side.target, database, cursor, PAGE_KEYS);
        if (typeof page === 'string') return { kind: 'again', why: page };
        cursor = page.cursor;
        const keys = page.keys.filter(key => has(key, database));
        if (keys.length === 0) continue;
        if (home === undefined && !isAccepted) {
          const such = `such as "${named(keys[0] ?? '')}" in database ${database}`;
          return {
            kind: 'refused',
            why: `the set of pulled keys is gone, though no node evicts keys: what ${giver} still has of the portion (${such}) may be older than what ${taker} has, and is dropped if the move is resumed`,
          };
        }
        const dropped = yield* callBinary(side.target, [evalCommand(DROP_KEYS, keys, [String(database)])], LIMIT_MS);
        if (failureOf(dropped) !== null) return { kind: 'again', why: `${giver}: ${failureOf(dropped)}` };
        found += keys.length;
        onDropped(keys.length);
      } while (cursor !== '0');
    }
    if (found === 0) return { kind: 'empty', giver: side };
    const text = `the set of pulled keys was evicted: ${found} keys that ${giver} still had of the portion count as evicted as well`;
    yield* note('error', 'move', text, { shard: giver });
  }
}

function isEvicting(world: World, name: string): boolean {
  const policy = world.node(sideNow(world, name).target.nodeId).report?.maxMemoryPolicy;
  return policy?.startsWith('allkeys-') === true;
}
