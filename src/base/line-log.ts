import { writeSync } from 'node:fs';

/**
 * Log lines of the proxy's processes: one JSON line per event, in the form of the supervisor's logger.
 *
 * That logger costs 8 MB of resident memory in every process that loads it. A sidecar stands beside each application, in
 * two processes, for a few lines a day: so they write these lines themselves.
 */
export interface Log {
  info(fields: Fields | string, message?: string): void;
  warn(fields: Fields | string, message?: string): void;
  error(fields: Fields | string, message?: string): void;
}

/** What a line says besides its message, for programs. */
export type Fields = Readonly<Record<string, unknown>>;

const LEVELS: Readonly<Record<string, number>> = {
  trace: 10,
  debug: 20,
  info: 30,
  warn: 40,
  error: 50,
  fatal: 60,
  silent: 99,
};

/** Writes on standard error; `RINGSIDE_LOG` sets the level: trace, debug, info (default), warn, error, silent. */
export class LineLog implements Log {
  readonly #least = LEVELS[process.env['RINGSIDE_LOG'] ?? 'info'] ?? 30;
  readonly #role: string;

  constructor(role: string) {
    this.#role = role;
  }

  info(fields: Fields | string, message?: string): void {
    this.#write(30, fields, message);
  }

  warn(fields: Fields | string, message?: string): void {
    this.#write(40, fields, message);
  }

  error(fields: Fields | string, message?: string): void {
    this.#write(50, fields, message);
  }

  #write(level: number, fields: Fields | string, message: string | undefined): void {
    if (level < this.#least) return;
    const about = typeof fields === 'string' ? {} : fields;
    const msg = typeof fields === 'string' ? fields : message;
    const line = JSON.stringify({ level, time: Date.now(), role: this.#role, pid: process.pid, ...about, msg });
    try {
      writeSync(2, `${line}\n`);
    } catch {
      // Whoever read standard error is gone or does not keep up; serving goes on without a word.
    }
  }
}
