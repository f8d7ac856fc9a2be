/**
 * The small world that the generated commands live in: keys, members and values, few enough to meet again and again.
 *
 * A key's letter says the type that the commands mostly give it; now and then a key of another letter is drawn, which
 * is where the `WRONGTYPE` errors come from.
 */
import type { Random } from '../../src/base/random.ts';

/** What an argument may be written as; all become bytes. */
export type Word = string | number | Buffer;

/** The letters of keys: string, number, bitmap, hash, list, set, sorted set, geo, stream, HyperLogLog. */
const LETTERS = ['s', 'n', 'b', 'h', 'l', 'e', 'z', 'g', 'x', 'p'] as const;
export type Letter = (typeof LETTERS)[number];

export const TAGS = ['a', 'b', 'c'] as const;

const ODD_KEYS: readonly Buffer[] = [
  Buffer.from(''),
  Buffer.from('{}'),
  Buffer.from('{}x'),
  Buffer.from('x{'),
  Buffer.from('}y{'),
  Buffer.from('q{a}{b}'),
  Buffer.from('{{a}}'),
  Buffer.from('two words'),
  Buffer.from('line\r\nbreak'),
  Buffer.from([0, 255, 10, 13, 128, 36]),
  Buffer.from('*3\r\n$3\r\nSET\r\n'),
  Buffer.from('k'.repeat(700)),
];

/** Numbers that are none, or that are none to some command. Small positive ones are left out: as a TTL they would end within the test. */
const JUNK = [
  '',
  'abc',
  '3.5',
  '-1',
  '0',
  '00',
  ' 1',
  '1 ',
  '+1',
  '0x10',
  'nan',
  'inf',
  '-inf',
  '1e400',
  '9223372036854775807',
  '-9223372036854775808',
  '18446744073709551616',
  'WITHSCORES',
  'LIMIT',
  '(1',
  '[a',
  '\u0000',
];

/** Draws the words of commands for one client. */
export class Draw {
  readonly random: Random;
  /** While set, keys carry this hash tag nearly always: the client has a transaction or a watch open. */
  blockTag: string | null = null;

  constructor(random: Random) {
    this.random = random;
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.random.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return this.random.pick(list);
  }

  /** An integer from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + this.random.below(high - low + 1);
  }

  /** One of the alternatives' words. */
  some(...alternatives: readonly Word[][]): Word[] {
    return this.pick(alternatives);
  }

  /** The words with this probability, otherwise none. */
  maybe(probability: number, ...words: Word[]): Word[] {
    return this.chance(probability) ? words : [];
  }

  /** Between `least` and `most` draws, joined. */
  many(least: number, most: number, draw: () => Word | Word[]): Word[] {
    const words: Word[] = [];
    for (let left = this.int(least, most); left > 0; left -= 1) words.push(...[draw()].flat());
    return words;
  }

  tag(): string {
    if (this.blockTag !== null && this.chance(0.97)) return this.blockTag;
    return this.pick(TAGS);
  }

  tagged(letter: Letter, tag: string): Buffer {
    const index = this.random.below(3);
    return Buffer.from(this.chance(0.05) ? `${letter}${index}{${tag}}` : `{${tag}}${letter}${index}`);
  }

  key(letter: Letter): Buffer {
    const drawn = this.chance(0.05) ? this.pick(LETTERS) : letter;
    if (this.blockTag !== null && this.chance(0.97)) return this.tagged(drawn, this.blockTag);
    if (this.chance(0.015)) return this.pick(ODD_KEYS);
    if (this.chance(0.5)) return this.tagged(drawn, this.pick(TAGS));
    return Buffer.from(`${drawn}${this.random.below(5)}`);
  }

  /** Keys for one command: of one hash tag mostly, of several shards now and then. */
  keys(letter: Letter, least: number, most: number, apart = 0.1): Buffer[] {
    const count = this.int(least, most);
    const tag = this.chance(apart) && this.blockTag === null ? null : this.tag();
    const keys: Buffer[] = [];
    for (let i = 0; i < count; i += 1) {
      const drawn = this.chance(0.03) ? this.pick(LETTERS) : letter;
      keys.push(tag === null ? this.key(drawn) : this.tagged(drawn, tag));
    }
    return keys;
  }

  word(): string {
    return this.pick(['red', 'green', 'blue', 'Amber', 'x', 'yes', 'hello world', 'ünïcode', 'OK', 'nil', '*', '$5']);
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let i = 0; i < length; i += 1) bytes[i] = this.random.below(256);
    return bytes;
  }

  /** Long text, cheap to draw: a piece repeated. */
  long(length: number): Buffer {
    return Buffer.alloc(length, this.pick(['abc', '\r\n', '$-1\r\n', 'x', '\u0000\u0001', '*1\r\n$4\r\nPING\r\n']));
  }

  value(): Word {
    const kind = this.random.next();
    if (kind < 0.42) return this.word();
    if (kind < 0.66) return this.int(-50, 50);
    if (kind < 0.74) return this.float();
    if (kind < 0.86) return this.bytes(this.int(0, 40));
    if (kind < 0.9) return '';
    if (kind < 0.985) return this.long(this.int(40, 400));
    if (kind < 0.997) return this.long(this.int(400, 6000));
    return this.long(this.int(6000, 100_000));
  }

  member(): Word {
    const kind = this.random.next();
    if (kind < 0.6) return `m${this.random.below(16)}`;
    if (kind < 0.9) return this.random.below(24);
    if (kind < 0.93) return this.bytes(this.int(0, 12));
    return this.chance(0.9) ? this.word() : this.long(90);
  }

  field(): Word {
    return this.chance(0.95) ? `f${this.random.below(12)}` : this.member();
  }

  float(): string {
    return this.pick([
      '0',
      '1.5',
      '-2.25',
      '3.0e3',
      '0.1',
      '1e-7',
      '100',
      '-0',
      '12345678901234567',
      '3.141592653589793',
    ]);
  }

  score(): Word {
    if (this.chance(0.04)) return this.pick(['inf', '-inf', '+inf']);
    return this.chance(0.6) ? this.int(-10, 30) : this.float();
  }

  index(): number {
    return this.int(-6, 12);
  }

  /** A life so long that no key ends within a test, and so varied that no two are compared within a clock's tick. */
  farSeconds(): number {
    return this.int(100_000, 90_000_000);
  }

  /** An instant past the year 2100, in seconds since 1970. */
  farInstant(): number {
    return this.int(4_102_444_800, 4_202_444_800);
  }

  junk(): string {
    return this.pick(JUNK);
  }
}
