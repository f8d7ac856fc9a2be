/**
 * `ringside supervisor`: runs until a signal ends it.
 */
import { createLog } from '../base/log.ts';
import { loadConfig } from '../config/load.ts';
import { runSupervisor } from '../supervisor/supervisor.ts';
import { requireSettingsFile } from './settings-file.ts';

/** Never gives a status: the process ends here, so that nothing left over keeps it alive. */
export async function supervisor(options: { config: string }): Promise<never> {
  requireSettingsFile(options.config);
  const running = await runSupervisor(loadConfig(options.config), createLog('supervisor'));
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
  });
}
