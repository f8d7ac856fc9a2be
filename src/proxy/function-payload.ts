import { crc64 } from '../resp/crc64.ts';
import { splitInline } from '../resp/inline.ts';

/**
 * What FUNCTION DUMP gives and FUNCTION RESTORE takes: libraries one after another, the version of the format, a checksum.
 *
 *   │ 245 │ string │ 245 │ string │ … │ version, 2 bytes │ CRC-64, 8 bytes │
 *
 * A string is its length and its bytes, which may be compressed (`rdbSaveRawString`, `lzf_d.c`).
 */
export interface Payload {
  readonly libraries: readonly PayloadLibrary[];
  readonly footer: Buffer;
}

export interface PayloadLibrary {
  /** Empty: its first line is none that a node would take. */
  readonly name: string;
  readonly code: Buffer;
  /** As it stands in the payload. */
  readonly bytes: Buffer;
}

/** `damaged`: no node takes it, in Redis's own words. `unreadable`: a node may take it, and nobody here knows what it is. */
export function readPayload(payload: Buffer): Payload | 'damaged' | 'unreadable' {
  const end = payload.length - FOOTER_BYTES;
  if (end < 0 || !crc64(payload, payload.length - 8).equals(payload.subarray(payload.length - 8))) return 'damaged';
  const libraries: PayloadLibrary[] = [];
  let at = 0;
  while (at < end) {
    const string = payload[at] === FUNCTION2 ? readString(payload, at + 1, end) : null;
    if (string === null) return 'unreadable';
    const name = libraryName(string.text);
    libraries.push({ name, code: string.text, bytes: payload.subarray(at, string.next) });
    at = string.next;
  }
  return { libraries, footer: payload.subarray(end) };
}

/** The same payload with these libraries only. */
export function writePayload(libraries: readonly PayloadLibrary[], footer: Buffer): Buffer {
  const body = Buffer.concat([...libraries.map(library => library.bytes), footer.subarray(0, 2)]);
  return Buffer.concat([body, crc64(body, body.length)]);
}

/** The name that a library's first line gives it (`functionExtractLibMetaData` in functions.c); empty: none is found. */
export function libraryName(code: Buffer): string {
  const lineEnd = code.indexOf(0x0a);
  if (lineEnd < 0 || code[0] !== 0x23 || code[1] !== 0x21) return '';
  const words = splitInline(code.subarray(0, lineEnd)) ?? [];
  const named = words.slice(1).find(word => /^name=/i.test(word.toString('latin1')));
  return named === undefined ? '' : named.toString('latin1', 'name='.length);
}

const FOOTER_BYTES = 10;
const FUNCTION2 = 245;
/** Longer than any library is; a length above it is none. */
const MOST_BYTES = 2 ** 30;

interface ReadString {
  readonly text: Buffer;
  readonly next: number;
}

/** The string at `at`; null: there is none that fits. */
function readString(payload: Buffer, at: number, end: number): ReadString | null {
  if (payload[at] === COMPRESSED) {
    const packed = readLength(payload, at + 1, end);
    const whole = packed === null ? null : readLength(payload, packed.next, end);
    if (packed === null || whole === null || whole.next + packed.value > end) return null;
    const next = whole.next + packed.value;
    const text = unpack(payload.subarray(whole.next, next), whole.value);
    return text === null ? null : { text, next };
  }
  const length = readLength(payload, at, end);
  if (length === null || length.next + length.value > end) return null;
  const next = length.next + length.value;
  return { text: payload.subarray(length.next, next), next };
}

const COMPRESSED = 0xc3;

/** A length in one, two, five or nine bytes; null for anything else, such as a number written as a string. */
function readLength(payload: Buffer, at: number, end: number): { value: number; next: number } | null {
  const first = payload[at] as number;
  const bytes = first < 0x40 ? 1 : first < 0x80 ? 2 : first === 0x80 ? 5 : first === 0x81 ? 9 : 0;
  if (bytes === 0 || at + bytes > end) return null;
  let value = first;
  if (bytes === 2) value = ((first & 0x3f) << 8) | (payload[at + 1] as number);
  else if (bytes === 5) value = payload.readUInt32BE(at + 1);
  else if (bytes === 9) value = Number(payload.readBigUInt64BE(at + 1));
  return value > MOST_BYTES ? null : { value, next: at + bytes };
}

/** Undoes LZF, which must give exactly so many bytes. */
function unpack(packed: Buffer, length: number): Buffer | null {
  const text = Buffer.alloc(length);
  let from = 0;
  let to = 0;
  while (from < packed.length) {
    const control = packed[from] as number;
    from += 1;
    if (control < 32) {
      const literal = control + 1;
      if (from + literal > packed.length || to + literal > length) return null;
      packed.copy(text, to, from, from + literal);
      from += literal;
      to += literal;
      continue;
    }
    let run = control >> 5;
    if (run === 7) {
      run += packed[from] ?? 0;
      from += 1;
    }
    if (from >= packed.length) return null;
    const back = to - ((control & 0x1f) << 8) - (packed[from] as number) - 1;
    from += 1;
    run += 2;
    if (back < 0 || to + run > length) return null;
    for (let i = 0; i < run; i += 1) text[to + i] = text[back + i] as number;
    to += run;
  }
  return to === length ? text : null;
}
