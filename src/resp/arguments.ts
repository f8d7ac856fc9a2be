/**
 * One command as the decoder found it: where its arguments lie, nothing copied.
 *
 *   bytes   *3 CRLF $3 CRLF SET CRLF $1 CRLF k CRLF $2 CRLF vv CRLF
 *           ^from             ^starts[0]     ^starts[1]               ^to
 *
 * All positions are indices into `bytes` and hold only until the call that was given this object returns: the decoder
 * uses one object and one read buffer for every command. What must live longer is copied out.
 */
export class Arguments {
  bytes: Buffer;
  /** How many arguments, the command's name included; at least 1. */
  count = 0;
  /** Where argument i begins. */
  starts: Int32Array;
  /** How many bytes argument i has. */
  lengths: Int32Array;
  /** Where the whole command's RESP form begins and ends (exclusive) in `bytes`. */
  from = 0;
  to = 0;
  /** Where an inline command began in the client's bytes (its RESP form lies elsewhere); -1 for all others. */
  unreadFrom = -1;

  constructor(capacity = 64) {
    this.bytes = EMPTY;
    this.starts = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
  }

  /** Argument i, copied. */
  copy(index: number): Buffer {
    const start = this.starts[index] as number;
    return Buffer.from(this.bytes.subarray(start, start + (this.lengths[index] as number)));
  }

  /** Argument i as text, one character per byte (latin1), for names and numbers. */
  text(index: number): string {
    const start = this.starts[index] as number;
    return this.bytes.toString('latin1', start, start + (this.lengths[index] as number));
  }

  /** A copy that outlives the read: its bytes are its own. */
  clone(): Arguments {
    const copy = new Arguments(this.count);
    copy.bytes = Buffer.from(this.bytes.subarray(this.from, this.to));
    copy.count = this.count;
    copy.to = this.to - this.from;
    for (let i = 0; i < this.count; i += 1) {
      copy.starts[i] = (this.starts[i] as number) - this.from;
      copy.lengths[i] = this.lengths[i] as number;
    }
    return copy;
  }

  /** Every argument, copied. */
  copyAll(): Buffer[] {
    const list: Buffer[] = [];
    for (let i = 0; i < this.count; i += 1) list.push(this.copy(i));
    return list;
  }
}

const EMPTY = Buffer.alloc(0);
