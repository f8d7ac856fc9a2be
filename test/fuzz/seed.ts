/** The seed of a random test, printed by whoever uses it, and how to replay it. */
import { Random } from '../../src/base/random.ts';

/** From `RINGSIDE_SEED`, or by chance. */
export const SEED = Number(process.env['RINGSIDE_SEED'] ?? Math.floor(Math.random() * 2 ** 32));

/** How many times the usual number of rounds, by `RINGSIDE_FUZZ`; 1 by default. */
export const EFFORT = Number(process.env['RINGSIDE_FUZZ'] ?? 1);

/** Of one round: the same seed and round give the same numbers, whichever other tests run. */
export function randomOf(round: number): Random {
  return new Random((SEED + Math.imul(round, 0x9e3779b1)) >>> 0);
}

/** Runs rounds of a property; a failure names the seed and the round that replay it. */
export function rounds(count: number, property: (random: Random, round: number) => void): void {
  const first = Number(process.env['RINGSIDE_ROUND'] ?? 0);
  const end = process.env['RINGSIDE_ROUND'] === undefined ? count * EFFORT : first + 1;
  for (let round = first; round < end; round += 1) {
    try {
      property(randomOf(round), round);
    } catch (error) {
      throw new Error(`replay with RINGSIDE_SEED=${SEED} RINGSIDE_ROUND=${round}`, { cause: error });
    }
  }
}

/** Random bytes; half of the time only such as RESP gives a meaning to. */
export function randomBytes(random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const meaningful = random.below(2) === 0;
  for (let i = 0; i < length; i += 1) {
    bytes[i] = meaningful ? MEANINGFUL.charCodeAt(random.below(MEANINGFUL.length)) : random.below(256);
  }
  return bytes;
}

const MEANINGFUL = '*$+-:_#,(!=%~>|\r\n\r\n\r\n0123456789 "\'\\x\0';

/** Pieces of the stream, cut at random places; sometimes byte by byte, never longer than `longest`. */
export function cut(random: Random, stream: Buffer, longest: number): Buffer[] {
  const pieces: Buffer[] = [];
  const style = random.below(4);
  let at = 0;
  while (at < stream.length) {
    const length = style === 0 && stream.length < 5_000 ? 1 : 1 + random.below(style === 1 ? 40 : longest);
    pieces.push(stream.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

/** The stream with a few bytes changed, left out, doubled or put in. */
export function mutate(random: Random, stream: Buffer): Buffer {
  let bytes = Buffer.from(stream);
  for (let i = 1 + random.below(4); i > 0; i -= 1) {
    const at = random.below(bytes.length + 1);
    const length = 1 + random.below(6);
    const before = bytes.subarray(0, at);
    switch (random.below(4)) {
      case 0:
        bytes = Buffer.concat([before, randomBytes(random, length), bytes.subarray(at + length)]);
        break;
      case 1:
        bytes = Buffer.concat([before, bytes.subarray(at + length)]);
        break;
      case 2:
        bytes = Buffer.concat([before, bytes.subarray(at, at + length), bytes.subarray(at)]);
        break;
      default:
        bytes = Buffer.concat([before, randomBytes(random, length), bytes.subarray(at)]);
    }
  }
  return bytes;
}
