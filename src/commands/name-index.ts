/**
 * Finds a command by the bytes of its name, in any case, without making a string.
 *
 * Open addressing with linear probing, at most a quarter full; FNV-1a over the bytes with the case bit set. Setting
 * that bit merges some bytes that are no letters too: they share a hash, and the comparison tells them apart.
 */
export class NameIndex<T extends { readonly nameBytes: Uint8Array }> {
  readonly #slots: (T | null)[];
  readonly #mask: number;
  readonly #longest: number;

  /** Names are lower case and differ. */
  constructor(rows: readonly T[]) {
    let size = 8;
    while (size < rows.length * 4) size *= 2;
    const slots = new Array<T | null>(size).fill(null);
    let longest = 0;
    for (const row of rows) {
      const name = row.nameBytes;
      if (name.length > longest) longest = name.length;
      let at = hash(name, 0, name.length) & (size - 1);
      while (slots[at] !== null) at = (at + 1) & (size - 1);
      slots[at] = row;
    }
    this.#slots = slots;
    this.#mask = size - 1;
    this.#longest = longest;
  }

  /** The row named by bytes[start, start+length), or null. */
  find(bytes: Uint8Array, start: number, length: number): T | null {
    if (length > this.#longest) return null;
    const slots = this.#slots;
    let at = hash(bytes, start, length) & this.#mask;
    for (;;) {
      const row = slots[at] as T | null;
      if (row === null || equalsFolded(bytes, start, length, row.nameBytes)) return row;
      at = (at + 1) & this.#mask;
    }
  }
}

/** Whether bytes[start, start+length) is `lower` (lower case ASCII) in any case. */
export function equalsFolded(bytes: Uint8Array, start: number, length: number, lower: Uint8Array): boolean {
  if (length !== lower.length) return false;
  for (let i = 0; i < length; i += 1) {
    let byte = bytes[start + i] as number;
    if (byte >= 0x41 && byte <= 0x5a) byte |= 0x20;
    if (byte !== lower[i]) return false;
  }
  return true;
}

function hash(bytes: Uint8Array, start: number, length: number): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < length; i += 1) h = Math.imul(h ^ ((bytes[start + i] as number) | 0x20), 0x01000193);
  // The low bits choose the slot; FNV mixes upward only.
  return h ^ (h >>> 15);
}
