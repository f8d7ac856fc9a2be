import { encodeCommand } from '../resp/encoder.ts';

/** A command, ready to be written where it is sent from. */
export interface Sendable {
  /** Bytes that it takes. */
  readonly length: number;
  /** Writes it to buffer[at, at + length); returns where it ends. */
  write(buffer: Buffer, at: number): number;
}

/** A command without a script. */
export class PlainCall implements Sendable {
  readonly #bytes: Buffer;

  /** `words`: text in latin1. */
  constructor(words: readonly string[]) {
    this.#bytes = encodeCommand(words.map(word => Buffer.from(word, 'latin1')));
  }

  get length(): number {
    return this.#bytes.length;
  }

  write(buffer: Buffer, at: number): number {
    return at + this.#bytes.copy(buffer, at);
  }
}

/**
 * A call of a script (EVAL), as the bytes that nodes read.
 *
 * Its length is known beforehand, and it is written once, where it is sent from: the text of a script is longer than most
 * keys and values.
 */
export class ScriptCall implements Sendable {
  /** Bytes that it takes. */
  readonly length: number;
  /** What is to be written, one behind another; text is latin1. */
  readonly #pieces: readonly (Buffer | string)[];

  /** `keys` and `args`: text in latin1. */
  constructor(script: Script, keys: readonly Word[], args: readonly Word[]) {
    const pieces: (Buffer | string)[] = [`*${3 + keys.length + args.length}\r\n$4\r\nEVAL`, script.word];
    let length = (pieces[0] as string).length + script.word.length;
    let text = '';
    const add = (word: Word): void => {
      if (!Buffer.isBuffer(word)) {
        const body = String(word);
        text += `\r\n$${body.length}\r\n${body}`;
        return;
      }
      text += `\r\n$${word.length}\r\n`;
      pieces.push(text, word);
      length += text.length + word.length;
      text = '';
    };
    add(keys.length);
    for (const key of keys) add(key);
    for (const arg of args) add(arg);
    pieces.push(`${text}\r\n`);
    this.#pieces = pieces;
    this.length = length + text.length + 2;
  }

  /** Writes it to buffer[at, at + length); returns where it ends. */
  write(buffer: Buffer, at: number): number {
    let end = at;
    for (const piece of this.#pieces) {
      end += typeof piece === 'string' ? buffer.write(piece, end, 'latin1') : piece.copy(buffer, end);
    }
    return end;
  }
}

/** The text of a script, ready to be called. */
export class Script {
  /** As one of the words of a command, behind the end of the one before. */
  readonly word: Buffer;

  constructor(text: string) {
    this.word = Buffer.from(`\r\n$${Buffer.byteLength(text)}\r\n${text}`);
  }
}

export type Word = Buffer | string | number;
