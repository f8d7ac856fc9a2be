/**
 * What a client sees of a fault: writes that are sent every few milliseconds whether or not the earlier ones were
 * answered, each with a key of its own, when it was sent, when and how it was answered.
 */
import { sleep } from './failover-cluster.mjs';

/** Time between two writes. */
const everyMs = 2;

/** @typedef {{ key: string, sentAt: number, answeredAt: number, error: string | null }} Sample */

export class Probe {
  /** @type {Sample[]} */
  samples = [];
  #client;
  #prefix;
  #running = true;
  /** @type {Promise<unknown>[]} */
  #open = [];
  #loop;

  /** @param {import('ioredis').Redis} client  @param {string} prefix  of every key, such as `p1:` */
  constructor(client, prefix) {
    this.#client = client;
    this.#prefix = prefix;
    this.#loop = this.#run();
  }

  async #run() {
    for (let i = 0; this.#running; i += 1) {
      this.#open.push(this.#write(`${this.#prefix}${i}`));
      await sleep(everyMs);
    }
  }

  /** @param {string} key */
  async #write(key) {
    const sentAt = performance.now();
    const error = await this.#client.set(key, key).then(
      () => null,
      (/** @type {Error} */ failure) => kindOf(failure),
    );
    this.samples.push({ key, sentAt, answeredAt: performance.now(), error });
  }

  /** Waits for every answer. */
  async stop() {
    this.#running = false;
    await this.#loop;
    await Promise.all(this.#open);
    return this;
  }

  /** From a moment until a write that was sent after it was acknowledged. @param {number} sinceMs */
  firstAcknowledgedAfter(sinceMs) {
    const after = this.samples.filter(({ sentAt, error }) => error === null && sentAt > sinceMs);
    return Math.min(...after.map(({ answeredAt }) => answeredAt)) - sinceMs;
  }

  /** The longest that an acknowledged write took. */
  longestMs() {
    return Math.max(...this.samples.filter(({ error }) => error === null).map(one => one.answeredAt - one.sentAt));
  }

  /** @param {number} share  such as 0.99 */
  percentileMs(share) {
    const took = this.samples.map(({ sentAt, answeredAt }) => answeredAt - sentAt).sort((a, b) => a - b);
    return took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.NaN;
  }

  /** How many answers were errors, by the first word of them. @returns {Record<string, number>} */
  errors() {
    /** @type {Record<string, number>} */
    const counts = {};
    for (const { error } of this.samples) if (error !== null) counts[error] = (counts[error] ?? 0) + 1;
    return counts;
  }

  /** Keys of acknowledged writes that are not there. @param {import('ioredis').Redis} client */
  async lost(client) {
    const keys = this.samples.filter(({ error }) => error === null).map(({ key }) => key);
    const values = await Promise.all(keys.map(key => client.get(key)));
    return keys.filter((key, i) => values[i] !== key);
  }
}

/** Redis's code, or the error's message where it is none of Redis's. @param {Error} error */
export function kindOf(error) {
  return /^[A-Z]{3,}\b/.exec(error.message)?.[0] ?? error.message.replace(/\d+/g, 'N');
}

/** @param {Record<string, number>} total  @param {Record<string, number>} more */
export function addCounts(total, more) {
  for (const [kind, count] of Object.entries(more)) total[kind] = (total[kind] ?? 0) + count;
}
