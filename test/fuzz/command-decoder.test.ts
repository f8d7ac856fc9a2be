import { describe, expect, it } from 'vitest';
import { BufferPool } from '../../src/base/buffer-pool.ts';
import type { Random } from '../../src/base/random.ts';
import { CommandDecoder, type DecoderLimits, Framed } from '../../src/resp/command-decoder.ts';
import { cut, mutate, randomBytes, rounds, SEED } from './seed.ts';

const GENEROUS: DecoderLimits = { bulkBytes: 512 * 1024 * 1024, inlineBytes: 64 * 1024 * 1024, arguments: 1_048_576 };
const NARROW: DecoderLimits = { bulkBytes: 300, inlineBytes: 100, arguments: 20 };

/** All sockets' reads go through one buffer, which is overwritten by the next read: so does this one. */
const READ_BUFFER = Buffer.alloc(64 * 1024);

interface Decoded {
  /** Each command's arguments, as latin1 text. */
  commands: string[][];
  problem: string | null;
}

/** Feeds the pieces as reads of a socket are fed, with other clients' bytes in between. */
function decode(pieces: readonly Buffer[], limits: DecoderLimits, random?: Random): Decoded {
  const pool = new BufferPool(1024 * 1024 * 1024);
  const decoder = new CommandDecoder(limits, pool);
  const decoded: Decoded = { commands: [], problem: null };
  for (const piece of pieces) {
    piece.copy(READ_BUFFER);
    decoder.feed(READ_BUFFER, piece.length);
    if (!drain(decoder, decoded, pool, random)) break;
    decoder.keepRest();
    READ_BUFFER.fill(0xee, 0, piece.length);
  }
  decoder.close();
  expect(pool.heldBytes).toBe(0);
  return decoded;
}

/** Takes every whole command; false when the stream cannot go on. */
function drain(decoder: CommandDecoder, decoded: Decoded, pool: BufferPool, random?: Random): boolean {
  for (;;) {
    const framed = decoder.next();
    if (framed === Framed.Incomplete) return true;
    if (framed === Framed.Malformed) {
      decoded.problem = decoder.problem;
      return false;
    }
    expect(framed).toBe(Framed.Command);
    if (random !== undefined && random.below(8) === 0) {
      decoder.unread();
      expect(decoder.next()).toBe(Framed.Command);
    }
    const { args } = decoder;
    const words = args.copyAll().map(word => word.toString('latin1'));
    const whole = args.bytes.toString('latin1', args.from, args.to);
    decoded.commands.push(words);
    if (args.count > 0) expect(framesOf(whole)).toEqual(words);
    if (random !== undefined && random.below(3) === 0) {
      const owned = decoder.takeOwned();
      if (owned !== null) pool.release(owned);
    }
  }
}

/** The words in a command's RESP form, found without the decoder: what is forwarded must say the same. As in Redis, any byte behind CR ends a line. */
function framesOf(whole: string): string[] {
  const words: string[] = [];
  let at = whole.indexOf('\r') + 2;
  while (at < whole.length) {
    const body = whole.indexOf('\r', at) + 2;
    const length = Number(whole.slice(at + 1, body - 2));
    words.push(whole.slice(body, body + length));
    at = body + length + 2;
  }
  return words;
}

function encode(words: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) parts.push(Buffer.from(`$${word.length}\r\n`), word, Buffer.from('\r\n'));
  return Buffer.concat(parts);
}

/** A command of any size that is likely to meet a special case of the decoder. */
function randomCommand(random: Random): { bytes: Buffer; words: string[] } {
  if (random.below(8) === 0) return randomInline(random);
  const count = random.pick([1, 2, 3, 5, 31, 32, 33, 40, 200, random.below(1_500) + 1]);
  const words: Buffer[] = [];
  for (let i = 0; i < count; i += 1) {
    const longest = count > 50 ? 8 : random.pick([0, 1, 10, 100, 5_000]);
    words.push(randomBytes(random, random.below(longest + 1)));
  }
  if (random.below(40) === 0) words.push(Buffer.alloc(random.below(200_000), random.below(256)));
  return { bytes: encode(words), words: words.map(word => word.toString('latin1')) };
}

function randomInline(random: Random): { bytes: Buffer; words: string[] } {
  const words = Array.from({ length: 1 + random.below(5) }, () => `w${random.below(1_000)}`);
  const ending = random.pick(['\r\n', '\n', ' \r\n', '\t\n']);
  return { bytes: Buffer.from(words.join(random.pick([' ', '  ', '\t'])) + ending), words };
}

describe(`the command decoder (RINGSIDE_SEED=${SEED})`, () => {
  it('finds the same commands wherever the network cut their bytes', () => {
    rounds(400, random => {
      const commands = Array.from({ length: 1 + random.below(12) }, () => randomCommand(random));
      const stream = Buffer.concat(commands.map(command => command.bytes));
      const decoded = decode(cut(random, stream, 60_000), GENEROUS, random);
      expect(decoded).toEqual({ commands: commands.map(command => command.words), problem: null });
    });
  });

  it('gives a value above 1 MB the buffer that it was read into, unharmed', () => {
    rounds(4, random => {
      const value = Buffer.alloc(1_100_000 + random.below(2_000_000));
      for (let i = 0; i < value.length; i += 997) value[i] = random.below(256);
      const stream = Buffer.concat([
        encode([Buffer.from('SET'), Buffer.from('k'), value]),
        encode([Buffer.from('PING')]),
      ]);
      const decoded = decode(cut(random, stream, 60_000), GENEROUS, random);
      expect(decoded.commands.length).toBe(2);
      expect(decoded.commands[0]?.[2] === value.toString('latin1')).toBe(true);
      expect(decoded.commands[1]).toEqual(['PING']);
    });
  });

  it('makes the same of malformed bytes wherever they are cut, and never throws', () => {
    rounds(3_000, random => {
      const commands = Array.from({ length: 1 + random.below(4) }, () => encodeSmall(random));
      const stream = mutate(random, Buffer.concat(commands));
      const whole = decode(cutWhole(stream), GENEROUS);
      const pieces = decode(cut(random, stream, 50), GENEROUS, random);
      expect(pieces).toEqual(whole);
    });
  });

  it('takes any bytes without a throw, and keeps no more than its limits allow', () => {
    rounds(3_000, random => {
      const stream = randomBytes(random, random.below(2_000));
      const { problem, commands } = decode(cut(random, stream, 200), NARROW, random);
      if (problem !== null) expect(problem).toMatch(PROBLEMS);
      for (const words of commands) {
        expect(words.length).toBeGreaterThan(0);
        for (const word of words) expect(word.length).toBeLessThanOrEqual(2_000);
      }
    });
  });

  it('skips a value for which there is no room, owes one error for it, and frames what follows', () => {
    rounds(20, random => {
      const pool = new BufferPool(2 * 1024 * 1024);
      const other = pool.acquire(1_900_000);
      const decoder = new CommandDecoder(GENEROUS, pool);
      const large = encode([
        Buffer.from('SET'),
        Buffer.from('k'),
        Buffer.alloc(1_500_000 + random.below(1_000_000), 'v'),
      ]);
      const found: string[] = [];
      for (const piece of cut(random, Buffer.concat([large, encode([Buffer.from('PING')])]), 60_000)) {
        piece.copy(READ_BUFFER);
        decoder.feed(READ_BUFFER, piece.length);
        for (let framed = decoder.next(); framed !== Framed.Incomplete; framed = decoder.next()) {
          found.push(framed === Framed.Command ? decoder.args.text(0) : `framed ${framed}`);
          expect(found.length).toBeLessThan(5);
        }
        decoder.keepRest();
        READ_BUFFER.fill(0xee);
      }
      decoder.close();
      pool.release(other);
      expect(found).toEqual([`framed ${Framed.Overloaded}`, 'PING']);
      expect(pool.heldBytes).toBe(0);
    });
  });

  it('does not spend more than linear time on a command that comes byte by byte', () => {
    const byteByByte = (count: number): number => {
      const words = Array.from({ length: count }, (_, i) => Buffer.from(String(10_000 + i)));
      const pieces = Array.from(encode(words), byte => Buffer.of(byte));
      const before = process.cpuUsage();
      const decoded = decode(pieces, GENEROUS);
      const { user, system } = process.cpuUsage(before);
      expect(decoded.commands).toEqual([words.map(String)]);
      return user + system;
    };
    byteByByte(2_500);
    const short = Math.min(byteByByte(2_500), byteByByte(2_500));
    // Eight times as long: 64 times the work, were it not linear.
    expect(byteByByte(20_000) / short).toBeLessThan(24);
  });
});

const PROBLEMS =
  /^(invalid multibulk length|invalid bulk length|expected '\$', got '[\s\S]'|unbalanced quotes in request|too big (inline request|mbulk count string|bulk count string))$/;

function encodeSmall(random: Random): Buffer {
  const words = Array.from({ length: 1 + random.below(5) }, () => randomBytes(random, random.below(12)));
  return random.below(5) === 0 ? randomInline(random).bytes : encode(words);
}

/** In one read, or as few as the read buffer allows. */
function cutWhole(stream: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < stream.length; at += READ_BUFFER.length)
    pieces.push(stream.subarray(at, at + READ_BUFFER.length));
  return pieces;
}
