import type { CommandRow } from '../commands/row.ts';
import { Arguments } from '../resp/arguments.ts';
import { encodeCommand, error } from '../resp/encoder.ts';
import type { Client } from './client.ts';
import { refuse, type Verdict } from './forward.ts';
import type { Proxy } from './proxy.ts';
import { digestOfBody } from './script-cache.ts';
import { sendEval } from './scripts.ts';

/**
 * GETS and CAS: an optimistic lock on a string, without a connection of its own as WATCH needs.
 *
 *   GETS k                                      value and version; nil when there is none
 *   CAS k version value [EX s|PX ms|KEEPTTL]    OK; nil when the version has changed; -NOTFOUND
 *
 * The version is the SHA-1 of the value: nothing has to be stored for it, and it holds wherever the key is. Equal values
 * have equal versions, as in any compare-and-set on values. A script makes each atomic on the key's primary.
 */
export function answerOwn(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  const script = row.name === 'gets' ? GETS : CAS;
  if (!optionsOk(row, args)) return refuse(proxy, client, SYNTAX);
  proxy.scripts.add(script.body);
  const name = row.name === 'gets' ? 'evalsha_ro' : 'evalsha';
  const call = argumentsOf([name, script.digest, '1', ...args.copyAll().slice(1)]);
  return sendEval(proxy, client, proxy.table.byName(name) as CommandRow, call);
}

/** The same as one command that needs nothing to be loaded, for a block; null: its options are wrong. */
export function ownCall(row: CommandRow, args: Arguments): Arguments | null {
  if (!optionsOk(row, args)) return null;
  const script = row.name === 'gets' ? GETS : CAS;
  return argumentsOf(['eval', script.body, '1', ...args.copyAll().slice(1)]);
}

/** Only what CAS is documented to take: another option of SET could make its answer mean something else. */
function optionsOk(row: CommandRow, args: Arguments): boolean {
  if (row.name === 'gets' || args.count === 4) return true;
  const option = args.text(4).toLowerCase();
  if (args.count === 5) return option === 'keepttl';
  return args.count === 6 && (option === 'ex' || option === 'px');
}

/** A command that the proxy has made, as the decoder would have found it. */
export function argumentsOf(words: readonly (string | Buffer)[]): Arguments {
  const args = new Arguments(words.length);
  args.bytes = encodeCommand(words);
  args.count = words.length;
  args.to = args.bytes.length;
  let at = `*${words.length}\r\n`.length;
  words.forEach((word, i) => {
    const length = Buffer.byteLength(word);
    at += `$${length}\r\n`.length;
    args.starts[i] = at;
    args.lengths[i] = length;
    at += length + 2;
  });
  return args;
}

interface OwnScript {
  readonly body: Buffer;
  readonly digest: string;
}

function ownScript(text: string): OwnScript {
  const body = Buffer.from(text);
  return { body, digest: digestOfBody(body) };
}

const GETS = ownScript(`local v = redis.pcall('GET', KEYS[1])
if type(v) == 'table' then return v end
if not v then return false end
return {v, redis.sha1hex(v)}`);

const CAS = ownScript(`local v = redis.pcall('GET', KEYS[1])
if type(v) == 'table' then return v end
if not v then return redis.error_reply('NOTFOUND no such key') end
if redis.sha1hex(v) ~= string.lower(ARGV[1]) then return false end
return redis.pcall('SET', KEYS[1], ARGV[2], unpack(ARGV, 3))`);

const SYNTAX = error('ERR syntax error');
