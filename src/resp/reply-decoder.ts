import {
  BANG,
  COLON,
  COMMA,
  CR,
  DOLLAR,
  EQUALS,
  GREATER,
  HASH,
  LF,
  MINUS,
  NINE,
  PAREN,
  PERCENT,
  PIPE,
  PLUS,
  STAR,
  TILDE,
  UNDERSCORE,
  ZERO,
} from './protocol.ts';

/**
 * Finds where each reply of a node ends, without decoding it: what passes through is passed on as it came.
 *
 * Everything about an unfinished reply is in a few numbers, so that a cut at any byte costs nothing. Nesting needs no
 * stack: an array of n elements merely makes n more elements due.
 *
 *   *2 CRLF      due: 1 → 2
 *   :1 CRLF      due: 2 → 1
 *   $3 CRLF      body: 5 bytes to skip (with its CRLF), due: 1 → 0   the reply ends behind them
 */
export class ReplyDecoder {
  /** Elements still to come before the reply is whole; 0 between replies. */
  #due = 0;
  /** Bytes of a bulk body still to be skipped, its CRLF included. */
  #body = 0;
  /** Type mark of the line that is being read; 0 at the start of an element. */
  #type = 0;
  /** The number on that line so far, its sign, how many digits it has, and whether its CR was seen. */
  #number = 0;
  #negative = false;
  #digits = 0;
  #ended = false;

  /** Whether a reply has begun whose end was not seen yet. */
  get inside(): boolean {
    return this.#due > 0;
  }

  /** Forgets an unfinished reply: the connection is another. */
  reset(): void {
    this.#due = 0;
    this.#body = 0;
    this.#type = 0;
  }

  /**
   * Reads on from `at`. Returns the index behind the end of the reply, `REPLY_UNFINISHED` when all bytes up to `end`
   * belong to it and more must come, or `REPLY_GARBAGE` when this is not RESP.
   */
  frame(bytes: Buffer, at: number, end: number): number {
    if (this.#due === 0) {
      const quick = frameSimple(bytes, at, end);
      if (quick > 0) return quick;
      this.#due = 1;
    }
    let i = at;
    while (i < end) {
      if (this.#body > 0) {
        const skipped = Math.min(this.#body, end - i);
        this.#body -= skipped;
        i += skipped;
        if (this.#body > 0) return REPLY_UNFINISHED;
        this.#due -= 1;
        if (this.#due === 0) return i;
        continue;
      }
      if (this.#type === 0) {
        if (bytes[i] === DOLLAR) {
          const next = frameSimple(bytes, i, end);
          if (next > 0) {
            i = next;
            this.#due -= 1;
            if (this.#due === 0) return i;
            continue;
          }
        }
        this.#type = bytes[i] as number;
        this.#number = 0;
        this.#negative = false;
        this.#digits = 0;
        this.#ended = false;
        i += 1;
        if (!isReplyType(this.#type)) return REPLY_GARBAGE;
        continue;
      }
      i = this.#readLine(bytes, i, end);
      if (i === REPLY_GARBAGE || i === REPLY_UNFINISHED) return i;
      if (this.#due === 0) return i;
    }
    return REPLY_UNFINISHED;
  }

  /** Reads the rest of a type line; what it announces becomes due. */
  #readLine(bytes: Buffer, at: number, end: number): number {
    if (!hasNumber(this.#type)) {
      const newline = bytes.indexOf(LF, at);
      if (newline < 0 || newline >= end) return REPLY_UNFINISHED;
      return this.#endLine(newline + 1);
    }
    let i = at;
    while (i < end) {
      const byte = bytes[i] as number;
      i += 1;
      if (this.#ended) return byte === LF ? this.#endLine(i) : REPLY_GARBAGE;
      if (byte >= ZERO && byte <= NINE && this.#digits < MOST_DIGITS) {
        this.#number = this.#number * 10 + (byte - ZERO);
        this.#digits += 1;
      } else if (byte === CR && this.#digits > 0) {
        this.#ended = true;
      } else if (byte === MINUS && this.#digits === 0 && !this.#negative) {
        this.#negative = true;
      } else {
        return REPLY_GARBAGE;
      }
    }
    return REPLY_UNFINISHED;
  }

  #endLine(next: number): number {
    const type = this.#type;
    const number = this.#number;
    this.#type = 0;
    if (this.#negative) {
      // Minus one stands for null; nothing else may be negative.
      if (number !== 1 || (type !== DOLLAR && type !== STAR)) return REPLY_GARBAGE;
      this.#due -= 1;
      return next;
    }
    switch (type) {
      case DOLLAR:
      case EQUALS:
      case BANG:
        this.#body = number + 2;
        return next;
      case STAR:
      case TILDE:
      case GREATER:
        this.#due += number - 1;
        return next;
      case PERCENT:
        this.#due += number * 2 - 1;
        return next;
      case PIPE: // an attribute stands before the value that it describes: it is no element itself
        this.#due += number * 2;
        return next;
      default:
        this.#due -= 1;
        return next;
    }
  }
}

/** More digits than any length has; with so many a number is still exact. */
const MOST_DIGITS = 15;

export const REPLY_UNFINISHED = -1;
export const REPLY_GARBAGE = -2;

/**
 * The common replies when they are whole in the buffer: status, error, integer, bulk string.
 * Returns the index behind the reply, or 0 when the careful way must look.
 */
function frameSimple(bytes: Buffer, at: number, end: number): number {
  const type = bytes[at];
  let i = at + 1;
  if (type === DOLLAR) {
    let length = 0;
    while (i < end) {
      const byte = bytes[i] as number;
      if (byte < ZERO || byte > NINE) break;
      length = length * 10 + (byte - ZERO);
      i += 1;
    }
    if (bytes[i] !== CR || bytes[i + 1] !== LF || i === at + 1) return 0;
    const next = i + 2 + length + 2;
    return next <= end ? next : 0;
  }
  if (type === PLUS || type === COLON) {
    while (i < end && bytes[i] !== LF) i += 1;
    return i < end ? i + 1 : 0;
  }
  return 0;
}

function hasNumber(type: number): boolean {
  return (
    type === DOLLAR ||
    type === STAR ||
    type === PERCENT ||
    type === TILDE ||
    type === GREATER ||
    type === PIPE ||
    type === EQUALS ||
    type === BANG
  );
}

function isReplyType(type: number): boolean {
  return (
    hasNumber(type) ||
    type === PLUS ||
    type === MINUS ||
    type === COLON ||
    type === UNDERSCORE ||
    type === HASH ||
    type === COMMA ||
    type === PAREN
  );
}

/** Index behind one whole reply that begins at `at`; for replies known to be complete (merging, composing). */
export function endOfReply(bytes: Buffer, at: number, end: number): number {
  SCAN.reset();
  const next = SCAN.frame(bytes, at, end);
  return next < 0 ? end : next;
}

const SCAN = new ReplyDecoder();
