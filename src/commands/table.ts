/**
 * All commands there are: Redis's own table as shipped or as a node told it, with Ringside's rows added.
 */
import type { Arguments } from '../resp/arguments.ts';
import { type CommandReply, CommandReplyError, type CommandReplyValue } from './command-reply.ts';
import { NameIndex } from './name-index.ts';
import { OWN_COMMANDS, OWN_SUBCOMMANDS } from './own.ts';
import { containerOf } from './routes.ts';
import { CommandRow } from './row.ts';
import snapshot from './snapshot.json' with { type: 'json' };

export class CommandTable {
  #byBytes: NameIndex<CommandRow>;
  #byName: Map<string, CommandRow>;
  #rows: readonly CommandRow[];

  private constructor(rows: readonly CommandRow[]) {
    this.#rows = rows;
    this.#byBytes = new NameIndex(rows);
    this.#byName = named(rows);
  }

  /** The table of the Redis that the snapshot was taken from. */
  static fromSnapshot(): CommandTable {
    return new CommandTable(rowsOf(snapshot as unknown as CommandReply));
  }

  /** Every command, in no order; a container's subcommands are in its row. */
  get rows(): readonly CommandRow[] {
    return this.#rows;
  }

  /** The row of the command's first argument, in any case; null when there is no such command. */
  find(args: Arguments): CommandRow | null {
    return this.#byBytes.find(args.bytes, args.starts[0] as number, args.lengths[0] as number);
  }

  /** The row of the container's subcommand in argument 1; null when the row is no container or has none such. */
  subcommand(row: CommandRow, args: Arguments): CommandRow | null {
    if (row.subcommands === null || args.count < 2) return null;
    return row.subcommands.find(args.bytes, args.starts[1] as number, args.lengths[1] as number);
  }

  /**
   * The row that the arguments call, subcommand included, as Redis looks it up; null: answer `unknownError`. A
   * container sent alone is found as itself (and mostly fails for its arity).
   */
  resolve(args: Arguments): CommandRow | null {
    const row = this.find(args);
    return row === null || row.subcommands === null || args.count < 2 ? row : this.subcommand(row, args);
  }

  /** By a name people write, in any case: "get", "client|id", "CONFIG SET". */
  byName(name: string): CommandRow | null {
    return this.#byName.get(name.toLowerCase().replace(' ', '|')) ?? null;
  }

  /**
   * Takes a node's own COMMAND reply (as RESP2 decodes it) for the truth; routes are ours as before. Rows already
   * handed out stay valid as they are. Throws CommandReplyError, and changes nothing, when the reply is not Redis 7's.
   */
  replaceFrom(reply: unknown): void {
    if (!Array.isArray(reply) || reply.length === 0)
      throw new CommandReplyError('COMMAND reply: not a list of commands');
    const rows = rowsOf(reply as CommandReply);
    this.#byBytes = new NameIndex(rows);
    this.#byName = named(rows);
    this.#rows = rows;
  }
}

/** Ringside's own rows win over a node's of the same name: what the proxy carries out is what it must describe. */
function rowsOf(reply: CommandReply): CommandRow[] {
  const rows = new Map<string, CommandRow>();
  for (const one of reply) {
    const row = rowOf(one);
    rows.set(row.name, row);
  }
  for (const one of OWN_COMMANDS) {
    const row = new CommandRow(one);
    rows.set(row.name, row);
  }
  return [...rows.values()];
}

function rowOf(reply: CommandReplyValue): CommandRow {
  const row = new CommandRow(reply);
  const extra = OWN_SUBCOMMANDS.filter(own => own.container === containerOf(row.name)).map(own => own.row);
  return extra.length === 0 ? row : new CommandRow(reply, extra);
}

function named(rows: readonly CommandRow[]): Map<string, CommandRow> {
  const map = new Map<string, CommandRow>();
  for (const row of rows) {
    map.set(row.name, row);
    for (const child of row.subcommandRows) map.set(child.name, child);
  }
  return map;
}
