/**
 * How another process reaches the proxy that runs: a Unix socket beside what the proxy remembers.
 *
 * It carries one request, `replace`, and its result; a signal could carry the request but no answer. Whoever may write
 * to the directory may use it.
 */
import { chmodSync, statSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AS_UMASK, makeDirectory } from '../base/directory.ts';

/** What became of a request. */
export interface ControlResult {
  /** What the asking command ends with. */
  readonly status: number;
  /** One line for people. */
  readonly line: string;
}

const REQUEST = 'replace\n';
/** The system's bound for a socket's path is 107 bytes and a terminating zero. */
const LONGEST_PATH = 107;

/** Where the socket of the proxy with this state directory lies. */
export function controlPath(stateDir: string): string {
  const path = join(stateDir, 'proxy.sock');
  if (Buffer.byteLength(path) <= LONGEST_PATH) return path;
  return join(tmpdir(), `ringside-proxy-${shortened(stateDir)}.sock`);
}

/** FNV-1a: node:crypto would take a tenth of the parent's own memory for this. */
function shortened(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16);
}

/** Listens for requests; throws where that is not possible, with the reason in one line. */
export async function listenForControl(stateDir: string, replace: () => Promise<ControlResult>): Promise<Server> {
  const path = controlPath(stateDir);
  await makeDirectory(stateDir, AS_UMASK);
  const server = createServer(socket => serve(socket, replace));
  try {
    await listen(server, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    if (!(await isDeserted(path))) throw new Error(`${path} is another proxy's`);
    unlinkSync(path);
    await listen(server, path);
  }
  chmodSync(path, 0o600);
  return server;
}

/** Has the running proxy replace its workers; null when none runs with this state directory. */
export function askToReplace(stateDir: string): Promise<ControlResult | null> {
  return new Promise((resolve, reject) => {
    const socket = connect(controlPath(stateDir));
    let text = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(REQUEST));
    socket.on('data', (piece: string) => {
      text += piece;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(null);
      else reject(error);
    });
    socket.on('end', () => {
      if (text === '') resolve({ status: 1, line: 'the proxy ended before it had replaced its workers' });
      else resolve(JSON.parse(text) as ControlResult);
    });
  });
}

/** True for a socket on which nobody listens any more: a process that is killed leaves its file behind. */
export function isDeserted(path: string): Promise<boolean> {
  // A file that is no socket refuses as well, and is somebody's.
  if (statSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return Promise.resolve(false);
  return new Promise(resolve => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}

function serve(socket: Socket, replace: () => Promise<ControlResult>): void {
  let text = '';
  socket.setEncoding('utf8');
  // Whoever asked may leave before the answer.
  socket.on('error', () => socket.destroy());
  socket.on('data', (piece: string) => {
    text += piece;
    if (text === REQUEST) void replace().then(result => socket.end(JSON.stringify(result)));
    else if (!REQUEST.startsWith(text)) socket.destroy();
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
