/** The grammar of hashes, lists, sets, sorted sets, geo sets and streams. */
import type { Draw, Word } from './keyspace.ts';
import { aloneRule, exactRule, type Production, rule } from './production.ts';

export const HASHES: readonly Production[] = [
  rule(6, d => ['HSET', d.key('h'), ...d.many(1, 4, () => [d.field(), d.value()])]),
  rule(1, d => ['HSET', d.key('h'), d.field(), d.value(), d.field()]),
  rule(1, d => ['HSET', d.key('h'), ...d.many(60, 140, () => [`w${d.int(0, 300)}`, d.int(0, 9)])]),
  rule(1, d => ['HMSET', d.key('h'), ...d.many(1, 3, () => [d.field(), d.value()])]),
  rule(1, d => ['HSETNX', d.key('h'), d.field(), d.value()]),
  rule(4, d => ['HGET', d.key('h'), d.field()]),
  rule(2, d => ['HMGET', d.key('h'), ...d.many(1, 5, () => d.field())]),
  rule(3, d => ['HGETALL', d.key('h')]),
  rule(2, d => [d.pick(['HKEYS', 'HVALS', 'HLEN']), d.key('h')]),
  rule(2, d => ['HDEL', d.key('h'), ...d.many(1, 4, () => d.field())]),
  rule(2, d => [d.pick(['HEXISTS', 'HSTRLEN']), d.key('h'), d.field()]),
  rule(2, d => ['HINCRBY', d.key('h'), d.field(), d.int(-9, 9)]),
  rule(1, d => ['HINCRBYFLOAT', d.key('h'), d.field(), d.float()]),
  exactRule(1, d => ['HSCAN', d.key('h'), 0, 'COUNT', 100_000, ...d.maybe(0.3, 'MATCH', 'f*')]),
  exactRule(1, d => ['HSCAN', d.key('h'), ...d.some(['abc'], [0, 'COUNT', 0], [0, 'COUNT'], [0, 'NOPE', 1])]),
  aloneRule(1, d => ['HRANDFIELD', d.key('h'), ...d.some([], [d.int(-5, 5)], [d.int(-5, 5), 'WITHVALUES'], ['abc'])]),
];

const END = (d: Draw): string => d.pick(['LEFT', 'RIGHT', 'left']);

export const LISTS: readonly Production[] = [
  rule(6, d => [d.pick(['LPUSH', 'RPUSH']), d.key('l'), ...d.many(1, 5, () => d.value())]),
  rule(2, d => [d.pick(['LPUSHX', 'RPUSHX']), d.key('l'), d.value()]),
  rule(4, d => [d.pick(['LPOP', 'RPOP']), d.key('l'), ...d.some([], [], [d.int(0, 4)], [-1])]),
  rule(4, d => ['LRANGE', d.key('l'), d.index(), d.index()]),
  rule(1, d => ['LRANGE', d.key('l'), 0, -1]),
  rule(2, d => ['LLEN', d.key('l')]),
  rule(2, d => ['LINDEX', d.key('l'), d.index()]),
  rule(2, d => ['LSET', d.key('l'), d.index(), d.value()]),
  rule(2, d => ['LREM', d.key('l'), d.int(-2, 2), d.value()]),
  rule(1, d => ['LINSERT', d.key('l'), d.pick(['BEFORE', 'AFTER', 'NEAR']), d.value(), d.value()]),
  rule(2, d => ['LTRIM', d.key('l'), d.int(0, 2), d.int(-3, 12)]),
  rule(1, d => ['LPOS', d.key('l'), d.value(), ...d.some([], ['RANK', -1], ['COUNT', 0], ['RANK', 0], ['MAXLEN', 3])]),
  rule(1, d => ['RPOPLPUSH', ...d.keys('l', 2, 2)]),
  rule(2, d => ['LMOVE', ...d.keys('l', 2, 2), END(d), END(d)]),
  rule(1, d => {
    const keys = d.keys('l', 1, 3);
    return ['LMPOP', keys.length, ...keys, END(d), ...d.maybe(0.4, 'COUNT', d.int(0, 3))];
  }),
  exactRule(0.4, d => [d.pick(['BLPOP', 'BRPOP']), ...d.keys('l', 1, 3), d.pick(['0.01', '0.02'])]),
  exactRule(1, d => [d.pick(['BLPOP', 'BRPOP']), ...d.some([d.key('l'), -1], [d.key('l'), 'abc'], [d.key('l')], [])]),
  exactRule(0.2, d => ['BLMOVE', ...d.keys('l', 2, 2), END(d), END(d), '0.01']),
  exactRule(0.2, d => ['BRPOPLPUSH', ...d.keys('l', 2, 2), '0.01']),
  exactRule(0.2, d => {
    const keys = d.keys('l', 1, 3);
    return ['BLMPOP', '0.01', keys.length, ...keys, END(d)];
  }),
];

export const SETS: readonly Production[] = [
  rule(6, d => ['SADD', d.key('e'), ...d.many(1, 6, () => d.member())]),
  rule(1, d => ['SADD', d.key('e'), ...d.many(100, 180, () => d.int(0, 700))]),
  rule(2, d => ['SREM', d.key('e'), ...d.many(1, 3, () => d.member())]),
  rule(2, d => ['SISMEMBER', d.key('e'), d.member()]),
  rule(1, d => ['SMISMEMBER', d.key('e'), ...d.many(1, 4, () => d.member())]),
  rule(3, d => ['SMEMBERS', d.key('e')]),
  rule(2, d => ['SCARD', d.key('e')]),
  rule(1, d => ['SMOVE', ...d.keys('e', 2, 2), d.member()]),
  rule(3, d => [d.pick(['SINTER', 'SUNION', 'SDIFF']), ...d.keys('e', 1, 3)]),
  rule(2, d => [d.pick(['SINTERSTORE', 'SUNIONSTORE', 'SDIFFSTORE']), ...d.keys('e', 2, 4)]),
  rule(1, d => {
    const keys = d.keys('e', 1, 3);
    return ['SINTERCARD', keys.length, ...keys, ...d.maybe(0.4, 'LIMIT', d.int(-1, 3))];
  }),
  aloneRule(2, d => ['SPOP', d.key('e'), ...d.some([], [1], [0], [1_000_000], [-1])]),
  aloneRule(2, d => ['SRANDMEMBER', d.key('e'), ...d.some([], [d.int(-5, 5)], ['abc'])]),
  exactRule(1, d => ['SSCAN', d.key('e'), 0, 'COUNT', 100_000, ...d.maybe(0.3, 'MATCH', 'm*')]),
];

const BOUND = (d: Draw): Word => d.pick(['-inf', '+inf', d.int(-10, 30), `(${d.int(-10, 30)}`, 'abc']);
/** Keys for ranges by name, which Redis leaves open where scores differ: nothing else writes to them, and that one score. */
const EVEN = (d: Draw): string => `{${d.tag()}}even${d.int(0, 1)}`;
const LEX = (d: Draw): Word => d.pick(['-', '+', '[m1', '(m5', '[5', 'm', '[z']);
const WITH = (d: Draw): Word[] => d.maybe(0.5, 'WITHSCORES');
const COMBINE = (d: Draw, keys: readonly Buffer[]): Word[] => [
  keys.length,
  ...keys,
  ...d.maybe(0.3, 'WEIGHTS', ...keys.map(() => d.float())),
  ...d.maybe(0.3, 'AGGREGATE', d.pick(['SUM', 'MIN', 'MAX', 'AVG'])),
];

export const SORTED_SETS: readonly Production[] = [
  rule(6, d => ['ZADD', d.key('z'), ...d.many(1, 5, () => [d.score(), d.member()])]),
  rule(1, d => ['ZADD', d.key('z'), ...d.many(70, 140, () => [d.score(), `w${d.int(0, 300)}`])]),
  rule(2, d => [
    'ZADD',
    d.key('z'),
    ...d.some(['NX'], ['XX'], ['GT'], ['LT'], ['NX', 'GT'], ['XX', 'CH'], ['CH']),
    ...d.maybe(0.3, 'INCR'),
    ...d.many(1, 2, () => [d.score(), d.member()]),
  ]),
  rule(2, d => ['ZINCRBY', d.key('z'), d.score(), d.member()]),
  rule(2, d => ['ZREM', d.key('z'), ...d.many(1, 3, () => d.member())]),
  rule(2, d => ['ZSCORE', d.key('z'), d.member()]),
  rule(1, d => ['ZMSCORE', d.key('z'), ...d.many(1, 4, () => d.member())]),
  rule(2, d => [d.pick(['ZRANK', 'ZREVRANK']), d.key('z'), d.member()]),
  rule(2, d => ['ZCARD', d.key('z')]),
  rule(1, d => ['ZCOUNT', d.key('z'), BOUND(d), BOUND(d)]),
  exactRule(1, d => ['ZLEXCOUNT', EVEN(d), LEX(d), LEX(d)]),
  rule(3, d => [d.pick(['ZRANGE', 'ZREVRANGE']), d.key('z'), d.index(), d.index(), ...WITH(d)]),
  rule(2, d => [
    'ZRANGE',
    d.key('z'),
    BOUND(d),
    BOUND(d),
    'BYSCORE',
    ...d.some([], ['REV'], ['LIMIT', 1, 3]),
    ...WITH(d),
  ]),
  exactRule(1, d => ['ZRANGE', EVEN(d), LEX(d), LEX(d), 'BYLEX', ...d.some([], ['REV'], ['LIMIT', 0, 2])]),
  rule(1, d => [d.pick(['ZRANGEBYSCORE', 'ZREVRANGEBYSCORE']), d.key('z'), BOUND(d), BOUND(d), ...WITH(d)]),
  exactRule(3, d => ['ZADD', EVEN(d), ...d.many(1, 6, () => [0, d.member()])]),
  exactRule(1, d => ['ZADD', EVEN(d), ...d.many(100, 150, () => [0, `w${d.int(0, 300)}`])]),
  exactRule(0.5, d => ['ZREM', EVEN(d), d.member()]),
  rule(0.3, d => [d.pick(['ZRANGEBYLEX', 'ZLEXCOUNT']), d.key('s'), LEX(d), LEX(d)]),
  exactRule(1, d => [d.pick(['ZRANGEBYLEX', 'ZREVRANGEBYLEX']), EVEN(d), LEX(d), LEX(d)]),
  rule(1, d => ['ZRANGESTORE', ...d.keys('z', 2, 2), d.index(), d.index()]),
  rule(2, d => [d.pick(['ZPOPMIN', 'ZPOPMAX']), d.key('z'), ...d.some([], [d.int(0, 3)], [-1])]),
  rule(1, d => ['ZREMRANGEBYRANK', d.key('z'), d.index(), d.index()]),
  rule(1, d => ['ZREMRANGEBYSCORE', d.key('z'), BOUND(d), BOUND(d)]),
  exactRule(1, d => ['ZREMRANGEBYLEX', EVEN(d), LEX(d), LEX(d)]),
  rule(2, d => [d.pick(['ZUNION', 'ZINTER']), ...COMBINE(d, d.keys('z', 1, 3)), ...WITH(d)]),
  rule(2, d => [d.pick(['ZUNIONSTORE', 'ZINTERSTORE']), ...storeWords(d)]),
  rule(1, d => {
    const keys = d.keys('z', 1, 3);
    return ['ZDIFF', keys.length, ...keys, ...WITH(d)];
  }),
  rule(1, d => {
    const [target, ...keys] = d.keys('z', 2, 4) as [Buffer, ...Buffer[]];
    return ['ZDIFFSTORE', target, keys.length, ...keys];
  }),
  rule(1, d => {
    const keys = d.keys('z', 1, 3);
    return ['ZINTERCARD', keys.length, ...keys, ...d.maybe(0.4, 'LIMIT', d.int(-1, 3))];
  }),
  rule(1, d => {
    const keys = d.keys('z', 1, 3);
    return ['ZMPOP', keys.length, ...keys, d.pick(['MIN', 'MAX', 'MID']), ...d.maybe(0.4, 'COUNT', d.int(0, 3))];
  }),
  exactRule(0.2, d => [d.pick(['BZPOPMIN', 'BZPOPMAX']), ...d.keys('z', 1, 2), '0.01']),
  exactRule(0.2, d => {
    const keys = d.keys('z', 1, 3);
    return ['BZMPOP', '0.01', keys.length, ...keys, d.pick(['MIN', 'MAX'])];
  }),
  exactRule(1, d => ['ZSCAN', d.key('z'), 0, 'COUNT', 100_000, ...d.maybe(0.3, 'MATCH', 'm*')]),
  aloneRule(1, d => ['ZRANDMEMBER', d.key('z'), ...d.some([], [d.int(-5, 5)], [d.int(-5, 5), 'WITHSCORES'], ['abc'])]),
];

function storeWords(d: Draw): Word[] {
  const [target, ...keys] = d.keys('z', 2, 4) as [Buffer, ...Buffer[]];
  return [target, ...COMBINE(d, keys)];
}

const LONGITUDE = (d: Draw): Word => (d.chance(0.96) ? (d.int(-1800, 1800) / 10).toFixed(1) : '181');
const LATITUDE = (d: Draw): Word => (d.chance(0.96) ? (d.int(-850, 850) / 10).toFixed(1) : '86');
const FROM = (d: Draw): Word[] => d.some(['FROMMEMBER', `m${d.int(0, 15)}`], ['FROMLONLAT', LONGITUDE(d), LATITUDE(d)]);
const BY = (d: Draw): Word[] => d.some(['BYRADIUS', d.int(1, 9000), 'km'], ['BYBOX', d.int(1, 9000), 4000, 'km']);

export const GEO: readonly Production[] = [
  rule(5, d => ['GEOADD', d.key('g'), ...d.many(1, 3, () => [LONGITUDE(d), LATITUDE(d), `m${d.int(0, 15)}`])]),
  rule(1, d => ['GEOADD', d.key('g'), d.pick(['NX', 'XX', 'CH']), LONGITUDE(d), LATITUDE(d), `m${d.int(0, 15)}`]),
  rule(1, d => [
    'GEODIST',
    d.key('g'),
    `m${d.int(0, 15)}`,
    `m${d.int(0, 15)}`,
    ...d.some([], ['km'], ['ft'], ['yards']),
  ]),
  rule(1, d => [d.pick(['GEOHASH', 'GEOPOS']), d.key('g'), ...d.many(0, 3, () => `m${d.int(0, 15)}`)]),
  rule(2, d => [
    'GEOSEARCH',
    d.key('g'),
    ...FROM(d),
    ...BY(d),
    ...d.some([], ['ASC'], ['DESC', 'COUNT', 2], ['WITHDIST', 'WITHCOORD']),
  ]),
  rule(1, d => ['GEOSEARCHSTORE', ...d.keys('g', 2, 2), ...FROM(d), ...BY(d), ...d.maybe(0.4, 'STOREDIST')]),
  rule(1, d => [
    'GEORADIUS',
    d.key('g'),
    LONGITUDE(d),
    LATITUDE(d),
    d.int(1, 9000),
    'km',
    ...d.some([], ['WITHHASH', 'ASC']),
  ]),
  rule(1, d => {
    const [from, to] = d.keys('g', 2, 2) as [Buffer, Buffer];
    return ['GEORADIUS', from, LONGITUDE(d), LATITUDE(d), d.int(1, 9000), 'km', 'STORE', to];
  }),
  rule(1, d => [
    d.pick(['GEORADIUSBYMEMBER_RO', 'GEORADIUSBYMEMBER']),
    d.key('g'),
    `m${d.int(0, 15)}`,
    d.int(1, 9000),
    'mi',
    'ASC',
  ]),
];

const ID = (d: Draw): string => `${d.int(1, 60)}-${d.int(0, 3)}`;
const GROUP = (d: Draw): string => d.pick(['g1', 'g1', 'g1', 'g1', 'g2', 'none']);
const CONSUMER = (d: Draw): string => d.pick(['c1', 'c2', 'c3']);
const TRIM = (d: Draw): Word[] =>
  d.some(
    ['MAXLEN', d.int(0, 30)],
    ['MAXLEN', '~', 10],
    ['MINID', `${d.int(1, 40)}`],
    ['MAXLEN', '~', 5, 'LIMIT', 10],
    ['MAXLEN', '=', 3, 'LIMIT', 1],
  );

export const STREAMS: readonly Production[] = [
  rule(5, d => ['XADD', d.key('x'), ID(d), ...d.many(1, 3, () => [d.field(), d.value()])]),
  rule(2, d => ['XADD', d.key('x'), `${d.int(30, 90)}-*`, d.field(), d.value()]),
  rule(1, d => ['XADD', d.key('x'), ...d.maybe(0.5, 'NOMKSTREAM'), ...TRIM(d), ID(d), 'f', 'v']),
  aloneRule(2, d => ['XADD', d.key('x'), ...d.maybe(0.2, 'NOMKSTREAM'), '*', d.field(), d.value()]),
  rule(1, d => ['XTRIM', d.key('x'), ...TRIM(d)]),
  rule(2, d => ['XLEN', d.key('x')]),
  rule(3, d => [
    d.pick(['XRANGE', 'XRANGE']),
    d.key('x'),
    d.pick(['-', ID(d), `(${ID(d)}`]),
    d.pick(['+', ID(d)]),
    ...d.maybe(0.3, 'COUNT', d.int(0, 3)),
  ]),
  rule(1, d => ['XREVRANGE', d.key('x'), '+', '-', ...d.maybe(0.3, 'COUNT', d.int(0, 3))]),
  rule(1, d => ['XDEL', d.key('x'), ...d.many(1, 3, () => ID(d))]),
  rule(1, d => ['XSETID', d.key('x'), ID(d), ...d.maybe(0.3, 'ENTRIESADDED', 7, 'MAXDELETEDID', '0-0')]),
  rule(3, d => ['XGROUP', 'CREATE', d.key('x'), GROUP(d), d.pick(['0', '$', ID(d)]), ...d.maybe(0.5, 'MKSTREAM')]),
  rule(1, d => ['XGROUP', d.pick(['DESTROY', 'destroy']), d.key('x'), GROUP(d)]),
  rule(1, d => ['XGROUP', 'SETID', d.key('x'), GROUP(d), d.pick(['0', '$', ID(d)]), ...d.maybe(0.2, 'ENTRIESREAD', 3)]),
  rule(1, d => ['XGROUP', d.pick(['CREATECONSUMER', 'DELCONSUMER']), d.key('x'), GROUP(d), CONSUMER(d)]),
  rule(1, d => ['XGROUP', d.pick(['NOPE', 'CREATE']), d.key('x')]),
  exactRule(2, d => [
    'XREAD',
    ...d.maybe(0.4, 'COUNT', d.int(1, 4)),
    ...streamWords(d, () => d.pick(['0', ID(d), '$'])),
  ]),
  exactRule(0.2, d => ['XREAD', 'BLOCK', 10, ...streamWords(d, () => d.pick(['0', '$', ID(d)]))]),
  exactRule(3, d => [
    'XREADGROUP',
    'GROUP',
    GROUP(d),
    CONSUMER(d),
    ...groupOptions(d),
    ...streamWords(d, () => d.pick(['>', '>', '0'])),
  ]),
  exactRule(1, d => [
    'XREAD',
    ...d.some(['STREAMS'], ['STREAMS', d.key('x')], ['COUNT', 1], ['BLOCK', -1, 'STREAMS', 'x1', '0']),
  ]),
  rule(2, d => ['XACK', d.key('x'), GROUP(d), ...d.many(1, 3, () => ID(d))]),
  rule(2, d => [
    'XPENDING',
    d.key('x'),
    GROUP(d),
    ...d.some([], ['-', '+', 10], ['IDLE', 0, '-', '+', 3], ['-', '+', 10, 'c1']),
  ]),
  rule(1, d => [
    'XCLAIM',
    d.key('x'),
    GROUP(d),
    CONSUMER(d),
    0,
    ...d.many(1, 3, () => ID(d)),
    ...d.some([], ['JUSTID'], ['FORCE'], ['IDLE', 100_000, 'RETRYCOUNT', 4]),
  ]),
  rule(1, d => [
    'XAUTOCLAIM',
    d.key('x'),
    GROUP(d),
    CONSUMER(d),
    d.pick([0, 1_000_000_000]),
    '0',
    ...d.some([], ['COUNT', 2], ['JUSTID']),
  ]),
  rule(2, d => ['XINFO', 'STREAM', d.key('x'), ...d.some([], [], ['FULL'], ['FULL', 'COUNT', 2])]),
  rule(1, d => ['XINFO', 'GROUPS', d.key('x')]),
  rule(1, d => ['XINFO', 'CONSUMERS', d.key('x'), GROUP(d)]),
];

function streamWords(d: Draw, id: () => Word): Word[] {
  const keys = d.keys('x', 1, 3);
  return ['STREAMS', ...keys, ...keys.map(id)];
}

function groupOptions(d: Draw): Word[] {
  return [...d.maybe(0.4, 'COUNT', d.int(1, 4)), ...d.maybe(0.05, 'BLOCK', 10), ...d.maybe(0.1, 'NOACK')];
}
