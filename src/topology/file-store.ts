import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../base/assert.ts';
import { Backoff } from '../base/backoff.ts';
import type { Random } from '../base/random.ts';
import { fileTrouble, replaceFile } from './atomic-file.ts';
import { FileLock } from './file-lock.ts';
import { pause } from './pause.ts';
import type { Topology } from './snapshot.ts';
import { type Leadership, StoreConflict, StoreError, type TopologyStore } from './store.ts';
import { StoreProblem } from './store-problem.ts';
import { validateTopology } from './validate.ts';

/**
 * Keeps the topology in a directory of one machine, for one supervisor.
 *
 * One JSON document, replaced whole, and only by who has read the version before it. What is on the disk is the truth:
 * every write looks there again. The lock of the directory is the proof of leadership; the terms are counted in a file
 * of their own, since a leader gives orders under its term before it first writes the document.
 *
 *   directory: lock.N (who may write) · term (the last one given out) · topology.json
 */
export class FileStore implements TopologyStore {
  readonly #directory: string;
  readonly #file: string;
  readonly #termFile: string;
  readonly #lock: FileLock;
  readonly #cluster: string;
  readonly #problem: StoreProblem<'read' | 'write'>;
  readonly #backoff: Backoff;
  readonly #watchers: ((topology: Topology) => void)[] = [];
  /** Writes of this process, one after another. */
  #lastWrite: Promise<unknown> = Promise.resolve();
  #leadership: FileLeadership | null = null;
  #isClosed = false;

  private constructor(directory: string, lock: FileLock, options: FileStoreOptions) {
    this.#directory = directory;
    this.#file = join(directory, 'topology.json');
    this.#termFile = join(directory, 'term');
    this.#lock = lock;
    this.#cluster = options.cluster;
    this.#problem = new StoreProblem(options.onProblem);
    this.#backoff = new Backoff(RETRY.baseMs, RETRY.capMs, options.random);
  }

  /** Takes the directory for this process, making it where it is missing; throws `LockError`. */
  static async open(directory: string, options: FileStoreOptions): Promise<FileStore> {
    return new FileStore(directory, await FileLock.take(directory), options);
  }

  async read(): Promise<Topology | null> {
    const text = await this.#readFile(this.#file);
    return text === null ? null : this.#parse(text);
  }

  async campaign(advertise: string, signal: AbortSignal, aboveTerm = 0): Promise<Leadership> {
    assert(this.#leadership === null, 'a store leads once at a time');
    for (;;) {
      signal.throwIfAborted();
      await this.#requireDirectory();
      const term = Math.max(await this.#lastTerm(), (await this.read())?.term ?? 0, aboveTerm) + 1;
      try {
        await replaceFile(this.#termFile, `${term}\n`);
        return this.#lead(term, advertise);
      } catch (error) {
        this.#problem.met('write', `cannot write ${this.#termFile}, so nobody leads: ${fileTrouble(error)}`);
        await pause(this.#backoff.nextMs(), signal);
      }
    }
  }

  async leader(): Promise<string | null> {
    return this.#leadership?.advertise ?? null;
  }

  watch(onTopology: (topology: Topology) => void): void {
    const first = this.#lastWrite.then(async () => {
      const present = await this.read();
      this.#watchers.push(onTopology);
      if (present !== null && !this.#isClosed) onTopology(present);
    });
    this.#lastWrite = first.catch(error => this.#problem.met('read', (error as Error).message));
  }

  /** Waits for what is being written, then gives the directory back. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#lastWrite;
    this.#leadership?.end('the store was closed');
    await this.#lock.release().catch(error => {
      // Whoever takes the directory next finds a holder that has ended.
      this.#problem.met('write', `cannot give back ${this.#directory}: ${fileTrouble(error)}`);
    });
  }

  #lead(term: number, advertise: string): Leadership {
    for (const way of ['read', 'write'] as const) this.#problem.over(way);
    this.#backoff.reset();
    const leadership = new FileLeadership(term, advertise, {
      write: (topology, expectedVersion) => this.#writeInTurn(topology, expectedVersion, term),
      onEnd: () => {
        this.#leadership = null;
      },
    });
    this.#leadership = leadership;
    return leadership;
  }

  #writeInTurn(topology: Topology, expectedVersion: number, term: number): Promise<void> {
    const write = this.#lastWrite.then(async () => {
      if (this.#isClosed) throw new StoreError(`${this.#file} was not written: the store is closed`);
      await this.#write(topology, expectedVersion, term);
      for (const onTopology of this.#watchers) onTopology(topology);
    });
    this.#lastWrite = write.catch(() => {
      // Whoever asked for that write is told; the next one is a new try.
    });
    return write;
  }

  async #write(topology: Topology, expectedVersion: number, term: number): Promise<void> {
    const present = await this.read();
    const version = present?.version ?? 0;
    if (version !== expectedVersion) throw new StoreConflict(this.#file, expectedVersion, version);
    if (topology.version !== expectedVersion + 1) throw new StoreConflict(this.#file, topology.version - 1, version);
    await this.#requireDirectory();
    if ((await this.#lastTerm()) !== term)
      throw new StoreError(`${this.#file} was not written: term ${term} is over, a later one has begun`);
    try {
      await replaceFile(this.#file, `${JSON.stringify(topology, null, 2)}\n`);
    } catch (error) {
      throw new StoreError(`cannot write ${this.#file}: ${fileTrouble(error)}`);
    }
  }

  async #requireDirectory(): Promise<void> {
    if (await this.#lock.isHeld()) return;
    throw new StoreError(`another process has taken ${this.#directory}: nothing more is written from here`);
  }

  /** The last term that was given out; 0: none yet. */
  async #lastTerm(): Promise<number> {
    const text = (await this.#readFile(this.#termFile)) ?? '0';
    const term = /^\d{1,15}\s*$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(term)) return term;
    throw new StoreError(
      `${this.#termFile} holds no number: write into it one that is higher than N of every user ringside-supervisor-N on the nodes (ACL USERS shows them)`,
    );
  }

  #parse(text: string): Topology {
    let topology: Topology;
    try {
      topology = validateTopology(JSON.parse(text));
    } catch (error) {
      const remedy =
        'put back a copy of it; without one, move it away, so that version 1 begins anew from the settings, and start every proxy again without its last-topology.json (in proxy.state), since a proxy keeps to the highest version it has seen';
      throw new StoreError(`${this.#file} holds no usable topology (${(error as Error).message}); ${remedy}`);
    }
    if (topology.cluster === this.#cluster) return topology;
    throw new StoreError(
      `${this.#directory} holds the topology of cluster ${topology.cluster}, not ${this.#cluster}: correct supervisor.store.file or cluster`,
    );
  }

  /** Null: there is no such file. */
  async #readFile(file: string): Promise<string | null> {
    try {
      return await readFile(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw new StoreError(`cannot read ${file}: ${fileTrouble(error)}`);
    }
  }
}

export interface FileStoreOptions {
  readonly cluster: string;
  readonly random: Random;
  /** See `openStore`. */
  readonly onProblem: (problem: string | null) => void;
}

/** Tries to write the term where the disk is full or gone. */
const RETRY = { baseMs: 500, capMs: 5000 };

/** What a leadership uses of its store. */
interface LedStore {
  write(topology: Topology, expectedVersion: number): Promise<void>;
  onEnd(): void;
}

class FileLeadership implements Leadership {
  readonly term: number;
  readonly advertise: string;
  readonly #store: LedStore;
  readonly #lost = new AbortController();

  constructor(term: number, advertise: string, store: LedStore) {
    this.term = term;
    this.advertise = advertise;
    this.#store = store;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async write(topology: Topology, expectedVersion: number): Promise<void> {
    validateTopology(topology);
    if (this.lost.aborted) throw new StoreError(`term ${this.term} is over: ${(this.lost.reason as Error).message}`);
    try {
      await this.#store.write(topology, expectedVersion);
    } catch (error) {
      this.end((error as Error).message);
      throw error;
    }
  }

  async resign(): Promise<void> {
    this.end('it was given up');
  }

  end(reason: string): void {
    if (this.lost.aborted) return;
    this.#store.onEnd();
    this.#lost.abort(new StoreError(reason));
  }
}
