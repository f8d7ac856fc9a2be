/**
 * How commands end when they do not succeed: one line that says what happened, where, and what to do.
 */

/** A command was called wrongly, or its settings or its machine are not as they must be. */
export const USAGE = 2;
/** The command is right but could not be done now. */
export const NOT_NOW = 1;

/** Ends a command with a line for people and a status. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** Mistakes in settings are told as they are, `FILE:LINE:COLUMN: …`; anything else after the program's name. */
export function tellFailure(error: unknown): number {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  if (name === 'ConfigError') {
    process.stderr.write(`${message}\n`);
    return USAGE;
  }
  // What nobody foresaw is a mistake of the program: its author needs to know where.
  const isForeseen = name === 'CommandFailure' || name === 'EnvironmentError' || isSystemError(error);
  process.stderr.write(`ringside: ${isForeseen ? message : (stack ?? message)}\n`);
  if (error instanceof CommandFailure) return error.status;
  return name === 'EnvironmentError' ? USAGE : NOT_NOW;
}

function isSystemError(error: unknown): boolean {
  return typeof (error as NodeJS.ErrnoException)?.code === 'string';
}
