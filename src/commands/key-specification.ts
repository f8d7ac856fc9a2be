/**
 * One key specification of a command: where to begin looking for keys, and which arguments from there are keys.
 *
 * Format: "Command key specifications" in the Redis documentation; fields as COMMAND answers them since Redis 7.0.
 */
import { type CommandReplyValue, fieldOf, integerOf, listOf, textOf } from './command-reply.ts';

export const Begin = { Unknown: 0, Index: 1, Keyword: 2 } as const;
export const Find = { Unknown: 0, Range: 1, KeyNumber: 2 } as const;

export class KeySpecification {
  /** One of `Begin`. */
  readonly begin: number;
  /** Begin.Index: the argument to begin at. Begin.Keyword: where the search starts; negative: from the end, back. */
  readonly index: number;
  /** Begin.Keyword: lower case. */
  readonly keyword: Uint8Array;
  /** One of `Find`. */
  readonly find: number;
  /** Find.Range: relative to the beginning; negative: from the end of the arguments. */
  readonly lastKey: number;
  /** Arguments from one key to the next. */
  readonly step: number;
  /** Find.Range with lastKey -1: above 1, only the first 1/limit of what is left are keys. */
  readonly limit: number;
  /** Find.KeyNumber: where the count stands, and where the first key, relative to the beginning. */
  readonly countAt: number;
  readonly firstKey: number;
  /** What it finds is no key but a shard channel. */
  readonly notKey: boolean;
  /** The command may have keys that this specification misses. */
  readonly incomplete: boolean;

  constructor(reply: CommandReplyValue | undefined, command: string) {
    const what = `a key specification of ${command}`;
    const list = listOf(reply, what);
    const flags = listOf(fieldOf(list, 'flags', what), `the flags of ${what}`).map(flag => textOf(flag, what));
    const begin = listOf(fieldOf(list, 'begin_search', what), `begin_search of ${what}`);
    const beginType = textOf(fieldOf(begin, 'type', what), `begin_search of ${what}`);
    const beginSpec = listOf(fieldOf(begin, 'spec', what), `begin_search of ${what}`);
    const find = listOf(fieldOf(list, 'find_keys', what), `find_keys of ${what}`);
    const findType = textOf(fieldOf(find, 'type', what), `find_keys of ${what}`);
    const findSpec = listOf(fieldOf(find, 'spec', what), `find_keys of ${what}`);
    const byIndex = beginType === 'index';
    const byKeyword = beginType === 'keyword';
    const range = findType === 'range';
    const keyNumber = findType === 'keynum';
    this.begin = byIndex ? Begin.Index : byKeyword ? Begin.Keyword : Begin.Unknown;
    this.index = byIndex
      ? integerOf(fieldOf(beginSpec, 'index', what), what)
      : byKeyword
        ? integerOf(fieldOf(beginSpec, 'startfrom', what), what)
        : 0;
    const keyword = byKeyword ? textOf(fieldOf(beginSpec, 'keyword', what), what) : '';
    this.keyword = Buffer.from(keyword.toLowerCase(), 'latin1');
    this.find = range ? Find.Range : keyNumber ? Find.KeyNumber : Find.Unknown;
    this.lastKey = range ? integerOf(fieldOf(findSpec, 'lastkey', what), what) : 0;
    // A step below 1 would never reach the last key.
    this.step = range || keyNumber ? Math.max(1, integerOf(fieldOf(findSpec, 'keystep', what), what)) : 1;
    this.limit = range ? integerOf(fieldOf(findSpec, 'limit', what), what) : 0;
    this.countAt = keyNumber ? integerOf(fieldOf(findSpec, 'keynumidx', what), what) : 0;
    this.firstKey = keyNumber ? integerOf(fieldOf(findSpec, 'firstkey', what), what) : 0;
    this.notKey = flags.includes('not_key');
    this.incomplete = flags.includes('incomplete');
  }
}
