/** A lane as the proxy makes one, and receivers that write down what comes back. */
import { Backoff } from '../../src/base/backoff.ts';
import { BufferPool } from '../../src/base/buffer-pool.ts';
import { Random } from '../../src/base/random.ts';
import { encodeCommand } from '../../src/resp/encoder.ts';
import { ShardCells } from '../../src/telemetry/proxy-cells.ts';
import { Lane, type LaneSettings } from '../../src/upstream/lane.ts';
import type { Target } from '../../src/upstream/login.ts';
import {
  acquireRequest,
  Failure,
  type Origin,
  type ReplyReceiver,
  type Request,
  releaseRequest,
} from '../../src/upstream/request.ts';
import { HANG_MS } from '../support/patience.ts';

const FAILURES = new Map<Failure, string>(Object.entries(Failure).map(([name, failure]) => [failure, name]));

/** What became of one command. */
export class Sent implements ReplyReceiver {
  readonly words: string;
  readonly skipped: string[] = [];
  readonly parts: string[] = [];
  /** The whole reply, or the failure by its name in angle brackets; null while neither is there. */
  outcome: string | null = null;
  detail = '';
  readonly #log: Sent[];
  readonly #onDone: () => void;

  constructor(words: string, log: Sent[], onDone: () => void) {
    this.words = words;
    this.#log = log;
    this.#onDone = onDone;
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number, last: boolean): void {
    this.parts.push(bytes.toString('latin1', from, to));
    if (last) this.#finish(request, this.parts.join(''));
  }

  onSkipped(_request: Request, bytes: Buffer, from: number, to: number): void {
    this.skipped.push(bytes.toString('latin1', from, to));
  }

  onFailure(request: Request, failure: Failure, detail: string): void {
    this.detail = detail;
    this.#finish(request, `<${FAILURES.get(failure)}>`);
  }

  #finish(request: Request, outcome: string): void {
    if (this.outcome !== null) throw new Error(`${this.words} was answered twice: ${this.outcome}, then ${outcome}`);
    this.outcome = outcome;
    this.#log.push(this);
    releaseRequest(request);
    this.#onDone();
  }
}

export interface SendOptions {
  readonly write?: boolean;
  readonly origin?: Origin;
  readonly skip?: number;
  readonly arrivedMs?: number;
  /** Called when the outcome is there. */
  readonly onDone?: () => void;
}

export class LaneStand {
  readonly pool = new BufferPool(1e9);
  readonly cells = new ShardCells('s1');
  readonly lane: Lane;
  /** In the order in which they were answered. */
  readonly answered: Sent[] = [];
  /** Why each connection ended, in the order of ending. */
  readonly problems: string[] = [];

  constructor(target: Target, settings: Partial<LaneSettings> = {}) {
    this.lane = new Lane(target, {
      pool: this.pool,
      cells: this.cells,
      backoff: new Backoff(10, 50, new Random(1)),
      secure: null,
      guard: null,
      connectMs: 2000,
      holdMs: 60_000,
      timeoutMs: 60_000,
      writeMs: 60_000,
      queueBound: 1000,
      lasting: true,
      lent: false,
      sieve: null,
      onState: lane => {
        if (!lane.ready) this.problems.push(lane.problem);
      },
      ...settings,
    });
  }

  /** Sends a command, its words apart by blanks. */
  send(words: string | readonly (string | Buffer)[], options: SendOptions = {}): Sent {
    const list = typeof words === 'string' ? words.split(' ') : words;
    const sent = new Sent(list.map(String).join(' ').slice(0, 100), this.answered, options.onDone ?? (() => {}));
    const arrivedMs = options.arrivedMs ?? performance.now();
    const request = acquireRequest(sent, options.origin ?? null, options.write ?? false, arrivedMs);
    request.skip = options.skip ?? 0;
    const bytes = encodeCommand(list);
    this.lane.send(request, bytes, 0, bytes.length);
    return sent;
  }

  get outcomes(): (string | null)[] {
    return this.answered.map(sent => sent.outcome);
  }

  close(): void {
    this.lane.close(Failure.Closing, 'the test is over');
  }
}

/** Waits for something that becomes true. */
export async function until(what: string, isTrue: () => boolean): Promise<void> {
  for (const deadline = performance.now() + HANG_MS; !isTrue(); ) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 2));
  }
}

export const turns = (count: number): Promise<void> =>
  new Promise(resolve => {
    const next = (left: number): void => {
      if (left === 0) resolve();
      else setImmediate(next, left - 1);
    };
    next(count);
  });
