import { CallDesk } from './call-desk.ts';
import type { CallOutcome, Effect, PublishOutcome } from './effect.ts';
import type { Answer, Procedure } from './procedure.ts';

/**
 * Runs procedures: gives each the answer to its last step and takes the next one, with time and outcomes from outside.
 *
 * Calls go through the desk, which sends one at a time to a node; publications go one after another.
 */
export interface Outbox {
  /** Takes an effect and returns its number. */
  send(effect: Effect): number;
}

/** A procedure that is running. */
export class Task {
  readonly #onEnd: (task: Task) => void;
  /** Null once it has ended or was dropped. */
  procedure: Procedure<void> | null;
  /** How many procedures of its own it still waits for. */
  children: Task[] = [];
  waitsFor = 0;
  /** When it goes on; null: not for time. */
  dueMs: number | null = null;
  /** Why it broke; null: it did not. */
  error: Error | null = null;

  constructor(procedure: Procedure<void>, onEnd: (task: Task) => void) {
    this.procedure = procedure;
    this.#onEnd = onEnd;
  }

  get isRunning(): boolean {
    return this.procedure !== null;
  }

  /** Whatever is under way on its behalf is carried out, or not; it is told no more. */
  drop(): void {
    this.procedure = null;
    this.dueMs = null;
    for (const child of this.children) child.drop();
    this.children = [];
  }

  ended(): void {
    this.procedure = null;
    this.#onEnd(this);
  }
}

interface Publication {
  readonly task: Task;
  readonly effect: Effect & { kind: 'publish' };
}

const DONE: Answer = { kind: 'done' };

export class Scheduler {
  readonly #outbox: Outbox;
  readonly #desk: CallDesk<Task>;
  readonly #publications: Publication[] = [];
  #publishing: { readonly id: number; readonly publication: Publication } | null = null;
  readonly #resting = new Set<Task>();
  readonly #onPublished: (effect: Effect & { kind: 'publish' }, outcome: PublishOutcome) => void;

  constructor(
    term: number,
    outbox: Outbox,
    onPublished: (effect: Effect & { kind: 'publish' }, outcome: PublishOutcome) => void,
    onShutOut: (nodeId: string) => void,
  ) {
    this.#outbox = outbox;
    this.#onPublished = onPublished;
    const onOutcome = (task: Task, outcome: CallOutcome): void => this.#resume(task, { kind: 'outcome', outcome });
    this.#desk = new CallDesk(term, outbox, onOutcome, onShutOut);
  }

  /** Begins at once; `onEnd` may be called before this returns. */
  start<T>(procedure: Procedure<T>, nowMs: number, onEnd: (result: T | null, error: Error | null) => void): Task {
    let result: T | null = null;
    const whole = (function* (): Procedure<void> {
      result = yield* procedure;
    })();
    const task = new Task(whole, ({ error }) => onEnd(result, error));
    this.#desk.nowMs = nowMs;
    this.#resume(task, DONE);
    return task;
  }

  /** Goes on with whatever has waited for its time, and gives up calls that were never answered. */
  advance(nowMs: number): void {
    this.#desk.nowMs = nowMs;
    this.#desk.expire();
    for (const task of [...this.#resting]) {
      if (task.dueMs !== null && task.dueMs > nowMs) continue;
      this.#resting.delete(task);
      if (task.dueMs !== null) {
        task.dueMs = null;
        this.#resume(task, DONE);
      }
    }
  }

  /** When something is due by time alone; null: nothing is. */
  get nextDueMs(): number | null {
    const times = [...this.#resting].flatMap(task => task.dueMs ?? []);
    const deadline = this.#desk.nextDeadlineMs;
    if (deadline !== null) times.push(deadline);
    return times.length === 0 ? null : Math.min(...times);
  }

  completeCall(id: number, outcome: CallOutcome, nowMs: number): void {
    this.#desk.nowMs = nowMs;
    this.#desk.complete(id, outcome);
  }

  /** Whether `id` was the publication under way. */
  completePublish(id: number, outcome: PublishOutcome, nowMs: number): boolean {
    if (this.#publishing?.id !== id) return false;
    const { task, effect } = this.#publishing.publication;
    this.#publishing = null;
    this.#desk.nowMs = nowMs;
    this.#onPublished(effect, outcome);
    if (outcome.ok) {
      this.#publishNext();
      this.#resume(task, DONE);
    }
    return true;
  }

  /** The shard whose publication is under way or waits, for whom nothing new may be decided. */
  isPublishing(shard: string): boolean {
    const isOf = ({ effect }: Publication): boolean => effect.shards.some(({ name }) => name === shard);
    return (this.#publishing !== null && isOf(this.#publishing.publication)) || this.#publications.some(isOf);
  }

  /** A publication is under way, or waits, that speaks of this node as a member. */
  isPublishingMember(nodeId: string): boolean {
    const all = [this.#publishing?.publication, ...this.#publications];
    return all.some(one => one?.effect.shards.some(({ nodes }) => nodes.includes(nodeId)) === true);
  }

  /** A publication that says how far keys have been moved is under way, or waits. */
  get isPublishingMove(): boolean {
    return [this.#publishing?.publication, ...this.#publications].some(one => one?.effect.move !== undefined);
  }

  #resume(task: Task, answer: Answer): void {
    let next: Answer | null = answer;
    while (next !== null && task.procedure !== null) next = this.#step(task, task.procedure, next);
  }

  /** Takes one step; null: it now waits for something. */
  #step(task: Task, procedure: Procedure<void>, answer: Answer): Answer | null {
    let taken: ReturnType<typeof procedure.next>;
    try {
      taken = procedure.next(answer);
    } catch (error) {
      task.error = error instanceof Error ? error : new Error(String(error));
      task.ended();
      return null;
    }
    if (taken.done === true) {
      task.ended();
      return null;
    }
    const step = taken.value;
    if (step.kind === 'note') {
      this.#outbox.send(step.note);
      return DONE;
    }
    if (step.kind === 'call') this.#desk.ask(task, step.call);
    else if (step.kind === 'rest') this.#rest(task, step.ms);
    else if (step.kind === 'together') return this.#together(task, step.procedures);
    else this.#enqueue(task, { kind: 'publish', ...step.change, why: step.why });
    return null;
  }

  #rest(task: Task, ms: number): void {
    task.dueMs = this.#desk.nowMs + ms;
    this.#resting.add(task);
  }

  #together(task: Task, procedures: readonly Procedure<void>[]): Answer | null {
    if (procedures.length === 0) return DONE;
    task.waitsFor = procedures.length;
    let isStarting = true;
    task.children = procedures.map(procedure => {
      return new Task(procedure, child => {
        task.waitsFor--;
        task.error ??= child.error;
        if (task.waitsFor === 0 && !isStarting) this.#resume(task, DONE);
      });
    });
    for (const child of task.children) this.#resume(child, DONE);
    isStarting = false;
    return task.waitsFor === 0 ? DONE : null;
  }

  #enqueue(task: Task, effect: Effect & { kind: 'publish' }): void {
    this.#publications.push({ task, effect });
    this.#publishNext();
  }

  #publishNext(): void {
    while (this.#publishing === null) {
      const publication = this.#publications.shift();
      if (publication === undefined) return;
      // Nobody has seen yet what a procedure wanted that was dropped meanwhile.
      if (!publication.task.isRunning) continue;
      this.#publishing = { id: this.#outbox.send(publication.effect), publication };
    }
  }
}
