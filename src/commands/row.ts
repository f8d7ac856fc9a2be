/**
 * Everything the proxy knows about one command: Redis's own description, with our route beside it.
 */
import { type CommandReplyValue, integerOf, listOf, textOf } from './command-reply.ts';
import { Begin, Find, KeySpecification } from './key-specification.ts';
import { NameIndex } from './name-index.ts';
import { finderOf, KeyFinder, needsPrimary, Route, routeOf, storesNothing, writesUnseen } from './routes.ts';

/** Bits of `CommandRow.flags`, by the words that COMMAND uses. Words not listed here are ignored. */
export const Flag = {
  write: 1 << 0,
  readonly: 1 << 1,
  denyoom: 1 << 2,
  admin: 1 << 3,
  pubsub: 1 << 4,
  noscript: 1 << 5,
  blocking: 1 << 6,
  loading: 1 << 7,
  stale: 1 << 8,
  fast: 1 << 9,
  asking: 1 << 10,
  movablekeys: 1 << 11,
  no_auth: 1 << 12,
  no_multi: 1 << 13,
  no_mandatory_keys: 1 << 14,
  allow_busy: 1 << 15,
  no_async_loading: 1 << 16,
} as const;

/** What a command does to the data that copies hold, as far as replies must wait for them. */
export const Effect = {
  /** Nothing that is stored: it may be answered as soon as the node has. */
  None: 0,
  Read: 1,
  Write: 2,
} as const;

export class CommandRow {
  /** Lower case; a subcommand's with its container: "get", "client|id". */
  readonly name: string;
  /** The word a client sends for it, lower case: "get", "id". */
  readonly nameBytes: Uint8Array;
  /** Arguments with the name counted; negative: at least so many. */
  readonly arity: number;
  /** Bits of `Flag`. */
  readonly flags: number;
  /** Whether it must be treated as changing data: everything that is not plainly `readonly`. */
  readonly isWrite: boolean;
  /** One of `Route`. */
  readonly route: number;
  /** One of `Effect`. */
  readonly effect: number;
  /** Whether Redis counts it as a write that a lack of copies forbids: flagged so, or a script that may write. */
  readonly changesData: boolean;
  /** The index of its only key where the specifications say exactly one at a fixed place, else -1. */
  readonly singleKeyAt: number;
  /** Whether it has keys at all (shard channels are none). */
  readonly hasKeys: boolean;
  /** Its reads may not go to a replica. */
  readonly primaryOnly: boolean;
  /** The older description of where keys are; 0 0 0 when it has none or they move about. */
  readonly firstKey: number;
  readonly lastKey: number;
  readonly step: number;
  /** One of `KeyFinder`. */
  readonly finder: number;
  readonly keySpecifications: readonly KeySpecification[];
  /** Its subcommands by name; null when it is no container. */
  readonly subcommands: NameIndex<CommandRow> | null;
  readonly subcommandRows: readonly CommandRow[];

  /** `reply`: one element of the COMMAND reply. `extra`: subcommands that replace or join those in it. */
  constructor(reply: CommandReplyValue, extra: readonly CommandReplyValue[] = []) {
    const fields = listOf(reply, 'a command');
    this.name = textOf(fields[0], 'the name of a command').toLowerCase();
    const { name } = this;
    this.nameBytes = Buffer.from(name.slice(name.indexOf('|') + 1), 'latin1');
    this.arity = integerOf(fields[1], `the arity of ${name}`);
    this.flags = flagsOf(fields[2], name);
    this.isWrite = (this.flags & (Flag.readonly | Flag.write)) !== Flag.readonly || writesUnseen(name);
    const specifications = listOf(fields[8], `the key specifications of ${name} (Redis 7.0 or newer sends them)`);
    this.keySpecifications = specifications.map(specification => new KeySpecification(specification, name));
    this.hasKeys = this.keySpecifications.some(specification => !specification.notKey);
    this.route = routeOf(name, this.hasKeys, this.has(Flag.blocking));
    this.effect = storesNothing(this.route) ? Effect.None : this.isWrite ? Effect.Write : Effect.Read;
    this.changesData = this.has(Flag.write) || (this.route === Route.Eval && this.isWrite);
    this.finder = finderOf(name);
    this.singleKeyAt = this.finder === KeyFinder.Specifications ? fixedKey(this.keySpecifications, this.arity) : -1;
    this.primaryOnly = needsPrimary(name);
    this.firstKey = integerOf(fields[3], `the first key of ${name}`);
    this.lastKey = integerOf(fields[4], `the last key of ${name}`);
    this.step = integerOf(fields[5], `the key step of ${name}`);
    const rows = new Map<string, CommandRow>();
    for (const child of [...listOf(fields[9], `the subcommands of ${name}`), ...extra]) {
      const row = new CommandRow(child);
      rows.set(row.name, row);
    }
    this.subcommandRows = [...rows.values()];
    this.subcommands = rows.size === 0 ? null : new NameIndex(this.subcommandRows);
  }

  /** Whether a command of `count` arguments, its name counted, has as many as it needs. */
  arityOk(count: number): boolean {
    return this.arity >= 0 ? count === this.arity : count >= -this.arity;
  }

  /** Whether any of the given bits of `Flag` is set. */
  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }
}

function flagsOf(reply: CommandReplyValue | undefined, name: string): number {
  let bits = 0;
  for (const flag of listOf(reply, `the flags of ${name}`)) {
    bits |= FLAGS.get(textOf(flag, `a flag of ${name}`)) ?? 0;
  }
  return bits;
}

const FLAGS = new Map<string, number>(Object.entries(Flag));

function fixedKey(specifications: readonly KeySpecification[], arity: number): number {
  const [only] = specifications;
  if (only === undefined || specifications.length !== 1 || only.notKey || only.incomplete) return -1;
  if (only.begin !== Begin.Index || only.find !== Find.Range || only.lastKey !== 0) return -1;
  // A module's arity may not promise the key.
  return only.index > 0 && only.index < Math.abs(arity) ? only.index : -1;
}
