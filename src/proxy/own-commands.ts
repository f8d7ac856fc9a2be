import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { CommandDecoder, Framed } from '../resp/command-decoder.ts';
import { encodeCommand } from '../resp/encoder.ts';
import type { Client } from './client.ts';
import type { Verdict } from './forward.ts';
import type { Proxy } from './proxy.ts';
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
  const body = row.name === 'gets' ? GETS : CAS;
  const digest = proxy.scripts.add(body);
  const words = ['EVALSHA', digest, '1', ...args.copyAll().slice(1)];
  const call = decodeOne(proxy, encodeCommand(words));
  return sendEval(proxy, client, proxy.table.byName('evalsha') as CommandRow, call);
}

/** The arguments of a command that the proxy has encoded itself. */
function decodeOne(proxy: Proxy, bytes: Buffer): Arguments {
  const limits = { bulkBytes: bytes.length, inlineBytes: 64 * 1024, arguments: 64 };
  const decoder = new CommandDecoder(limits, proxy.pool);
  decoder.feed(bytes, bytes.length);
  return decoder.next() === Framed.Command ? decoder.args.clone() : decoder.args;
}

const GETS = Buffer.from(`local v = redis.pcall('GET', KEYS[1])
if type(v) == 'table' then return v end
if not v then return false end
return {v, redis.sha1hex(v)}`);

const CAS = Buffer.from(`local v = redis.pcall('GET', KEYS[1])
if type(v) == 'table' then return v end
if not v then return redis.error_reply('NOTFOUND no such key') end
if redis.sha1hex(v) ~= string.lower(ARGV[1]) then return false end
return redis.pcall('SET', KEYS[1], ARGV[2], unpack(ARGV, 3))`);
