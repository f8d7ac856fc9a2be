import { type Logger, pino } from 'pino';

export type { Logger };

/**
 * One JSON line per event on standard error (standard output is for what a command was asked for).
 * `RINGSIDE_LOG` sets the level: trace, debug, info (default), warn, error, silent.
 */
export function createLog(role: string): Logger {
  return pino(
    { level: process.env['RINGSIDE_LOG'] ?? 'info', base: { role, pid: process.pid } },
    pino.destination({ fd: 2, sync: true }),
  );
}
