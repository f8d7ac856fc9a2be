import type { MessageKind } from './subscriber-feed.ts';

/**
 * The messages that come while two connections listen to the same: which of them are still to be passed on when the new one
 * takes over.
 *
 * Usually a word that came on both says where to go on. Where the old connection broke before, the messages themselves do:
 * both get the same ones in the same order, so what the old one brought last is what the new one brought first.
 */
export class Overlap {
  isOldHeard = false;
  isNewHeard = false;
  /** Frames that the old connection has brought since the new one listens. */
  readonly #old: Buffer[] = [];
  /** What the new one has brought, before the word and behind it. */
  readonly #before: Message[] = [];
  readonly #behind: Message[] = [];
  #bytes = 0;

  /** So much is kept that it is better to go on with the new connection at once. */
  get isFull(): boolean {
    return this.#bytes > MOST_BYTES;
  }

  noteOld(frame: Buffer): void {
    this.#old.push(frame);
    this.#bytes += frame.length;
  }

  keepNew(message: Message): void {
    (this.isNewHeard ? this.#behind : this.#before).push(message);
    this.#bytes += message.frame.length;
  }

  /** What is to be passed on now. */
  rest(): readonly Message[] {
    if (this.isOldHeard) return this.#behind;
    const old = this.#old;
    const fresh = this.#before;
    let common = Math.min(old.length, fresh.length);
    const isSame = (count: number): boolean =>
      fresh.slice(0, count).every(({ frame }, i) => frame.equals(old[old.length - count + i] as Buffer));
    while (common > 0 && !isSame(common)) common -= 1;
    return [...fresh.slice(common), ...this.#behind];
  }
}

interface Message {
  readonly kind: MessageKind;
  readonly name: string;
  readonly frame: Buffer;
}

const MOST_BYTES = 4 * 1024 * 1024;
