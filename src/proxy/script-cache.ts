import { createHash } from 'node:crypto';

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
    const digest = createHash('sha1').update(body).digest('hex');
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

const MOST_SCRIPTS = 10_000;
const MOST_BYTES = 16 * 1024 * 1024;
