import type { Arguments } from '../resp/arguments.ts';

/**
 * Reads an argument as the 64-bit integer that Redis takes it for.
 *
 * As strict as `string2ll` in Redis's util.c: no plus sign, no leading zero, no blank, nothing behind the digits. Null:
 * not such a number.
 */
export function integerArgument(args: Arguments, index: number): bigint | null {
  if ((args.lengths[index] as number) > MOST_DIGITS) return null;
  const text = args.text(index);
  if (!/^(?:0|-?[1-9]\d*)$/.test(text)) return null;
  const value = BigInt(text);
  return value >= LEAST && value <= MOST ? value : null;
}

/** A timeout in milliseconds (`getTimeoutFromObjectOrReply` in timeout.c), or Redis's words for what is wrong with it. */
export function timeoutArgument(args: Arguments, index: number): number | string {
  const value = integerArgument(args, index);
  if (value === null) return 'ERR timeout is not an integer or out of range';
  return value < 0n ? 'ERR timeout is negative' : Number(value);
}

/** Argument `index` in lower case, for words that are compared in any case. */
export function wordArgument(args: Arguments, index: number): string {
  return args.text(index).toLowerCase();
}

/** Argument `index` as C reads a string: up to its first NUL. For error texts. */
export function shownArgument(args: Arguments, index: number): string {
  const text = args.text(index);
  const nul = text.indexOf('\0');
  return nul < 0 ? text : text.slice(0, nul);
}

const LEAST = -(2n ** 63n);
const MOST = 2n ** 63n - 1n;
/** Digits of LEAST, its sign included. */
const MOST_DIGITS = 20;
