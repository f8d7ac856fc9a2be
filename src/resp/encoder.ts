import { type Protocol, SHARED } from './protocol.ts';

/**
 * Writes replies and commands of Ringside's own, in the protocol that the other side speaks.
 *
 * Where RESP3 has a type that RESP2 lacks, RESP2 gets what Redis sends there (`addReplyMapLen`, `addReplyDouble` and
 * their kin in Redis's networking.c).
 */

/** One command in the form that nodes read. */
export function encodeCommand(words: readonly (string | Buffer | number)[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) parts.push(bulk(Buffer.isBuffer(word) ? word : String(word)));
  return Buffer.concat(parts);
}

/** `+text`: a status, which must not hold a line break. */
export function status(text: string): Buffer {
  return Buffer.from(`+${text}\r\n`, 'latin1');
}

/** `-text`: an error, whose first word is its code. Line breaks become spaces, as in Redis. */
export function error(text: string): Buffer {
  return Buffer.from(`-${text.replace(/[\r\n]/g, ' ')}\r\n`, 'latin1');
}

/** `:n` */
export function integer(value: number | bigint): Buffer {
  return Buffer.from(`:${value}\r\n`);
}

/** `$n text`; a string is written as UTF-8. */
export function bulk(value: Buffer | string): Buffer {
  const body = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([Buffer.from(`$${body.length}\r\n`), body, CRLF]);
}

/** Text that RESP3 marks as such (`INFO`, `CLIENT LIST`, `LOLWUT`). */
export function verbatim(protocol: Protocol, text: string): Buffer {
  if (protocol === 2) return bulk(text);
  const body = Buffer.from(text);
  return Buffer.concat([Buffer.from(`=${body.length + 4}\r\ntxt:`), body, CRLF]);
}

/** A list of elements that are encoded already. */
export function array(elements: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from(`*${elements.length}\r\n`), ...elements]);
}

/** Keys and values in turn, encoded already. */
export function map(protocol: Protocol, elements: readonly Buffer[]): Buffer {
  const head = protocol === 3 ? `%${elements.length / 2}\r\n` : `*${elements.length}\r\n`;
  return Buffer.concat([Buffer.from(head), ...elements]);
}

export function set(protocol: Protocol, elements: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from(`${protocol === 3 ? '~' : '*'}${elements.length}\r\n`), ...elements]);
}

/** A message that no command asked for. */
export function push(protocol: Protocol, elements: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from(`${protocol === 3 ? '>' : '*'}${elements.length}\r\n`), ...elements]);
}

export function nil(protocol: Protocol): Buffer {
  return protocol === 3 ? SHARED.null3 : SHARED.nullBulk;
}

export function nilArray(protocol: Protocol): Buffer {
  return protocol === 3 ? SHARED.null3 : SHARED.nullArray;
}

const CRLF = Buffer.from('\r\n');
