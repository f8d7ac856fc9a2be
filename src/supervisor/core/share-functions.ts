import { confirm } from './confirm.ts';
import type { Reply } from './effect.ts';
import { MARK_LIBRARY } from './mark.ts';
import { callBinary, type Procedure } from './procedure.ts';
import { sideNow } from './pull-keys.ts';
import { failureOf, isFailure, replyAt, textOf } from './replies.ts';
import type { World } from './world.ts';

/**
 * A shard that was formed for a move gets the function libraries that the others have, before it gets keys: a function
 * runs where its keys are. The mark is each shard's own and stays out of it.
 */
const LIMIT_MS = 1000;
/** Somebody may be loading or deleting libraries meanwhile. */
const TRIES = 3;

/** Null: the taker has what the giver has. */
export function* shareFunctions(world: World, giver: string, taker: string): Procedure<string | null> {
  for (let tried = 0; tried < TRIES; tried++) {
    const theirs = yield* librariesOf(world, giver);
    if (typeof theirs === 'string') return theirs;
    const mine = yield* librariesOf(world, taker);
    if (typeof mine === 'string') return mine;
    const commands = [
      ...[...mine.keys()].filter(name => !theirs.has(name)).map(name => ['FUNCTION', 'DELETE', name]),
      ...[...theirs]
        .filter(([name, code]) => mine.get(name) !== code)
        .map(([, code]) => ['FUNCTION', 'LOAD', 'REPLACE', code]),
    ];
    if (commands.length === 0) return null;
    const { target } = sideNow(world, taker);
    const loaded = yield* confirm(world, taker, target, commands);
    if (!loaded.ok) return loaded.why;
    const refused = loaded.replies.find(isFailure);
    if (isFailure(refused)) return `${taker} does not take the functions of ${giver}: ${refused.error}`;
  }
  return `the functions of ${giver} and ${taker} are being changed`;
}

/** Code by name; as bytes. */
function* librariesOf(world: World, shard: string): Procedure<Map<string, string> | string> {
  const { target } = sideNow(world, shard);
  const outcome = yield* callBinary(target, [['FUNCTION', 'LIST', 'WITHCODE']], LIMIT_MS);
  const reply = replyAt(outcome, 0);
  if (!Array.isArray(reply)) return `${target.nodeId}: ${failureOf(outcome) ?? 'it lists no functions'}`;
  const found = new Map<string, string>();
  for (const library of reply as readonly Reply[]) {
    const [name, code] = [textOf(library, 'library_name'), textOf(library, 'library_code')];
    if (name !== null && code !== null && name !== MARK_LIBRARY) found.set(name, code);
  }
  return found;
}
