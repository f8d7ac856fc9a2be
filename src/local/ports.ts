import { connect, createServer } from 'node:net';
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
    return `${where} (${await holderOf(port)}): ${port.remedy}`;
  }
}

function tryListen(port: HostPort): Promise<Error | null> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', resolve);
    server.listen({ host: port.host, port: port.port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

/**
 * Who has a taken port, in words. Where nobody listens it is a connection's own port, in use or in TIME-WAIT: the system
 * keeps it for a minute from everybody who wants to listen there, the node or the proxy as much as this look.
 */
async function holderOf(port: HostPort): Promise<string> {
  if (!(await isListenedOn(port)))
    return 'nobody listens there, but a connection has the port or has just given it back; wait a minute, or take another';
  return port.port === 6379 ? 'a Redis that runs already?' : 'another process has the port';
}

function isListenedOn(port: HostPort): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host: port.host, port: port.port });
    const end = (listens: boolean): void => {
      socket.destroy();
      resolve(listens);
    };
    socket.setTimeout(CONNECT_LIMIT_MS, () => end(true));
    socket.once('connect', () => end(true));
    socket.once('error', error => end((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED'));
  });
}

/** Who listens and does not accept has a full queue: that is somebody, too. */
const CONNECT_LIMIT_MS = 500;
