/**
 * Clients that read, set and swap a few keys against each other, and the history of it for the linearizability checker.
 */
import { Random } from '../../../src/base/random.ts';
import { checkLinearizable } from '../../linearizability/checker.ts';
import type { Operation } from '../../linearizability/history.ts';
import { type RegisterInput, type RegisterOutput, registerModel } from '../../linearizability/models.ts';
import { sleep } from '../faults/stand.ts';
import { ConnectionLost, ErrorReply, type Reply, RespConnection } from './resp.ts';
import type { Target } from './writers.ts';

const SWAP = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`;

/** Each key gets so few operations that its history is decided in a moment. */
const MOST_PER_KEY = 400;

type RegisterOperation = Operation<RegisterInput, RegisterOutput>;

export class Registers {
  /** Answers that no Redis gives to such a command, in words. */
  readonly strange: string[] = [];
  readonly histories = new Map<string, RegisterOperation[]>();
  readonly #targets: readonly Target[];
  readonly #random: Random;
  readonly #prefix: string;
  readonly #width: number;
  #running = true;
  #values = 0;
  #work: Promise<unknown> = Promise.resolve();

  /** Keys begin with `prefix`; the proxies must read them strictly. `width`: so many are in use at a time. */
  constructor(targets: readonly Target[], seed: number, prefix: string, width = 3) {
    this.#targets = targets;
    this.#random = new Random(seed);
    this.#prefix = prefix;
    this.#width = width;
  }

  start(clients: number): void {
    this.#work = Promise.all(Array.from({ length: clients }, (_, index) => this.#run(index)));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#work;
  }

  /** One client more reads, or sets, each key that was used. */
  async all(kind: 'get' | 'set'): Promise<void> {
    const [target] = this.#targets as [Target];
    const connection = await RespConnection.open(target.host.address, target.port);
    connection.giveUpAfter(30_000);
    try {
      for (const [key, history] of this.histories) {
        this.#values += 1;
        const value = `${this.#values}`;
        if (kind === 'get') await this.#do(connection, 'last', history, { kind }, ['GET', key]);
        else await this.#do(connection, 'last', history, { kind, value }, ['SET', key, value]);
      }
    } finally {
      connection.close();
    }
  }

  /** Every key whose history no sequential register can have, in words. */
  problems(): string[] {
    const unlike = [...this.histories].flatMap(([key, history]) => {
      const verdict = checkLinearizable(registerModel, history);
      if (verdict.linearizable) return [];
      const { stuckAt, order } = verdict;
      const before = order.slice(-5).map(textOf).join('\n    ');
      return [`${key} is not linearizable: after\n    ${before}\n  there is no place for\n    ${textOf(stuckAt)}`];
    });
    return [...this.strange, ...unlike];
  }

  get operations(): number {
    return [...this.histories.values()].reduce((sum, history) => sum + history.length, 0);
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
      await this.#step(connection, `c${index}`);
      await sleep(2 + this.#random.below(6));
    }
    connection?.close();
  }

  async #step(connection: RespConnection, client: string): Promise<void> {
    const generation = Math.floor((3 * this.#values) / (MOST_PER_KEY * this.#width));
    const key = `${this.#prefix}${this.#random.below(this.#width)}:${generation}`;
    const history = this.#historyOf(key);
    this.#values += 1;
    const value = `${this.#values}`;
    const chance = this.#random.below(10);
    if (chance < 4) return this.#do(connection, client, history, { kind: 'get' }, ['GET', key]);
    if (chance < 6) return this.#do(connection, client, history, { kind: 'set', value }, ['SET', key, value]);
    if (chance < 7) return this.#do(connection, client, history, { kind: 'delete' }, ['DEL', key]);
    if (chance < 9) {
      const from = lastValue(history);
      const swap = { kind: 'compareAndSet', from, to: value } as const;
      return this.#do(connection, client, history, swap, ['EVAL', SWAP, '1', key, from, value]);
    }
    return this.#watch(connection, client, history, key, value);
  }

  async #do(
    connection: RespConnection,
    client: string,
    history: RegisterOperation[],
    input: RegisterInput,
    words: string[],
  ): Promise<void> {
    const beginMs = performance.now();
    try {
      const reply = await connection.call(...words);
      if (!isPlausible(input, reply)) this.strange.push(`${words.join(' ')} was answered ${JSON.stringify(reply)}`);
      note(history, client, input, reply, beginMs);
    } catch (error) {
      notePending(history, client, input, beginMs, error);
    }
  }

  /** Compare-and-set as applications do it: WATCH, GET, MULTI, SET, EXEC. */
  async #watch(
    connection: RespConnection,
    client: string,
    history: RegisterOperation[],
    key: string,
    value: string,
  ): Promise<void> {
    const beginMs = performance.now();
    let swap: RegisterInput | null = null;
    try {
      if ((await connection.call('WATCH', key)) instanceof ErrorReply) return;
      const from = await connection.call('GET', key);
      if (from instanceof ErrorReply) return;
      swap = { kind: 'compareAndSet', from: from === null ? null : String(from), to: value };
      const replies = await connection.pipeline(['MULTI'], ['SET', key, value], ['EXEC']);
      const done = replies[2] as Reply;
      // Nil: somebody was faster, or the connection to the node broke. Nothing was done.
      if (done !== null) note(history, client, swap, done instanceof ErrorReply ? done : 1, beginMs);
    } catch (error) {
      if (swap !== null) notePending(history, client, swap, beginMs, error);
      else if (!(error instanceof ConnectionLost)) throw error;
    }
  }

  #historyOf(key: string): RegisterOperation[] {
    const there = this.histories.get(key);
    if (there !== undefined) return there;
    const fresh: RegisterOperation[] = [];
    this.histories.set(key, fresh);
    return fresh;
  }
}

/** What was last set, as far as anybody knows: a swap from it has a chance. */
function lastValue(history: readonly RegisterOperation[]): string {
  const last = history.findLast(({ input }) => input.kind === 'set' || input.kind === 'compareAndSet')?.input;
  return last?.kind === 'set' ? last.value : last?.kind === 'compareAndSet' ? last.to : 'nothing';
}

function note(history: RegisterOperation[], client: string, input: RegisterInput, reply: Reply, beginMs: number): void {
  if (!(reply instanceof ErrorReply)) {
    history.push({ client, input, output: outputOf(input, reply), beginMs, endMs: performance.now() });
  } else if (reply.code === 'UNCERTAIN' && input.kind !== 'get') {
    history.push({ client, input, output: null, beginMs, endMs: null });
  }
}

function notePending(
  history: RegisterOperation[],
  client: string,
  input: RegisterInput,
  beginMs: number,
  error: unknown,
): void {
  if (!(error instanceof ConnectionLost)) throw error;
  if (input.kind !== 'get') history.push({ client, input, output: null, beginMs, endMs: null });
}

/** Whether Redis may answer so; values are numbers here. */
function isPlausible({ kind }: RegisterInput, reply: Reply): boolean {
  if (reply instanceof ErrorReply) return true;
  if (kind === 'get') return reply === null || /^\d+$/.test(String(reply));
  return kind === 'set' ? reply === 'OK' : typeof reply === 'number';
}

function outputOf(input: RegisterInput, reply: Reply): RegisterOutput {
  if (input.kind === 'get') return { kind: 'value', value: reply === null ? null : String(reply) };
  return input.kind === 'compareAndSet' ? { kind: 'swapped', swapped: reply === 1 } : { kind: 'done' };
}

function textOf({ client, input, output, beginMs, endMs }: RegisterOperation): string {
  const asked = JSON.stringify(input);
  const times = `${beginMs.toFixed(1)} to ${endMs?.toFixed(1) ?? 'never'}`;
  return `${client} ${asked} -> ${JSON.stringify(output)} (${times})`;
}
