/**
 * Which commands wait, and which of their arguments says for how long.
 */
import type { Arguments } from '../resp/arguments.ts';
import { blockAt } from './keys.ts';
import { KeyFinder, Route } from './routes.ts';
import type { CommandRow } from './row.ts';

/** Whether this call may wait for data. XREAD and XREADGROUP do with BLOCK only, the others always. */
export function blocks(row: CommandRow, args: Arguments): boolean {
  if (row.route !== Route.Blocking) return false;
  return row.finder !== KeyFinder.Streams || blockAt(args) > 0;
}

/**
 * The index of the argument that holds the timeout of a blocking call (0 means for ever in all of them); -1 when it has
 * none or is a module's, whose form is not known. Its unit: see `timeoutUnitMs`.
 */
export function timeoutAt(row: CommandRow, args: Arguments): number {
  if (row.finder === KeyFinder.Streams) return blockAt(args);
  switch (row.name) {
    case 'blmpop':
    case 'bzmpop':
      return 1;
    case 'wait':
      return 2;
    case 'blpop':
    case 'brpop':
    case 'brpoplpush':
    case 'blmove':
    case 'bzpopmin':
    case 'bzpopmax':
      return args.count - 1;
    default:
      return -1;
  }
}

/** Milliseconds per unit of the timeout: 1000 where it is a double of seconds, 1 where it is an integer of ms. */
export function timeoutUnitMs(row: CommandRow): number {
  return row.finder === KeyFinder.Streams || row.name === 'wait' ? 1 : 1000;
}
