/**
 * A worker process of the proxy: runs the data path, serves the admin endpoint, ends when told.
 *
 * Signals are the parent's business: a terminal's Ctrl-C reaches the whole group, and only the parent knows in which
 * order things end. SIGTERM to a worker alone is a wish to be replaced.
 */
import { unlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { LineLog, type Log } from '../base/line-log.ts';
import type { Config, HostPort, ListenAddress } from '../config/config.ts';
import { type ProxyWorker, runProxyWorker } from '../downstream/proxy-worker.ts';
import { ProcessCells } from '../telemetry/process-cells.ts';
import { takeSamples } from '../telemetry/samples.ts';
import { ringsideVersion } from '../telemetry/version.ts';
import { isDeserted } from './control-socket.ts';
import { listenErrorLine } from './listen-error.ts';
import { ParentLink } from './parent-link.ts';
import { createAdminServer } from './server.ts';
import type { DrainReason, Question } from './worker-protocol.ts';

/** Does what the parent says until it, or its absence, ends the process. */
export function runWorkerProcess(): void {
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => undefined);
  new WorkerProcess();
}

class WorkerProcess {
  readonly #log: Log = new LineLog('proxy');
  readonly #link: ParentLink;
  readonly #cells = new ProcessCells();
  #config: Config | null = null;
  #worker: ProxyWorker | null = null;
  #admin: Server | null = null;
  #draining = false;

  constructor() {
    this.#link = new ParentLink({
      configure: config => void this.#start(config),
      listen: () => void this.#listen(),
      answer: question => this.#answer(question),
      drain: (graceMs, why) => void this.#drain(graceMs, why),
      reload: config => this.#reload(config),
    });
    process.on('SIGTERM', () => this.#link.send({ kind: 'leaving' }));
  }

  async #start(config: Config): Promise<void> {
    this.#config = config;
    try {
      this.#worker = await runProxyWorker(config, this.#log);
    } catch (error) {
      this.#link.fail((error as Error).message, 1);
      return;
    }
    this.#link.send({ kind: 'started' });
  }

  async #listen(): Promise<void> {
    const { proxy } = this.#config as Config;
    let setting = 'proxy.listen';
    try {
      await removeDesertedSockets(proxy.listen);
      await (this.#worker as ProxyWorker).listen();
      setting = 'proxy.admin';
      if (proxy.admin !== null) await this.#listenForAdmin(proxy.admin);
    } catch (error) {
      this.#link.fail(listenErrorLine(error, setting), 2);
      return;
    }
    this.#link.send({ kind: 'listening' });
  }

  #listenForAdmin({ host, port }: HostPort): Promise<void> {
    const server = createAdminServer(question => this.#link.gather(question));
    this.#admin = server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.off('error', reject);
        resolve();
      });
    });
  }

  #answer(question: Question): unknown {
    const worker = this.#worker;
    if (worker === null) return question === 'ready' ? { ok: false, waitingFor: ['start'] } : {};
    if (question === 'ready') return worker.ready();
    if (question === 'status') return worker.status();
    return this.#samples(worker);
  }

  #samples(worker: ProxyWorker) {
    return takeSamples({ proxy: worker.metrics(), process: this.#cells.read(), version: ringsideVersion() });
  }

  #reload(config: Config): void {
    this.#config = config;
    this.#worker?.reload(config);
  }

  async #drain(graceMs: number | null, why: DrainReason): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    const worker = this.#worker;
    if (worker === null) process.exit(0);
    if (why === 'replaced') this.#admin?.close();
    await worker.drain(graceMs ?? (this.#config as Config).proxy.graceMs);
    if (!process.connected) process.exit(0);
    this.#link.send({ kind: 'drained', samples: this.#samples(worker) });
  }
}

/** A proxy that was killed leaves its sockets' files behind, and nobody could listen at their paths again. */
async function removeDesertedSockets(listen: readonly ListenAddress[]): Promise<void> {
  for (const address of listen) {
    if (address.kind === 'unix' && (await isDeserted(address.path))) unlinkSync(address.path);
  }
}
