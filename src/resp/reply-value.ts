import { assert } from '../base/assert.ts';
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
  PAREN,
  PERCENT,
  PIPE,
  PLUS,
  STAR,
  TILDE,
  UNDERSCORE,
} from './protocol.ts';
import { endOfReply } from './reply-decoder.ts';

/**
 * Decodes a whole reply into values, for the few replies that Ringside itself must understand (log in, merging,
 * control). Not for what passes through.
 *
 * Maps become flat lists (key, value, …), as RESP2 sends them; pushes and sets become lists; doubles and big numbers
 * stay text. So a reader is written once for both protocols.
 */
export type ReplyValue = Buffer | number | boolean | null | ReplyError | ReplyValue[];

/** As `ReplyValue`, with text in the place of bytes. */
export type TextReply = string | number | boolean | null | ReplyError | TextReply[];

/** An error reply, as a value: `-ERR text`. */
export class ReplyError {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/**
 * Decodes the reply that begins at `from`, which must be whole, as `ReplyDecoder` finds it. What is nested deeper than
 * any reply of Redis becomes an error.
 */
export function decodeReply(bytes: Buffer, from = 0): ReplyValue {
  cursor = from;
  return decodeWhole(bytes, copyOf);
}

/** As `decodeReply`; what is text in the reply is read as `encoding` says. */
export function decodeTextReply(bytes: Buffer, encoding: 'utf8' | 'latin1'): TextReply {
  cursor = 0;
  return decodeWhole(bytes, piece => piece.toString(encoding));
}

/** Decodes every reply in `bytes`, which must end with the end of one. */
export function decodeReplies(bytes: Buffer): ReplyValue[] {
  const values: ReplyValue[] = [];
  cursor = 0;
  while (cursor < bytes.length) values.push(decodeWhole(bytes, copyOf));
  return values;
}

/** Text of a status, bulk string or number; empty for anything else. */
export function textOf(value: ReplyValue | undefined): string {
  if (Buffer.isBuffer(value)) return value.toString('latin1');
  return typeof value === 'number' ? String(value) : '';
}

let cursor = 0;
/** Nesting that is followed, so that no node can exhaust the stack. */
const MOST_DEPTH = 128;
let tooDeep = false;

/** A decoded reply whose texts are of type T. */
type Decoded<T> = T | number | boolean | null | ReplyError | Decoded<T>[];

function decodeWhole<T>(bytes: Buffer, asText: (piece: Buffer) => T): Decoded<T> {
  tooDeep = false;
  const value = decodeAt(bytes, 0, asText);
  return tooDeep ? new ReplyError(`ERR the reply is nested more than ${MOST_DEPTH} deep`) : value;
}

function decodeAt<T>(bytes: Buffer, depth: number, asText: (piece: Buffer) => T): Decoded<T> {
  if (depth > MOST_DEPTH) {
    tooDeep = true;
    cursor = endOfReply(bytes, cursor, bytes.length);
    return null;
  }
  const type = bytes[cursor] as number;
  const newline = bytes.indexOf(LF, cursor);
  assert(newline >= 0, 'only whole replies are decoded');
  const line = bytes.subarray(cursor + 1, bytes[newline - 1] === CR ? newline - 1 : newline);
  cursor = newline + 1;
  switch (type) {
    case PLUS:
    case COMMA:
    case PAREN:
      return asText(line);
    case MINUS:
      return new ReplyError(line.toString('latin1'));
    case COLON:
      return Number(line.toString('latin1'));
    case UNDERSCORE:
      return null;
    case HASH:
      return line[0] === 0x74;
    case DOLLAR:
    case EQUALS:
    case BANG:
      return decodeBulk(bytes, type, Number(line.toString('latin1')), asText);
    case PIPE:
      decodeList(bytes, Number(line.toString('latin1')) * 2, depth, asText);
      return decodeAt(bytes, depth + 1, asText);
    case PERCENT:
      return decodeList(bytes, Number(line.toString('latin1')) * 2, depth, asText);
    case STAR:
    case TILDE:
    case GREATER: {
      const count = Number(line.toString('latin1'));
      return count < 0 ? null : decodeList(bytes, count, depth, asText);
    }
    default:
      return null;
  }
}

function decodeBulk<T>(bytes: Buffer, type: number, length: number, asText: (piece: Buffer) => T): Decoded<T> {
  if (length < 0) return null;
  const body = bytes.subarray(cursor, cursor + length);
  cursor += length + 2;
  if (type === BANG) return new ReplyError(body.toString('latin1'));
  return asText(type === EQUALS ? body.subarray(4) : body); // a verbatim string begins with its format, `txt:`
}

function decodeList<T>(bytes: Buffer, count: number, depth: number, asText: (piece: Buffer) => T): Decoded<T>[] {
  const list: Decoded<T>[] = [];
  for (let i = 0; i < count; i += 1) list.push(decodeAt(bytes, depth + 1, asText));
  return list;
}

const copyOf = (piece: Buffer): Buffer => Buffer.from(piece);
