/**
 * Clients that read keys which nobody changes, one at a time and many at once: each must be there, once, with its value
 * and its expiry, whatever moves meanwhile.
 */
import { Random } from '../../../src/base/random.ts';
import { sleep } from '../faults/stand.ts';
import { ConnectionLost, ErrorReply, RespConnection } from '../safety/resp.ts';
import type { Target } from '../safety/writers.ts';

const KEYS = 400;

const PREFIX = 'steady:';

export class Readers {
  /** What was answered that is not true, in words. */
  readonly wrong: string[] = [];
  /** Error replies by their first word, and lost connections. */
  readonly errors = new Map<string, number>();
  reads = 0;
  readonly #targets: readonly Target[];
  readonly #random: Random;
  #running = true;
  #work: Promise<unknown> = Promise.resolve();

  constructor(targets: readonly Target[], seed: number) {
    this.#targets = targets;
    this.#random = new Random(seed);
  }

  /** Writes the keys that are read, every third with an expiry far away. */
  static async fill(target: RespConnection): Promise<void> {
    const commands = Array.from({ length: KEYS }, (_, i) => {
      const expiry = i % 3 === 0 ? ['EX', '1000000'] : [];
      return ['SET', keyOf(i), valueOf(i), ...expiry];
    });
    for (const reply of await target.pipeline(...commands)) if (reply !== 'OK') throw new Error(JSON.stringify(reply));
  }

  start(count: number): void {
    this.#work = Promise.all(Array.from({ length: count }, (_, index) => this.#run(index)));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#work;
  }

  async #run(index: number): Promise<void> {
    const target = this.#targets[index % this.#targets.length] as Target;
    let connection: RespConnection | null = null;
    while (this.#running) {
      if (connection === null || connection.lost) {
        connection = await RespConnection.open(target.host.address, target.port, 1_000).catch(() => null);
        connection?.giveUpAfter(30_000);
        if (connection === null) await sleep(20);
        continue;
      }
      await this.#step(connection).catch(error => {
        if (!(error instanceof ConnectionLost)) throw error;
        this.#count('connection lost');
      });
      await sleep(3);
    }
    connection?.close();
  }

  async #step(connection: RespConnection): Promise<void> {
    const numbers = Array.from({ length: 8 }, () => this.#random.below(KEYS));
    const [first = 0] = numbers;
    switch (this.#random.below(4)) {
      case 0:
        return this.#ask(connection, ['MGET', ...numbers.map(keyOf)], numbers.map(valueOf));
      case 1:
        return this.#ask(connection, ['EXISTS', ...numbers.map(keyOf)], numbers.length);
      case 2:
        return this.#expiry(connection, first);
      default:
        return this.#ask(connection, ['GET', keyOf(first)], valueOf(first));
    }
  }

  async #ask(connection: RespConnection, words: string[], expected: unknown): Promise<void> {
    const reply = await connection.call(...words);
    this.reads += 1;
    if (reply instanceof ErrorReply) this.#count(reply.code);
    else if (JSON.stringify(reply) !== JSON.stringify(expected))
      this.wrong.push(`${words.slice(0, 9).join(' ')} was answered ${JSON.stringify(reply)}`);
  }

  async #expiry(connection: RespConnection, number: number): Promise<void> {
    const reply = await connection.call('TTL', keyOf(number));
    this.reads += 1;
    if (reply instanceof ErrorReply) return this.#count(reply.code);
    const isRight = number % 3 === 0 ? Number(reply) > 900_000 : reply === -1;
    if (!isRight) this.wrong.push(`TTL ${keyOf(number)} was answered ${JSON.stringify(reply)}`);
  }

  #count(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
  }
}

function keyOf(number: number): string {
  return `${PREFIX}${number}`;
}

function valueOf(number: number): string {
  return `${PREFIX}${number}:${'v'.repeat(number % 50)}`;
}
