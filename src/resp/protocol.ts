/**
 * The bytes of RESP that more than one room needs: type marks and replies that never change.
 *
 * Source: https://redis.io/docs/reference/protocol-spec (RESP2 and RESP3).
 */
export const CR = 0x0d;
export const LF = 0x0a;
export const STAR = 0x2a; // *  array
export const DOLLAR = 0x24; // $  bulk string
export const PLUS = 0x2b; // +  simple string
export const MINUS = 0x2d; // -  error
export const COLON = 0x3a; // :  integer
export const UNDERSCORE = 0x5f; // _  null
export const HASH = 0x23; // #  boolean
export const COMMA = 0x2c; // ,  double
export const PAREN = 0x28; // (  big number
export const BANG = 0x21; // !  bulk error
export const EQUALS = 0x3d; // =  verbatim string
export const PERCENT = 0x25; // %  map
export const TILDE = 0x7e; // ~  set
export const GREATER = 0x3e; // >  push
export const PIPE = 0x7c; // |  attribute
export const ZERO = 0x30;
export const NINE = 0x39;

/** The protocol that a client chose by HELLO; a connection begins with 2. */
export type Protocol = 2 | 3;

/** Replies that are the same every time, encoded once. */
export const SHARED = {
  ok: Buffer.from('+OK\r\n'),
  pong: Buffer.from('+PONG\r\n'),
  queued: Buffer.from('+QUEUED\r\n'),
  reset: Buffer.from('+RESET\r\n'),
  zero: Buffer.from(':0\r\n'),
  one: Buffer.from(':1\r\n'),
  emptyArray: Buffer.from('*0\r\n'),
  emptyBulk: Buffer.from('$0\r\n\r\n'),
  nullBulk: Buffer.from('$-1\r\n'),
  nullArray: Buffer.from('*-1\r\n'),
  null3: Buffer.from('_\r\n'),
} as const;
