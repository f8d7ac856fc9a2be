import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** Before system tests: dist/ is what the sources make. */
export async function setup(): Promise<void> {
  const script = fileURLToPath(new URL('../../scripts/build.mjs', import.meta.url));
  await promisify(execFile)(process.execPath, [script]).catch((error: { stderr?: string }) => {
    throw new Error(`dist/ could not be built:\n${error.stderr ?? String(error)}`);
  });
}
