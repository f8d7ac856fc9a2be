/** The grammar of strings, numbers, bitmaps, HyperLogLogs and of what works on keys of any type. */
import type { Draw, Word } from './keyspace.ts';
import { aloneRule, exactRule, type Production, rule } from './production.ts';

const SET_LIFE = (d: Draw): Word[] =>
  d.some(
    [],
    [],
    ['EX', d.farSeconds()],
    ['PX', d.farSeconds() * 1000],
    ['EXAT', d.farInstant()],
    ['PXAT', d.farInstant() * 1000],
    ['KEEPTTL'],
  );

export const STRINGS: readonly Production[] = [
  rule(8, d => ['SET', d.key('s'), d.value()]),
  rule(3, d => ['SET', d.key('s'), d.value(), ...SET_LIFE(d), ...d.some([], ['NX'], ['XX'], ['GET'], ['XX', 'GET'])]),
  rule(1, d => ['SET', d.key('s'), d.value(), ...d.some(['NX', 'XX'], ['EX', 5, 'PX', 5], ['EX', 0], ['GT'])]),
  rule(8, d => ['GET', d.key('s')]),
  rule(1, d => ['GETSET', d.key('s'), d.value()]),
  rule(1, d => ['GETDEL', d.key('s')]),
  rule(2, d => ['GETEX', d.key('s'), ...d.some([], ['PERSIST'], ['EX', d.farSeconds()], ['EXAT', d.farInstant()])]),
  rule(1, d => ['SETNX', d.key('s'), d.value()]),
  rule(1, d => ['SETEX', d.key('s'), d.farSeconds(), d.value()]),
  rule(1, d => ['PSETEX', d.key('s'), d.farSeconds() * 1000, d.value()]),
  rule(2, d => ['APPEND', d.key('s'), d.value()]),
  rule(2, d => ['STRLEN', d.key('s')]),
  rule(2, d => ['GETRANGE', d.key('s'), d.index(), d.index()]),
  rule(1, d => ['SUBSTR', d.key('s'), d.index(), d.index()]),
  rule(1, d => ['SETRANGE', d.key('s'), d.int(0, 300), d.value()]),
  rule(1, d => ['SETRANGE', d.key('s'), d.pick([-1, 1 << 30]), '']),
  rule(1, d => [
    'LCS',
    ...d.keys('s', 2, 2),
    ...d.some([], ['LEN'], ['IDX'], ['IDX', 'MINMATCHLEN', 2, 'WITHMATCHLEN']),
  ]),
  rule(2, d => ['SET', d.key('n'), d.int(-100, 100)]),
  rule(3, d => [d.pick(['INCR', 'DECR', 'incr', 'DeCr']), d.key('n')]),
  rule(2, d => [d.pick(['INCRBY', 'DECRBY']), d.key('n'), d.int(-1000, 1000)]),
  rule(1, d => ['INCRBY', d.key('n'), d.pick(['9223372036854775807', '-9223372036854775808'])]),
  rule(2, d => ['INCRBYFLOAT', d.key('n'), d.float()]),
];

/** `MGET` and its like: over several shards half of the time. */
export const MANY_KEYS: readonly Production[] = [
  rule(5, d => ['MGET', ...d.keys('s', 1, 8, 0.6)]),
  rule(1, d => ['MGET', ...d.keys('s', 30, 60, 0.8)]),
  rule(4, d => ['MSET', ...d.keys('s', 1, 6, 0.6).flatMap(key => [key, d.value()])]),
  rule(1, d => ['MSET', ...d.keys('s', 1, 3, 0.6).flatMap(key => [key, d.value()]), d.key('s')]),
  rule(1, d => ['MSETNX', ...d.keys('s', 1, 4).flatMap(key => [key, d.value()])]),
  rule(3, d => [d.pick(['DEL', 'UNLINK']), ...d.keys('s', 1, 4, 0.6)]),
  rule(3, d => [d.pick(['DEL', 'UNLINK', 'del']), d.key(d.pick(['l', 'h', 'e', 'z', 'x', 'g', 'p', 'b', 'n']))]),
  rule(3, d => [d.pick(['EXISTS', 'TOUCH']), ...d.keys(d.pick(['s', 'h', 'l']), 1, 6, 0.6)]),
  rule(1, d => {
    const key = d.key('s');
    return [d.pick(['MGET', 'EXISTS', 'TOUCH', 'DEL']), key, d.key('n'), key];
  }),
];

const FIELD = (d: Draw): string => `${d.pick(['u', 'i'])}${d.pick([1, 4, 8, 16, 32, 63])}`;
const BITS = (d: Draw): Word => (d.chance(0.3) ? `#${d.int(0, 20)}` : d.int(0, 200));

export const BITMAPS: readonly Production[] = [
  rule(3, d => ['SETBIT', d.key('b'), d.chance(0.9) ? d.int(0, 500) : d.int(0, 60_000), d.int(0, 1)]),
  rule(1, d => ['SETBIT', d.key('b'), d.pick([-1, 4294967296, 3]), d.int(0, 2)]),
  rule(2, d => ['GETBIT', d.key('b'), d.int(0, 600)]),
  rule(2, d => ['BITCOUNT', d.key('b'), ...d.some([], [d.index(), d.index(), ...d.some([], ['BIT'], ['BYTE'])], [1])]),
  rule(2, d => ['BITPOS', d.key('b'), d.int(0, 1), ...d.some([], [d.index()], [d.index(), d.index(), 'BIT'])]),
  rule(2, d => ['BITOP', d.pick(['AND', 'OR', 'XOR', 'xor']), ...d.keys('b', 2, 4)]),
  rule(1, d => ['BITOP', 'NOT', ...d.keys('b', 2, 3)]),
  rule(2, d => ['BITFIELD', d.key('b'), 'SET', FIELD(d), BITS(d), d.int(-9, 300), 'GET', FIELD(d), BITS(d)]),
  rule(2, d => [
    'BITFIELD',
    d.key('b'),
    ...d.maybe(0.6, 'OVERFLOW', d.pick(['WRAP', 'SAT', 'FAIL'])),
    'INCRBY',
    FIELD(d),
    BITS(d),
    d.int(-300, 300),
  ]),
  rule(1, d => ['BITFIELD_RO', d.key('b'), 'GET', FIELD(d), BITS(d), ...d.maybe(0.2, 'SET', 'u8', 0, 1)]),
  rule(3, d => ['PFADD', d.key('p'), ...d.many(0, 6, () => d.member())]),
  rule(2, d => ['PFCOUNT', ...d.keys('p', 1, 3)]),
  rule(1, d => ['PFMERGE', ...d.keys('p', 1, 3)]),
];

/** Values as `DUMP` of Redis 7.0 wrote them: the string `bar`, the list `a b`, a sorted set; then two broken ones. */
const DUMPS: readonly Buffer[] = [
  Buffer.from('00036261720a00e6be4960ee66fd17', 'hex'),
  Buffer.from('1201020d0d0000000200816102816202ff0a0068eb0a891341bbb1', 'hex'),
  Buffer.from('111111000000040081780201018179020201ff0a00b58d11c8cf053bfa', 'hex'),
  Buffer.from('00036261720a0000000000000000', 'hex'),
  Buffer.from(''),
];

const ANY = (d: Draw): Buffer => d.key(d.pick(['s', 'n', 'h', 'l', 'e', 'z', 'x', 'g', 'p', 'b']));
const LIFE = (d: Draw): Word[] => d.some([], [], ['NX'], ['XX'], ['GT'], ['LT'], ['NX', 'XX'], ['GT', 'LT']);

export const ANY_TYPE: readonly Production[] = [
  rule(2, d => ['EXPIRE', ANY(d), d.farSeconds(), ...LIFE(d)]),
  rule(1, d => ['PEXPIRE', ANY(d), d.farSeconds() * 1000, ...LIFE(d)]),
  rule(1, d => ['EXPIREAT', ANY(d), d.farInstant(), ...LIFE(d)]),
  rule(1, d => ['PEXPIREAT', ANY(d), d.farInstant() * 1000, ...LIFE(d)]),
  rule(1, d => [d.pick(['EXPIRE', 'PEXPIRE', 'EXPIREAT', 'PEXPIREAT']), ANY(d), d.pick([0, -1, -100])]),
  rule(3, d => [d.pick(['TTL', 'PTTL', 'EXPIRETIME', 'PEXPIRETIME']), ANY(d)]),
  rule(1, d => ['PERSIST', ANY(d)]),
  rule(3, d => ['TYPE', ANY(d)]),
  rule(2, d => ['RENAME', ...d.keys(d.pick(['s', 'h', 'l']), 2, 2)]),
  rule(1, d => ['RENAMENX', ...d.keys(d.pick(['s', 'e', 'z']), 2, 2)]),
  rule(2, d => [
    'COPY',
    ...d.keys(d.pick(['s', 'h', 'l', 'x', 'z']), 2, 2),
    ...d.some([], ['REPLACE'], ['DB', 1], ['DB', 99]),
  ]),
  rule(2, d => ['OBJECT', 'ENCODING', ANY(d)]),
  rule(1, d => ['OBJECT', d.pick(['REFCOUNT', 'IDLETIME', 'FREQ', 'idletime']), ANY(d)]),
  rule(1, d => ['MEMORY', 'USAGE', ANY(d), ...d.maybe(0.2, 'SAMPLES', 5)]),
  rule(1, d => ['DUMP', ANY(d)]),
  rule(2, d => [
    'RESTORE',
    ANY(d),
    d.pick([0, d.farSeconds() * 1000]),
    d.pick(DUMPS),
    ...d.some([], ['REPLACE'], ['IDLETIME', 5]),
  ]),
  rule(1, d => [
    'RESTORE',
    ANY(d),
    d.farInstant() * 1000,
    d.pick(DUMPS),
    'ABSTTL',
    ...d.some(['REPLACE'], ['FREQ', 300]),
  ]),
  rule(1, d => [
    'SORT',
    d.key('l'),
    ...d.some([], ['ALPHA'], ['DESC', 'ALPHA'], ['ALPHA', 'LIMIT', d.int(0, 3), d.int(-1, 5)]),
  ]),
  rule(1, d => ['SORT', d.key('e'), 'ALPHA', ...d.some([], ['DESC'], ['GET', '#'], ['BY', 'nosort'])]),
  rule(1, d => {
    const tag = d.tag();
    return ['SORT', d.tagged('e', tag), 'ALPHA', 'STORE', d.tagged('l', d.chance(0.9) ? tag : d.tag())];
  }),
  rule(2, d => {
    const tag = d.tag();
    const words: Word[] = ['SORT', d.tagged(d.pick(['l', 'e', 'z']), tag), 'BY', `{${tag}}n*`];
    words.push(...d.maybe(0.5, 'GET', `{${tag}}s*`, 'GET', '#'), ...d.maybe(0.3, 'GET', `{${tag}}h*->f1`));
    return words;
  }),
  rule(1, d => ['SORT', d.key('l'), 'BY', 'n*', 'GET', 's*']),
  rule(1, d => ['SORT_RO', d.key('l'), 'ALPHA', ...d.some([], ['LIMIT', 0, 2], ['STORE', 'l9'])]),
  exactRule(1, d => ['KEYS', d.pick(['*', 's*', '{a}*', '*[12]', 'h?', 'nothing*', '\\*', '[^s]*'])]),
  exactRule(2, () => ['DBSIZE']),
  aloneRule(1, () => ['RANDOMKEY']),
  exactRule(0.15, d => [d.pick(['FLUSHDB', 'FLUSHALL', 'flushdb']), ...d.some([], [], ['SYNC'], ['ASYNC'], ['NOW'])]),
];
