/**
 * Writes a random session of several clients as data: the same seed gives the same steps, whatever the servers answer.
 *
 * A step is what one client does until its replies are read; so the order between clients is known, and two servers
 * that are both right must answer alike. Only the `blocking` and `pubsub` steps let two clients overlap, at known points.
 */
import { Random } from '../../src/base/random.ts';
import { GEO, HASHES, LISTS, SETS, SORTED_SETS, STREAMS } from './collections.ts';
import { Draw, type Word } from './keyspace.ts';
import type { Production } from './production.ts';
import { CONNECTION, FUNCTIONS, GREETINGS, REFUSED, SCRIPTING } from './server.ts';
import { ANY_TYPE, BITMAPS, MANY_KEYS, STRINGS } from './strings.ts';

/** One command as it goes on the wire. */
export interface Command {
  readonly args: readonly Buffer[];
  /** Sent as a line, as a person would by telnet. */
  readonly inline: boolean;
  /** Bytes ahead of it that ask for nothing: an empty line, an empty array. */
  readonly lead: string;
  /** False where `CLIENT REPLY` keeps the answer back. */
  readonly answered: boolean;
}

/** Where the bytes of a step are cut into writes: a seed, or every byte alone. */
export type Cut = { readonly seed: number; readonly everyByte: boolean };

export type Step =
  | { readonly kind: 'pipeline'; readonly client: number; readonly commands: readonly Command[]; readonly cut: Cut }
  | { readonly kind: 'reconnect'; readonly client: number; readonly quit: boolean }
  | { readonly kind: 'broken'; readonly bytes: Buffer; readonly cut: Cut }
  | { readonly kind: 'scan'; readonly client: number; readonly args: readonly Buffer[] }
  | { readonly kind: 'dump'; readonly client: number; readonly from: Buffer; readonly to: Buffer }
  | { readonly kind: 'functions'; readonly client: number; readonly policy: string }
  | {
      readonly kind: 'blocking';
      readonly waiters: readonly { readonly client: number; readonly command: Command }[];
      readonly client: number;
      readonly pushes: readonly Command[];
    }
  | {
      readonly kind: 'pubsub';
      readonly listener: number;
      /** Another client that subscribes to the same; null: none. */
      readonly second: number | null;
      readonly client: number;
      readonly subscribe: readonly Command[];
      readonly publish: readonly Command[];
      readonly within: readonly Command[];
      readonly unsubscribe: readonly Command[];
    };

interface Group {
  readonly weight: number;
  readonly rules: readonly Production[];
}

const GROUPS: readonly Group[] = [
  { weight: 16, rules: STRINGS },
  { weight: 10, rules: MANY_KEYS },
  { weight: 7, rules: BITMAPS },
  { weight: 10, rules: HASHES },
  { weight: 11, rules: LISTS },
  { weight: 8, rules: SETS },
  { weight: 12, rules: SORTED_SETS },
  { weight: 4, rules: GEO },
  { weight: 11, rules: STREAMS },
  { weight: 12, rules: ANY_TYPE },
  { weight: 7, rules: SCRIPTING },
  { weight: 4, rules: FUNCTIONS },
  { weight: 8, rules: CONNECTION },
  { weight: 1.2, rules: GREETINGS },
];

/** Broken input: each line is what a fresh connection sends before it must be told off and closed. */
const BROKEN: readonly string[] = [
  '*abc\r\n',
  '*2\r\n$3\r\nGET\r\n:1\r\n',
  '*1\r\n$-1\r\n',
  '*1\r\n$abc\r\n',
  '*1\r\n$4\r\nPING\r\n*1\r\nPING\r\n',
  '*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$999999999999\r\n',
  '*2147483648\r\n',
  'SET "unbalanced\r\n',
  "ECHO 'x'y\r\n",
  `ECHO ${'x'.repeat(70_000)}`,
  `*${'1'.repeat(70_000)}`,
  `*1\r\n$${'1'.repeat(70_000)}`,
  '*2\r\n$4\r\nECHO\r\n!3\r\nabc\r\n',
];

export interface GeneratorOptions {
  readonly seed: number;
  readonly clients: number;
  /** Also what Ringside refuses by design; a stock server would obey, so never to one. */
  readonly refused: boolean;
}

/** Draws one step after the other. */
export class Generator {
  readonly #draw: Draw;
  readonly #groups: readonly Group[];
  readonly #clients: number;
  /** Per client: the hash tag of the open transaction, or null. */
  readonly #open: (string | null)[];
  /** Per client: the hash tag of its watch, or null. */
  readonly #watched: (string | null)[];

  constructor(options: GeneratorOptions) {
    this.#draw = new Draw(new Random(options.seed));
    this.#groups = options.refused ? [...GROUPS, { weight: 1, rules: REFUSED }] : GROUPS;
    this.#clients = options.clients;
    this.#open = new Array<string | null>(options.clients).fill(null);
    this.#watched = new Array<string | null>(options.clients).fill(null);
  }

  step(): Step {
    const d = this.#draw;
    const client = d.random.below(this.#clients);
    const kind = this.#open[client] !== null ? 1 : d.random.next();
    if (kind < 0.006) return this.#reconnect(client);
    if (kind < 0.012) return { kind: 'broken', bytes: Buffer.from(d.pick(BROKEN), 'latin1'), cut: this.#cut() };
    if (kind < 0.027) return { kind: 'scan', client, args: scanArguments(d) };
    if (kind < 0.037) {
      const [from, to] = d.keys(d.pick(['s', 'h', 'l', 'e', 'z', 'x']), 2, 2) as [Buffer, Buffer];
      return { kind: 'dump', client, from, to };
    }
    if (kind < 0.04) return { kind: 'functions', client, policy: d.pick(['FLUSH', 'REPLACE', 'APPEND']) };
    if (kind < 0.055) return this.#blocking(client) ?? this.#pipeline(client);
    if (kind < 0.067) return this.#pubsub(client) ?? this.#pipeline(client);
    return this.#pipeline(client);
  }

  #cut(): Cut {
    return { seed: this.#draw.random.below(2 ** 31), everyByte: this.#draw.chance(0.02) };
  }

  #reconnect(client: number): Step {
    this.#open[client] = null;
    this.#watched[client] = null;
    return { kind: 'reconnect', client, quit: this.#draw.chance(0.5) };
  }

  #pipeline(client: number): Step {
    const d = this.#draw;
    const count = d.chance(0.3) ? 1 : d.chance(0.9) ? d.int(2, 14) : d.int(15, 40);
    const commands: Command[] = [];
    while (commands.length < count) {
      d.blockTag = this.#open[client] ?? this.#watched[client] ?? null;
      commands.push(...this.#next(client));
    }
    d.blockTag = null;
    return { kind: 'pipeline', client, commands, cut: this.#cut() };
  }

  /** The next command of a client, sometimes with what must follow it at once. */
  #next(client: number): Command[] {
    const d = this.#draw;
    const open = this.#open[client] !== null;
    const chance = d.random.next();
    if (open && chance < 0.16) {
      this.#open[client] = null;
      this.#watched[client] = null;
      if (d.chance(0.15)) return [this.#command(['DISCARD'])];
      // An EXEC that is wrong discards the transaction too.
      return [this.#command(d.chance(0.97) ? [d.pick(['EXEC', 'exec'])] : ['EXEC', 'x'])];
    }
    if (open && chance < 0.175)
      return [this.#command(d.some(['MULTI'], ['WATCH', 's1'], ['DISCARD', 'x'], ['MULTI', 'x']))];
    if (open) return [this.#drawn(true)];
    if (chance < 0.02) {
      const tag = this.#watched[client] ?? d.tag();
      this.#open[client] = tag;
      return [this.#command([d.pick(['MULTI', 'MULTI', 'multi'])])];
    }
    if (chance < 0.03) return [this.#watch(client)];
    if (chance < 0.034) {
      this.#watched[client] = null;
      return [this.#command(['UNWATCH'])];
    }
    if (chance < 0.037) return [this.#command(d.some(['EXEC'], ['DISCARD'], ['UNWATCH', 'x'], ['WATCH']))];
    if (chance < 0.041) return this.#unanswered();
    const drawn = this.#drawn(false);
    if (/^reset$/i.test(String(drawn.args[0]))) this.#watched[client] = null;
    return [drawn];
  }

  #watch(client: number): Command {
    const d = this.#draw;
    const tag = this.#watched[client] ?? d.tag();
    this.#watched[client] = tag;
    return this.#command(['WATCH', ...d.many(1, 3, () => d.tagged(d.pick(['s', 'n', 'l', 'h']), tag))]);
  }

  #unanswered(): Command[] {
    const d = this.#draw;
    const silent = (words: Word[]): Command => ({ ...this.#plain(words), answered: false });
    if (d.chance(0.5)) return [silent(['CLIENT', 'REPLY', 'SKIP']), silent(['SET', d.key('s'), d.value()])];
    const commands = [silent(['CLIENT', 'REPLY', 'OFF'])];
    for (let left = d.int(0, 4); left > 0; left -= 1) {
      commands.push(silent(d.some(['SET', d.key('s'), 'hushed'], ['GET', d.key('s')], ['NOPE'], ['GET'], ['PING'])));
    }
    return [...commands, this.#command(['CLIENT', 'REPLY', 'ON'])];
  }

  #drawn(inTransaction: boolean): Command {
    const d = this.#draw;
    for (;;) {
      const rule = weighted(d, weighted(d, this.#groups).rules);
      if (inTransaction && rule.alone) continue;
      const words = rule.write(d);
      return this.#command(!rule.exact && d.chance(0.05) ? spoilt(d, words) : words);
    }
  }

  #command(words: readonly Word[]): Command {
    const d = this.#draw;
    const args = words.map(bytesOf);
    const size = args.reduce((sum, arg) => sum + arg.length, 0);
    const inline = d.chance(0.04) && size < 4000 && (args[0]?.length ?? 0) > 0;
    const lead = d.chance(0.01) ? d.pick(['\r\n', '*0\r\n', '*-1\r\n', '   \r\n']) : '';
    return { args, inline, lead, answered: true };
  }

  /** Another client that may wait or listen: none with a transaction open, as it would not wait there. */
  #others(client: number): number[] {
    const free: number[] = [];
    for (let i = 0; i < this.#clients; i += 1) if (i !== client && this.#open[i] === null) free.push(i);
    return free;
  }

  #blocking(client: number): Step | null {
    const d = this.#draw;
    const others = this.#others(client);
    if (others.length === 0) return null;
    const tag = d.tag();
    const list = Buffer.from(`{${tag}}wait-list`);
    const zset = Buffer.from(`{${tag}}wait-zset`);
    const stream = Buffer.from(`{${tag}}wait-stream`);
    const choice = d.random.below(3);
    const waiters = others.slice(0, d.int(1, Math.min(2, others.length))).map(other => ({
      client: other,
      command: this.#plain(this.#waiting(choice, list, zset, stream)),
    }));
    const pushes = [this.#plain(['DEL', list, zset, stream])];
    if (choice === 0)
      pushes.push(this.#plain(['RPUSH', list, 'one', d.value(), 'three']), this.#plain(['LRANGE', list, 0, -1]));
    if (choice === 1)
      pushes.push(this.#plain(['ZADD', zset, 1, 'm1', 2, 'm2', 3, 'm3']), this.#plain(['ZRANGE', zset, 0, -1]));
    if (choice === 2)
      pushes.push(this.#plain(['XADD', stream, '1000-1', 'f', d.value()]), this.#plain(['XLEN', stream]));
    return { kind: 'blocking', waiters, client, pushes };
  }

  #waiting(choice: number, list: Buffer, zset: Buffer, stream: Buffer): Word[] {
    const d = this.#draw;
    if (choice === 0) {
      return d.some(
        ['BLPOP', list, 5],
        ['BRPOP', zset, list, 5],
        ['BLMOVE', list, list, 'LEFT', 'RIGHT', 5],
        ['BLMPOP', 5, 1, list, 'LEFT', 'COUNT', 1],
        ['BRPOPLPUSH', list, list, 5],
      );
    }
    if (choice === 1) return d.some(['BZPOPMIN', zset, 5], ['BZPOPMAX', zset, 5], ['BZMPOP', 5, 1, zset, 'MIN']);
    return ['XREAD', 'BLOCK', 5000, 'STREAMS', stream, d.pick(['0', '999-0'])];
  }

  #pubsub(client: number): Step | null {
    const d = this.#draw;
    const others = this.#others(client);
    if (others.length === 0) return null;
    const channels = d.many(1, 3, () => d.pick(['news', 'sport', '{a}c', 'ch\r\n', ''])) as string[];
    const sharded = d.chance(0.2);
    const subscribe = [this.#plain([sharded ? 'SSUBSCRIBE' : 'SUBSCRIBE', ...channels])];
    const patterns = d.some([], [], ['n*'], ['*', 'sp?rt'], ['news']);
    if (patterns.length > 0) subscribe.push(this.#plain(['PSUBSCRIBE', ...patterns]));
    const publish: Command[] = [];
    for (let left = d.int(1, 8); left > 0; left -= 1) {
      publish.push(
        this.#plain([
          sharded && d.chance(0.8) ? 'SPUBLISH' : 'PUBLISH',
          d.pick(['news', 'sport', '{a}c', 'ch\r\n', 'none']),
          d.value(),
        ]),
      );
    }
    publish.push(
      this.#plain(['PUBSUB', ...d.some(['NUMPAT'], ['CHANNELS'], ['NUMSUB', 'news', 'none'], ['SHARDCHANNELS'])]),
    );
    const within = [this.#plain(['PING'])];
    if (d.chance(0.5))
      within.push(this.#plain(d.some(['GET', 's1'], ['PING', 'text'], ['MULTI', 'x'], ['NOPE'], ['SET', 's1', 'x'])));
    // All but one by name: Redis unsubscribes from the rest in the order of a hash table.
    const named = channels.filter(channel => channel !== channels[0]);
    const unsubscribe = [this.#plain([sharded ? 'SUNSUBSCRIBE' : 'UNSUBSCRIBE', ...named, 'never'])];
    if (patterns.length > 1) unsubscribe.push(this.#plain(['PUNSUBSCRIBE', ...patterns.slice(1)]));
    const listener = d.pick(others);
    const rest = others.filter(other => other !== listener);
    const second = rest.length > 0 && d.chance(0.4) ? d.pick(rest) : null;
    return { kind: 'pubsub', listener, second, client, subscribe, publish, within, unsubscribe };
  }

  #plain(words: readonly Word[]): Command {
    return { args: words.map(bytesOf), inline: false, lead: '', answered: true };
  }
}

function scanArguments(d: Draw): Buffer[] {
  const words: Word[] = [
    ...d.maybe(0.5, 'MATCH', d.pick(['*', 's*', '{a}*', 'none*', '*1'])),
    ...d.maybe(0.5, 'COUNT', d.pick([1, 3, 10, 1000])),
    ...d.maybe(0.3, 'TYPE', d.pick(['string', 'list', 'hash', 'stream', 'zset', 'set', 'nope'])),
  ];
  return words.map(bytesOf);
}

function weighted<T extends { readonly weight: number }>(d: Draw, list: readonly T[]): T {
  const total = list.reduce((sum, one) => sum + one.weight, 0);
  let at = d.random.next() * total;
  for (const one of list) {
    at -= one.weight;
    if (at < 0) return one;
  }
  return list[list.length - 1] as T;
}

/** The words with one thing wrong: too few, too many, or something that does not belong there. */
function spoilt(d: Draw, words: readonly Word[]): Word[] {
  const list = [...words];
  const kind = d.random.below(4);
  if (kind === 0 && list.length > 1) return list.slice(0, d.int(1, list.length - 1));
  if (kind === 1) return [...list, d.junk()];
  if (kind === 2 && list.length > 2) list[d.int(2, list.length - 1)] = d.junk();
  else if (list.length > 1) list.splice(d.int(1, list.length - 1), 1);
  return list;
}

function bytesOf(word: Word): Buffer {
  return typeof word === 'object' ? word : Buffer.from(String(word));
}
