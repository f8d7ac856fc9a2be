import { matchesGlob } from '../commands/glob.ts';
import type { KeyPositions } from '../commands/keys.ts';
import type { Config, ReadRule, WriteRule } from '../config/config.ts';
import type { Arguments } from '../resp/arguments.ts';

/**
 * What a client was promised for its keys: when a write counts as done, and which copy answers a read.
 *
 * Made once from `writes`, `reads` and `rules`. A key falls under the first rule whose pattern it matches; a command with
 * several keys gets the strictest of their terms, one without keys those of `writes` and `reads`.
 */
export interface Terms {
  /** The reply to a write waits until every in-sync copy has it (rule R1). */
  readonly confirmWrites: boolean;
  /** So does the reply to a read: `reads.strict`. */
  readonly confirmReads: boolean;
  /** Writes are refused below so many copies, the primary included. */
  readonly minimumCopies: number;
  /** How long copies may take, in milliseconds. */
  readonly timeoutMs: number;
  /** One of `ReadFrom`. */
  readonly readFrom: number;
}

/** Which copies may answer a read, the strictest last. */
export const ReadFrom = { Any: 0, Zone: 1, Primary: 2 } as const;

export class Rules {
  /** The terms of every command, where no key has others; null: keys must be looked at. */
  readonly uniform: Terms | null;
  /** Of commands without keys, and of keys that no rule is for. */
  readonly general: Terms;
  /** Whether any read may be answered by a copy. */
  readonly readsCopies: boolean;
  readonly #rules: readonly KeyTerms[];

  constructor(config: Pick<Config, 'writes' | 'reads' | 'rules'>) {
    this.general = termsOf(config.writes, config.reads);
    this.#rules = config.rules.map(
      ({ match, writes, reads }) => new KeyTerms(Buffer.from(match), termsOf(writes, reads)),
    );
    this.uniform = this.#rules.every(rule => isSame(rule.terms, this.general)) ? this.general : null;
    this.readsCopies = [this.general, ...this.#rules.map(rule => rule.terms)].some(
      terms => terms.readFrom !== ReadFrom.Primary,
    );
  }

  /** The terms of the key bytes[from, from + length). */
  ofKey(bytes: Uint8Array, from: number, length: number): Terms {
    const rules = this.#rules;
    for (let i = 0; i < rules.length; i += 1) {
      const rule = rules[i] as KeyTerms;
      if (rule.matches(bytes, from, from + length)) return rule.terms;
    }
    return this.general;
  }

  /** The strictest terms of the first `count` keys of a command; those of no key at all are the general ones. */
  ofKeys(args: Arguments, keys: KeyPositions, count: number): Terms {
    if (this.uniform !== null) return this.uniform;
    let terms: Terms | null = null;
    for (let i = 0; i < count; i += 1) {
      const key = keys.at[i] as number;
      const own = this.ofKey(args.bytes, args.starts[key] as number, args.lengths[key] as number);
      terms = terms === null ? own : strictest(terms, own);
    }
    return terms ?? this.general;
  }
}

/** Terms that keep what either promises. */
export function strictest(a: Terms, b: Terms): Terms {
  if (a === b) return a;
  return {
    confirmWrites: a.confirmWrites || b.confirmWrites,
    confirmReads: a.confirmReads || b.confirmReads,
    minimumCopies: Math.max(a.minimumCopies, b.minimumCopies),
    timeoutMs: Math.max(a.timeoutMs, b.timeoutMs),
    readFrom: Math.max(a.readFrom, b.readFrom),
  };
}

/** One rule, ready to be matched. Most patterns are a beginning and a star: then the beginning is all that is compared. */
class KeyTerms {
  readonly terms: Terms;
  readonly #pattern: Uint8Array;
  /** The bytes that every match begins with. */
  readonly #head: Uint8Array;
  readonly #headOnly: boolean;

  constructor(pattern: Uint8Array, terms: Terms) {
    this.terms = terms;
    this.#pattern = pattern;
    const special = pattern.findIndex(byte => SPECIAL.has(byte));
    this.#head = special < 0 ? pattern : pattern.subarray(0, special);
    this.#headOnly = special >= 0 && pattern.subarray(special).every(byte => byte === STAR);
  }

  matches(bytes: Uint8Array, from: number, to: number): boolean {
    const head = this.#head;
    if (to - from < head.length) return false;
    for (let i = 0; i < head.length; i += 1) if (bytes[from + i] !== head[i]) return false;
    return this.#headOnly || matchesGlob(this.#pattern, bytes, from, to);
  }
}

const STAR = 0x2a;
/** `*`, `?`, `[` and `\`. */
const SPECIAL: ReadonlySet<number> = new Set([STAR, 0x3f, 0x5b, 0x5c]);

function termsOf(writes: WriteRule, reads: ReadRule): Terms {
  return {
    confirmWrites: writes.acknowledge === 'all',
    confirmReads: reads.strict,
    minimumCopies: writes.minimumCopies,
    timeoutMs: writes.timeoutMs,
    readFrom: READ_FROM[reads.from],
  };
}

const READ_FROM = { any: ReadFrom.Any, zone: ReadFrom.Zone, primary: ReadFrom.Primary } as const;

function isSame(a: Terms, b: Terms): boolean {
  return (
    a.confirmWrites === b.confirmWrites &&
    a.confirmReads === b.confirmReads &&
    a.minimumCopies === b.minimumCopies &&
    a.timeoutMs === b.timeoutMs &&
    a.readFrom === b.readFrom
  );
}
