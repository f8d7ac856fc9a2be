import type { Redis } from 'ioredis';
import type { Clock } from '../base/clock.ts';
import type { HostPort, NodeAccess } from '../config/config.ts';
import { openControl } from './control-connection.ts';
import { type NodeReport, parseNodeReport, reportCommand } from './node-report.ts';

/**
 * What was last seen of one node: an observation, from which nothing has been concluded.
 */
export interface Observation {
  /** The node answered the last question. */
  readonly up: boolean;
  /** What it said when it last answered; null: it never has. */
  readonly report: NodeReport | null;
  /** Why the last question was left without an answer; null: it was answered. */
  readonly error: string | null;
  /** When it last answered or failed to, on the clock given. */
  readonly atMs: number;
}

/** A node that takes longer to connect or to answer counts as not answering. */
const LIMIT_MS = 1000;

/** Asks one node about itself, at a steady pace, over one connection as long as that holds. */
export class NodeProbe {
  readonly #node: HostPort;
  readonly #access: NodeAccess;
  readonly #clock: Clock;
  readonly #onObservation: (before: Observation, now: Observation) => void;
  readonly #everyMs: number;
  #redis: Redis | null = null;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;
  #last: Observation;

  constructor(
    node: HostPort,
    access: NodeAccess,
    everyMs: number,
    clock: Clock,
    onObservation: (before: Observation, now: Observation) => void,
  ) {
    this.#node = node;
    this.#access = access;
    this.#everyMs = everyMs;
    this.#clock = clock;
    this.#onObservation = onObservation;
    this.#last = { up: false, report: null, error: 'not asked yet', atMs: clock.nowMs() };
  }

  get last(): Observation {
    return this.#last;
  }

  start(): void {
    void this.#round();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#redis?.disconnect();
  }

  /** One question and its outcome; the next one follows `everyMs` after this began, never before this has ended. */
  async #round(): Promise<void> {
    const beganMs = this.#clock.nowMs();
    const seen = await this.#ask();
    if (this.#stopped) return;
    const before = this.#last;
    this.#last = seen;
    this.#onObservation(before, seen);
    const restMs = Math.max(0, this.#everyMs - (this.#clock.nowMs() - beganMs));
    this.#timer = setTimeout(() => void this.#round(), restMs);
  }

  async #ask(): Promise<Observation> {
    try {
      // Every report names the run_id, so that the first answer on a new connection tells whose it is.
      this.#redis ??= await openControl(this.#node, this.#access, LIMIT_MS);
      if (this.#stopped) this.#redis.disconnect();
      const [command, ...sections] = reportCommand;
      const report = parseNodeReport(String(await this.#redis.call(command, ...sections)));
      return { up: true, report, error: null, atMs: this.#clock.nowMs() };
    } catch (error) {
      this.#redis?.disconnect();
      this.#redis = null;
      const reason = error instanceof Error ? error.message : String(error);
      return { up: false, report: this.#last.report, error: reason, atMs: this.#clock.nowMs() };
    }
  }
}
