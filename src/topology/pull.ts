/**
 * The scripts by which a key is pulled from the node that gives it to the node that takes it, said by proxies and by the
 * supervisor alike (`REPLICATION.md`, M2).
 *
 * What was pulled is remembered in a set that lies with the taker, in database 0: `<database>:<key>`, and besides a first
 * member of its own, the empty text, without which nothing is pulled any more. Scripts are sent whole (EVAL): their texts
 * are short, and no node needs to have seen them before.
 */
export const PULLED_FIRST = '';

/**
 * A member that shuts a set: nothing is put any more, though what it says still counts. Of the set of the way there, before
 * a portion that was turned round moves: a `PUT_KEYS` of that way may still be on its way.
 */
export const PULLED_SHUT = 'shut';

/** The member of the set of pulled keys that stands for a key of a database. */
export function pulledMember(database: number, key: string): string {
  return `${database}:${key}`;
}

/**
 * What is there of some keys, on the giver. Changes nothing.
 *
 * KEYS: the set of the way there (empty text: none), then the keys. ARGV: the database; most bytes of memory that a key
 * may take (0: any number), and that all of them may take together (0: any number; the first that is there is read
 * whatever it takes). Answers nil when the set of the way there is closed or was lost, since then nobody can say what is
 * right; else two values for each key, what `DUMP` says and one of:
 *
 *   >= 0   when it expires (milliseconds of the Unix clock)      -1   never
 *   -2     there is no such key (nil)                            -3   it takes more memory: how much, instead of a dump
 *   -4     it was not pulled on the way there: what the taker has is right (nil)
 *   -5     there was no room for it any more: to be asked again (nil)
 */
export const READ_KEYS = `
redis.call('SELECT', 0)
if KEYS[1] ~= '' and redis.call('SISMEMBER', KEYS[1], '') == 0 then return false end
local there = {}
for i = 2, #KEYS do
  there[i] = KEYS[1] == '' or redis.call('SISMEMBER', KEYS[1], ARGV[1] .. ':' .. KEYS[i]) == 1
end
redis.call('SELECT', ARGV[1])
local most, room, out = tonumber(ARGV[2]), tonumber(ARGV[3]), {}
local left = room
for i = 2, #KEYS do
  local size = there[i] and redis.call('MEMORY', 'USAGE', KEYS[i], 'SAMPLES', 5)
  local value, expiry = false, -2
  if not there[i] then
    expiry = -4
  elseif size and most > 0 and size > most then
    value, expiry = size, -3
  elseif size and room > 0 and size > left and left < room then
    expiry = -5
  elseif size then
    value, expiry, left = redis.call('DUMP', KEYS[i]), redis.call('PEXPIRETIME', KEYS[i]), left - size
  end
  out[#out + 1] = value
  out[#out + 1] = expiry
end
return out`;

export const NO_SUCH_KEY = -2;
export const TOO_LARGE = -3;
export const NOT_THERE = -4;
export const NO_ROOM = -5;

/**
 * Puts keys as they were read where they are to be, on the taker, unless they were pulled before.
 *
 * KEYS: the set of pulled keys, then the keys. ARGV: the database, then for each key the dump (empty text where there is
 * none) and the second value of `READ_KEYS`. Answers nil when the set is shut, closed or lost, else for each key 0 (it is
 * there now), 1 (it was before) or the text of the error for which it was left as it is, or is not known to be there.
 */
export const PUT_KEYS = `
redis.call('SELECT', 0)
if redis.call('SISMEMBER', KEYS[1], '') == 0 or redis.call('SISMEMBER', KEYS[1], '${PULLED_SHUT}') == 1 then return false end
local members = {}
for i = 2, #KEYS do members[i - 1] = ARGV[1] .. ':' .. KEYS[i] end
local out = redis.call('SMISMEMBER', KEYS[1], unpack(members))
local put = {}
redis.call('SELECT', ARGV[1])
for i = 2, #KEYS do
  if out[i - 1] == 0 then
    local dump, expiry = ARGV[2 * i - 2], ARGV[2 * i - 1]
    local done = true
    if expiry == '-2' then
      done = redis.pcall('DEL', KEYS[i])
    elseif expiry ~= '-4' then
      if expiry == '-1' then expiry = '0' end
      done = redis.pcall('RESTORE', KEYS[i], expiry, dump, 'REPLACE', 'ABSTTL')
    end
    if type(done) == 'table' and done.err then out[i - 1] = done.err else put[#put + 1] = members[i - 1] end
  end
end
if #put == 0 then return out end
redis.call('SELECT', 0)
local added = redis.pcall('SADD', KEYS[1], unpack(put))
if type(added) == 'table' and added.err then
  for i = 1, #out do if out[i] == 0 then out[i] = added.err end end
end
return out`;

/** Most keys that one of these scripts takes at a time: what Lua can unpack, and what holds a node up for no long time. */
export const MOST_KEYS_PER_SCRIPT = 512;

/** Takes keys away from the giver, once every in-sync copy of the taker has them. KEYS: the keys; ARGV: the database. */
export const DROP_KEYS = `
redis.call('SELECT', ARGV[1])
return redis.call('UNLINK', unpack(KEYS))`;

/** How much memory keys take, nil for one that is not there. KEYS: the keys; ARGV: the database. Changes nothing. */
export const SIZE_KEYS = `
redis.call('SELECT', ARGV[1])
local out = {}
for i = 1, #KEYS do out[i] = redis.call('MEMORY', 'USAGE', KEYS[i], 'SAMPLES', 5) end
return out`;

export function evalCommand(script: string, keys: readonly string[], args: readonly string[]): string[] {
  return ['EVAL', script, String(keys.length), ...keys, ...args];
}
