/**
 * One worker process as its parent sees it: started, asked, told to listen or to drain, gone.
 */
import cluster, { type Worker } from 'node:cluster';
import type { Config } from '../config/config.ts';
import type { Samples } from '../telemetry/samples.ts';
import type { DrainReason, FromParent, FromWorker, Question, WorkerState } from './worker-protocol.ts';

/** How long a worker may take to answer a question; one that is silent for longer is busy or hung. */
const ANSWER_LIMIT_MS = 2000;
/** What a drained worker gets beyond its grace time before it is killed. */
const KILL_AFTER_MS = 2000;

/** Why a worker does not serve; the message is one line for people, the status what a process ends with for it. */
export class WorkerFailure extends Error {
  override readonly name = 'WorkerFailure';
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

export interface WorkerExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** What a worker wants of its parent. */
export interface WorkerWishes {
  /** To know what all workers say. */
  gather(asker: WorkerHandle, id: number, question: Question): void;
  /** To end, when others serve in its place. */
  leave(worker: WorkerHandle): void;
}

export class WorkerHandle {
  readonly pid: number;
  state: WorkerState = 'starting';
  /** Whether the process has come so far that questions reach it. */
  canAnswer = false;
  /** The newest numbers that the worker gave. */
  samples: Samples = {};
  /** Fulfilled when the links to nodes are being made; rejected with a WorkerFailure. */
  readonly started: Promise<void>;
  /** Fulfilled when the process has ended, however it did. */
  readonly exited: Promise<WorkerExit>;
  readonly #worker: Worker;
  readonly #wishes: WorkerWishes;
  readonly #config: Config;
  readonly #answers = new Map<number, (body: unknown) => void>();
  #nextId = 1;
  #hasExited = false;
  #started: Outcome;
  #listening: Outcome;
  readonly #listeningPromise: Promise<void>;

  /** Starts the process; `cluster.setupPrimary` has said which program it runs. */
  constructor(config: Config, wishes: WorkerWishes) {
    this.#wishes = wishes;
    this.#worker = cluster.fork();
    this.pid = this.#worker.process.pid ?? 0;
    const started = outcome();
    const listening = outcome();
    this.#started = started;
    this.#listening = listening;
    this.started = started.promise;
    this.#listeningPromise = listening.promise;
    this.#config = config;
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.exited = new Promise(resolve => {
      this.#worker.once('exit', (code, signal) => {
        this.#ended();
        resolve({ code, signal });
      });
      this.#worker.once('error', () => {
        this.#ended();
        resolve({ code: null, signal: null });
      });
    });
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  /** Tells the worker to listen; fulfilled when it does, rejected with a WorkerFailure. */
  async listen(): Promise<void> {
    this.#send({ kind: 'listen' });
    await this.#listeningPromise;
    this.state = 'serving';
  }

  /** The worker's answer; null when it gave none in time. */
  ask(question: Question): Promise<unknown> {
    if (!this.canAnswer) return Promise.resolve(null);
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise(resolve => {
      const timer = setTimeout(() => settle(null), ANSWER_LIMIT_MS);
      const settle = (body: unknown) => {
        clearTimeout(timer);
        this.#answers.delete(id);
        resolve(body);
      };
      this.#answers.set(id, settle);
      this.#send({ kind: 'ask', id, question });
    });
  }

  /** Gives the worker what it asked to be gathered, or other settings. */
  tell(message: Extract<FromParent, { kind: 'gathered' | 'reload' }>): void {
    this.#send(message);
  }

  /** Has the worker finish what is in flight; fulfilled when its process has ended, by force if the grace is over. */
  async drain(graceMs: number, why: DrainReason): Promise<void> {
    this.state = 'draining';
    this.#send({ kind: 'drain', graceMs, why });
    const timer = setTimeout(() => this.kill(), graceMs + KILL_AFTER_MS);
    await this.exited;
    clearTimeout(timer);
  }

  /** Ends the process at once. */
  kill(): void {
    this.#worker.process.kill('SIGKILL');
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case 'hello':
        this.canAnswer = true;
        this.#send({ kind: 'configure', config: this.#config });
        break;
      case 'started':
        this.#started.resolve();
        break;
      case 'listening':
        this.#listening.resolve();
        break;
      case 'failed':
        this.#fail(new WorkerFailure(message.line, message.status));
        break;
      case 'gather':
        this.#wishes.gather(this, message.id, message.question);
        break;
      case 'answer':
        this.#answers.get(message.id)?.(message.body);
        break;
      case 'leaving':
        this.#wishes.leave(this);
        break;
      case 'drained':
        this.samples = message.samples;
        this.#send({ kind: 'bye' });
        break;
    }
  }

  #ended(): void {
    this.#hasExited = true;
    this.canAnswer = false;
    this.#fail(new WorkerFailure(`worker ${this.pid} ended before it served; its last lines above say why`, 1));
    for (const settle of [...this.#answers.values()]) settle(null);
  }

  #fail(failure: WorkerFailure): void {
    this.#started.reject(failure);
    this.#listening.reject(failure);
  }

  #send(message: FromParent): void {
    // A worker that is about to end may have closed its side: its exit is what counts, not this message.
    if (this.#worker.isConnected()) this.#worker.send(message, ignoreError);
  }
}

interface Outcome {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (failure: WorkerFailure) => void;
}

/** A promise that others settle. Its failure may find nobody waiting any more, which is no error. */
function outcome(): Outcome {
  let resolve: () => void = () => undefined;
  let reject: (failure: WorkerFailure) => void = () => undefined;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

function ignoreError(): void {}
