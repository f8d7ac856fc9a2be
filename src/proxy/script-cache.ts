import { createHash } from 'node:crypto';
import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';

/**
 * The bodies of scripts that clients have loaded through this proxy, by digest.
 *
 * A node forgets its scripts when it restarts, and SCRIPT LOAD is not replicated; one Redis would know the script. So
 * the proxy keeps the body and gives it to whatever primary lacks it. Bounded: the script used least recently goes.
 */
export class ScriptCache {
  readonly #bodies = new Map<string, Buffer>();
  #bytes = 0;

  /** Remembers a script; returns its digest (40 hexadecimal digits, as Redis names it). */
  add(body: Buffer): string {
    const digest = digestOfBody(body);
    if (!this.#bodies.has(digest)) {
      this.#bodies.set(digest, Buffer.from(body));
      this.#bytes += body.length;
      this.#makeRoom();
    }
    return digest;
  }

  get(digest: string): Buffer | undefined {
    const body = this.#bodies.get(digest);
    if (body === undefined) return undefined;
    this.#bodies.delete(digest);
    this.#bodies.set(digest, body);
    return body;
  }

  /** All bodies by digest, the one used least recently first. */
  entries(): [string, Buffer][] {
    return [...this.#bodies];
  }

  /** Whether the script or function that is called may select another database: for all that is known of it. */
  maySelect(row: CommandRow, args: Arguments): boolean {
    if (row.name.startsWith('fcall')) return true;
    const body = row.name.startsWith('evalsha') ? this.get(args.text(1).toLowerCase()) : args.copy(1);
    return body === undefined || /select/i.test(body.toString('latin1'));
  }

  /** A script that no node would take. */
  delete(digest: string): void {
    const body = this.#bodies.get(digest);
    if (body === undefined) return;
    this.#bodies.delete(digest);
    this.#bytes -= body.length;
  }

  /** SCRIPT FLUSH. */
  clear(): void {
    this.#bodies.clear();
    this.#bytes = 0;
  }

  #makeRoom(): void {
    for (const [digest, body] of this.#bodies) {
      if (this.#bodies.size <= MOST_SCRIPTS && this.#bytes <= MOST_BYTES) return;
      this.#bodies.delete(digest);
      this.#bytes -= body.length;
    }
  }
}

/** The SHA-1 of a script's body, as Redis names it: 40 hexadecimal digits. */
export function digestOfBody(body: Buffer): string {
  return createHash('sha1').update(body).digest('hex');
}

/**
 * Digests of the scripts that one primary is known to hold.
 *
 * Not to know one costs a SCRIPT LOAD too many; so when there are too many (scripts written anew for each call) all are
 * forgotten.
 */
export class KnownScripts {
  readonly #digests = new Set<string>();

  has(digest: string): boolean {
    return this.#digests.has(digest);
  }

  add(digest: string): void {
    if (this.#digests.size >= MOST_SCRIPTS) this.#digests.clear();
    this.#digests.add(digest);
  }

  clear(): void {
    this.#digests.clear();
  }
}

const MOST_SCRIPTS = 10_000;
const MOST_BYTES = 16 * 1024 * 1024;
