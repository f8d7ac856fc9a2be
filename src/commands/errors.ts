/**
 * Redis's own words for a command that it does not know or that has the wrong number of arguments.
 *
 * Each function returns the error line without the leading "-" and without CRLF, one character per byte (latin1). The
 * wording is that of `commandCheckExistence` and `commandCheckArity` (server.c, 7.0), C strings included: an argument
 * ends at its first NUL, at most 128 bytes of a text are shown, and line ends become spaces.
 */
import type { Arguments } from '../resp/arguments.ts';
import type { CommandRow } from './row.ts';

const SHOWN_BYTES = 128;

/** For a command whose `CommandTable.resolve` is null; `row` is what `find` gave for it. */
export function unknownError(row: CommandRow | null, args: Arguments): string {
  return row === null ? unknownCommandError(args) : unknownSubcommandError(args);
}

export function unknownCommandError(args: Arguments): string {
  let shown = '';
  for (let i = 1; i < args.count && shown.length < SHOWN_BYTES; i += 1) {
    shown += `'${cString(args, i, SHOWN_BYTES - shown.length)}' `;
  }
  const name = cString(args, 0, SHOWN_BYTES);
  return oneLine(`ERR unknown command '${name}', with args beginning with: ${shown}`);
}

/** For a container with a second argument that is none of its subcommands. */
export function unknownSubcommandError(args: Arguments): string {
  const container = args.text(0).toUpperCase();
  return oneLine(`ERR unknown subcommand '${cString(args, 1, SHOWN_BYTES)}'. Try ${container} HELP.`);
}

/** EXEC that is called wrongly ends the transaction (or says so when there is none). */
export function wrongArityError(row: { readonly name: string }): string {
  const text = `wrong number of arguments for '${row.name}' command`;
  return row.name === 'exec' ? `EXECABORT Transaction discarded because of: ${text}` : `ERR ${text}`;
}

/**
 * Whether an HTTP request has strayed here ("POST …", "Host: …"): Redis closes the connection at once and says nothing,
 * lest a page in a browser make it obey the request's body.
 */
export function isStrayedHttp(args: Arguments): boolean {
  const length = args.lengths[0] as number;
  if (length !== 4 && length !== 5) return false;
  const name = args.text(0).toLowerCase();
  return name === 'post' || name === 'host:';
}

function cString(args: Arguments, index: number, limit: number): string {
  const start = args.starts[index] as number;
  const end = start + Math.min(args.lengths[index] as number, limit);
  const text = args.bytes.toString('latin1', start, end);
  const nul = text.indexOf('\0');
  return nul < 0 ? text : text.slice(0, nul);
}

function oneLine(text: string): string {
  return text.replace(/[\r\n]/g, ' ');
}
