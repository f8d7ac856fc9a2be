/**
 * `ringside import`: twemproxy's settings made into ours, on disk.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { CommandFailure, USAGE } from './failure.ts';
import { importNutcracker } from './import-nutcracker.ts';

export async function importFile(
  file: string,
  options: { pool?: string; out: string; force?: boolean },
): Promise<number> {
  if (options.out !== '-' && existsSync(options.out) && options.force !== true) {
    throw new CommandFailure(`${options.out} exists: name another with --out, or write over it with --force`, USAGE);
  }
  const { yaml, notes } = importNutcracker(
    readText(file),
    file,
    options.pool === undefined ? {} : { pool: options.pool },
  );
  if (options.out === '-') process.stdout.write(yaml);
  else writeText(options.out, yaml);
  for (const note of notes) process.stderr.write(`note: ${note}\n`);
  if (options.out !== '-') process.stdout.write(`${options.out}: written; next: ringside check ${options.out}\n`);
  return 0;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'there is no such file' : code;
    throw new CommandFailure(`${file} cannot be read (${reason})`, USAGE);
  }
}

function writeText(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code;
    throw new CommandFailure(`${file} cannot be written (${reason}): name another file with --out`, USAGE);
  }
}
