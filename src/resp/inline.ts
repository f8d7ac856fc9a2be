/**
 * Splits an inline command (a line typed by a person, a health check) into words as Redis does.
 *
 * Source of the grammar: `sdssplitargs` in Redis's sds.c: double quotes with \n \r \t \b \a \xHH escapes, single quotes
 * with \' only, a closing quote must be followed by space or the end. Null: quotes that do not match.
 */
export function splitInline(line: Buffer): Buffer[] | null {
  const words: Buffer[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && isSpace(line[at] as number)) at += 1;
    if (at >= line.length || line[at] === 0) return words;
    const word: number[] = [];
    let quote = 0;
    for (;;) {
      const byte = at < line.length ? (line[at] as number) : 0;
      if (quote !== 0) {
        if (byte === 0) return null;
        if (quote === DOUBLE && byte === BACKSLASH) {
          at = readEscape(line, at, word);
          continue;
        }
        if (quote === SINGLE && byte === BACKSLASH && line[at + 1] === SINGLE) {
          word.push(SINGLE);
          at += 2;
          continue;
        }
        at += 1;
        if (byte === quote) {
          if (at < line.length && !isSpace(line[at] as number)) return null;
          break;
        }
        word.push(byte);
        continue;
      }
      if (byte === 0 || byte === 0x20 || (byte >= 0x09 && byte <= 0x0d && byte !== 0x0b && byte !== 0x0c)) break;
      if (byte === DOUBLE || byte === SINGLE) quote = byte;
      else word.push(byte);
      at += 1;
    }
    words.push(Buffer.from(word));
  }
}

const DOUBLE = 0x22;
const SINGLE = 0x27;
const BACKSLASH = 0x5c;

/** C's `isspace` in the C locale. */
function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

/** Appends what stands behind a backslash inside double quotes; returns where to read on. */
function readEscape(line: Buffer, at: number, word: number[]): number {
  const next = line[at + 1];
  if (next === 0x78 && isHex(line[at + 2]) && isHex(line[at + 3])) {
    word.push(Number.parseInt(line.toString('latin1', at + 2, at + 4), 16));
    return at + 4;
  }
  if (next === undefined) {
    word.push(BACKSLASH);
    return at + 1;
  }
  word.push(ESCAPES.get(next) ?? next);
  return at + 2;
}

const ESCAPES = new Map([
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
  [0x62, 0x08],
  [0x61, 0x07],
]);

function isHex(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}
