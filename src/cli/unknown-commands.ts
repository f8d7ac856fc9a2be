import { CommandTable } from '../commands/table.ts';
import { nearest } from '../config/mistakes.ts';

/**
 * Names in `proxy.deny` that no command has: denied in vain, and most likely misspelt.
 *
 * A warning, not a mistake, because nodes may have commands that the table as shipped does not list.
 */
export function unknownCommandWarnings(deny: readonly string[]): string[] {
  const table = CommandTable.fromSnapshot();
  const known = table.rows.map(row => row.name.toUpperCase());
  return deny
    .filter(name => table.byName(name) === null)
    .map(name => {
      const near = nearest(name, known);
      const remedy = near === null ? 'right only for one of a module that the nodes load' : `did you mean ${near}?`;
      return `proxy.deny: ${name} is no command of Redis: ${remedy}`;
    });
}
