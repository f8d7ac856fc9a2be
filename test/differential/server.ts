/** The grammar of scripts, functions and of what concerns the connection or the server. */
import { createHash } from 'node:crypto';
import type { Draw, Word } from './keyspace.ts';
import { aloneRule, exactRule, type Production, rule } from './production.ts';

/** Scripts for one key; each sets a reply form or an error of its own. */
const SCRIPTS = [
  'return redis.call("GET",KEYS[1])',
  'return redis.call("SET",KEYS[1],ARGV[1] or "none")',
  'return redis.pcall("INCR",KEYS[1])',
  'return redis.call("RPUSH",KEYS[1],unpack(ARGV))',
  'return redis.call("LRANGE",KEYS[1],0,-1)',
  'redis.call("SET",KEYS[1],ARGV[1]) return redis.call("GET",KEYS[2])',
  'return {1,2,{3,"four",false},nil,5}',
  'return {1,{true,"x",3.99},{"deep",{ok="fine"}}}',
  'return redis.status_reply("FINE")',
  'return redis.error_reply("MY own error")',
  'return {err="OTHER error"}',
  'return nil',
  'return true',
  'return false',
  'return 3.99',
  'return {double=3.5}',
  'return {map={a=1}}',
  'return ARGV',
  'return {KEYS[1],ARGV[1],#KEYS,#ARGV}',
  'return cjson.encode(ARGV)',
  'return redis.sha1hex(ARGV[1] or "")',
  'return redis.call("NOSUCH",1)',
  'return redis.call("GET")',
  'return missing',
  'syntax error (',
  'redis.setresp(3) return redis.call("ZSCORE",KEYS[1] or "none","m1")',
  'redis.setresp(3) return redis.call("HGET",KEYS[1] or "none","f1")',
  'local t = redis.call("TYPE",KEYS[1]) return t.ok',
  '#!lua flags=no-writes\nreturn redis.call("GET",KEYS[1])',
  '#!lua flags=no-writes\nreturn redis.call("SET",KEYS[1],"x")',
  '#!lua flags=nope\nreturn 1',
] as const;

const sha = (script: string): string => createHash('sha1').update(script).digest('hex');

const SCRIPT_KEYS = (d: Draw): Word[] => {
  const keys = d.keys(d.pick(['s', 'n', 'l', 'z', 'h']), 1, 2);
  return [keys.length, ...keys, ...d.many(0, 3, () => d.member())];
};
const LIBRARIES = [
  '#!lua name=lib1\nredis.register_function("f1", function(keys, args) return args[1] or "none" end)\nredis.register_function{function_name="f2", callback=function(keys, args) return redis.call("GET", keys[1]) end, flags={"no-writes"}}',
  '#!lua name=lib2\nredis.register_function("f3", function(keys, args) return redis.call("SET", keys[1], args[1] or "x") end)',
  '#!lua name=lib1\nredis.register_function("f1", function(keys, args) return {keys, args} end)',
  '#!lua name=lib3\nthis is no lua',
  '#!lua\nreturn 1',
  'no header',
  '#!lua name=lib4\nreturn 1',
] as const;

export const SCRIPTING: readonly Production[] = [
  rule(6, d => [d.pick(['EVAL', 'EVAL', 'EVAL_RO', 'eval']), d.pick(SCRIPTS), ...SCRIPT_KEYS(d)]),
  rule(1, d => ['EVAL', d.pick(SCRIPTS), 0, ...d.many(0, 2, () => d.member())]),
  rule(1, d => ['EVAL', d.pick(SCRIPTS), ...d.some([-1], ['abc'], [5, 's1'], [], [1])]),
  rule(3, d => [d.pick(['EVALSHA', 'EVALSHA', 'EVALSHA_RO']), sha(d.pick(SCRIPTS)), ...SCRIPT_KEYS(d)]),
  rule(1, d => ['EVALSHA', d.pick(['abc', 'f'.repeat(40), sha(SCRIPTS[0]).toUpperCase()]), ...SCRIPT_KEYS(d)]),
  exactRule(2, d => ['SCRIPT', d.pick(['LOAD', 'load']), d.pick(SCRIPTS)]),
  exactRule(2, d => ['SCRIPT', 'EXISTS', ...d.many(1, 4, () => sha(d.pick(SCRIPTS)))]),
  exactRule(0.3, d => ['SCRIPT', 'FLUSH', ...d.some([], ['SYNC'], ['ASYNC'], ['NOW'])]),
  exactRule(0.3, d => ['SCRIPT', ...d.some(['KILL'], ['HELP'], ['NOPE'], ['LOAD'], ['EXISTS'], [])]),
];

export const FUNCTIONS: readonly Production[] = [
  exactRule(2, d => ['FUNCTION', 'LOAD', ...d.maybe(0.6, 'REPLACE'), d.pick(LIBRARIES)]),
  exactRule(0.4, d => ['FUNCTION', 'DELETE', d.pick(['lib1', 'lib2', 'none'])]),
  exactRule(1, d => ['FUNCTION', 'LIST', ...d.some([], ['WITHCODE'], ['LIBRARYNAME', 'lib1'], ['LIBRARYNAME'])]),
  exactRule(0.3, d => ['FUNCTION', 'FLUSH', ...d.some([], ['SYNC'], ['ASYNC'], ['NOW'])]),
  exactRule(1, d => [
    'FUNCTION',
    ...d.some(['STATS'], ['DUMP'], ['KILL'], ['HELP'], ['NOPE'], ['LOAD'], ['RESTORE', 'bad'], []),
  ]),
  rule(4, d => [d.pick(['FCALL', 'FCALL', 'FCALL_RO']), d.pick(['f1', 'f2', 'f3', 'f9']), ...SCRIPT_KEYS(d)]),
  rule(1, d => ['FCALL', d.pick(['f1', 'f2']), ...d.some([0], [0, 'x'], [-1], ['abc'], [3, 's1'], [])]),
];

export const CONNECTION: readonly Production[] = [
  exactRule(4, d => [d.pick(['PING', 'ping', 'PiNg']), ...d.maybe(0.4, d.value())]),
  exactRule(0.5, () => ['PING', 'one', 'two']),
  exactRule(3, d => ['ECHO', d.value()]),
  exactRule(0.5, d => ['ECHO', ...d.some([], ['one', 'two'])]),
  exactRule(3, d => ['SELECT', d.pick([0, 0, 0, 1, 1, 2, 15, 16, -1, 'abc', ''])]),
  exactRule(0.5, d => ['SELECT', ...d.some([], [0, 1])]),
  exactRule(1, d => ['CLIENT', 'SETNAME', d.pick(['app', 'other', '', 'with space', 'tab\there'])]),
  exactRule(2, d => ['CLIENT', d.pick(['GETNAME', 'ID', 'INFO', 'getname'])]),
  exactRule(0.5, d => [
    'CLIENT',
    ...d.some(['LIST'], ['LIST', 'TYPE', 'NORMAL'], ['LIST', 'TYPE', 'nope'], ['LIST', 'ID', 'x']),
  ]),
  exactRule(0.7, d => ['CLIENT', ...d.some(['NO-EVICT', 'ON'], ['NO-EVICT', 'OFF'], ['NO-EVICT', 'x'], ['UNPAUSE'])]),
  exactRule(0.7, d => [
    'CLIENT',
    ...d.some(['NOPE'], ['HELP'], [], ['GETREDIR'], ['KILL', 'ID', 99_999_999], ['KILL', '1.2.3.4:5']),
  ]),
  exactRule(0.2, d => [
    'CLIENT',
    ...d.some(['PAUSE', 3], ['PAUSE', 3, 'WRITE'], ['PAUSE', 'abc'], ['REPLY', 'nope'], ['REPLY', 'ON']),
  ]),
  aloneRule(0.4, d => [
    'CLIENT',
    ...d.some(['SETINFO', 'lib-name', 'test'], ['NO-TOUCH', 'ON'], ['UNBLOCK', 99_999_999]),
  ]),
  exactRule(1, d => ['COMMAND', 'INFO', ...d.some(['GET'], ['get', 'nope', 'SET'], ['XGROUP|CREATE'], ['nope'])]),
  exactRule(1, d => [
    'COMMAND',
    'GETKEYS',
    ...d.some(['GET', 'a'], ['MSET', 'a', 1, 'b', 2], ['PING'], ['NOPE'], ['ZUNION', 2, 'a', 'b'], ['GET']),
  ]),
  exactRule(0.5, d => [
    'COMMAND',
    'GETKEYSANDFLAGS',
    ...d.some(['SET', 'a', 'b', 'GET'], ['LMOVE', 'a', 'b', 'left', 'left']),
  ]),
  exactRule(0.3, d => [
    'COMMAND',
    ...d.some(['COUNT'], ['LIST'], ['LIST', 'FILTERBY', 'PATTERN', 'xr*'], ['LIST', 'FILTERBY', 'ACLCAT', 'geo']),
  ]),
  exactRule(0.3, d => ['COMMAND', ...d.some(['DOCS', 'GET'], ['DOCS', 'nope'], ['NOPE'], ['HELP'])]),
  exactRule(0.5, d => ['AUTH', ...d.some(['secret'], ['nobody', 'secret'], [], ['a', 'b', 'c'])]),
  exactRule(0.5, d => [d.pick(['ASKING', 'READONLY', 'READWRITE'])]),
  exactRule(1, d => ['TIME', ...d.maybe(0.1, 'x')]),
  exactRule(0.3, d => ['WAIT', ...d.some([0, 0], [0, 10], [0, 0], [1, 5], ['abc', 1], [1, -1], [1])]),
  exactRule(0.3, d => ['INFO', ...d.some([], ['server'], ['keyspace'], ['everything'], ['nope'])]),
  exactRule(0.4, d => ['SLOWLOG', ...d.some(['LEN'], ['GET'], ['GET', 0], ['GET', -2], ['RESET'], ['HELP'], ['NOPE'])]),
  exactRule(0.6, d =>
    d.some(['ROLE'], ['LASTSAVE'], ['LOLWUT', 'VERSION', 3], ['ACL', 'WHOAMI'], ['ACL', 'CAT'], ['ACL', 'CAT', 'geo']),
  ),
  exactRule(0.5, d => [
    'CONFIG',
    ...d.some(['GET', 'maxmemory'], ['GET', 'databases'], ['GET', 'nope'], ['GET'], ['NOPE'], ['HELP']),
  ]),
  exactRule(0.3, d =>
    d.some(
      ['LATENCY', 'LATEST'],
      ['LATENCY', 'RESET'],
      ['LATENCY', 'HISTORY', 'x'],
      ['CONFIG', 'RESETSTAT'],
      ['MEMORY', 'PURGE'],
    ),
  ),
  exactRule(0.4, d => ['OBJECT', ...d.some(['HELP'], ['NOPE', 'a'], ['ENCODING'], [])]),
  exactRule(0.3, d => [
    ...d.some(['XINFO', 'HELP'], ['XGROUP', 'HELP'], ['MEMORY', 'HELP'], ['MEMORY', 'NOPE'], ['PUBSUB', 'HELP']),
  ]),
  exactRule(0.7, d => [
    'PUBSUB',
    ...d.some(
      ['CHANNELS'],
      ['NUMPAT'],
      ['NUMSUB'],
      ['NUMSUB', 'nobody'],
      ['SHARDCHANNELS'],
      ['SHARDNUMSUB', 'nobody'],
      ['NOPE'],
    ),
  ]),
  exactRule(0.5, d => [d.pick(['PUBLISH', 'SPUBLISH']), ...d.some(['nobody', 'x'], ['nobody'], [])]),
  exactRule(0.5, d => d.some(['UNSUBSCRIBE', 'nobody'], ['PUNSUBSCRIBE', 'n*'], ['SUNSUBSCRIBE', 'nobody'])),
  exactRule(1, d => [
    'SCAN',
    ...d.some(['abc'], [0, 'COUNT', 0], [0, 'COUNT'], [0, 'NOPE', 1], [], ['99999999999999999999999']),
  ]),
  exactRule(1.5, d =>
    d.some(
      ['NOPE'],
      ['nope', 'a', 'b'],
      ['', 'x'],
      [d.bytes(6), 'y'],
      ['GETT', d.long(200), d.value()],
      ['get\r\n', '1'],
    ),
  ),
];

/** Changes of the protocol: never inside a transaction. */
export const GREETINGS: readonly Production[] = [
  aloneRule(4, d => ['HELLO', d.pick([2, 3, 3])]),
  aloneRule(1, d => [
    'HELLO',
    ...d.some([], [3, 'SETNAME', 'greeter'], [2, 'SETNAME', 'bad name'], [3, 'NOPE'], [4], ['abc'], [1]),
  ]),
  aloneRule(1, d => [
    'HELLO',
    3,
    'AUTH',
    ...d.some(['nobody', 'secret'], ['default'], ['default', 'any', 'SETNAME', 'authed']),
  ]),
  aloneRule(0.7, () => ['RESET']),
];

/** What Ringside refuses and a stock server would do; sent to the subject alone, and only when it is no stock server. */
export const REFUSED: readonly Production[] = [
  exactRule(1, d => d.some(['REPLICAOF', 'NO', 'ONE'], ['SLAVEOF', '127.0.0.1', 1], ['FAILOVER'], ['CLUSTER', 'INFO'])),
  exactRule(1, d =>
    d.some(['PSYNC', '?', -1], ['SYNC'], ['MIGRATE', 'h', 1, 'k', 0, 10], ['MODULE', 'LIST'], ['MONITOR']),
  ),
  exactRule(1, d =>
    d.some(['ACL', 'LIST'], ['ACL', 'SETUSER', 'x'], ['BGREWRITEAOF'], ['SAVE'], ['BGSAVE'], ['SHUTDOWN', 'NOSAVE']),
  ),
  exactRule(1, d =>
    d.some(['SWAPDB', 0, 1], ['MOVE', 's1', 1], ['DEBUG', 'SLEEP', 0], ['CONFIG', 'SET', 'maxmemory', 0]),
  ),
  exactRule(1, () => ['CLIENT', 'TRACKING', 'ON']),
];
