/**
 * The program's commands as a person types them, with what they print.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { program } from '../../support/cluster.ts';

/** The build that is put to the test. */
export const PROGRAM = process.env['RINGSIDE_PROGRAM'] ?? program;

export interface Printed {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a command to its end, without a terminal; `directory` is where a person would type it. */
export async function type(directory: string, ...words: string[]): Promise<Printed> {
  const child = spawn(process.execPath, [PROGRAM, ...words], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const [status] = (await once(child, 'close')) as [number | null];
  clearTimeout(timer);
  const shown = process.env['RINGSIDE_SHOW_COMMANDS'];
  if (shown !== undefined) process.stdout.write(`$ ringside ${words.join(' ')}\n${out}${err}[${status}]\n\n`);
  return { status, out, err };
}

/** As `type`, for a command that must succeed; what it prints. */
export async function mustType(directory: string, ...words: string[]): Promise<string> {
  const { status, out, err } = await type(directory, ...words);
  if (status !== 0) throw new Error(`ringside ${words.join(' ')} ended with ${status}: ${err}${out}`);
  return out;
}
