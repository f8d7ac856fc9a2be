/** Commands written by hand, as the decoder would hand them on. */
import { Arguments } from '../../src/resp/arguments.ts';

export type Word = string | Buffer;

/** Strings stand for their latin1 bytes. */
export function argumentsOf(...words: Word[]): Arguments {
  const args = new Arguments(Math.max(words.length, 1));
  const pieces: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
  let at = (pieces[0] as Buffer).length;
  for (const word of words) {
    const bytes = bytesOf(word);
    const head = Buffer.from(`$${bytes.length}\r\n`);
    args.starts[args.count] = at + head.length;
    args.lengths[args.count] = bytes.length;
    args.count += 1;
    pieces.push(head, bytes, Buffer.from('\r\n'));
    at += head.length + bytes.length + 2;
  }
  args.bytes = Buffer.concat(pieces);
  args.to = args.bytes.length;
  return args;
}

export function bytesOf(word: Word): Buffer {
  return typeof word === 'string' ? Buffer.from(word, 'latin1') : word;
}
