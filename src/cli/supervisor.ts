/**
 * `ringside supervisor`: runs until a signal ends it.
 */
import { createLog } from '../base/log.ts';
import type { HostPort } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { runSupervisor } from '../supervisor/supervisor.ts';
import { CommandFailure, USAGE } from './failure.ts';
import { requireSettingsFile } from './settings-file.ts';

export interface SupervisorOptions {
  readonly config: string;
  /** `HOST:PORT`, instead of `supervisor.listen`: several supervisors may share one settings file. */
  readonly listen?: string;
  /** The URL at which the others reach this one. */
  readonly advertise?: string;
}

/** Never gives a status: the process ends here, so that nothing left over keeps it alive. */
export async function supervisor(options: SupervisorOptions): Promise<never> {
  requireSettingsFile(options.config);
  const settings = loadConfig(options.config);
  const listen = options.listen === undefined ? settings.supervisor.listen : readAddress(options.listen);
  const config = { ...settings, supervisor: { ...settings.supervisor, listen } };
  const advertise = options.advertise === undefined ? null : readUrl(options.advertise);
  const running = await runSupervisor(config, createLog('supervisor'), advertise);
  let isEnding = false;
  return new Promise(() => {
    const end = (status: number) => {
      // Whoever asks twice does not want to wait.
      if (isEnding) process.exit(status);
      isEnding = true;
      running.close().then(() => process.exit(0));
    };
    process.on('SIGTERM', () => end(143));
    process.on('SIGINT', () => end(130));
    endWithParent(() => end(143));
  });
}

/** Who started this process may hold a channel to it: without that process, nobody would end this one. */
function endWithParent(end: () => void): void {
  if (process.send === undefined) return;
  // The parent may be gone before this line is reached: then no event tells of it.
  if (process.connected) process.once('disconnect', end);
  else setImmediate(end);
  process.channel?.unref();
}

function readAddress(text: string): HostPort {
  const [, v6, host, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const name = v6 ?? host;
  if (name !== undefined && port >= 1 && port <= 65_535) return { host: name, port };
  throw new CommandFailure(`--listen ${text}: write it as HOST:PORT`, USAGE);
}

function readUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && url.pathname === '/') return url.origin;
  throw new CommandFailure(`--advertise ${text}: write it as http://HOST:PORT, without a path`, USAGE);
}
