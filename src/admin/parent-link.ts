/**
 * The worker's end of the channel to its parent.
 *
 * Whatever the parent says arrives here as a call; a parent that is gone is one more thing that it may say.
 */
import cluster from 'node:cluster';
import type { Config } from '../config/config.ts';
import type { DrainReason, FromParent, FromWorker, Gathered, Question } from './worker-protocol.ts';

/** How long the parent may take to gather the answers of all workers; it gives each of them 2 s. */
const GATHER_LIMIT_MS = 5000;

/** What the worker does when it is told to. */
export interface ParentOrders {
  configure(config: Config): void;
  listen(): void;
  answer(question: Question): unknown;
  drain(graceMs: number | null, why: DrainReason): void;
  reload(config: Config): void;
}

export class ParentLink {
  readonly #gatherings = new Map<number, (gathered: Gathered) => void>();
  #nextId = 1;

  /** Takes orders from now on. */
  constructor(orders: ParentOrders) {
    process.on('message', (message: FromParent) => this.#receive(message, orders));
    cluster.worker?.on('disconnect', () => {
      // Node would end the worker here, at once and with whatever is in flight. It is drained instead.
      if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;
      orders.drain(null, 'shutdown');
    });
    this.send({ kind: 'hello' });
  }

  send(message: FromWorker): void {
    if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
  }

  /** Says a last thing, then ends the process when it is said. */
  fail(line: string, status: number): void {
    if (!process.connected) process.exit(status);
    const message: FromWorker = { kind: 'failed', line, status };
    process.send?.(message, undefined, undefined, () => process.exit(status));
  }

  /** What all workers answer; rejected when the parent is silent. */
  gather(question: Question): Promise<Gathered> {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#gatherings.delete(id);
        reject(new Error('the parent process does not answer'));
      }, GATHER_LIMIT_MS);
      this.#gatherings.set(id, gathered => {
        clearTimeout(timer);
        this.#gatherings.delete(id);
        resolve(gathered);
      });
      this.send({ kind: 'gather', id, question });
    });
  }

  #receive(message: FromParent, orders: ParentOrders): void {
    switch (message.kind) {
      case 'configure':
        orders.configure(message.config);
        break;
      case 'listen':
        orders.listen();
        break;
      case 'ask':
        this.send({ kind: 'answer', id: message.id, body: orders.answer(message.question) });
        break;
      case 'gathered':
        this.#gatherings.get(message.id)?.(message.gathered);
        break;
      case 'drain':
        orders.drain(message.graceMs, message.why);
        break;
      case 'reload':
        orders.reload(message.config);
        break;
      case 'bye':
        process.exit(0);
    }
  }
}
