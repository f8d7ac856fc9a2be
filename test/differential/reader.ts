/**
 * Cuts a stream of replies into frames and takes a frame apart, for RESP2 and RESP3.
 *
 * Written from the protocol's text and from nothing in `src`, so that a mistake there is not repeated here.
 */

/** One reply, whole: its bytes and what they say. */
export interface Reply {
  /** The frame as it stood on the wire. */
  readonly raw: Buffer;
  /** The first byte: `+ - : $ * _ # , ( ! = % ~ >`. */
  readonly type: string;
  /** The payload of a reply without elements; empty for an aggregate. */
  readonly text: Buffer;
  /** The elements of an aggregate; of a map: key, value, key, value. */
  readonly items: readonly Reply[];
  /** A null of either protocol. */
  readonly isNull: boolean;
}

const CR = 13;
const AGGREGATES = '*%~>';
const BLOBS = '$!=';
const LINES = '+-:_#,(';

/** A stream that is no RESP at all. */
export class NotResp extends Error {
  override readonly name = 'NotResp';
}

function lineEnd(bytes: Buffer, from: number): number {
  const at = bytes.indexOf(CR, from);
  return at < 0 || at + 1 >= bytes.length ? -1 : at;
}

function lengthIn(bytes: Buffer, from: number, to: number): number {
  const text = bytes.toString('latin1', from, to);
  if (!/^-?\d+$/.test(text)) throw new NotResp(`a length was expected, got ${JSON.stringify(text)}`);
  return Number(text);
}

/** The index behind the frame that begins at `from`, or -1 when the frame is not complete yet. */
export function frameEnd(bytes: Buffer, from: number): number {
  let pending = 1;
  let at = from;
  while (pending > 0) {
    if (at >= bytes.length) return -1;
    const type = String.fromCharCode(bytes[at] as number);
    const end = lineEnd(bytes, at + 1);
    if (end < 0) return -1;
    pending -= 1;
    if (AGGREGATES.includes(type)) {
      const length = lengthIn(bytes, at + 1, end);
      if (length > 0) pending += type === '%' ? 2 * length : length;
      at = end + 2;
    } else if (BLOBS.includes(type)) {
      const length = lengthIn(bytes, at + 1, end);
      at = length < 0 ? end + 2 : end + 2 + length + 2;
      if (at > bytes.length) return -1;
      if (length >= 0 && bytes[at - 2] !== CR) throw new NotResp('a bulk string does not end where its length says');
    } else if (LINES.includes(type)) {
      at = end + 2;
    } else {
      throw new NotResp(`no reply begins with ${JSON.stringify(bytes.toString('latin1', at, at + 40))}`);
    }
  }
  return at;
}

function parseAt(bytes: Buffer, from: number): Reply {
  const type = String.fromCharCode(bytes[from] as number);
  const end = lineEnd(bytes, from + 1);
  const line = bytes.subarray(from + 1, end);
  if (AGGREGATES.includes(type)) {
    const length = lengthIn(bytes, from + 1, end);
    const items: Reply[] = [];
    let at = end + 2;
    for (let i = 0; i < (type === '%' ? 2 * length : length); i += 1) {
      const item = parseAt(bytes, at);
      items.push(item);
      at += item.raw.length;
    }
    return { raw: bytes.subarray(from, at), type, text: bytes.subarray(0, 0), items, isNull: length < 0 };
  }
  if (BLOBS.includes(type)) {
    const length = lengthIn(bytes, from + 1, end);
    const stop = length < 0 ? end + 2 : end + 2 + length + 2;
    const text = bytes.subarray(end + 2, length < 0 ? end + 2 : stop - 2);
    return { raw: bytes.subarray(from, stop), type, text, items: [], isNull: length < 0 };
  }
  return { raw: bytes.subarray(from, end + 2), type, text: line, items: [], isNull: type === '_' };
}

/** Takes one complete frame apart. */
export function parseReply(raw: Buffer): Reply {
  return parseAt(raw, 0);
}

/** Collects bytes as they arrive and hands out complete frames. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Bytes that belong to no complete frame yet. */
  get pendingBytes(): number {
    return this.#rest.length;
  }

  /** The frames that these bytes complete, in order. */
  feed(chunk: Buffer): Buffer[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Buffer[] = [];
    let at = 0;
    while (at < bytes.length) {
      const end = frameEnd(bytes, at);
      if (end < 0) break;
      frames.push(bytes.subarray(at, end));
      at = end;
    }
    this.#rest = bytes.subarray(at);
    return frames;
  }
}

/** Bytes as a person can read them, cut in the middle when long. */
export function printable(bytes: Buffer, most = 300): string {
  const shown = (part: Buffer): string => JSON.stringify(part.toString('latin1')).slice(1, -1);
  if (bytes.length <= most) return shown(bytes);
  const half = Math.floor(most / 2);
  return `${shown(bytes.subarray(0, half))}…(${bytes.length} bytes)…${shown(bytes.subarray(bytes.length - half))}`;
}
