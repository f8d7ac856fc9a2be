import { existsSync } from 'node:fs';
import { CommandFailure, USAGE } from './failure.ts';
import { DEFAULT_FILE } from './proxy-arguments.ts';

/**
 * The settings file of a command, for which the person may have named none.
 */

/** What `ringside up` writes when it is started here. */
const LOCAL_FILE = '.ringside/ringside.yaml';

/** Throws where the file is the one looked for by default and is not there: the person is to name one. */
export function requireSettingsFile(file: string): void {
  if (file !== DEFAULT_FILE || existsSync(DEFAULT_FILE)) return;
  const here = `there is no ${DEFAULT_FILE} here: name a settings file with --config FILE`;
  const made = existsSync(LOCAL_FILE) ? ` ("ringside up" wrote --config ${LOCAL_FILE})` : '';
  throw new CommandFailure(here + made, USAGE);
}
