import { execFile } from 'node:child_process';
import { EnvironmentError } from '../base/environment-error.ts';

/** The oldest Redis whose replies and commands Ringside knows. */
const OLDEST = [7, 0];

const INSTALL =
  'install it (apt-get install redis-server, or https://redis.io/docs/latest/operate/oss_and_stack/install/)';

/** The version of the redis-server on the PATH, such as `7.0.15`; throws when there is none or it is too old. */
export async function redisServerVersion(): Promise<string> {
  const output = await new Promise<string>((resolve, reject) => {
    execFile('redis-server', ['--version'], { timeout: 10_000 }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else if (error.code === 'ENOENT') reject(new EnvironmentError(`redis-server is not on the PATH: ${INSTALL}`));
      else reject(new EnvironmentError(`redis-server --version failed (${error.message.trim()}): ${INSTALL}`));
    });
  });
  const version = /\bv=(\d+)\.(\d+)\.(\S+)/.exec(output);
  if (version === null) {
    throw new EnvironmentError(`redis-server --version says "${output.trim()}", no version of Redis: ${INSTALL}`);
  }
  const [major, minor] = [Number(version[1]), Number(version[2])];
  const tooOld = major < (OLDEST[0] as number) || (major === OLDEST[0] && minor < (OLDEST[1] as number));
  const name = `${major}.${minor}.${version[3]}`;
  if (tooOld)
    throw new EnvironmentError(`redis-server is ${name}, Ringside needs ${OLDEST.join('.')} or newer: ${INSTALL}`);
  return name;
}
