/**
 * Patterns as `KEYS` has them: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
 *
 * Matches bytes where they lie, by the same steps as `stringmatchlen` in Redis's util.c, with its odd corners: a bracket
 * that is never closed ends with the pattern, and a range may stand the wrong way round.
 */

const STAR = 0x2a;
const QUESTION = 0x3f;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const CARET = 0x5e;
const DASH = 0x2d;
const BACKSLASH = 0x5c;

/** Whether bytes[from, to) match the whole of `pattern`. */
export function matchesGlob(pattern: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  let p = 0;
  let at = from;
  /** Where to go on when the part behind the last star does not fit here; -1: there was no star. */
  let starP = -1;
  let starAt = 0;
  for (;;) {
    if (p < pattern.length && pattern[p] === STAR) {
      while (p + 1 < pattern.length && pattern[p + 1] === STAR) p += 1;
      p += 1;
      if (p === pattern.length) return true;
      starP = p;
      starAt = at;
      continue;
    }
    if (p === pattern.length && at === to) return true;
    if (p < pattern.length && at < to) {
      const next = stepOver(pattern, p, bytes[at] as number);
      if (next > 0) {
        p = next;
        at += 1;
        continue;
      }
    }
    if (starP < 0 || starAt >= to) return false;
    starAt += 1;
    at = starAt;
    p = starP;
  }
}

/** Where the pattern goes on behind the one element at `p`, if it fits this byte; 0: it does not. */
function stepOver(pattern: Uint8Array, p: number, byte: number): number {
  switch (pattern[p]) {
    case QUESTION:
      return p + 1;
    case OPEN:
      return stepOverClass(pattern, p + 1, byte);
    case BACKSLASH:
      if (p + 1 < pattern.length) return pattern[p + 1] === byte ? p + 2 : 0;
      return byte === BACKSLASH ? p + 1 : 0;
    default:
      return pattern[p] === byte ? p + 1 : 0;
  }
}

function stepOverClass(pattern: Uint8Array, start: number, byte: number): number {
  let p = start;
  const inverted = pattern[p] === CARET;
  if (inverted) p += 1;
  let matched = false;
  for (; p < pattern.length && pattern[p] !== CLOSE; p += 1) {
    if (pattern[p] === BACKSLASH && pattern.length - p >= 2) {
      p += 1;
      if (pattern[p] === byte) matched = true;
    } else if (pattern.length - p >= 3 && pattern[p + 1] === DASH) {
      const low = Math.min(pattern[p] as number, pattern[p + 2] as number);
      const high = Math.max(pattern[p] as number, pattern[p + 2] as number);
      p += 2;
      if (byte >= low && byte <= high) matched = true;
    } else if (pattern[p] === byte) {
      matched = true;
    }
  }
  if (matched === inverted) return 0;
  return Math.min(p + 1, pattern.length);
}
