/**
 * What the parent of a proxy and its workers say to each other, over Node's own channel between them.
 *
 * Neither of them reads the settings' file: parser and schema take 15 MB, and a process that ends at once takes them
 * better. Nor does the parent serve HTTP: the admin endpoint is served by whichever worker takes the connection, which
 * gathers what the others know through the parent.
 *
 *   worker                         parent
 *   hello                  ->             (what is sent before is lost: Node's own listener takes it)
 *                          <-  configure  the settings
 *   started                ->             links to the nodes are being made
 *                          <-  listen     (a successor is first asked whether it is ready)
 *   listening | failed     ->
 *                          <-  reload     the settings have changed
 *   gather                 ->             /status was asked here: what do all workers say?
 *                          <-  ask        to every worker
 *   answer                 ->
 *                          <-  gathered
 *   leaving                ->             somebody wants this worker to end: another should serve first
 *                          <-  drain      stop accepting, finish, close
 *   drained                ->             with the last numbers
 *                          <-  bye        every connection that was on its way to the worker has been seen by it
 */
import type { Config } from '../config/config.ts';
import type { Samples } from '../telemetry/samples.ts';

/** What can be asked of every worker at once. */
export type Question = 'ready' | 'status' | 'samples';

export type FromWorker =
  | { readonly kind: 'hello' }
  | { readonly kind: 'started' }
  | { readonly kind: 'listening' }
  | { readonly kind: 'failed'; readonly line: string; readonly status: number }
  | { readonly kind: 'gather'; readonly id: number; readonly question: Question }
  | { readonly kind: 'answer'; readonly id: number; readonly body: unknown }
  | { readonly kind: 'leaving' }
  | { readonly kind: 'drained'; readonly samples: Samples };

export type FromParent =
  | { readonly kind: 'configure'; readonly config: Config }
  | { readonly kind: 'listen' }
  | { readonly kind: 'ask'; readonly id: number; readonly question: Question }
  | { readonly kind: 'gathered'; readonly id: number; readonly gathered: Gathered }
  | { readonly kind: 'drain'; readonly graceMs: number; readonly why: DrainReason }
  | { readonly kind: 'reload'; readonly config: Config }
  | { readonly kind: 'bye' };

/** Replaced: successors listen already. Shutdown: nobody will. */
export type DrainReason = 'replaced' | 'shutdown';

export type WorkerState = 'starting' | 'serving' | 'draining';

/** One worker's answer to a question. */
export interface WorkerAnswer {
  readonly pid: number;
  readonly state: WorkerState;
  /** Null: the worker did not answer in time. */
  readonly body: unknown;
}

/** What all workers answered, and the parent's own numbers. */
export interface Gathered {
  readonly workers: readonly WorkerAnswer[];
  readonly parent: {
    readonly pid: number;
    readonly uptimeSeconds: number;
    /** False while the first workers are being started. */
    readonly isStarted: boolean;
    /** The parent's own, and the counters of workers that ended. */
    readonly samples: Samples;
  };
}

/** Body of the answer to `ready`. */
export interface Readiness {
  readonly ok: boolean;
  /** What is missing: names of shards whose primary the worker is not logged in to, or what else it needs. */
  readonly waitingFor: readonly string[];
}
