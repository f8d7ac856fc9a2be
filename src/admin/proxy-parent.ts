/**
 * The small process that holds the proxy's listening sockets, and hands them from one generation of workers to the next.
 *
 * It moves no byte of a client. Its sockets outlive the workers, so that a successor with new code and new settings
 * listens before its predecessor stops, and no connection is refused in between. A bare Node process takes 43 MB;
 * this one takes 5 more, because it imports neither the settings' parser nor a logger nor HTTP.
 */
import cluster from 'node:cluster';
import type { Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '../base/backoff.ts';
import { LineLog } from '../base/line-log.ts';
import { Random } from '../base/random.ts';
import type { Config, ListenAddress } from '../config/config.ts';
import { countersOf, mergeSamples, type Samples } from '../telemetry/samples.ts';
import { type ControlResult, listenForControl } from './control-socket.ts';
import { LiveSettings } from './live-settings.ts';
import { SettingsFailure, type SettingsReading } from './settings-reader.ts';
import { type WorkerExit, WorkerFailure, WorkerHandle } from './worker-handle.ts';
import type { Question, Readiness, WorkerAnswer } from './worker-protocol.ts';
import { workerShare } from './worker-share.ts';

/** How long successors may take until they are logged in to every shard that their predecessors are logged in to. */
const READY_LIMIT_MS = 10_000;
/** After so long a successor need not wait for what its predecessors lack too. */
const READY_PATIENCE_MS = 1000;
const READY_POLL_MS = 25;
/** Pause before a crashed worker's place is filled, and the longest one when it crashes again and again. */
const RESTART_BASE_MS = 100;
const RESTART_CAP_MS = 10_000;
/** Before the settings are known. */
const DEFAULT_GRACE_MS = 10_000;

/**
 * Runs the proxy of a settings file until a signal ends it; gives the exit status.
 *
 * SIGUSR2 replaces the workers, SIGHUP takes up changed settings, SIGTERM and SIGINT drain the workers.
 */
export function runProxyParent(configFile: string): Promise<number> {
  return new ProxyParent(configFile).run();
}

class ProxyParent {
  readonly #configFile: string;
  readonly #settings: LiveSettings;
  readonly #log = new LineLog('proxy');
  /** The generation that serves. */
  #current: WorkerHandle[] = [];
  /** Every worker process there is, those that start or are drained included. */
  readonly #all = new Set<WorkerHandle>();
  /** Counters of workers that ended. */
  #retired: Samples = {};
  #control: Server | null = null;
  /** The first workers serve. */
  #isStarted = false;
  #stopping = false;
  /** Replacements and reloads, one after another. */
  #turns: Promise<unknown> = Promise.resolve();
  readonly #backoff = new Backoff(RESTART_BASE_MS, RESTART_CAP_MS, new Random(Date.now() ^ process.pid));
  readonly #finished: Promise<number>;
  #finish: (status: number) => void = () => undefined;

  constructor(configFile: string) {
    this.#configFile = configFile;
    this.#settings = new LiveSettings(configFile);
    this.#finished = new Promise(resolve => {
      this.#finish = resolve;
    });
  }

  async run(): Promise<number> {
    this.#takeSignals();
    try {
      await this.#inTurn(() => this.#boot());
    } catch (error) {
      if (this.#stopping) return this.#finished;
      for (const handle of this.#all) handle.kill();
      process.stderr.write(`${error instanceof SettingsFailure ? '' : 'ringside: '}${(error as Error).message}\n`);
      return statusOf(error);
    }
    return this.#finished;
  }

  async #boot(): Promise<void> {
    const reading = await this.#settings.read();
    if (this.#stopping) return;
    this.#settings.take(reading);
    const { listen, workers, stateDir } = reading.config.proxy;
    // One worker accepts for itself, which is cheaper; several would share unevenly unless each connection is handed
    // to the next one. Node takes this decision once in a process's life.
    cluster.schedulingPolicy = workers === 1 ? cluster.SCHED_NONE : cluster.SCHED_RR;
    const execArgv = [...process.execArgv, ...workerFlags()];
    cluster.setupPrimary({ exec: process.argv[1] as string, args: ['proxy', '--config', this.#configFile], execArgv });
    // The first one alone finds out whether the addresses are free: one line about it, not one per worker.
    await this.#serveWith(this.#fork(reading.config));
    await Promise.all(Array.from({ length: workers - 1 }, () => this.#serveWith(this.#fork(reading.config))));
    await this.#openControl(stateDir);
    this.#settings.watch(() => void this.#inTurn(() => this.#reload()));
    this.#isStarted = true;
    const pids = this.#current.map(handle => handle.pid);
    this.#log.info({ listen: listen.map(addressText), workers: pids }, 'listening');
  }

  async #serveWith(handle: WorkerHandle): Promise<void> {
    await handle.started;
    await handle.listen();
    this.#current.push(handle);
  }

  #fork(config: Config): WorkerHandle {
    const handle = new WorkerHandle(workerShare(config), {
      gather: (asker, id, question) => void this.#gather(asker, id, question),
      leave: worker => this.#onLeaving(worker),
    });
    this.#all.add(handle);
    void handle.exited.then(exit => this.#onExit(handle, exit));
    return handle;
  }

  /** A worker was told to end by somebody else: it goes as all do, after its successors have come. */
  #onLeaving(handle: WorkerHandle): void {
    if (this.#stopping || !this.#current.includes(handle)) return;
    this.#log.info({ worker: handle.pid }, 'a worker was asked to end; replacing');
    void this.#replace();
  }

  #onExit(handle: WorkerHandle, exit: WorkerExit): void {
    this.#all.delete(handle);
    this.#retired = mergeSamples([this.#retired, countersOf(handle.samples)]);
    if (!this.#current.includes(handle)) return;
    this.#current = this.#current.filter(other => other !== handle);
    if (!this.#stopping) void this.#refill(handle.pid, exit);
  }

  /** Fills the place of a worker that ended unasked. */
  async #refill(pid: number, exit: WorkerExit): Promise<void> {
    const pauseMs = Math.round(this.#backoff.nextMs());
    this.#log.error({ worker: pid, ...exit, pauseMs }, 'a worker ended unasked; starting another');
    await sleep(pauseMs);
    if (this.#stopping || this.#isComplete()) return;
    const handle = this.#fork(this.#settings.config as Config);
    try {
      await handle.started;
      await handle.listen();
    } catch (error) {
      handle.kill();
      if (this.#stopping) return;
      this.#log.error({ worker: handle.pid }, (error as Error).message);
      return this.#refill(handle.pid, await handle.exited);
    }
    // Successors may have come in the meantime.
    if (this.#stopping || this.#isComplete()) return handle.drain(this.#graceMs(), 'replaced');
    this.#current.push(handle);
    this.#log.info({ worker: handle.pid }, 'a worker took the place of the one that ended');
    await Promise.race([handle.exited, sleep(RESTART_CAP_MS, null, { ref: false })]);
    if (!handle.hasExited) this.#backoff.reset();
  }

  #isComplete(): boolean {
    return this.#current.length >= (this.#settings.config?.proxy.workers ?? 1);
  }

  /** Replaces all workers; never rejects. */
  #replace(): Promise<ControlResult> {
    return this.#inTurn(() => this.#replaceNow());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turns.then(work);
    this.#turns = turn.catch(() => undefined);
    return turn;
  }

  async #replaceNow(): Promise<ControlResult> {
    if (this.#stopping) return { status: 1, line: 'not replaced: the proxy is being ended' };
    if (this.#settings.config === null) return { status: 1, line: 'not replaced: the proxy is just starting' };
    const beganMs = performance.now();
    const successors: WorkerHandle[] = [];
    try {
      const reading = await this.#settings.read();
      const { workers } = reading.config.proxy;
      await Promise.all(Array.from({ length: workers }, () => this.#successor(reading.config, successors)));
      await Promise.all(successors.map(handle => handle.listen()));
      if (this.#stopping) throw new WorkerFailure('the proxy is being ended', 1);
      this.#handOver(successors, reading);
    } catch (error) {
      return this.#giveUp(successors, error as Error);
    }
    const pids = successors.map(handle => handle.pid);
    const seconds = ((performance.now() - beganMs) / 1e3).toFixed(2);
    this.#log.info({ workers: pids, seconds: Number(seconds) }, 'replaced; the old workers finish what is in flight');
    return { status: 0, line: `replaced in ${seconds} s: worker${pids.length === 1 ? '' : 's'} ${pids.join(', ')}` };
  }

  /** Starts a worker, and waits until it is ready to take over; it does not listen yet. */
  async #successor(config: Config, successors: WorkerHandle[]): Promise<void> {
    const handle = this.#fork(config);
    successors.push(handle);
    await handle.started;
    const beganMs = performance.now();
    for (;;) {
      const readiness = (await handle.ask('ready')) as Readiness | null;
      const elapsedMs = performance.now() - beganMs;
      if (readiness?.ok) return;
      if (handle.hasExited) throw new WorkerFailure(`worker ${handle.pid} ended before it was ready`, 1);
      if (readiness !== null && elapsedMs > READY_PATIENCE_MS && (await this.#lackTheSame(readiness))) return;
      if (elapsedMs > READY_LIMIT_MS) {
        const missing = readiness === null ? 'it does not answer' : `it waits for ${readiness.waitingFor.join(', ')}`;
        throw new WorkerFailure(`worker ${handle.pid} was not ready within ${READY_LIMIT_MS / 1000} s: ${missing}`, 1);
      }
      await sleep(READY_POLL_MS);
    }
  }

  /** True when those that serve miss everything that the successor misses: waiting for more would gain nothing. */
  async #lackTheSame(successor: Readiness): Promise<boolean> {
    const answers = (await Promise.all(this.#current.map(handle => handle.ask('ready')))) as (Readiness | null)[];
    return answers.every(old => old === null || successor.waitingFor.every(name => old.waitingFor.includes(name)));
  }

  #handOver(successors: WorkerHandle[], reading: SettingsReading): void {
    const old = this.#current;
    const { graceMs, stateDir } = reading.config.proxy;
    const oldStateDir = this.#settings.config?.proxy.stateDir;
    this.#current = successors;
    this.#settings.take(reading);
    for (const handle of old) void handle.drain(graceMs, 'replaced');
    if (oldStateDir !== stateDir) void this.#openControl(stateDir);
    if (successors.length > 1 && cluster.schedulingPolicy === cluster.SCHED_NONE) {
      this.#log.warn({}, 'started with one worker, so these share new connections unevenly until a restart');
    }
  }

  #giveUp(successors: WorkerHandle[], error: Error): ControlResult {
    for (const handle of successors) {
      // One that listens already may have clients.
      if (handle.state === 'serving') void handle.drain(this.#graceMs(), 'replaced');
      else handle.kill();
    }
    const serving = this.#current.map(handle => handle.pid);
    this.#log.error({ serving }, `not replaced: ${error.message}`);
    const line = `not replaced, the old workers (pid ${serving.join(', ')}) go on serving: ${error.message}`;
    return { status: statusOf(error), line };
  }

  /** Has the workers take up what is in the file now; a file with mistakes changes nothing. Never rejects. */
  async #reload(): Promise<void> {
    if (this.#stopping || this.#settings.config === null) return;
    try {
      const { config, changed, needsRestart } = await this.#settings.reload();
      for (const handle of this.#all) handle.tell({ kind: 'reload', config: workerShare(config) });
      this.#log.info({ changed }, 'settings read again');
      if (needsRestart.length === 0) return;
      this.#log.warn({ needsRestart }, 'these settings wait for "ringside proxy --replace"');
    } catch (error) {
      this.#log.error({}, `settings not taken up, the old ones stay: ${(error as Error).message}`);
    }
  }

  /** Asks every worker, and gives the answers to the one that serves the admin request. */
  async #gather(asker: WorkerHandle, id: number, question: Question): Promise<void> {
    // What is drained still counts, but is not what a new client meets.
    const handles = [...this.#all].filter(
      handle => handle.canAnswer && (question !== 'ready' || handle.state === 'serving'),
    );
    const workers: WorkerAnswer[] = await Promise.all(
      handles.map(async handle => {
        const body = await handle.ask(question);
        if (question === 'samples' && body !== null) handle.samples = body as Samples;
        return { pid: handle.pid, state: handle.state, body };
      }),
    );
    const parent = {
      pid: process.pid,
      uptimeSeconds: process.uptime(),
      isStarted: this.#isStarted,
      samples: this.#ownSamples(),
    };
    asker.tell({ kind: 'gathered', id, gathered: { workers, parent } });
  }

  #ownSamples(): Samples {
    const cpu = process.cpuUsage();
    const own: Samples = {
      ringside_process_resident_bytes: [{ labels: ['parent'], values: [process.memoryUsage.rss()] }],
      ringside_process_cpu_seconds_total: [{ labels: ['parent'], values: [(cpu.user + cpu.system) / 1e6] }],
    };
    return mergeSamples([this.#retired, own]);
  }

  async #openControl(stateDir: string): Promise<void> {
    this.#control?.close();
    this.#control = null;
    try {
      this.#control = await listenForControl(stateDir, () => this.#replace());
    } catch (error) {
      const why = `no control socket (${(error as Error).message}): "ringside proxy --replace" cannot reach this proxy`;
      this.#log.warn({}, `${why}, SIGUSR2 can`);
    }
  }

  #takeSignals(): void {
    process.on('SIGUSR2', () => void this.#replace());
    process.on('SIGHUP', () => void this.#inTurn(() => this.#reload()));
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#onEnd(signal));
    // Started by a program of ours that holds a channel: without it, nobody would end this one.
    if (process.connected) process.once('disconnect', () => this.#onEnd('SIGTERM'));
  }

  #onEnd(signal: 'SIGTERM' | 'SIGINT'): void {
    if (!this.#stopping) {
      void this.#stop();
      return;
    }
    for (const handle of this.#all) handle.kill();
    this.#finish(signal === 'SIGINT' ? 130 : 143);
  }

  async #stop(): Promise<void> {
    this.#stopping = true;
    this.#control?.close();
    this.#settings.close();
    const graceMs = this.#graceMs();
    this.#log.info({ graceMs }, 'draining');
    await Promise.all(
      [...this.#all].map(handle => {
        if (handle.state !== 'starting') return handle.drain(graceMs, 'shutdown');
        handle.kill();
        return handle.exited;
      }),
    );
    this.#log.info({}, 'ended');
    this.#finish(0);
  }

  #graceMs(): number {
    return this.#settings.config?.proxy.graceMs ?? DEFAULT_GRACE_MS;
  }
}

/** Flags for the workers' V8. The young generation is kept small: it is most of what an idle worker would hold. */
function workerFlags(): string[] {
  const given = process.env['RINGSIDE_WORKER_FLAGS'];
  return given === undefined ? ['--max-semi-space-size=2'] : given.split(' ').filter(flag => flag !== '');
}

/** What a process ends with that could not go on for this reason. */
function statusOf(error: unknown): number {
  if (error instanceof SettingsFailure) return 2;
  return error instanceof WorkerFailure ? error.status : 1;
}

function addressText(address: ListenAddress): string {
  return address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`;
}
