/** Runs the built program to its end, as a person at a shell does, and keeps what it said. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { program } from './cluster.ts';

export interface Ended {
  /** Null when a signal ended it. */
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** `cwd`: where it runs, if not where the tests do. */
export async function runProgram(words: readonly string[], cwd?: string): Promise<Ended> {
  const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
  const child = spawn(process.execPath, [program, ...words], { stdio, ...(cwd === undefined ? {} : { cwd }) });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, out, err };
}
