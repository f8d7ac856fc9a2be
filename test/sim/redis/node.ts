import type { Network } from '../network.ts';
import { RedisProcess, type Saved } from './process.ts';

/**
 * An address where a Redis process answers, or none: it can be killed, frozen, and started again with what a file kept
 * or with nothing.
 */
export class SimNode {
  readonly id: string;
  readonly host: string;
  readonly port = 6379;
  readonly zone: string;
  process: RedisProcess | null = null;
  readonly #network: Network;
  readonly #nature: NodeNature;
  #saved: Saved | null = null;
  #starts = 0;

  constructor(network: Network, id: string, zone: string, nature: NodeNature) {
    this.#network = network;
    this.id = id;
    this.host = `${id}.sim`;
    this.zone = zone;
    this.#nature = nature;
  }

  /** The process that lives, halted or not. */
  get living(): RedisProcess | null {
    return this.process?.actor.hasEnded === false ? this.process : null;
  }

  start(withFile: boolean): void {
    if (this.living !== null) return;
    const { runIdKept, ...life } = this.#nature;
    this.#starts += 1;
    this.process = new RedisProcess(this.#network, {
      ...life,
      name: `${this.id}#${this.#starts}`,
      host: this.host,
      port: this.port,
      runId: runIdKept ? (this.process?.runId ?? null) : null,
      saved: withFile ? this.#saved : null,
    });
    this.process.onSave = () => this.save();
    const has = this.process.data.writes.size;
    this.process.tell(
      `starts as ${this.process.runId.slice(0, 6)}${has > 0 ? ` with ${has} writes from its file` : ''}`,
    );
  }

  /** SIGKILL. */
  kill(): void {
    this.living?.tell('is killed');
    this.living?.actor.end();
  }

  /** Writes the file that a later start may read. */
  save(): void {
    const process = this.living;
    if (process === null || process.loading) return;
    const { history, following } = process;
    const isKnown = following === null ? history.hasBacklog : following.canContinue;
    this.#saved = { data: process.data.clone(), id: isKnown ? history.id : null, offset: history.offset };
  }
}

export interface NodeNature {
  readonly loadFailure: number;
  readonly backlogBytes: number;
  /** A restarted process keeps its name: only for trying out what happens then. */
  readonly runIdKept: boolean;
}
