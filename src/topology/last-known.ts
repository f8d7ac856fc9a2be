import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileTrouble, replaceFile } from './atomic-file.ts';
import type { Topology } from './snapshot.ts';
import { validateTopology } from './validate.ts';

/**
 * A proxy's memory: the last topology that it was told, so that it can start while no supervisor answers.
 *
 * Losing it costs nothing while a supervisor is there, so that trouble with it is told and stops nobody. The processes
 * of one proxy, and a proxy and its successor, share the directory: nobody replaces a newer version by an older one.
 */
export class LastKnownTopology {
  readonly #file: string;
  readonly #cluster: string;
  /** Saves of this process, one after another. */
  #lastSave: Promise<unknown> = Promise.resolve();

  constructor(directory: string, cluster: string) {
    this.#file = join(directory, 'last-topology.json');
    this.#cluster = cluster;
  }

  async load(): Promise<Remembered> {
    try {
      const topology = validateTopology(JSON.parse(await readFile(this.#file, 'utf8')));
      if (topology.cluster === this.#cluster) return { topology, problem: null };
      return { topology: null, problem: `${this.#file} is of the cluster ${topology.cluster}, not ${this.#cluster}` };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { topology: null, problem: null };
      return { topology: null, problem: `${this.#file} is of no use: ${fileTrouble(error)}` };
    }
  }

  /** Resolves to what is wrong with the disk, for the log; null: nothing. Never rejects. */
  save(topology: Topology): Promise<string | null> {
    const save = this.#lastSave.then(() => this.#save(topology));
    this.#lastSave = save;
    return save;
  }

  async #save(topology: Topology): Promise<string | null> {
    const { topology: present } = await this.load();
    if (present !== null && present.version >= topology.version) return null;
    try {
      await replaceFile(this.#file, `${JSON.stringify(topology)}\n`, `${this.#file}.${process.pid}.tmp`);
      return null;
    } catch (error) {
      return `cannot write ${this.#file}: ${fileTrouble(error)}`;
    }
  }
}

export interface Remembered {
  /** Null: nothing is remembered, or nothing usable. */
  readonly topology: Topology | null;
  /** Why what is there is of no use, for the log; null: nothing wrong. */
  readonly problem: string | null;
}
