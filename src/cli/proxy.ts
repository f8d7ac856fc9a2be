/**
 * `ringside proxy`, where it was written in another way than the usual one, and `--replace`.
 */
import { askToReplace, controlPath } from '../admin/control-socket.ts';
import { runProxyParent } from '../admin/proxy-parent.ts';
import { loadConfig } from '../config/load.ts';
import { CommandFailure, NOT_NOW } from './failure.ts';
import { requireSettingsFile } from './settings-file.ts';

export async function proxy(options: { config: string; replace?: boolean }): Promise<number> {
  requireSettingsFile(options.config);
  if (options.replace !== true) return process.exit(await runProxyParent(options.config));
  // Mistakes are told here, where the person is, before the running proxy is asked to read the same file.
  const { stateDir } = loadConfig(options.config).proxy;
  const result = await askToReplace(stateDir).catch((error: Error) => {
    throw new CommandFailure(`the running proxy cannot be reached: ${error.message}`, NOT_NOW);
  });
  if (result === null) {
    const missing = `no proxy of ${options.config} runs here (nobody listens on ${controlPath(stateDir)})`;
    throw new CommandFailure(`${missing}: start one with "ringside proxy --config ${options.config}"`, NOT_NOW);
  }
  if (result.status !== 0) throw new CommandFailure(result.line, result.status);
  process.stdout.write(`${result.line}\n`);
  return 0;
}
