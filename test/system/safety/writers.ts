/**
 * Clients that write through the proxies for as long as faults go on, and keep a ledger of what they were told.
 *
 * Each has one connection at a time and tries nothing twice: what it was not told is uncertain.
 */
import { Random } from '../../../src/base/random.ts';
import { HANG_MS } from '../../support/patience.ts';
import { sleep, until } from '../faults/stand.ts';
import { Ledger, type Outcome, type Write } from './ledger.ts';
import { ConnectionLost, ErrorReply, type Reply, RespConnection } from './resp.ts';

/** Where a proxy serves. */
export interface Target {
  readonly host: { readonly address: string };
  readonly port: number;
}

/** Longer than any pause that a proxy makes, by its settings: a command that is unanswered for so long is given up. */
const PATIENCE_MS = 2 * HANG_MS;

/** Who has had so many writes acknowledged has met every shard: nobody's keys keep to one shard for so long. */
const ENOUGH_WRITES = 20;

/** Between two commands of one writer, so that the nodes and the machine are not the fault. */
const PAUSE_MS = 3;

/** How long a key lives that is set to expire. */
const BRIEF_MS = 400;

/** Keys of a writer that it may delete later. */
const MOST_REMOVABLE = 200;

/** `simple`: only commands that a proxy of any kind forwards, each with one key. */
export type Repertoire = 'full' | 'simple';

const INCREMENT = "return redis.call('INCR', KEYS[1])";

export class Writers {
  readonly ledger = new Ledger();
  /** The longest time that an answer took, whatever it was. */
  slowestMs = 0;
  readonly #targets: readonly Target[];
  readonly #seed: number;
  readonly #prefix: string;
  readonly #repertoire: Repertoire;
  /** Of each writer: how many of its writes were acknowledged. */
  readonly #acknowledged: number[] = [];
  #running = true;
  #work: Promise<unknown> = Promise.resolve();

  /** `prefix` begins every key, so that the keys of several rounds do not meet. */
  constructor(targets: readonly Target[], seed: number, prefix: string, repertoire: Repertoire = 'full') {
    this.#targets = targets;
    this.#seed = seed;
    this.#prefix = prefix;
    this.#repertoire = repertoire;
  }

  start(count: number): void {
    this.#work = Promise.all(Array.from({ length: count }, (_, index) => this.#run(index)));
  }

  /** Waits until every writer has had its last answer, and what was to expire has. */
  async stop(): Promise<Ledger> {
    this.#running = false;
    await this.#work;
    await sleep(BRIEF_MS);
    return this.ledger;
  }

  /** Waits until each writer has been served by every shard from now on; rejects when one never is. */
  async served(): Promise<void> {
    const before = [...this.#acknowledged];
    const since = (): number[] => this.#acknowledged.map((count, index) => count - (before[index] ?? 0));
    await until(
      () => `every writer is served; since then they had ${since().join(', ')} acknowledged writes`,
      () => since().every(count => count >= ENOUGH_WRITES),
    );
  }

  async #run(index: number): Promise<void> {
    this.#acknowledged[index] = 0;
    const writer = new Writer(index, new Random(this.#seed + index), this.#prefix, this.ledger, (ms, outcome) => {
      this.slowestMs = Math.max(this.slowestMs, ms);
      if (outcome === 'acknowledged') this.#acknowledged[index] = (this.#acknowledged[index] ?? 0) + 1;
    });
    const target = this.#targets[index % this.#targets.length] as Target;
    let connection: RespConnection | null = null;
    while (this.#running) {
      if (connection === null || connection.lost) {
        connection = await RespConnection.open(target.host.address, target.port, 1_000).catch(() => null);
        connection?.giveUpAfter(PATIENCE_MS);
        if (connection === null) await sleep(20);
        continue;
      }
      if (this.#repertoire === 'full') await writer.step(connection);
      else await writer.simpleStep(connection);
      await sleep(PAUSE_MS);
    }
    connection?.close();
  }
}

type OnDone = (ms: number, outcome: Outcome) => void;

/** One client, and what it does next. */
class Writer {
  readonly #index: number;
  readonly #random: Random;
  readonly #prefix: string;
  readonly #ledger: Ledger;
  readonly #onDone: OnDone;
  #count = 0;
  /** Keys that were put and acknowledged. */
  readonly #removable: string[] = [];

  constructor(index: number, random: Random, prefix: string, ledger: Ledger, onDone: OnDone) {
    this.#index = index;
    this.#random = random;
    this.#prefix = prefix;
    this.#ledger = ledger;
    this.#onDone = onDone;
  }

  /** One command, or several in a row. */
  async step(connection: RespConnection): Promise<void> {
    this.#count += 1;
    const name = `${this.#prefix}${this.#index}:${this.#count}`;
    const shared = this.#random.below(3);
    switch (this.#random.below(12)) {
      case 0:
      case 1:
        return this.#put(connection, name);
      case 10:
        return this.#remove(connection, name);
      case 11:
        return this.#brief(connection, name);
      case 2:
        return this.#increment(connection, ['INCR'], `${this.#prefix}counter${shared}`);
      case 3:
        return this.#increment(connection, ['EVAL', INCREMENT, '1'], `${this.#prefix}counter${shared}`);
      case 4:
        return this.#overwrite(connection);
      case 5:
        return this.#push(connection, `${this.#prefix}list${shared}`, name);
      case 6:
        return this.#transaction(connection, name);
      case 7:
        return this.#putEach(connection, name);
      case 8:
        return this.#queue(connection, name);
      default:
        // A burst without waiting for answers.
        await Promise.all(Array.from({ length: 8 }, (_, i) => this.#put(connection, `${name}:${i}`)));
    }
  }

  /** One command with one key. */
  async simpleStep(connection: RespConnection): Promise<void> {
    this.#count += 1;
    const name = `${this.#prefix}${this.#index}:${this.#count}`;
    const shared = this.#random.below(3);
    switch (this.#random.below(6)) {
      case 0:
        return this.#increment(connection, ['INCR'], `${this.#prefix}counter${shared}`);
      case 1:
        return this.#overwrite(connection);
      case 2:
        return this.#push(connection, `${this.#prefix}list${shared}`, name);
      case 3:
        return this.#remove(connection, name);
      default:
        return this.#put(connection, name);
    }
  }

  async #put(connection: RespConnection, key: string): Promise<void> {
    const expiry = this.#random.below(4) === 0 ? ['EX', '1000'] : [];
    await this.#write(connection, ['SET', key, key, ...expiry], reply => {
      if (reply === 'OK' && this.#removable.length < MOST_REMOVABLE) this.#removable.push(key);
      return { kind: 'put', keys: [key], value: key };
    });
  }

  /** Puts a key where there is none yet to delete. */
  async #remove(connection: RespConnection, name: string): Promise<void> {
    const [key] = this.#removable.splice(this.#random.below(this.#removable.length), 1);
    if (key === undefined) return this.#put(connection, name);
    await this.#write(connection, ['DEL', key], () => ({ kind: 'remove', key }));
  }

  async #brief(connection: RespConnection, key: string): Promise<void> {
    await this.#write(connection, ['SET', key, key, 'PX', `${BRIEF_MS}`], () => ({ kind: 'brief', key }));
  }

  async #increment(connection: RespConnection, command: string[], key: string): Promise<void> {
    await this.#write(connection, [...command, key], reply => ({
      kind: 'increment',
      key,
      sum: typeof reply === 'number' ? reply : null,
    }));
  }

  async #overwrite(connection: RespConnection): Promise<void> {
    const key = `${this.#prefix}own${this.#index}`;
    const value = this.#count;
    await this.#write(connection, ['SET', key, `${value}`], () => ({ kind: 'overwrite', key, value }));
  }

  async #push(connection: RespConnection, key: string, value: string): Promise<void> {
    await this.#write(connection, ['LPUSH', key, value], () => ({ kind: 'push', key, value }));
  }

  async #putEach(connection: RespConnection, name: string): Promise<void> {
    const keys = ['a', 'b', 'c'].map(letter => `${name}:${letter}`);
    const words = keys.flatMap(key => [key, name]);
    await this.#write(connection, ['MSET', ...words], () => ({ kind: 'putEach', keys, value: name }));
  }

  /** Elements go in and out of lists by commands that wait, half of the time. */
  async #queue(connection: RespConnection, value: string): Promise<void> {
    const key = `${this.#prefix}queue${this.#random.below(2)}`;
    if (this.#random.below(2) === 0) return this.#push(connection, key, value);
    await this.#write(connection, ['BRPOP', key, '0.2'], reply => ({
      kind: 'take',
      key,
      value: Array.isArray(reply) ? String(reply[1]) : null,
    }));
  }

  /** Two keys of one shard in a transaction: both or none. */
  async #transaction(connection: RespConnection, name: string): Promise<void> {
    const keys = [`{${name}}a`, `{${name}}b`];
    const write: Write = { kind: 'put', keys, value: name };
    const beganAt = performance.now();
    try {
      const replies = await connection.pipeline(['MULTI'], ...keys.map(key => ['SET', key, name]), ['EXEC']);
      this.#record(write, replies[3] as Reply, beganAt);
    } catch (error) {
      this.#lost(write, error);
    }
  }

  async #write(connection: RespConnection, words: string[], write: (reply: Reply) => Write): Promise<void> {
    const beganAt = performance.now();
    try {
      const reply = await connection.call(...words);
      this.#record(write(reply), reply, beganAt);
    } catch (error) {
      this.#lost(write(null), error);
    }
  }

  #record(write: Write, reply: Reply, beganAt: number): void {
    if (!isPlausible(reply, write)) this.#ledger.strange.push(`${write.kind} was answered ${JSON.stringify(reply)}`);
    const outcome = outcomeOf(reply, write);
    this.#ledger.add(write, outcome);
    if (reply instanceof ErrorReply) this.#ledger.countError(reply.code, `${write.kind}: ${reply.text}`);
    this.#onDone(performance.now() - beganAt, outcome);
  }

  #lost(write: Write, error: unknown): void {
    if (!(error instanceof ConnectionLost)) throw error;
    this.#ledger.add(write, 'uncertain');
    this.#ledger.countError('connection lost');
  }
}

/** Whether Redis may answer so: an answer that belongs to another command shows that replies went astray. */
function isPlausible(reply: Reply, write: Write): boolean {
  if (reply instanceof ErrorReply) return true;
  switch (write.kind) {
    case 'put':
      return write.keys.length === 1 ? reply === 'OK' : reply === null || Array.isArray(reply);
    case 'putEach':
    case 'overwrite':
    case 'brief':
      return reply === 'OK';
    case 'remove':
      // Nobody but its writer touches the key, and the writer knows that it is there.
      return reply === 1;
    case 'increment':
    case 'push':
      return typeof reply === 'number';
    case 'take':
      return reply === null || (Array.isArray(reply) && reply[0] === write.key);
  }
}

function outcomeOf(reply: Reply, write: Write): Outcome {
  // Of a command over several shards one part may have failed and another not.
  if (reply instanceof ErrorReply && write.kind === 'putEach') return 'uncertain';
  if (reply instanceof ErrorReply) return reply.code === 'UNCERTAIN' ? 'uncertain' : 'refused';
  // EXEC answers nil when nothing was done; a pop that found nothing has done nothing either, and is told so.
  if (reply === null && write.kind === 'put') return 'refused';
  if (Array.isArray(reply) && reply.some(item => item instanceof ErrorReply)) return 'uncertain';
  return 'acknowledged';
}
