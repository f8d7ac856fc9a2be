/**
 * Which arguments of a command are keys.
 *
 * Key specifications are interpreted as in Redis's `getKeysUsingKeySpecs` (db.c, 7.0), the other finders as in
 * `sortCommandGeneric`, `xreadGetKeys` and `georadiusGetKeys`, the parsers of the commands themselves.
 */
import type { Arguments } from '../resp/arguments.ts';
import { Begin, Find, type KeySpecification } from './key-specification.ts';
import { equalsFolded } from './name-index.ts';
import { KeyFinder } from './routes.ts';
import { type CommandRow, Flag } from './row.ts';

/** Indices of arguments; one object is used again for every command and grows to the largest. */
export class KeyPositions {
  /** The first `count` elements hold the indices; the array is another one after growing. */
  at = new Int32Array(64);
  count = 0;

  push(index: number): void {
    if (this.count === this.at.length) this.#grow();
    this.at[this.count] = index;
    this.count += 1;
  }

  #grow(): void {
    const larger = new Int32Array(this.at.length * 2);
    larger.set(this.at);
    this.at = larger;
  }
}

/**
 * Writes the indices of the command's keys into `out` and returns how many there are. The row's arity must hold.
 *
 * 0: it names no key. -1: its arguments are wrong in a way that leaves the keys unknown; Redis refuses such a command
 * whatever is stored, so that any node words the error. Where Redis's COMMAND GETKEYS says "Invalid arguments specified
 * for command", this is -1 (but for `PFMERGE dest`, which is valid), and besides where an XREAD has not as many ids as
 * keys.
 */
export function findKeys(row: CommandRow, args: Arguments, out: KeyPositions): number {
  out.count = 0;
  if (!row.hasKeys) return 0;
  switch (row.finder) {
    case KeyFinder.Sort:
      findSortKeys(args, out);
      break;
    case KeyFinder.SortReadOnly:
      out.push(1);
      break;
    case KeyFinder.Streams:
      findStreams(args, out);
      break;
    case KeyFinder.GeoStore:
      findGeoKeys(row, args, out);
      break;
    default:
      findBySpecifications(row, args, out, false);
  }
  if (out.count > 0 || row.has(Flag.no_mandatory_keys)) return out.count;
  return -1;
}

/**
 * The database in which the command's key at this argument lies, for a client that has selected `database`: COPY alone
 * names another one, for what it makes (`copyCommand` in db.c).
 */
export function databaseOfKey(row: CommandRow, args: Arguments, at: number, database: number): number {
  if (row.name !== 'copy' || at !== COPY_DESTINATION) return database;
  let named = database;
  for (let i = COPY_DESTINATION + 1; i + 1 < args.count; i += 1) {
    if (!isWord(args, i, DB)) continue;
    i += 1;
    const number = naturalOf(args, i);
    // Of one that is no number of a database Redis makes nothing.
    if (number >= 0) named = number;
  }
  return named;
}

const COPY_DESTINATION = 2;

/** As `findKeys`, for the shard channels of SPUBLISH, SSUBSCRIBE, SUNSUBSCRIBE, which Redis describes as "not keys". */
export function findChannels(row: CommandRow, args: Arguments, out: KeyPositions): number {
  out.count = 0;
  findBySpecifications(row, args, out, true);
  return out.count;
}

function findBySpecifications(row: CommandRow, args: Arguments, out: KeyPositions, notKeys: boolean): void {
  const specifications = row.keySpecifications;
  for (let i = 0; i < specifications.length; i += 1) {
    const specification = specifications[i] as KeySpecification;
    if (specification.notKey !== notKeys) continue;
    if (applySpecification(specification, args, out)) continue;
    out.count = 0;
    return;
  }
}

/** False when the specification does not hold for these arguments; nothing found by a keyword is no failure. */
function applySpecification(specification: KeySpecification, args: Arguments, out: KeyPositions): boolean {
  if (specification.begin === Begin.Unknown || specification.find === Find.Unknown) return false;
  const { count } = args;
  let first = specification.begin === Begin.Index ? specification.index : afterKeyword(specification, args);
  if (first < 1) return specification.begin === Begin.Keyword;
  let last: number;
  if (specification.find === Find.KeyNumber) {
    const countAt = first + specification.countAt;
    const keys = countAt < count ? naturalOf(args, countAt) : -1;
    if (keys < 0) return false;
    first += specification.firstKey;
    last = first + (keys - 1) * specification.step;
  } else {
    last = lastInRange(specification, first, count);
    // Up to the end, and the end is reached: PFMERGE with a destination only. COMMAND GETKEYS
    // calls it invalid; it is not.
    if (specification.lastKey < 0 && last < first) return true;
  }
  if (last >= count || last < first || first < 1) return false;
  for (let i = first; i <= last; i += specification.step) out.push(i);
  return !specification.incomplete;
}

function lastInRange(specification: KeySpecification, first: number, count: number): number {
  const { lastKey, limit } = specification;
  if (lastKey >= 0) return first + lastKey;
  if (limit <= 1) return count + lastKey;
  return first + Math.floor((count - first) / limit) + lastKey;
}

/** The index after the keyword, 0 when it is not there. As the last argument it would have nothing after it. */
function afterKeyword(specification: KeySpecification, args: Arguments): number {
  const { count } = args;
  const forward = specification.index > 0;
  const start = forward ? specification.index : count + specification.index;
  const end = forward ? count - 1 : 1;
  const direction = start <= end ? 1 : -1;
  for (let i = start; i !== end && i >= 1 && i < count; i += direction) {
    if (isWord(args, i, specification.keyword)) return i + 1;
  }
  return 0;
}

/** SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC|DESC] [ALPHA] [STORE key]; the last STORE counts. */
function findSortKeys(args: Arguments, out: KeyPositions): void {
  let store = 0;
  for (let i = 2; i < args.count; i += 1) {
    if (isWord(args, i, LIMIT)) {
      i += 2;
    } else if (isWord(args, i, BY) || isWord(args, i, GET)) {
      i += 1;
    } else if (isWord(args, i, STORE)) {
      i += 1;
      if (i < args.count) store = i;
    }
  }
  out.push(1);
  if (store !== 0) out.push(store);
}

/** XREAD[GROUP] … STREAMS key … id …: as many keys as ids. */
function findStreams(args: Arguments, out: KeyPositions): void {
  const first = streamsAt(args) + 1;
  const rest = args.count - first;
  if (first === 0 || rest === 0 || rest % 2 !== 0) return;
  for (let i = first; i < first + rest / 2; i += 1) out.push(i);
}

/** The index of the word STREAMS that ends the options of XREAD[GROUP]; -1: none. Options not known are passed over. */
export function streamsAt(args: Arguments): number {
  for (let i = 1; i < args.count; i += 1) {
    if (isWord(args, i, STREAMS)) return i;
    i += streamOptionValues(args, i);
  }
  return -1;
}

/** The index of the milliseconds after BLOCK among the options of XREAD[GROUP]; the last BLOCK counts; -1: none. */
export function blockAt(args: Arguments): number {
  let found = -1;
  for (let i = 1; i + 1 < args.count && !isWord(args, i, STREAMS); i += 1) {
    if (isWord(args, i, BLOCK)) found = i + 1;
    i += streamOptionValues(args, i);
  }
  return found;
}

/** How many arguments after this option of XREAD[GROUP] are its values, whatever words they look like. */
function streamOptionValues(args: Arguments, index: number): number {
  if (isWord(args, index, BLOCK) || isWord(args, index, COUNT)) return 1;
  return isWord(args, index, GROUP) ? 2 : 0;
}

/** GEORADIUS[BYMEMBER] key … unit [options] [STORE key|STOREDIST key]; the last of these two counts. */
function findGeoKeys(row: CommandRow, args: Arguments, out: KeyPositions): void {
  let store = 0;
  for (let i = -row.arity; i + 1 < args.count; i += 1) {
    if (!isWord(args, i, STORE) && !isWord(args, i, STOREDIST)) continue;
    i += 1;
    store = i;
  }
  out.push(1);
  if (store !== 0) out.push(store);
}

/**
 * Whether argument `index` is the given word (lower case), in any case, to Redis's `strcasecmp`: a C string, which ends
 * at a NUL. So "STORE NUL x" is STORE here too, and no key hides behind it.
 */
export function isWord(args: Arguments, index: number, word: Uint8Array): boolean {
  const start = args.starts[index] as number;
  const length = args.lengths[index] as number;
  if (length < word.length || (length > word.length && args.bytes[start + word.length] !== 0)) return false;
  return equalsFolded(args.bytes, start, word.length, word);
}

/** Argument `index` as Redis's `string2ll` reads a number that is not negative; -1: anything else, or above 2^31-1. */
function naturalOf(args: Arguments, index: number): number {
  const start = args.starts[index] as number;
  const length = args.lengths[index] as number;
  if (length === 0 || length > 10) return -1;
  let value = 0;
  for (let i = start; i < start + length; i += 1) {
    const digit = (args.bytes[i] as number) - 0x30;
    if (digit < 0 || digit > 9 || (digit === 0 && i === start && length > 1)) return -1;
    value = value * 10 + digit;
  }
  return value <= 0x7fffffff ? value : -1;
}

function word(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

const BLOCK = word('block');
const BY = word('by');
const COUNT = word('count');
const DB = word('db');
const GET = word('get');
const GROUP = word('group');
const LIMIT = word('limit');
const STORE = word('store');
const STOREDIST = word('storedist');
const STREAMS = word('streams');
