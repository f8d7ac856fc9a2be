import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileTrouble, replaceFile } from './atomic-file.ts';
import { FileLock } from './file-lock.ts';
import type { Topology } from './snapshot.ts';
import { validateTopology } from './validate.ts';

/**
 * Keeps the topology in a directory of one machine, for one supervisor.
 *
 * One JSON document, replaced whole, and only by who has read the version before it. What is on the disk is the truth:
 * every write looks there again.
 */
export class FileStore {
  readonly #file: string;
  readonly #lock: FileLock;
  /** Writes of this process, one after another. */
  #lastWrite: Promise<unknown> = Promise.resolve();

  private constructor(file: string, lock: FileLock) {
    this.#file = file;
    this.#lock = lock;
  }

  /** Takes the directory for this process, making it where it is missing; throws `LockError`. */
  static async open(directory: string): Promise<FileStore> {
    return new FileStore(join(directory, 'topology.json'), await FileLock.take(directory));
  }

  /** What is kept; null: nothing yet. Throws `StoreError` when it cannot be read or is no topology. */
  async read(): Promise<Topology | null> {
    let text: string;
    try {
      text = await readFile(this.#file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw new StoreError(`cannot read ${this.#file}: ${fileTrouble(error)}`);
    }
    try {
      return validateTopology(JSON.parse(text));
    } catch (error) {
      const remedy =
        'put back a copy of it; without one, move it away, so that version 1 begins anew from the settings, and start every proxy again without its last-topology.json (in proxy.state), since a proxy keeps to the highest version it has seen';
      throw new StoreError(`${this.#file} holds no usable topology (${(error as Error).message}); ${remedy}`);
    }
  }

  /**
   * Writes the successor of `expectedVersion` (0: of nothing), whose version must be the next one.
   *
   * Throws `StoreConflict` when another version is there, `StoreError` when it could not be written; both times what
   * was there stays.
   */
  async write(topology: Topology, expectedVersion: number): Promise<void> {
    const write = this.#lastWrite.then(() => this.#write(topology, expectedVersion));
    this.#lastWrite = write.catch(() => {
      // Whoever asked for that write is told; the next one is a new try.
    });
    return write;
  }

  /** Waits for what is being written, then gives the directory back. */
  async close(): Promise<void> {
    await this.#lastWrite;
    await this.#lock.release();
  }

  async #write(topology: Topology, expectedVersion: number): Promise<void> {
    const present = (await this.read())?.version ?? 0;
    if (present !== expectedVersion) throw new StoreConflict(this.#file, expectedVersion, present);
    if (topology.version !== expectedVersion + 1) throw new StoreConflict(this.#file, topology.version - 1, present);
    validateTopology(topology);
    if (!(await this.#lock.isHeld())) {
      throw new StoreError(`${this.#file} was not written: another process has taken the directory`);
    }
    try {
      await replaceFile(this.#file, `${JSON.stringify(topology, null, 2)}\n`);
    } catch (error) {
      throw new StoreError(`cannot write ${this.#file}: ${fileTrouble(error)}`);
    }
  }
}

export class StoreError extends Error {
  override readonly name: string = 'StoreError';
}

/** Somebody else has written in between: read again and decide anew. */
export class StoreConflict extends StoreError {
  override readonly name = 'StoreConflict';
  /** The version that is there; 0: nothing. */
  readonly present: number;

  constructor(file: string, expected: number, present: number) {
    super(`${file} holds version ${present}, not ${expected}, on which the change was based`);
    this.present = present;
  }
}
