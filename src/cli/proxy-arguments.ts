/**
 * The usual ways to write `ringside proxy`, understood without the command line's parser.
 *
 * The proxy's parent runs as long as the proxy does, and the parser would cost it 3 MB for these few words. Every other
 * way to write it, right or wrong, is left to the parser.
 */

/** Where settings are looked for unless a file is named. */
export const DEFAULT_FILE = 'ringside.yaml';

/** The settings' file of a plain `proxy [--config FILE]`; null for anything else. */
export function proxyFile(words: readonly string[]): string | null {
  const [command, option, value] = words;
  if (command !== 'proxy') return null;
  if (words.length === 1) return DEFAULT_FILE;
  if (words.length === 2) return /^--config=(.+)$/.exec(option as string)?.[1] ?? null;
  const isPlain = words.length === 3 && (option === '--config' || option === '-c');
  return isPlain && !(value as string).startsWith('-') ? (value as string) : null;
}
