/** Runs a program to its end, as a person at a shell would, and keeps what it said. */
import { spawn } from 'node:child_process';

export interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** Bytes for the program's standard input, which is closed after them. */
  input?: string | Buffer;
  /** Pieces written one by one, each once `ready` says so of what was put out since the piece before; input stays open. */
  typed?: { pieces: readonly string[]; ready: (since: string) => boolean };
  /** The program is killed after so long. */
  limitMs?: number;
  /** A signal sent after so long, for programs that run until they are interrupted. */
  interrupt?: { signal: NodeJS.Signals; afterMs: number };
}

/**
 * The person's own without what would decide more than it should: the shell that `script` starts, how a terminal and numbers
 * look, and what their redis-cli remembers, prefers or logs in with.
 */
function environment(): NodeJS.ProcessEnv {
  const { REDISCLI_AUTH: _, ...own } = process.env;
  const noFile = { REDISCLI_HISTFILE: '/dev/null', REDISCLI_RCFILE: '/dev/null' };
  return { ...own, ...noFile, TERM: 'dumb', SHELL: '/bin/sh', LC_ALL: 'C.UTF-8' };
}

/** Resolves when the program has ended; rejects only when it could not be started or overran its limit. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: environment() });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    const { typed } = options;
    let typedPieces = 0;
    let since = '';
    child.stdout.on('data', (piece: Buffer) => {
      out.push(piece);
      since += piece.toString('latin1');
      if (typed === undefined || typedPieces >= typed.pieces.length || !typed.ready(since)) return;
      child.stdin.write(typed.pieces[typedPieces] as string);
      typedPieces += 1;
      since = '';
    });
    child.stderr.on('data', (piece: Buffer) => err.push(piece));
    child.stdin.on('error', () => {});
    const said = () => ({
      stdout: Buffer.concat(out).toString('latin1'),
      stderr: Buffer.concat(err).toString('latin1'),
    });
    const limitMs = options.limitMs ?? 60_000;
    const timers = [
      setTimeout(() => {
        child.kill('SIGKILL');
        reject(new Error(`${program} ${args.join(' ')} did not end within ${limitMs} ms: ${JSON.stringify(said())}`));
      }, limitMs),
    ];
    const { interrupt } = options;
    if (interrupt !== undefined) timers.push(setTimeout(() => child.kill(interrupt.signal), interrupt.afterMs));
    child.once('error', reject);
    child.once('close', status => {
      for (const timer of timers) clearTimeout(timer);
      resolve({ status, ...said() });
    });
    if (typed === undefined) child.stdin.end(options.input ?? '');
  });
}
