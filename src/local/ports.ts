import { createServer } from 'node:net';
import { EnvironmentError } from '../base/environment-error.ts';
import type { HostPort } from '../config/config.ts';
import { addressText } from './address.ts';
import { reasonOf } from './reason.ts';

/**
 * A port that the local cluster is about to listen on.
 */
export interface WantedPort extends HostPort {
  /** What will listen there, for the message. */
  readonly what: string;
  /** What the person can write to have another port. */
  readonly remedy: string;
}

/** Throws when two want the same port, or somebody else has one; waits up to `patienceMs` for it to be given back. */
export async function checkPorts(wanted: readonly WantedPort[], patienceMs: number): Promise<void> {
  const byPort = new Map<string, WantedPort>();
  for (const port of wanted) {
    const key = addressText(port);
    const other = byPort.get(key);
    if (other !== undefined) {
      throw new EnvironmentError(`${other.what} and ${port.what} would both listen on ${key}: ${port.remedy}`);
    }
    byPort.set(key, port);
  }
  const endMs = performance.now() + patienceMs;
  const problems = await Promise.all(wanted.map(port => checkPort(port, endMs)));
  const problem = problems.find(line => line !== null);
  if (problem !== undefined && problem !== null) throw new EnvironmentError(problem);
}

async function checkPort(port: WantedPort, endMs: number): Promise<string | null> {
  for (;;) {
    const error = await tryListen(port);
    if (error === null) return null;
    const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    if (taken && performance.now() < endMs) {
      await new Promise(resolve => setTimeout(resolve, 25));
      continue;
    }
    const where = `${port.what} cannot listen on ${addressText(port)}`;
    if (!taken) return `${where} (${reasonOf(error)}): ${port.remedy}`;
    const likely = port.port === 6379 ? 'a Redis that runs already?' : 'another process has the port';
    return `${where} (${likely}): ${port.remedy}`;
  }
}

function tryListen(port: HostPort): Promise<Error | null> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', resolve);
    server.listen({ host: port.host, port: port.port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}
