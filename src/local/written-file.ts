import { renameSync, writeFileSync } from 'node:fs';

/** Replaces a file whole: a reader sees the old text or the new one, never a part. Readable by its owner only. */
export function writeWhole(file: string, text: string): void {
  const aside = `${file}.${process.pid}`;
  writeFileSync(aside, text, { mode: 0o600 });
  renameSync(aside, file);
}
