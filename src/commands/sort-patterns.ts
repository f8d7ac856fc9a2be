/**
 * The keys that SORT reaches through its BY and GET patterns, which are made only while it runs.
 *
 * On several shards it can be allowed only when every such key is sure to lie where the sorted key lies: when pattern
 * and key carry the same hash tag. (Redis Cluster refuses the patterns altogether.)
 */
import type { Arguments } from '../resp/arguments.ts';
import { isWord, type KeyPositions } from './keys.ts';

/** Writes the indices of the BY and GET patterns that look up other keys into `out`; returns how many there are. */
export function sortPatterns(args: Arguments, out: KeyPositions): number {
  out.count = 0;
  for (let i = 2; i < args.count; i += 1) {
    if (isWord(args, i, LIMIT)) {
      i += 2;
    } else if (isWord(args, i, STORE)) {
      i += 1;
    } else if (isWord(args, i, BY) || isWord(args, i, GET)) {
      i += 1;
      // Without a star nothing is looked up: BY means "do not sort" then, GET answers nil, GET # the element.
      if (i < args.count && indexOfByte(args, i, STAR) >= 0) out.push(i);
    }
  }
  return out.count;
}

/**
 * Whether every key the pattern can make has the hash tag of the key. The tag must end before the pattern's star: what
 * is put in for the star may contain the tag's own characters. `hashTag` as configured: '' or two characters.
 */
export function patternFollowsKey(args: Arguments, key: number, pattern: number, hashTag: string): boolean {
  if (hashTag.length !== 2) return false;
  const open = hashTag.charCodeAt(0);
  const close = hashTag.charCodeAt(1);
  const patternOpen = indexOfByte(args, pattern, open);
  const patternClose = patternOpen < 0 ? -1 : indexOfByte(args, pattern, close, patternOpen + 1);
  const keyOpen = indexOfByte(args, key, open);
  const keyClose = keyOpen < 0 ? -1 : indexOfByte(args, key, close, keyOpen + 1);
  if (patternClose <= patternOpen + 1 || keyClose <= keyOpen + 1) return false;
  if (indexOfByte(args, pattern, STAR) < patternClose) return false;
  const length = keyClose - keyOpen - 1;
  if (length !== patternClose - patternOpen - 1) return false;
  const inKey = (args.starts[key] as number) + keyOpen + 1;
  const inPattern = (args.starts[pattern] as number) + patternOpen + 1;
  return args.bytes.compare(args.bytes, inPattern, inPattern + length, inKey, inKey + length) === 0;
}

/** Where the byte first stands in an argument, from `from` on, relative to the argument's start; -1: nowhere. */
function indexOfByte(args: Arguments, index: number, byte: number, from = 0): number {
  const start = args.starts[index] as number;
  const length = args.lengths[index] as number;
  for (let i = from; i < length; i += 1) if (args.bytes[start + i] === byte) return i;
  return -1;
}

const STAR = 0x2a;
const BY = Buffer.from('by');
const GET = Buffer.from('get');
const LIMIT = Buffer.from('limit');
const STORE = Buffer.from('store');
