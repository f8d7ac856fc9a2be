import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import type { Random } from '../../src/base/random.ts';
import { REPLY_GARBAGE, REPLY_UNFINISHED, ReplyDecoder } from '../../src/resp/reply-decoder.ts';
import { decodeReply, type ReplyValue } from '../../src/resp/reply-value.ts';
import { cut, mutate, randomBytes, rounds, SEED } from './seed.ts';

/** Of redis-parser, which has no types, what is used here: the reference for RESP2. */
interface ReferenceParser {
  execute(bytes: Buffer): void;
}
type Handlers = Record<'returnReply' | 'returnError' | 'returnFatalError', (value: unknown) => void>;
const Parser = createRequire(import.meta.url)('redis-parser') as new (
  options: Handlers & { returnBuffers: boolean },
) => ReferenceParser;

const LINE = Buffer.from('abc XYZ 0123 äöü', 'latin1');

const line = (random: Random) => LINE.toString('latin1', 0, random.below(LINE.length));

/** A random reply of RESP2, as bytes (latin1). */
function reply2(random: Random, depth = 0): string {
  switch (random.below(depth > 4 ? 5 : 7)) {
    case 0:
      return `+${line(random)}\r\n`;
    case 1:
      return `-ERR ${'abcdef'.slice(0, random.below(7))}\r\n`;
    case 2:
      return `:${random.below(2) === 0 ? '-' : ''}${random.below(1_000_000)}\r\n`;
    case 3:
      return random.pick(['$-1\r\n', '*-1\r\n', '$0\r\n\r\n', '*0\r\n']);
    case 4: {
      const body = randomBytes(random, random.below(random.pick([10, 10, 3_000])));
      return `$${body.length}\r\n${body.toString('latin1')}\r\n`;
    }
    default: {
      const items = Array.from({ length: random.below(6) }, () => reply2(random, depth + 1));
      return `*${items.length}\r\n${items.join('')}`;
    }
  }
}

/** A random reply of RESP3. */
function reply3(random: Random, depth = 0): string {
  const child = () => reply3(random, depth + 1);
  const list = (count: number) => Array.from({ length: count }, child).join('');
  const body = randomBytes(random, random.below(40)).toString('latin1');
  const count = random.below(4);
  switch (random.below(depth > 3 ? 7 : 11)) {
    case 0:
      return '_\r\n';
    case 1:
      return random.pick(['#t\r\n', '#f\r\n']);
    case 2:
      return random.pick([',1.5\r\n', ',inf\r\n', ',-inf\r\n', ',1e-10\r\n', ',nan\r\n']);
    case 3:
      return '(-3492890328409238509324850943850943825024385\r\n';
    case 4:
      return `=${body.length + 4}\r\ntxt:${body}\r\n`;
    case 5:
      return `!${body.length}\r\n${body}\r\n`;
    case 6:
      return reply2(random, 5);
    case 7:
      return `%${count}\r\n${list(count * 2)}`;
    case 8:
      return `~${count}\r\n${list(count)}`;
    case 9:
      return `>${count + 1}\r\n+message\r\n${list(count)}`;
    default:
      return `|${count}\r\n${list(count * 2)}${child()}`;
  }
}

interface FramedReplies {
  /** Where each reply ended, counted over the whole stream. */
  ends: number[];
  verdict: 'between' | 'inside' | 'garbage';
}

/** Frames a stream that comes in pieces. */
function frame(pieces: readonly Buffer[]): FramedReplies {
  const decoder = new ReplyDecoder();
  const ends: number[] = [];
  let offset = 0;
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length) {
      const next = decoder.frame(piece, at, piece.length);
      if (next === REPLY_GARBAGE) return { ends, verdict: 'garbage' };
      if (next === REPLY_UNFINISHED) break;
      expect(next).toBeGreaterThan(at);
      expect(next).toBeLessThanOrEqual(piece.length);
      ends.push(offset + next);
      at = next;
    }
    offset += piece.length;
  }
  return { ends, verdict: decoder.inside ? 'inside' : 'between' };
}

describe(`the reply decoder (RINGSIDE_SEED=${SEED})`, () => {
  it.each([
    ['RESP2', reply2],
    ['RESP3', reply3],
  ])('finds the end of every reply of %s wherever the network cut it', (_name, make) => {
    rounds(1_500, random => {
      const replies = Array.from({ length: 1 + random.below(20) }, () => Buffer.from(make(random), 'latin1'));
      let end = 0;
      const ends = replies.map(reply => (end += reply.length));
      const framed = frame(cut(random, Buffer.concat(replies), 4_000));
      expect(framed).toEqual({ ends, verdict: 'between' });
    });
  });

  it('decodes what redis-parser decodes', () => {
    rounds(1_500, random => {
      const bytes = Buffer.from(reply2(random), 'latin1');
      expect(plain(decodeReply(bytes))).toEqual(referenceOf(bytes));
    });
  });

  it('never throws at malformed bytes, and finds what was whole before them', () => {
    rounds(3_000, random => {
      const good = Buffer.from(reply2(random), 'latin1');
      const bad = mutate(random, Buffer.from(random.pick([reply2, reply3])(random), 'latin1'));
      expect(frame(cut(random, Buffer.concat([good, bad]), 30)).ends[0]).toBe(good.length);
    });
  });

  it('takes any bytes without a throw', () => {
    rounds(3_000, random => {
      const stream = randomBytes(random, random.below(500));
      expect(['between', 'inside', 'garbage']).toContain(frame(cut(random, stream, 100)).verdict);
    });
  });

  it('is not deceived by lengths beyond any integer', () => {
    for (const text of ['$99999999999999999999\r\nx', '*9999999999999999999999\r\n:1\r\n', '%9007199254740993\r\n']) {
      const { ends, verdict } = frame([Buffer.from(text)]);
      expect(ends).toEqual([]);
      expect(['garbage', 'inside']).toContain(verdict);
    }
  });
});

/** Values as redis-parser gives them: errors as their text behind a mark, the rest as it is. */
function plain(value: ReplyValue): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (Buffer.isBuffer(value)) return value.toString('latin1');
  if (value !== null && typeof value === 'object' && 'text' in value) return { error: value.text };
  return value;
}

function referenceOf(bytes: Buffer): unknown {
  const values: unknown[] = [];
  const parser = new Parser({
    returnReply: value => values.push(reference(value)),
    returnError: error => values.push(reference(error)),
    returnFatalError: error => {
      throw error;
    },
    returnBuffers: true,
  });
  parser.execute(bytes);
  expect(values).toHaveLength(1);
  return values[0];
}

function reference(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reference);
  if (Buffer.isBuffer(value)) return value.toString('latin1');
  if (value instanceof Error) return { error: Buffer.from(value.message).toString('latin1') };
  return value;
}
