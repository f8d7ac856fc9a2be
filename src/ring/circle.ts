/**
 * Tokens on the circle of 32-bit numbers, each with its owner, and the search for the first one at or after a hash.
 *
 * A binary search over thousands of tokens costs a dozen mispredicted branches for each key. Tokens lie evenly enough
 * that the top bits of a hash say almost where to look: `#first` holds, for each value of those bits, the first token
 * at or after it, and from there it is a step or two. With two or more entries for each token the search takes about a
 * tenth of the binary one's time, at whatever size.
 */
import { assert } from '../base/assert.ts';

/** The tokens of one owner: `owner` is any number below 65536, `tokens` are unsigned. */
export interface TokenSet {
  owner: number;
  tokens: Uint32Array;
}

const ENTRIES_PER_TOKEN = 2;

export class Circle {
  /** Ascending, and one more that no hash is above, so that the walk needs no bound. */
  #tokens: Uint32Array;
  /** The owner of each token; the extra one's is the first's, as the circle closes there. */
  #owners: Uint16Array;
  #first: Uint32Array;
  #shift: number;

  /** Of equal tokens the one of the earlier set is found, so who orders the sets decides ties. */
  constructor(sets: readonly TokenSet[]) {
    assert(sets.length <= 0x10000, 'a circle has at most 65536 owners');
    const count = sets.reduce((sum, set) => sum + set.tokens.length, 0);
    assert(count > 0, 'a circle has at least one token');
    const ordered = sortedWithRank(sets, count);
    this.#tokens = new Uint32Array(count + 1);
    this.#owners = new Uint16Array(count + 1);
    for (let i = 0; i < count; i += 1) {
      const packed = ordered[i] as number;
      this.#tokens[i] = Math.floor(packed / 0x10000);
      this.#owners[i] = (sets[packed % 0x10000] as TokenSet).owner;
    }
    this.#tokens[count] = 0xffffffff;
    this.#owners[count] = this.#owners[0] as number;

    const bits = Math.max(1, Math.ceil(Math.log2(count * ENTRIES_PER_TOKEN)));
    this.#shift = 32 - bits;
    this.#first = firstTokens(this.#tokens, count, bits);
  }

  /** The owner of the first token ≥ `hash` (either signedness), and past the last token the first one's. */
  ownerOf(hash: number): number {
    const unsigned = hash >>> 0;
    let i = this.#first[unsigned >>> this.#shift] as number;
    while ((this.#tokens[i] as number) < unsigned) i += 1;
    return this.#owners[i] as number;
  }
}

/** Token and rank of its set in one double (32 + 16 bits), which typed arrays sort fast and by value. */
function sortedWithRank(sets: readonly TokenSet[], count: number): Float64Array {
  const packed = new Float64Array(count);
  let at = 0;
  sets.forEach((set, rank) => {
    for (const token of set.tokens) packed[at++] = token * 0x10000 + rank;
  });
  return packed.sort();
}

function firstTokens(tokens: Uint32Array, count: number, bits: number): Uint32Array {
  const first = new Uint32Array(2 ** bits);
  let i = 0;
  for (let entry = 0; entry < first.length; entry += 1) {
    const from = entry * 2 ** (32 - bits);
    while (i < count && (tokens[i] as number) < from) i += 1;
    first[entry] = i;
  }
  return first;
}
