import { type BufferPool, LARGE_BYTES, LARGEST_BYTES } from '../base/buffer-pool.ts';
import { Arguments } from './arguments.ts';
import { splitInline } from './inline.ts';
import { CR, DOLLAR, LF, NINE, STAR, ZERO } from './protocol.ts';

/**
 * Finds commands in the bytes of one client, however the network cut them.
 *
 * Whole commands are framed where they lie, in the read buffer that all sockets share. Only what a chunk leaves
 * unfinished is copied, into `#rest`, and the next chunk is put behind it:
 *
 *   chunk 1   SET a 1 │ SET b 2 │ SET c          the first two are framed in place
 *   #rest                         SET c          kept
 *   chunk 2             3 │ GET a                appended, framed there, #rest given back when it is used up
 *
 * A command is begun again from its first byte unless it has grown long: then the arguments found so far are kept, and
 * nothing is tried before the bytes that the current argument needs are there. So no input makes the work quadratic.
 *
 * Limits and words of the errors are those of Redis 7.0 (`processMultibulkBuffer`, `processInlineBuffer` in
 * networking.c): what this decoder lets through, a node will frame in the same way.
 */
export class CommandDecoder {
  /** The command that `next` found; good until the next call of `next` or the end of the current read. */
  args: Arguments = SHARED_ARGUMENTS;
  /** What is wrong, in Redis's words, after `next` answered `Malformed`. */
  problem = '';
  /** Before a login only small commands are taken, as Redis does it. */
  authenticated = true;

  readonly #limits: DecoderLimits;
  readonly #pool: BufferPool;
  /** What is being framed: the shared read buffer, or `#rest`. */
  #bytes: Buffer = EMPTY;
  /** First byte of the command at hand, and the end of what is there. */
  #from = 0;
  #end = 0;
  /** Kept bytes of unfinished commands; null most of the time. */
  #rest: Buffer | null = null;
  /** Bytes, counted from #from, without which no progress is possible. */
  #need = 1;
  /** Resumption inside a long command: how many arguments are announced and found, and where to read on. */
  #announced = 0;
  #found = 0;
  #cursor = 0;
  #own: Arguments | null = null;
  /** A command that has grown large is let in once for so many bytes; it is not asked again at every chunk. */
  #admittedBytes = 0;
  /** The argument that is waited for is itself large, so that no more than it is known to come. */
  #largeArgument = false;
  /** Bytes of a command that is being thrown away because there was no room for it. */
  #discard = 0;

  constructor(limits: DecoderLimits, pool: BufferPool) {
    this.#limits = limits;
    this.#pool = pool;
  }

  /** Bytes that are kept for later. */
  get pendingBytes(): number {
    return this.#rest === null ? 0 : this.#end - this.#from;
  }

  /** Takes a chunk of `length` bytes; `chunk` may be reused as soon as `keepRest` was called. */
  feed(chunk: Buffer, length: number): void {
    if (this.#rest === null) {
      this.#bytes = chunk;
      this.#from = 0;
      this.#end = length;
    } else {
      this.#append(chunk, length);
    }
  }

  /** Ends a read: copies what is not used up yet out of the shared buffer. */
  keepRest(): void {
    const left = this.#end - this.#from;
    if (left === 0) return this.#dropRest();
    const rest = this.#rest;
    const room = this.#roomFor(left);
    // What follows a large value need not keep the large buffer.
    if (rest !== null && (rest.length <= LARGEST_BYTES || room > rest.length / 4)) return;
    const kept = this.#pool.acquire(room);
    this.#bytes.copy(kept, 0, this.#from, this.#end);
    if (rest !== null) this.#pool.release(rest);
    this.#rest = kept;
    this.#bytes = kept;
    this.#moveToFront(left);
  }

  /** Frames the next command. */
  next(): Framed {
    for (;;) {
      const available = this.#end - this.#from;
      if (this.#discard > 0) {
        const dropped = Math.min(this.#discard, available);
        this.#discard -= dropped;
        this.#from += dropped;
        if (this.#discard > 0) return Framed.Incomplete;
        continue;
      }
      if (available === 0) {
        this.#dropRest();
        return Framed.Incomplete;
      }
      if (available < this.#need) return Framed.Incomplete;
      const first = this.#bytes[this.#from];
      const result = first === STAR ? this.#frameArray() : this.#frameInline();
      if (result !== Framed.Again) return result;
    }
  }

  /** Puts the command that `next` found back, to be found again. */
  unread(): void {
    this.#from = this.args.unreadFrom >= 0 ? this.args.unreadFrom : this.args.from;
    this.#forget();
  }

  /**
   * Hands over the buffer in which the last command lies, when it holds nothing else: a large value then goes on
   * without a copy. Null when it must be copied. The new owner gives the buffer back to the pool.
   */
  takeOwned(): Buffer | null {
    if (this.#rest === null || this.args.bytes !== this.#rest || this.args.from !== 0 || this.#from !== this.#end) {
      return null;
    }
    const owned = this.#rest;
    this.#rest = null;
    this.#dropRest();
    return owned;
  }

  /** Gives every buffer back: the client is gone. */
  close(): void {
    this.#dropRest();
    this.#forget();
    this.#discard = 0;
  }

  #frameArray(): Framed {
    const bytes = this.#bytes;
    const end = this.#end;
    let args = this.#own ?? SHARED_ARGUMENTS;
    let announced = this.#announced;
    let found = this.#found;
    let at = this.#cursor;
    if (announced === 0) {
      at = this.#from + 1;
      const lineEnd = readNumber(bytes, at, end);
      if (lineEnd === LINE_BAD) return this.#malformed('invalid multibulk length');
      if (lineEnd === LINE_INCOMPLETE) return this.#unfinishedCount(end);
      const count = parsedNumber;
      if (count > this.#limits.arguments) return this.#malformed('invalid multibulk length');
      if (count > 10 && !this.authenticated) return this.#malformed('unauthenticated multibulk length');
      if (count <= 0) {
        this.#from = lineEnd;
        this.#forget();
        return Framed.Again;
      }
      announced = count;
      at = lineEnd;
    }
    while (found < announced) {
      if (at >= end) return this.#suspend(args, announced, found, at, at + 1);
      if (bytes[at] !== DOLLAR) {
        if (!hasCarriageReturn(bytes, at, end)) {
          return this.#unfinishedLine(args, announced, found, at, end, 'too big bulk count string');
        }
        return this.#malformed(`expected '$', got '${String.fromCharCode(bytes[at] as number)}'`);
      }
      const body = readNumber(bytes, at + 1, end);
      if (body < 0) {
        if (body === LINE_BAD) return this.#malformed('invalid bulk length');
        return this.#unfinishedLine(args, announced, found, at, end, 'too big bulk count string');
      }
      const length = parsedNumber;
      if (length < 0 || length > this.#limits.bulkBytes) return this.#malformed('invalid bulk length');
      if (length > 16384 && !this.authenticated) return this.#malformed('unauthenticated bulk length');
      const after = body + length + 2;
      if (after > end) {
        this.#largeArgument = length > LARGE_BYTES;
        if (after - this.#from > MOST_COMMAND_BYTES) return this.#malformed(TOO_LARGE);
        if (!this.#admits(after - this.#from)) return this.#refuse(announced, found, after);
        return this.#suspend(args, announced, found, at, after);
      }
      if (found === args.starts.length) {
        if (args === SHARED_ARGUMENTS) {
          args = copyArguments(args, found);
          this.#own = args;
        }
        grow(args);
      }
      args.starts[found] = body;
      args.lengths[found] = length;
      found += 1;
      at = after;
    }
    args.bytes = bytes;
    args.count = announced;
    args.from = this.#from;
    args.to = at;
    this.args = args;
    this.#from = at;
    this.#forget();
    return Framed.Command;
  }

  #frameInline(): Framed {
    const bytes = this.#bytes;
    const newline = bytes.indexOf(LF, this.#from);
    const zero = bytes.indexOf(0, this.#from);
    // Redis looks for the line's end as C looks through a text: it does not see past a zero byte.
    if (newline < 0 || newline >= this.#end || (zero >= 0 && zero < newline)) {
      if (this.#end - this.#from > this.#limits.inlineBytes) return this.#malformed('too big inline request');
      this.#need = this.#end - this.#from + 1;
      return Framed.Incomplete;
    }
    const lineEnd = newline > this.#from && bytes[newline - 1] === CR ? newline - 1 : newline;
    const words = splitInline(bytes.subarray(this.#from, lineEnd));
    if (words === null) return this.#malformed('unbalanced quotes in request');
    const from = this.#from;
    this.#from = newline + 1;
    this.#forget();
    if (words.length === 0) return Framed.Again;
    this.args = encodeInline(words, from);
    return Framed.Command;
  }

  #unfinishedCount(end: number): Framed {
    if (end - this.#from > this.#limits.inlineBytes) return this.#malformed('too big mbulk count string');
    this.#need = end - this.#from + 1;
    return Framed.Incomplete;
  }

  #unfinishedLine(args: Arguments, announced: number, found: number, at: number, end: number, tooLong: string): Framed {
    if (end - at > this.#limits.inlineBytes) return this.#malformed(tooLong);
    return this.#suspend(args, announced, found, at, end + 1);
  }

  /** Remembers how far a long command is; a short one is simply framed again. */
  #suspend(args: Arguments, announced: number, found: number, at: number, needed: number): Framed {
    this.#need = needed - this.#from;
    if (found >= RESUME_FROM) {
      if (args === SHARED_ARGUMENTS) args = copyArguments(args, found);
      this.#own = args;
      this.#announced = announced;
      this.#found = found;
      this.#cursor = at;
    }
    return Framed.Incomplete;
  }

  /**
   * Whether the command at hand may grow to so many bytes. A large argument is asked for whole; many small ones are
   * asked for in steps that double, as their buffer does.
   */
  #admits(bytes: number): boolean {
    if (bytes <= LARGE_BYTES || bytes <= this.#admittedBytes) return true;
    if (!this.#pool.admitsLarge(bytes, this.#rest === null ? 0 : this.#rest.length)) return false;
    this.#admittedBytes = this.#largeArgument ? bytes : bytes * 2;
    return true;
  }

  /** No room for so large a command: its bytes are read into nothing, then an error is owed. */
  #refuse(announced: number, found: number, after: number): Framed {
    // What follows this argument is unknown; only when it is the last is the end of the command known.
    if (found + 1 !== announced) return this.#malformed(TOO_LARGE);
    this.#discard = after - this.#end;
    this.#from = this.#end;
    this.#forget();
    return Framed.Overloaded;
  }

  #malformed(problem: string): Framed {
    this.problem = problem;
    return Framed.Malformed;
  }

  #forget(): void {
    this.#need = 1;
    this.#announced = 0;
    this.#found = 0;
    this.#cursor = 0;
    this.#own = null;
    this.#admittedBytes = 0;
    this.#largeArgument = false;
  }

  #append(chunk: Buffer, length: number): void {
    let rest = this.#rest as Buffer;
    const kept = this.#end - this.#from;
    if (this.#end + length > rest.length) {
      if (kept + length <= rest.length && kept <= rest.length / 2) {
        rest.copyWithin(0, this.#from, this.#end);
      } else {
        const larger = this.#pool.acquire(this.#roomFor(kept + length));
        rest.copy(larger, 0, this.#from, this.#end);
        this.#pool.release(rest);
        this.#rest = larger;
        rest = larger;
      }
      this.#moveToFront(kept);
    }
    chunk.copy(rest, this.#end, 0, length);
    this.#bytes = rest;
    this.#end += length;
  }

  /**
   * A value of known length gets a buffer of that length at once; what grows argument by argument grows by a part of
   * itself, so that many small steps copy no more than a few large ones.
   */
  #roomFor(bytes: number): number {
    let room = bytes;
    if (bytes > LARGE_BYTES && !this.#largeArgument) room += bytes;
    else if (bytes > LARGEST_BYTES && this.#announced - this.#found > 1) room += bytes >> 2;
    return Math.max(this.#need, room);
  }

  /** The command at hand was moved to the start of its buffer, with all `kept` bytes of it. */
  #moveToFront(kept: number): void {
    const by = this.#from;
    const own = this.#own;
    if (own !== null) for (let i = 0; i < this.#found; i += 1) own.starts[i] = (own.starts[i] as number) - by;
    this.#cursor -= by;
    this.#from = 0;
    this.#end = kept;
  }

  /** Nothing is left to be framed: holds no buffer, nor the last command, whose buffer may be a large one. */
  #dropRest(): void {
    if (this.#rest !== null) this.#pool.release(this.#rest);
    this.#rest = null;
    this.#bytes = EMPTY;
    this.#from = 0;
    this.#end = 0;
    this.args = SHARED_ARGUMENTS;
  }
}

/** What `next` found. */
export const Framed = {
  /** `args` holds a command. */
  Command: 0,
  /** More bytes are needed. */
  Incomplete: 1,
  /** Not RESP; `problem` says why. The connection cannot go on. */
  Malformed: 2,
  /** A command too large for what the proxy may hold; its bytes are skipped and it is owed one error reply. */
  Overloaded: 3,
  /** Something empty was skipped (internal). */
  Again: 4,
} as const;
export type Framed = (typeof Framed)[keyof typeof Framed];

export { LARGE_BYTES };

export interface DecoderLimits {
  /** Longest argument in bytes (Redis: proto-max-bulk-len). */
  readonly bulkBytes: number;
  /** Longest inline command or length line in bytes (Redis: 64 KiB). */
  readonly inlineBytes: number;
  /** Most arguments of one command. */
  readonly arguments: number;
}

/** From so many arguments on, an unfinished command is resumed rather than framed again. */
const RESUME_FROM = 32;
const EMPTY = Buffer.alloc(0);
/** Every decoder frames short commands here: they are used up before another client's bytes are looked at. */
const SHARED_ARGUMENTS = new Arguments(1024);

/** Longest command, as Redis has it by default (`client-query-buffer-limit`). */
const MOST_COMMAND_BYTES = 1024 * 1024 * 1024 + 64 * 1024;
const TOO_LARGE = 'too little memory for so large a command';

const LINE_INCOMPLETE = -1;
const LINE_BAD = -2;
/** The number that `readNumber` read last: a second return value without an object. */
let parsedNumber = 0;

/**
 * Reads the decimal number of a length line from `at`. Returns the index behind the line's end, or a negative code.
 * As strict as Redis's `string2ll`: no plus sign, no leading zero, nothing else on the line. The byte behind CR is
 * taken for LF unseen, as Redis does.
 */
function readNumber(bytes: Buffer, at: number, end: number): number {
  let i = at;
  let value = 0;
  let digit = 0;
  while (i < end) {
    digit = bytes[i] as number;
    if (digit < ZERO || digit > NINE) break;
    value = value * 10 + (digit - ZERO);
    i += 1;
  }
  if (i < end && digit === CR && i > at && i - at < 16 && (bytes[at] !== ZERO || i === at + 1)) {
    if (i + 2 > end) return LINE_INCOMPLETE;
    parsedNumber = value;
    return i + 2;
  }
  return readOddNumber(bytes, at, end);
}

/** The rare lines: unfinished, negative or wrong. */
function readOddNumber(bytes: Buffer, at: number, end: number): number {
  let lineEnd = at;
  while (lineEnd < end && bytes[lineEnd] !== CR && bytes[lineEnd] !== 0) lineEnd += 1;
  if (lineEnd + 2 > end || bytes[lineEnd] === 0) return LINE_INCOMPLETE;
  const text = bytes.toString('latin1', at, Math.min(lineEnd, at + 32));
  if (!/^(0|-?[1-9][0-9]{0,18})$/.test(text)) return LINE_BAD;
  parsedNumber = Number(text);
  return lineEnd + 2;
}

function hasCarriageReturn(bytes: Buffer, at: number, end: number): boolean {
  const found = bytes.indexOf(CR, at);
  const zero = bytes.indexOf(0, at);
  return found >= 0 && found + 2 <= end && (zero < 0 || zero > found);
}

function copyArguments(args: Arguments, found: number): Arguments {
  const copy = new Arguments(Math.max(64, found));
  copy.starts.set(args.starts.subarray(0, found));
  copy.lengths.set(args.lengths.subarray(0, found));
  return copy;
}

function grow(args: Arguments): void {
  const starts = new Int32Array(args.starts.length * 2);
  starts.set(args.starts);
  args.starts = starts;
  const lengths = new Int32Array(args.lengths.length * 2);
  lengths.set(args.lengths);
  args.lengths = lengths;
}

/** Puts the words of an inline command into the form that every other command has. */
function encodeInline(words: readonly Buffer[], from: number): Arguments {
  const args = new Arguments(words.length);
  const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
  let at = (parts[0] as Buffer).length;
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i] as Buffer;
    const head = Buffer.from(`$${word.length}\r\n`);
    parts.push(head, word, CRLF);
    args.starts[i] = at + head.length;
    args.lengths[i] = word.length;
    at += head.length + word.length + 2;
  }
  args.bytes = Buffer.concat(parts);
  args.count = words.length;
  args.from = 0;
  args.to = at;
  args.unreadFrom = from;
  return args;
}

const CRLF = Buffer.from('\r\n');
